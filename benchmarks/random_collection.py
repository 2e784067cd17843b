"""A collection of random unit vectors at random places, for measuring; made once and kept in a folder."""

import datetime as dt
import zlib
from pathlib import Path

import numpy as np

from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.reader import Collection
from wildsat_core.geo import square_bbox
from wildsat_core.ground_scale import GroundScale
from wildsat_core.types import ModelRef, SpaceSpec, Tile

DIM = 256
REF = ModelRef("random", "0" * 64, "random", "none")
BATCH = 65_536


def unit(rng: np.random.Generator, rows: int, dim: int = DIM) -> np.ndarray:
    vectors = rng.standard_normal((rows, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_tiles(rng: np.random.Generator, first: int, rows: int) -> list[Tile]:
    """Tiles of 5 km spread evenly over the sphere."""
    lon = rng.uniform(-180, 180, rows)
    lat = np.degrees(np.arcsin(rng.uniform(-0.999, 0.999, rows)))
    day = dt.date(2023, 6, 1)
    return [
        Tile(f"r{first + i}", square_bbox(float(lon[i]), float(lat[i]), 5.0), 10.0, "random", captured_on=day)
        for i in range(rows)
    ]


class RandomModel:
    """Texts become random directions; enough of a model for the engine."""

    ref = REF
    default_blend = 0.0

    def notice_for(self, scale: GroundScale | None) -> str | None:
        return None

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        return np.concatenate([unit(np.random.default_rng(zlib.crc32(t.encode())), 1) for t in texts])

    def typical_texts(self) -> np.ndarray:
        return unit(np.random.default_rng(0), 256)

    def are_unfamiliar(self, texts: list[str]) -> list[bool]:
        return [False] * len(texts)


def random_collection(folder: Path, rows: int) -> Collection:
    """Open the collection of `rows` tiles in `folder`, making it first when it is not there."""
    root = folder / f"random-{rows}"
    if not (root / "CURRENT").exists():
        rng = np.random.default_rng(0)
        with CollectionWriter(root, root.name, REF, {"text": SpaceSpec(DIM, "cosine")}, job="random") as out:
            for first in range(0, rows, BATCH):
                count = min(BATCH, rows - first)
                out.add(random_tiles(rng, first, count), {"text": unit(rng, count)})
            out.publish()
    return open_collection(root)
