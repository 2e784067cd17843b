"""Tiles with vectors, made searchable: the benchmark asks the search engine itself, as a person would."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.earth.squares import TileTable
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.geo import square_bbox
from wildsat_core.land import LandMask
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.plan import QueryModel
from wildsat_core.types import Space, SpaceSpec, Tile

NAME = "benchmark"


class SpacedModel(QueryModel, Protocol):
    """A model that says what its spaces are."""

    @property
    def spaces(self) -> Mapping[Space, SpaceSpec]: ...


def searchable(
    model: SpacedModel,
    tiles: TileTable,
    vectors: Mapping[Space, NDArray[np.floating]],
    countries: Sequence[str | None] = (),
    land: LandMask | None = None,
) -> tuple[SearchEngine, NDArray[np.int64]]:
    """A search engine over tiles, whose collection lies in a temporary folder as long as the engine is in use.

    Args:
        model: made the vectors.
        tiles: N squares.
        vectors: (N, D) by space.
        countries: alpha-3 code of each tile's country; empty leaves them unknown.
        land: tells what share of each tile is land, as when a collection is built; None leaves it unknown.

    Returns:
        The engine, and the row of each tile in its collection, (N,).
    """
    folder = tempfile.TemporaryDirectory(prefix="wildsat-benchmark-")
    root = Path(folder.name) / NAME
    squares = zip(tiles.lon, tiles.lat, tiles.side_km, strict=True)
    codes = countries or [None] * len(tiles)
    boxes = [square_bbox(*map(float, square)) for square in squares]
    shares = [None] * len(tiles) if land is None else land.share(boxes).tolist()
    made = [Tile(str(i), box, 0.0, NAME, country=codes[i], land_share=shares[i]) for i, box in enumerate(boxes)]
    with CollectionWriter(root, NAME, model.ref, {space: model.spaces[space] for space in vectors}) as writer:
        writer.add(made, vectors)
        writer.publish()
    engine = SearchEngine(open_collection(root), model)
    weakref.finalize(engine, folder.cleanup)
    numbers = np.asarray(engine.collection.tiles.column("tile_id").to_pylist(), dtype=np.int64)
    return engine, np.argsort(numbers)
