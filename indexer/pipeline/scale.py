"""Keeps a model from tiles of a scale that it is not for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.sources.protocol import Candidate, Source
from wildsat_core.collection import read_current_manifest
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError
from wildsat_core.ground_scale import ForScale, GroundScale, mismatch
from wildsat_core.models.config import read_config
from wildsat_core.models.registry import find_model, installed_models, model_for

AUTO = "auto"
SHIPPED = "wildsat-mini"  # where nothing tells the size of pixels


@dataclass
class ScaleGate:
    """Lets candidates through that the model is for, or all of them.

    Attributes:
        model: its config.
        any_scale: let all through.
    """

    model: ForScale
    any_scale: bool = False

    def passed(self, candidates: Iterator[Candidate]) -> Iterator[Candidate]:
        """The candidates.

        Raises:
            InvalidInputError: the model is not for the scale of one; names the model that is.
        """
        for candidate in candidates:
            if (scale := GroundScale.of(candidate.tile)) is not None:
                self.check(scale)
            yield candidate

    def check(self, scale: GroundScale) -> None:
        """Refuse a scale that the model is not for.

        Raises:
            InvalidInputError: as `passed`.
        """
        clause = None if self.any_scale else mismatch(self.model, scale)
        if clause:
            raise InvalidInputError(f"{self.model.name} is not for this imagery: {clause}; {_advice(scale)}", "model")


def model_name(root: Path, asked: str | None, source: Source, *, any_scale: bool = False) -> str:
    """The model to build with: the one asked for, the collection's own, or that for tiles of such a scale.

    Args:
        root: folder of the collection, which need not be there yet.
        asked: name, directory or "auto"; None when nobody said.
        source: its first tile tells the size of pixels, unless a model is named.
        any_scale: where no model is for such tiles, take the nearest.

    Raises:
        InvalidInputError: no installed model is for the tiles.
    """
    if asked is not None and asked != AUTO:
        return asked
    try:
        return read_current_manifest(root).model.name
    except CollectionNotFoundError:
        pass
    first = next((c for c in source.candidates() if isinstance(c, Candidate)), None)
    scale = GroundScale.of(first.tile) if first else None
    return model_for(scale, any_scale=any_scale) if scale else SHIPPED


def model_sides(root: Path, asked: str | None) -> tuple[float, float] | None:
    """Smallest and largest side in km of the pictures that a build's model was trained on; None where nobody said.

    Args:
        root: folder of the collection, which need not be there yet.
        asked: name, directory or "auto" of the model; None for the collection's own.

    Raises:
        ModelNotFoundError: no model is called so.
    """
    if asked == AUTO:
        return None  # it follows from the tiles
    if asked is None:
        try:
            asked = read_current_manifest(root).model.name
        except CollectionNotFoundError:
            return None
        if asked not in installed_models():
            return None
    return read_config(find_model(asked)).side_km


def _advice(scale: GroundScale) -> str:
    try:
        return f"use --model {model_for(scale)}, or insist with --any-scale"
    except InvalidInputError:
        return "no installed model is; cut other tiles, or insist with --any-scale"
