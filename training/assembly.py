"""Builds the model that a run trains: backbone with starting weights, heads for the terms in use, location encoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from training.config import LossSection, ModelSection, TrainConfig
from training.data.tables import TrainingSet
from wildsat_core.bands import NINE_BANDS, PRITHVI, RGB, SENTINEL2, band_positions
from wildsat_core.errors import CheckpointError, InvalidInputError
from wildsat_core.location import build_location
from wildsat_core.models.backbones import BandMixer
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.location_files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    read_location_file,
    satclip_weights,
    sinr_weights,
)
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import MODELS, find_spec
from wildsat_core.models.spec import ModelSpec
from wildsat_core.models.starts import MAY_MISS, load_start, read_start
from wildsat_core.models.torchgeo_starts import torchgeo_preprocessing
from wildsat_core.models.weights import load_exactly, read_safetensors
from wildsat_core.preprocess import Preprocessing
from wildsat_core.types import Space

NO_START = "none"

Weights = dict[str, torch.Tensor]


def build_model(config: TrainConfig, data: TrainingSet) -> WildSATModel:
    """The model of a run, with its starting weights; heads and what has none are random, by the run's seed.

    Raises:
        InvalidInputError: settings contradict each other or the data.
        CheckpointError: starting or location weights can't be read or don't fit.
    """
    torch.manual_seed(config.run.seed)
    spec = find_spec(config.model.row)
    location, location_weights = _read_location(config)
    model_config = _model_config(config, spec, data, location)
    model = WildSATModel(model_config)
    if location_weights is not None:
        assert model.location is not None
        load_exactly(model.location.encoder, location_weights, str(config.location.weights))
    _load_start(model, spec, config.model)
    return model


def _model_config(
    config: TrainConfig, spec: ModelSpec, data: TrainingSet, location: LocationConfig | None
) -> ModelConfig:
    section = config.model
    encoder = data.about.text_encoder
    if not encoder:
        raise InvalidInputError(
            f"{data.folder} does not say which encoder made its text embeddings; make them with "
            f"`wildsat dataset embed-texts {data.folder}`, or name it as text_encoder in dataset.json",
            "data.folder",
        )
    if section.text_encoder not in (None, encoder):
        raise InvalidInputError(
            f"the data's text embeddings were made by {encoder!r}, the config says {section.text_encoder!r}",
            "model.text_encoder",
        )
    preprocessing = _preprocessing(section, spec)
    spec = replace(
        spec,
        preprocessing=preprocessing,
        architecture_args=spec.architecture_args | section.architecture_args,
        feature_size=section.feature_size or spec.feature_size,
    )
    built = spec.config(
        name=config.name,
        text_encoder=encoder,
        text_features=data.embeddings().dim,
        dim=section.dim,
        metric=section.metric,
        location=location,
    )
    heads = {space: built.tile_heads[space] for space in tile_spaces(config.losses)}
    has_text = config.losses.text > 0 or config.losses.place > 0
    changes: dict[str, Any] = {"tile_heads": heads, "description": f"trained from {spec.title}"}
    return built.model_copy(update=changes if has_text else changes | {"text_head": None})


def tile_spaces(losses: LossSection) -> tuple[Space, ...]:
    """The spaces that tiles get a head for: those of the terms in use."""
    weights: dict[Space, float] = {"text": losses.text, "location": losses.location, "image": losses.image}
    return tuple(space for space, weight in weights.items() if weight > 0)


def _preprocessing(section: ModelSection, spec: ModelSpec) -> Preprocessing:
    changed, other = spec.preprocessing, bool(section.bands) or section.scale is not None
    if spec.start == "torchgeo" and other:
        changed = torchgeo_preprocessing(spec, section.bands or RGB, section.scale)
    elif section.bands:
        channels = max(changed.channels, len(section.bands))
        positions = _positions(section.bands, changed.channels)
        changed = replace(changed, bands=section.bands, positions=positions, channels=channels)
    if section.input_px is not None:
        changed = replace(changed, input_px=section.input_px)
    return replace(changed, scale=section.scale or changed.scale)


def _positions(bands: tuple[str, ...], channels: int) -> tuple[int, ...]:
    """Channels of the bands in a network made for so many; any others stand side by side before a mixing layer."""
    known = {len(SENTINEL2): SENTINEL2, len(PRITHVI): PRITHVI}.get(channels)
    if known is not None:
        return band_positions(bands, known)
    if len(bands) not in (channels, len(NINE_BANDS)):
        raise InvalidInputError(
            f"the network takes {channels} bands, or the nine {', '.join(NINE_BANDS)}; got {', '.join(bands)}",
            "model.bands",
        )
    return tuple(range(len(bands)))


def _load_start(model: WildSATModel, spec: ModelSpec, section: ModelSection) -> None:
    """Put the row's starting weights into the backbone, and ImageNet's where they have none, if that is wanted."""
    if spec.start == "random" or section.start == NO_START:
        return
    backbone = model.backbone.inner if isinstance(model.backbone, BandMixer) else model.backbone
    weights = load_start(spec.name).state_dict() if section.start is None else read_start(spec, section.start)
    may_miss = MAY_MISS.get(spec.start, frozenset())
    load_exactly(backbone, weights, section.start or spec.start_file, may_miss)
    missing = may_miss - weights.keys()
    if section.missing == "imagenet" and missing:
        row = _imagenet_row(spec)
        published = load_start(row).state_dict()
        load_exactly(backbone, weights | {name: published[name] for name in missing}, row)


def _imagenet_row(spec: ModelSpec) -> str:
    """The row of the same backbone that starts from ImageNet."""
    for row in MODELS.values():
        if row.start == "imagenet" and row.architecture == spec.architecture:
            return row.name
    raise InvalidInputError(f"no row has ImageNet weights for {spec.architecture}", "model.missing")


def _read_location(config: TrainConfig) -> tuple[LocationConfig | None, Weights | None]:
    """The location branch that the terms in use ask for: its config and the encoder's weights."""
    losses, path = config.losses, config.location.weights
    if not (losses.location or losses.place):
        return None, None
    assert path is not None  # TrainConfig refuses the terms without it
    kind, parameters, weights = read_location(path)
    dim = build_location(kind, parameters).dim
    spaces: list[Literal["location", "place"]] = []
    spaces += ["location"] if losses.location else []
    spaces += ["place"] if losses.place else []
    out = config.model.dim
    head = HeadConfig(in_features=int(dim), out_features=out)  # type: ignore[arg-type]
    built = LocationConfig.model_validate(
        {"kind": kind, "parameters": parameters, "spaces": tuple(spaces), "head": head, "out_features": out}
    )
    return built, weights


def read_location(path: Path) -> tuple[str, dict[str, Any], Weights]:
    """A location encoder without its species layer, from a published file or a directory: kind, arguments, weights.

    Raises:
        CheckpointError: neither.
    """
    if not path.exists():
        raise CheckpointError(f"there are no location weights at {path}")
    if path.is_file():
        kind, parameters, encoder = read_location_file(path)
        state = dict(encoder.state_dict())
    else:
        try:
            about = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
            kind, parameters = str(about["kind"]), dict(about["parameters"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise CheckpointError(f"{path} is not a location encoder's directory: {err}") from err
        state = read_safetensors(path / WEIGHTS_FILE)
    if kind != "sinr":
        arguments, weights = satclip_weights(state, {"harmonics_calculation": parameters.get("harmonics", "analytic")})
        return kind, arguments, weights
    arguments, weights = sinr_weights(state, {"input_enc": parameters.get("inputs")}, features_only=True)
    return kind, arguments, weights
