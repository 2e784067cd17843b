"""The shape of wildsat-s2: which parts, which sizes."""

from __future__ import annotations

from typing import Any

from training.small_models import DEVIATION, small_config
from wildsat_core.models.config import ModelConfig
from wildsat_core.preprocess import Preprocessing

MEAN = (0.36, 0.37, 0.36)  # near that of EuroSAT under all the stretches; what a picture's own is, the network sees
GSD_M = (10.0, 60.0)
FEATURES = 384
ARCHITECTURE = "wildsat:compact"
ARCHITECTURE_ARGS: dict[str, Any] = {"widths": [48, 96, 192], "blocks": [1, 2, 2], "features": FEATURES}


def s2_config() -> ModelConfig:
    """Config of an untrained wildsat-s2; its text head is made last, as large as there are known texts."""
    return small_config(
        "wildsat-s2",
        "WildSAT for Sentinel-2",
        backbone=(ARCHITECTURE, ARCHITECTURE_ARGS),
        features=FEATURES,
        preprocessing=Preprocessing(normalisation="standard", mean=MEAN, std=DEVIATION),
        gsd_m=GSD_M,
        text_head=None,
        waves=384,
        highest_wave=200.0,
    )
