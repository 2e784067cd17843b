"""The shape of wildsat-s2: which parts, which sizes."""

from __future__ import annotations

from typing import Any

from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.preprocess import Preprocessing

# Near those of EuroSAT under all the stretches; what a picture's own are, the network sees for itself.
MEAN, DEVIATION = (0.36, 0.37, 0.36), (0.22, 0.20, 0.20)
GSD_M = (10.0, 60.0)
TEXT_DIM, IMAGE_DIM = 256, 128
TILE_HIDDEN = 512
TEXT_FEATURES, TEXT_HIDDEN = 384, 1024
MEMORY_SLOTS = 4096
FEATURES = 384
ARCHITECTURE = "wildsat:compact"
ARCHITECTURE_ARGS: dict[str, Any] = {"widths": [48, 96, 192], "blocks": [1, 2, 2], "features": FEATURES}
POSITION = {"dim": TEXT_DIM, "waves": 384, "lowest": 1.0, "highest": 200.0, "width": 448, "depth": 3}


def s2_config() -> ModelConfig:
    """Config of an untrained wildsat-s2."""
    return ModelConfig(
        name="wildsat-s2",
        title="WildSAT for Sentinel-2",
        architecture=ARCHITECTURE,
        architecture_args=ARCHITECTURE_ARGS,
        feature_size=FEATURES,
        preprocessing=Preprocessing(normalisation="standard", mean=MEAN, std=DEVIATION),
        gsd_m=GSD_M,
        tile_heads={
            "text": HeadConfig(kind="mlp", in_features=FEATURES, out_features=TEXT_DIM, hidden=TILE_HIDDEN),
            "image": HeadConfig(kind="mlp", in_features=FEATURES, out_features=IMAGE_DIM, hidden=TILE_HIDDEN),
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
