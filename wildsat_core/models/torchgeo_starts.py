"""Published weights of the library torchgeo as starts for training: `torchgeo:ResNet50_Weights.SENTINEL2_RGB_MOCO`.

Their networks are timm's and torchvision's, so that what is trained from them needs torchgeo no more. Weights that were
trained on reflectance see eight-bit pictures as reflectance 0 to 0.275, as EuroSAT's pictures show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from wildsat_core.bands import RGB, band_positions
from wildsat_core.errors import InvalidInputError, MissingExtraError, ModelNotFoundError
from wildsat_core.models.spec import ModelSpec
from wildsat_core.preprocess import Preprocessing
from wildsat_core.torchvision_guard import guard_torchvision

PREFIX = "torchgeo:"
EXAMPLE = "torchgeo:ResNet50_Weights.SENTINEL2_RGB_MOCO"
CLASSIFIERS = ("fc.", "head.")
SHOWN_AS_WHITE = 0.275  # reflectance, as EuroSAT's pictures show it
EIGHT_BIT, COUNTS = 255.0, 10_000.0  # full scale of pictures, and of reflectance x 10,000
BANDS = {"R": "red", "G": "green", "B": "blue", "B2": "blue", "B3": "green", "B4": "red", "B8A": "b8a"}
BANDS |= {f"B{number}": f"b{number:02d}" for number in (1, 5, 6, 7, 8, 9, 10, 11, 12)}
TORCHVISION = ("swin_v2_t", "swin_v2_b")
TIMM = ("resnet", "vit_")

Weights = Any  # torchgeo's enumerations of weights: `meta`, `transforms`, and `get_state_dict`, which fetches


def torchgeo_spec(name: str) -> ModelSpec:
    """A row for published weights: the network that they belong to, and how they want pictures.

    Args:
        name: `torchgeo:<weights>`.

    Raises:
        MissingExtraError: torchgeo is not installed.
        ModelNotFoundError: it has no such weights.
        InvalidInputError: they belong to a network of torchgeo's own, or read other bands than Sentinel-2's.
    """
    weights, builder = _find(name)
    preprocessing = _preprocessing(name, weights, RGB, EIGHT_BIT)
    if builder.startswith(TIMM):
        import timm

        architecture = f"timm:{builder}"
        arguments = {key: weights.meta[key] for key in ("img_size",) if key in weights.meta}
        with torch.device("meta"):
            size = int(timm.create_model(builder, pretrained=False, num_classes=0).num_features)
    elif builder in TORCHVISION and preprocessing.channels == len(RGB):
        architecture, arguments = f"torchvision:{builder}", {"classifier": False}
        size = {"swin_v2_t": 768, "swin_v2_b": 1024}[builder]
    else:
        raise InvalidInputError(
            f"{name} belongs to {builder} of {preprocessing.channels} bands, which is torchgeo's own; it can be "
            "measured (`wildsat eval probe --model`), not trained from",
            "model.row",
        )
    return ModelSpec(
        name, name.removeprefix(PREFIX), architecture, "torchgeo", size, preprocessing, "all",
        str(weights.meta.get("license") or "see torchgeo's table of weights"), f"torchgeo {name.removeprefix(PREFIX)}",
        architecture_args=arguments, text_encoder="minilm", metric="cosine",
    )  # fmt: skip


def torchgeo_preprocessing(spec: ModelSpec, bands: Sequence[str], scale: float | None) -> Preprocessing:
    """How these weights want pictures of other bands or another scale than a row's: each at its own channel.

    Args:
        spec: of `torchgeo_spec`.
        bands: given, in order; those of Sentinel-2 have names as in `wildsat_core.bands`.
        scale: what pixels are divided by, 255 for eight-bit pictures (None) or 10,000 for reflectance.

    Raises:
        InvalidInputError: the weights have no channel for a band.
    """
    made = _preprocessing(spec.name, _find(spec.name)[0], tuple(bands), scale or EIGHT_BIT)
    return replace(made, input_px=spec.preprocessing.input_px)


def fetch_weights(spec: ModelSpec) -> dict[str, torch.Tensor]:
    """The published weights under the network's own keys; torchgeo fetches them, or has fetched."""
    return without_classifier(_find(spec.name)[0].get_state_dict(progress=False))


def without_classifier(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights without those of a last layer, which torchgeo's files have or lack."""
    return {key: value for key, value in state.items() if not key.startswith(CLASSIFIERS)}


def _find(name: str) -> tuple[Weights, str]:
    """Weights, and the name of the function that builds their network."""
    guard_torchvision()  # torchgeo imports torchvision, which may be of another build than torch
    try:
        from torchgeo import models
    except ImportError as err:
        raise MissingExtraError("torchgeo", "torchgeo", f"the start {name}") from err
    try:
        weights = models.get_weight(name.removeprefix(PREFIX))
    except (ValueError, KeyError, AttributeError) as err:
        raise ModelNotFoundError(
            f"torchgeo has no weights {name.removeprefix(PREFIX)!r}; an example is {EXAMPLE}"
        ) from err
    for builder in models.list_models():
        try:
            if models.get_model_weights(builder) is type(weights):
                return weights, str(builder)
        except KeyError:  # a network without weights
            continue
    raise ModelNotFoundError(f"torchgeo has no network of one picture for {name}")


def _preprocessing(name: str, weights: Weights, given: tuple[str, ...], scale: float) -> Preprocessing:
    channels = int(weights.meta.get("in_chans") or 0)
    wanted = _channel_names(name, weights, channels)
    positions = band_positions(given, wanted)
    factors, offsets = _normalised(weights, channels)
    full = [_full_scale(factors, [wanted.index(band) for band in group], scale) for group in _groups(wanted)]
    unit = {wanted.index(band): value for group, value in zip(_groups(wanted), full, strict=True) for band in group}
    return Preprocessing(
        input_px=_input_px(weights), bands=given, channels=channels, positions=positions, normalisation="standard",
        mean=tuple(0.0 - offsets[p] / (factors[p] * unit[p]) for p in positions),
        std=tuple(1 / (factors[p] * unit[p]) for p in positions), scale=scale,
    )  # fmt: skip


def _channel_names(name: str, weights: Weights, channels: int) -> tuple[str, ...]:
    """The weights' channels in our words.

    Raises:
        InvalidInputError: they are of another sensor than Sentinel-2, or are no bands.
    """
    named = [str(band).upper() for band in weights.meta.get("bands") or ("RGB" if channels == len(RGB) else ())]
    found = [BANDS.get(band[0] + band[1:].lstrip("0"), "") for band in named]
    if not channels or len(found) != channels or "" in found or weights.name.startswith(("LANDSAT", "SENTINEL1")):
        raise InvalidInputError(
            f"{name} reads {', '.join(named) or 'any bands'}; a start reads red, green and blue, or Sentinel-2's bands",
            "model.row",
        )
    return tuple(found)


def _normalised(weights: Weights, channels: int) -> tuple[list[float], list[float]]:
    """What each channel is multiplied by and what is then added, all the weights' steps together."""
    factors, offsets = [1.0] * channels, [0.0] * channels
    for step in weights.transforms.modules():
        if type(step).__name__ != "Normalize":
            continue
        for c in range(channels):
            mean, std = (float(values[c % len(values)]) for values in (step.mean, step.std))
            factors[c], offsets[c] = factors[c] / std, (offsets[c] - mean) / std
    return factors, offsets


def _groups(channels: Sequence[str]) -> list[list[str]]:
    """Channels that share a unit: true colour, which may be that of a picture, and the others."""
    return [group for group in ([b for b in channels if b in RGB], [b for b in channels if b not in RGB]) if group]


def _full_scale(factors: Sequence[float], channels: Sequence[int], scale: float) -> float:
    """What a pixel of the value `scale` is in the unit that the weights were trained in."""
    reflectance = max(1 / factors[c] for c in channels) > EIGHT_BIT
    if scale == EIGHT_BIT:
        return COUNTS * SHOWN_AS_WHITE if reflectance else EIGHT_BIT
    return COUNTS if reflectance else EIGHT_BIT / SHOWN_AS_WHITE


def _input_px(weights: Weights) -> int | None:
    """Side that pictures are brought to; None where the weights were trained on crops of pixels as they are."""
    sizes = {type(step).__name__: step.size for step in weights.transforms.modules() if hasattr(step, "size")}
    if "Resize" not in sizes:
        return None
    size = sizes.get("CenterCrop", sizes["Resize"])
    return int(size[0] if isinstance(size, Sequence) else size)
