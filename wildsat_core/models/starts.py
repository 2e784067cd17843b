"""Loads the published weights that training starts from, each checked key by key.

A loader takes the backbone's part of the file, renames its keys to the backbone's, and then every key and every shape
must fit. Which keys may be missing is stated in MAY_MISS and nowhere else:

moco: `fc.weight` and `fc.bias`; the file's own is a projection of another size, the classifier keeps random weights.
prithvi: `pos_embed`; published for three dates, while the positions for one date are fixed numbers, computed anew.
torchgeo: `norm.*`, the last norm of some vision transformers, which then begins as any does.
All others: nothing.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wildsat_core.errors import CheckpointError
from wildsat_core.models.backbones import BandMixer, build_backbone
from wildsat_core.models.checkpoint import read_checkpoint, state_dict_of, without_prefix
from wildsat_core.models.registry import find_spec
from wildsat_core.models.spec import ModelSpec
from wildsat_core.models.torchgeo_starts import fetch_weights, without_classifier
from wildsat_core.models.weights import load_exactly, no_random_weights, read_safetensors

MAY_MISS: dict[str, frozenset[str]] = {
    "moco": frozenset({"fc.weight", "fc.bias"}),
    "prithvi": frozenset({"pos_embed"}),
    "torchgeo": frozenset({"norm.weight", "norm.bias"}),
}

# SeCo keeps a ResNet as a numbered sequence of its children.
_RESNET_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_PRITHVI_DECODER = ("mask_token", "decoder_")
_PRITHVI_YAML = {"embed_dim": 768, "depth": 12, "num_heads": 12, "img_size": 224, "patch_size": 16, "in_chans": 6}

Weights = dict[str, torch.Tensor]


def load_start(name: str, file: str | Path | None = None, *, channels: int | None = None) -> nn.Module:
    """Build the backbone of a registry row with its starting weights.

    Args:
        name: of the row, `timm:<backbone>` or `torchgeo:<weights>`.
        file: the published file. Without it weights of ImageNet, timm and torchgeo come through their libraries, which
            use their own cache or the network; random starts need none.
        channels: number of input channels, by default the row's. Other numbers than three put a random mixing layer
            before a three-channel backbone, which is loaded as ever.

    Raises:
        CheckpointError: the row needs a file, or the file doesn't fit the backbone; keys and shapes are named.
    """
    spec = find_spec(name)
    channels = channels or spec.preprocessing.channels
    draws = spec.start == "random" or spec.start in MAY_MISS or channels != spec.preprocessing.channels
    with nullcontext() if draws else no_random_weights():
        backbone = build_backbone(spec.architecture, spec.architecture_args, channels)
    if spec.start == "random":
        if file is not None:
            raise CheckpointError(f"{name} starts from random weights; it takes no file, got {file}")
        return backbone
    weights = _library_weights(spec) if file is None else read_start(spec, file)
    inner = backbone.inner if isinstance(backbone, BandMixer) else backbone
    load_exactly(inner, weights, str(file or spec.start_file), MAY_MISS.get(spec.start, frozenset()))
    return backbone


def read_start(spec: ModelSpec, file: str | Path) -> Weights:
    """Read a published file's backbone weights under the backbone's own names.

    Raises:
        CheckpointError: unsafe, or not a file of this start.
    """
    path = Path(file)
    if spec.start == "prithvi":
        _check_prithvi_yaml(path)
    if path.is_dir():
        path = _weights_in(path)
    if path.suffix == ".safetensors":
        return _cut(spec.start, read_safetensors(path))
    content = read_checkpoint(path)
    key = "state_dict" if isinstance(content.get("state_dict"), dict) else None
    return _cut(spec.start, state_dict_of(content, key, str(path)))


def backbone_weights(start: str, state: Weights) -> Weights:
    """Rename a WildSAT checkpoint's backbone keys to the backbone's own.

    Args:
        start: of the row.
        state: keys after `backbone.`, adapters folded.
    """
    if start == "clip":
        return {f"vision.{key}": value for key, value in state.items() if not key.endswith("position_ids")}
    if start == "prithvi":
        return {key: value for key, value in state.items() if not key.startswith(_PRITHVI_DECODER)}
    if start == "satlas":
        return {key.removeprefix("backbone."): value for key, value in state.items()}
    if start == "seco":
        return _resnet_names(state)
    return state


def _cut(start: str, state: Weights) -> Weights:
    """Take the backbone out of a published file's state dict."""
    if start == "moco":
        tower = without_prefix(state, "base_encoder.")
        return {key: value for key, value in tower.items() if not key.startswith("fc.")}
    if start == "satclip":
        return without_prefix(state, "model.visual.")
    if start == "seco":
        return _resnet_names(without_prefix(state, "encoder_q."))
    if start == "satlas":
        return {_satlas_name(key): value for key, value in state.items() if "backbone." in key}
    if start == "clip":
        wanted = ("vision_model.", "visual_projection.")
        return backbone_weights(start, {key: value for key, value in state.items() if key.startswith(wanted)})
    if start == "prithvi":
        kept = backbone_weights(start, state)
        return {key: value for key, value in kept.items() if key != "pos_embed"}
    return without_classifier(state) if start == "torchgeo" else state


def _satlas_name(key: str) -> str:
    """Satlas wraps its torchvision backbone in modules named `backbone`, and a ResNet also in `resnet`."""
    return re.sub(r"^(?:backbone\.)+(?:resnet\.)?", "", key)


def _resnet_names(state: Weights) -> Weights:
    """Numbered children to torchvision's names; a child without weights in a ResNet keeps its number, to be refused."""
    renamed = {}
    for key, value in state.items():
        child, _, rest = key.partition(".")
        renamed[f"{_RESNET_CHILDREN.get(child, child)}.{rest}"] = value
    return renamed


def _library_weights(spec: ModelSpec) -> Weights:
    """Weights that a library fetches by itself, or has fetched.

    Raises:
        CheckpointError: it could not fetch them, or the row is none of a library's.
    """
    if spec.start not in ("timm", "imagenet", "clip", "torchgeo"):
        raise CheckpointError(f"{spec.name} starts from {spec.start_file}; give its path")
    try:
        return _fetched(spec)
    except Exception as err:  # five libraries fetch, and each has errors of its own for a machine without the internet
        raise CheckpointError(
            f"the starting weights of {spec.name} ({spec.start_file}) could not be fetched: {_first_line(err)}. Fetch "
            "them on a machine that has the internet and give the file, as in --set model.start=FILE, or begin with "
            "random weights: --set model.start=none"
        ) from err


def _first_line(err: Exception) -> str:
    return next(iter(str(err).strip().splitlines()), type(err).__name__)


def _fetched(spec: ModelSpec) -> Weights:
    if spec.start == "timm":
        import timm

        model = timm.create_model(spec.architecture.removeprefix("timm:"), pretrained=True, num_classes=0)
        return dict(model.state_dict())
    if spec.start == "torchgeo":
        return fetch_weights(spec)
    if spec.start == "imagenet":
        from torchvision.models import get_weight

        return dict(get_weight(spec.start_file.removeprefix("torchvision ")).get_state_dict(progress=False))
    from transformers import CLIPVisionModelWithProjection

    model = CLIPVisionModelWithProjection.from_pretrained(spec.start_file.split()[0])
    return backbone_weights("clip", dict(model.state_dict()))


def _weights_in(directory: Path) -> Path:
    """The weight file of a Hugging Face model folder."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(f"{directory} has neither model.safetensors nor pytorch_model.bin")


def _check_prithvi_yaml(path: Path) -> None:
    """Compare the yaml beside Prithvi's weights, if it is there, with the network that is built.

    Raises:
        CheckpointError: it describes another network.
    """
    import yaml

    for beside in path.parent.glob("Prithvi*.y*ml"):
        described: Any = yaml.safe_load(beside.read_text(encoding="utf-8"))
        arguments = described.get("model_args", {}) if isinstance(described, dict) else {}
        other = {k: arguments[k] for k, v in _PRITHVI_YAML.items() if k in arguments and arguments[k] != v}
        if other:
            raise CheckpointError(f"{beside.name} describes another network than Prithvi-100M: {other}")
