"""The benchmark on a collection that somebody built, instead of tiles cut for it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.earth.cells import Cells
from training.earth.squares import KM_PER_DEG, TileTable
from training.evaluation.queries import read_queries, relevance
from training.evaluation.retrieval import Evaluated
from wildsat_core.collection.reader import Collection
from wildsat_core.models.model import WildSATModel
from wildsat_core.search.engine import SearchEngine

THUMBNAIL_PX = 48
FURTHEST_DEG = 84.0  # facts about land are read in squares, which make no sense nearer to a pole


def embed_collection(model: WildSATModel, collection: Collection, cells: Cells) -> Evaluated:
    """The live tiles of a collection as they are searched, their thumbnails, and the truth about their squares.

    Raises:
        ModelMismatchError: the collection's vectors were made by another model.
    """
    engine = SearchEngine(collection, model)
    table = collection.tiles
    rows = np.flatnonzero(table.live & (np.abs(table.lat) < FURTHEST_DEG))
    tiles = TileTable(table.lon[rows], table.lat[rows], (table.north - table.south)[rows] * KM_PER_DEG)
    queries = read_queries()
    return Evaluated(
        model=model,
        engine=engine,
        rows=rows,
        tiles=tiles,
        pixels=_thumbnails(collection, rows),
        place=_unit(collection.vectors("place", rows)) if "place" in collection.spaces else None,
        queries=queries,
        truth=relevance(queries, cells, tiles),
    )


def _thumbnails(collection: Collection, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(N, 3, S, S); black where a tile has none."""
    pixels = np.zeros((len(rows), 3, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    for i, row in enumerate(rows):
        blob = collection.thumbnail(int(row))
        if blob is not None:
            with Image.open(io.BytesIO(blob)) as picture:
                small = picture.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX))
            pixels[i] = np.asarray(small).transpose(2, 0, 1)
    return pixels


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stored vectors are of length 1 up to half precision."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)
