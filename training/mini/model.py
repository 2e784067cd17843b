"""The shape of wildsat-mini: which parts, which sizes."""

from __future__ import annotations

from typing import Any

from training.small_models import DEVIATION, TEXT_DIM, TEXT_FEATURES, small_config
from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.config import HeadConfig, ModelConfig
from wildsat_core.preprocess import Preprocessing

MEAN = (0.35, 0.37, 0.33)  # over all views of all training tiles
ARCHITECTURE = "timm:resnet10t"
# Half as wide as usual: on two cores, pictures seen in training count for more than channels.
ARCHITECTURE_ARGS: dict[str, Any] = {"channels": [32, 64, 128, 256], "stem_width": 16}
GSD_M = (500.0, 8000.0)  # its training pictures show 45 to 300 km in 40 pixels; below that a little was tried
INPUT_PX = 40  # the demo's imagery has 27 pixels in 200 km
TEXT_HIDDEN = 2048
MOST_SLOTS = 60_000  # texts that the text head remembers at most
RECALL_FEATURES = 128  # of 384; with all, answers to the tuning halves are no better
RECALL = (3.0, 15.0)  # chosen on the tuning halves, the first fresh lists, and phrases kept from the memory


def mini_config(slots: int = 1, meanings: int = 1) -> ModelConfig:
    """Config of an untrained wildsat-mini, whose text head will know `slots` texts of `meanings` meanings."""
    return small_config(
        "wildsat-mini",
        "WildSAT mini",
        backbone=(ARCHITECTURE, ARCHITECTURE_ARGS),
        features=feature_size(ARCHITECTURE, ARCHITECTURE_ARGS, INPUT_PX),
        preprocessing=Preprocessing(input_px=INPUT_PX, normalisation="standard", mean=MEAN, std=DEVIATION),
        gsd_m=GSD_M,
        text_head=HeadConfig(
            kind="memory",
            in_features=TEXT_FEATURES,
            out_features=TEXT_DIM,
            hidden=TEXT_HIDDEN,
            slots=slots,
            meanings=meanings,
            recall_features=RECALL_FEATURES,
            recall_share=RECALL[0],
            recall_sharpness=RECALL[1],
        ),
        waves=256,
        highest_wave=100.0,
    )


def feature_size(architecture: str, arguments: dict[str, Any], input_px: int) -> int:
    """Length of a backbone's feature vector, by asking it: some pass their pooled features through one more layer."""
    import torch

    backbone = build_backbone(architecture, dict(arguments), 3).eval()
    with torch.inference_mode():
        return int(backbone(torch.zeros(1, 3, input_px, input_px)).shape[1])
