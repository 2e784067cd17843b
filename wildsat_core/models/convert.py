"""Turns a published WildSAT checkpoint into a model directory: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wildsat_core.errors import CheckpointError
from wildsat_core.models.adapters import WRAPPER, fold_adapters
from wildsat_core.models.checkpoint import read_checkpoint, state_dict_of, without_prefix
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.location_files import satclip_weights, sinr_weights
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import MODELS
from wildsat_core.models.spec import ModelSpec, multispectral_bands, nine_bands
from wildsat_core.models.starts import backbone_weights
from wildsat_core.models.weights import file_sha256, load_exactly, no_random_weights

# In a checkpoint's options the start is a path. These are the parts that the reference looks for, in its order.
_STARTS = ("satclip", "satlas-backbone", "seco", "moco", "clip", "prithvi")
_HEADS = {"text": "backbone1", "location": "backbone2", "image": "backbone3"}

Weights = dict[str, torch.Tensor]


def convert_checkpoint(
    source: str | Path, name: str, directory: str | Path, row: str | None = None, *, multispectral: bool | None = None
) -> WildSATModel:
    """Convert a published checkpoint and write its model directory.

    Args:
        source: a `.pth` that WildSAT's training wrote.
        name: of the model.
        directory: where it goes.
        row: which row of the registry it is; by default the options in the file say.
        multispectral: whether the model was trained on nine bands; by default the options say.

    Returns:
        The model, ready to embed.

    Raises:
        CheckpointError: unsafe, damaged, of an unknown row, or keys that don't fit it; they are named. Nothing is
            written then.
    """
    source = Path(source)
    content = read_checkpoint(source)
    options = content.get("opt")
    spec = MODELS[row] if row in MODELS else row_of(options, str(source), row)
    state = state_dict_of(content, "satellite_state_dict", str(source))
    text = state_dict_of(content, "text_emb_model", str(source))
    if multispectral is None:
        multispectral = bool(getattr(options, "use_multispectral", False))
    spec, backbone = _backbone(spec, state, multispectral)
    heads = _heads(spec, state, source)
    weights = {f"backbone.{key}": value for key, value in backbone.items()}
    weights |= {f"tile_heads.{space}.weight": value for space, value in heads.items()}
    weights |= {"text_head.weight": _only(text, "head.weight", str(source))}
    location, location_weights, note = _location(content, options, source)
    weights |= {f"location.{key}": value for key, value in location_weights.items()}
    config = _config(spec, name, heads, weights["text_head.weight"], location, source, note)
    with no_random_weights():
        model = WildSATModel(config)
    load_exactly(model, weights, str(source))
    model.save(directory)
    return model.eval()


def row_of(options: Any, what: str, row: str | None = None) -> ModelSpec:  # noqa: ANN401 - from a file: checked here
    """The registry's row that a checkpoint's options describe.

    Raises:
        CheckpointError: there are no options, or they describe a model outside the registry.
    """
    if row is not None:
        raise CheckpointError(f"no row of the registry is called {row!r}; there are {', '.join(MODELS)}")
    if not isinstance(options, argparse.Namespace):
        raise CheckpointError(f"{what} doesn't say what it is (no options under 'opt'); name its row with --row")
    head = getattr(options, "satellite_head", "threelinearnobias")
    if head != "threelinearnobias":
        raise CheckpointError(f"{what} has heads of the kind {head!r}; only threelinearnobias is supported")
    name = f"{getattr(options, 'satellite_encoder', None)}-{_start_of(options)}"
    if name not in MODELS:
        raise CheckpointError(f"{what} is a {name}, which is not in the registry; there are {', '.join(MODELS)}")
    return MODELS[name]


def _start_of(options: argparse.Namespace) -> str:
    if getattr(options, "satellite_notpretrained", False):
        return "random"
    path = str(getattr(options, "satellite_encoder_ckpt", None) or "").lower()
    if not path:
        return "imagenet"
    found = next((start for start in _STARTS if start in path), path)
    return found.removesuffix("-backbone")


def _backbone(spec: ModelSpec, state: Weights, multispectral: bool) -> tuple[ModelSpec, Weights]:
    """The backbone's weights under our names, and the row as these weights need it."""
    inner = without_prefix(state, "backbone.")
    if any(key.startswith(WRAPPER) for key in inner):
        inner = fold_adapters(inner)
    weights = backbone_weights(spec.start, inner)
    if spec.start == "satclip":
        last = weights.get("fc.weight", weights.get("head.weight"))
        classes = spec.feature_size if last is None else int(last.shape[0])
        spec = replace(spec, feature_size=classes, architecture_args={"num_classes": classes})
    if multispectral and spec.start in ("satclip", "prithvi"):
        return replace(spec, preprocessing=multispectral_bands(spec.start, spec.preprocessing.input_px)), weights
    mixer = without_prefix(state, "first_layer.") or without_prefix(weights, "first.")
    if mixer and spec.start not in ("satclip", "prithvi"):
        weights = {f"inner.{key}": value for key, value in weights.items() if not key.startswith("first.")}
        weights |= {f"first_layer.{key}": value for key, value in mixer.items()}
        spec = replace(spec, preprocessing=nine_bands(spec.preprocessing.input_px))
    return spec, weights


def _heads(spec: ModelSpec, state: Weights, source: Path) -> Weights:
    """The three tile heads by space; Prithvi's are summed over patches, since its tokens come in random order."""
    heads = {space: _only(state, f"decoder.{layer}.0.weight", str(source)) for space, layer in _HEADS.items()}
    if spec.start == "prithvi":
        return {space: mean_order_head(weight, spec.feature_size) for space, weight in heads.items()}
    return heads


def mean_order_head(weight: torch.Tensor, width: int) -> torch.Tensor:
    """The head over the mean token that equals a head over shuffled tokens, averaged exactly over all orders.

    A head W over P tokens of `width` numbers is P blocks side by side. Every token is equally often in every place, so
    the mean of W over all orders of the tokens is the sum of the blocks applied to the mean token.

    Args:
        weight: (D, P x width).
        width: of a token.

    Returns:
        (D, width).

    Raises:
        CheckpointError: the head is not a whole number of blocks.
    """
    if weight.shape[1] % width:
        raise CheckpointError(f"a head over {weight.shape[1]} numbers is not made of tokens of {width}")
    return weight.reshape(weight.shape[0], -1, width).sum(1, dtype=torch.float64).to(weight.dtype)


def _location(
    content: dict[str, Any],
    options: Any,  # noqa: ANN401 - from a file: only looked at
    source: Path,
) -> tuple[LocationConfig | None, Weights, str]:
    """The location branch: its config, its weights, and a remark for the model's description."""
    if not content.get("sinr_state_dict"):
        return None, {}, ""
    state = state_dict_of(content, "sinr_state_dict", str(source))
    head = _only(state, "head.weight", str(source))
    sinr, satclip = without_prefix(state, "sinr.model."), without_prefix(state, "sinr.")
    if sinr:
        kind, (arguments, weights) = "sinr", sinr_weights(sinr, features_only=True)
    else:
        kind, (arguments, weights) = "satclip", satclip_weights(satclip)
    config = LocationConfig(
        kind="sinr" if kind == "sinr" else "satclip",
        parameters=arguments,
        spaces=("location",),
        head=HeadConfig(in_features=head.shape[1], out_features=head.shape[0]),
        out_features=head.shape[0],
    )
    used = getattr(options, "use_sinr", True) or getattr(options, "use_satclip", False)
    note = "" if used else " Its location branch kept random weights in training (the options lack --use_sinr)."
    return config, {f"encoder.{key}": value for key, value in weights.items()} | {"head.weight": head}, note


def _config(
    spec: ModelSpec,
    name: str,
    heads: Weights,
    text_head: torch.Tensor,
    location: LocationConfig | None,
    source: Path,
    note: str,
) -> ModelConfig:
    base = spec.config(name=name, location=location, dim=heads["text"].shape[0], text_features=text_head.shape[1])
    return base.model_copy(
        update={
            "gsd_m": spec.trained_gsd_m,
            "side_km": spec.trained_side_km,
            "description": f"WildSAT checkpoint of the row {spec.name}.{note}",
            "licence": f"none stated for the checkpoint; starting weights: {spec.licence}",
            "source": source.name,
            "source_sha256": file_sha256(source),
        }
    )


def _only(state: Weights, key: str, what: str) -> torch.Tensor:
    if key not in state:
        raise CheckpointError(f"{what} has no weights called {key}; it has {sorted(state)[:8]}")
    return state[key]
