"""The shape of wildsat-mini: which parts, which sizes."""

from __future__ import annotations

from typing import Any

from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.preprocess import Preprocessing

# Over all views of all training tiles.
MEAN, DEVIATION = (0.35, 0.37, 0.33), (0.22, 0.20, 0.20)
TEXT_DIM, IMAGE_DIM = 256, 128
TILE_HIDDEN = 512
TEXT_FEATURES, TEXT_HIDDEN = 384, 2048
MEMORY_SLOTS = 7680
POSITION = {"dim": TEXT_DIM, "waves": 256, "lowest": 1.0, "highest": 100.0, "width": 448, "depth": 3}


ARCHITECTURE = "timm:resnet10t"
# Half as wide as usual: on two cores, pictures seen in training count for more than channels.
ARCHITECTURE_ARGS: dict[str, Any] = {"channels": [32, 64, 128, 256], "stem_width": 16}
GSD_M = (500.0, 8000.0)  # its training pictures show 45 to 300 km in 40 pixels; below that a little was tried
INPUT_PX = 40  # the demo's imagery has 27 pixels in 200 km


def mini_config() -> ModelConfig:
    """Config of an untrained wildsat-mini."""
    features = feature_size(ARCHITECTURE, ARCHITECTURE_ARGS, INPUT_PX)
    return ModelConfig(
        name="wildsat-mini",
        title="WildSAT mini",
        architecture=ARCHITECTURE,
        architecture_args=ARCHITECTURE_ARGS,
        feature_size=features,
        preprocessing=Preprocessing(input_px=INPUT_PX, normalisation="standard", mean=MEAN, std=DEVIATION),
        gsd_m=GSD_M,
        tile_heads={
            "text": HeadConfig(kind="mlp", in_features=features, out_features=TEXT_DIM, hidden=TILE_HIDDEN),
            "image": HeadConfig(kind="mlp", in_features=features, out_features=IMAGE_DIM, hidden=TILE_HIDDEN),
        },
        text_encoder="minilm",
        text_head=HeadConfig(
            kind="memory",
            in_features=TEXT_FEATURES,
            out_features=TEXT_DIM,
            hidden=TEXT_HIDDEN,
            slots=MEMORY_SLOTS,
        ),
        location=LocationConfig(kind="position", parameters=dict(POSITION), spaces=("place",), out_features=TEXT_DIM),
        metric="cosine",
        licence="Apache-2.0",
        source="trained by this project; see README.md beside this file for the command and the data",
    )


def feature_size(architecture: str, arguments: dict[str, Any], input_px: int) -> int:
    """Length of a backbone's feature vector, by asking it: some pass their pooled features through one more layer."""
    import torch

    backbone = build_backbone(architecture, dict(arguments), 3).eval()
    with torch.inference_mode():
        return int(backbone(torch.zeros(1, 3, input_px, input_px)).shape[1])
