"""What the small models have in common: the shape of their spaces, and the text head with a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wildsat_core.errors import TrainingError
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.heads import MemoryHead, ResidualHead, build_head
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.precision import supports_bf16
from wildsat_core.preprocess import Preprocessing, preprocess

TEXT_FEATURES, TEXT_DIM, IMAGE_DIM = 384, 256, 128
TILE_HIDDEN = 512
DEVIATION = (0.22, 0.20, 0.20)  # of the pixels of both models' training pictures
MEMORY = ("basis", "keys", "values", "meaning")


def small_config(
    name: str,
    title: str,
    *,
    backbone: tuple[str, dict[str, Any]],
    features: int,
    preprocessing: Preprocessing,
    gsd_m: tuple[float, float],
    text_head: HeadConfig | None,
    waves: int,
    highest_wave: float,
) -> ModelConfig:
    """Config of an untrained small model: tiles, texts and positions meet in a space of 256 dimensions.

    Args:
        name: of the model.
        title: of the model, for people.
        backbone: its architecture, and the arguments of that.
        features: length of the backbone's feature vector.
        preprocessing: of pictures.
        gsd_m: smallest and largest pixels that the model is for.
        text_head: from embeddings of `TEXT_FEATURES` to the shared space; None where training makes it.
        waves: how many the position encoder reads a position through.
        highest_wave: frequency of the shortest of them.
    """
    architecture, arguments = backbone
    position = {"dim": TEXT_DIM, "waves": waves, "lowest": 1.0, "highest": highest_wave, "width": 448, "depth": 3}
    tile_head = {"kind": "mlp", "in_features": features, "hidden": TILE_HIDDEN}
    return ModelConfig(
        name=name,
        title=title,
        architecture=architecture,
        architecture_args=arguments,
        feature_size=features,
        preprocessing=preprocessing,
        gsd_m=gsd_m,
        tile_heads={
            "text": HeadConfig.model_validate(tile_head | {"out_features": TEXT_DIM}),
            "image": HeadConfig.model_validate(tile_head | {"out_features": IMAGE_DIM}),
        },
        text_encoder="minilm",
        text_head=text_head,
        location=LocationConfig(kind="position", parameters=position, spaces=("place",), out_features=TEXT_DIM),
        metric="cosine",
        licence="Apache-2.0",
        source="trained by this project; see README.md beside this file for the command and the data",
    )


def new_text_head(model: WildSATModel) -> ResidualHead:
    """A text head of the model's size with random weights, without a memory.

    Raises:
        TrainingError: the model's text head is of another kind.
    """
    config = model.config.text_head
    if config is None or config.hidden is None:
        raise TrainingError(f"{model.config.name!r} has no text head with a hidden layer")
    return ResidualHead(config.in_features, config.out_features, config.hidden)


def plain_text_head(model: WildSATModel) -> ResidualHead:
    """A copy of a model's trained text head, without its memory.

    Raises:
        TrainingError: the model's text head is of another kind.
    """
    head = new_text_head(model)
    assert model.text_head is not None  # the config has one
    head.load_state_dict({name: value for name, value in model.text_head.state_dict().items() if name not in MEMORY})
    return head


def install_text_head(
    model: WildSATModel,
    head: ResidualHead,
    keys: NDArray[np.float32],
    meaning: NDArray[np.int64],
    values: NDArray[np.float32],
) -> None:
    """Put a trained head into a model, with a memory of known texts.

    Args:
        model: its text head has a memory, of any size.
        head: as wide as that.
        keys: (M, 384) embeddings of the texts to remember.
        meaning: (M,) row of `values` of each.
        values: (V, D) what the texts mean.

    Raises:
        TrainingError: the model's text head has no memory.
    """
    config = model.config.text_head
    if not isinstance(model.text_head, MemoryHead) or config is None:
        kind = type(model.text_head).__name__
        raise TrainingError(f"the text head of {model.config.name!r} is a {kind}, not a MemoryHead")
    shape = config.model_copy(update={"slots": len(keys), "meanings": len(values)})
    filled = build_head(shape)
    assert isinstance(filled, MemoryHead)  # as the config says
    filled.load_state_dict(head.state_dict(), strict=False)
    filled.remember(torch.from_numpy(keys), torch.from_numpy(meaning), torch.from_numpy(values))
    model.config = model.config.model_copy(update={"text_head": shape})
    model.text_head = filled.to(model.device).eval()


def read_features(backbone: nn.Module, pictures: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 255] to float32 features (B, F).

    A GPU runs the network in bfloat16 where it multiplies that itself; all processors train alike, in float32.
    """
    ready = preprocess(pictures, preprocessing).contiguous(memory_format=torch.channels_last)
    device = pictures.device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and supports_bf16(device)):
        features: Tensor = backbone(ready)
    return features.float()
