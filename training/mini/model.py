"""The shape of wildsat-mini: which parts, which sizes."""

from __future__ import annotations

from wildsat_core.models.backbones import build_backbone
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.preprocess import Preprocessing

# Over all views of all training tiles.
MEAN, DEVIATION = (0.35, 0.37, 0.33), (0.22, 0.20, 0.20)
TEXT_DIM, IMAGE_DIM = 256, 128
TILE_HIDDEN = 512
TEXT_FEATURES, TEXT_HIDDEN = 384, 1024
POSITION = {"dim": TEXT_DIM, "waves": 256, "lowest": 1.0, "highest": 100.0, "width": 448, "depth": 3}


def mini_config(architecture: str, input_px: int) -> ModelConfig:
    """Config of an untrained wildsat-mini.

    Args:
        architecture: the image encoder, such as "timm:mobilenetv4_conv_small".
        input_px: side of its input.
    """
    features = feature_size(architecture, input_px)
    hidden = min(TILE_HIDDEN, features)
    return ModelConfig(
        name="wildsat-mini",
        title="WildSAT mini",
        architecture=architecture,
        feature_size=features,
        preprocessing=Preprocessing(input_px=input_px, normalisation="standard", mean=MEAN, std=DEVIATION),
        tile_heads={
            "text": HeadConfig(kind="mlp", in_features=features, out_features=TEXT_DIM, hidden=hidden),
            "image": HeadConfig(kind="mlp", in_features=features, out_features=IMAGE_DIM, hidden=hidden),
        },
        text_encoder="minilm",
        text_head=HeadConfig(kind="residual", in_features=TEXT_FEATURES, out_features=TEXT_DIM, hidden=TEXT_HIDDEN),
        location=LocationConfig(kind="position", parameters=dict(POSITION), spaces=("place",), out_features=TEXT_DIM),
        metric="cosine",
        licence="Apache-2.0",
        source="trained by this project; see README.md beside this file for the command and the data",
    )


def feature_size(architecture: str, input_px: int) -> int:
    """Length of a backbone's feature vector, by asking it: some pass their pooled features through one more layer."""
    import torch

    backbone = build_backbone(architecture, {}, 3).eval()
    with torch.inference_mode():
        return int(backbone(torch.zeros(1, 3, input_px, input_px)).shape[1])
