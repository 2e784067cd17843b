"""A collection small enough to read: six tiles, D = 4, one of them across the antimeridian."""

import datetime as dt
import hashlib

import numpy as np
import pytest

from wildsat_core.collection import CollectionWriter
from wildsat_core.collection.manifest import manifest_path
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

MODEL = ModelRef("tiny", "a" * 64, "minilm", "rgb 4 px")
SPACES = {"text": SpaceSpec(4, "cosine"), "place": SpaceSpec(3, "cosine")}


def make_tiles(n=6, prefix="t"):
    tiles = [
        Tile("oklahoma", BBox(-98.5, 33.0, -97.5, 34.0), 10.0, "test", country="USA", captured_on=dt.date(2021, 6, 1)),
        Tile("fiji", BBox(179.5, -18.0, -179.5, -17.0), 10.0, "test", country="FJI", cloud_cover=0.5),
        Tile("pole", BBox(-180.0, 89.0, 180.0, 90.0), 10.0, "test"),
        Tile("quito", BBox(-79.0, -0.5, -78.0, 0.5), 10.0, "test", country="ECU", captured_on=dt.date(2022, 12, 31)),
        Tile("quito-2", BBox(-79.0, -0.5, -78.0, 0.5), 10.0, "test", country="ECU", cloud_cover=0.0),
        Tile("oslo", BBox(10.0, 59.0, 11.0, 60.0), 10.0, "test", href="oslo.tif"),
    ]
    extra = [Tile(f"{prefix}{i}", BBox(i % 90, 0.0, i % 90 + 1.0, 1.0), 10.0, "test") for i in range(max(0, n - 6))]
    return (tiles + extra)[:n]


def make_vectors(n=6, seed=0):
    rng = np.random.default_rng(seed)
    return {space: rng.standard_normal((n, spec.dim)).astype(np.float32) for space, spec in SPACES.items()}


def thumbnail(tile):
    return b"RIFF" + tile.tile_id.encode()


def writer(root, **options):
    return CollectionWriter(root, "test", MODEL, SPACES, **options)


def overwrite_manifest(root, manifest):
    """Put a manifest in the place of one that was published, as no program does."""
    text = manifest.model_dump_json()
    (root / "generations").mkdir(parents=True, exist_ok=True)
    manifest_path(root, manifest.generation).write_text(text)
    (root / "CURRENT").write_text(f"{manifest.generation} {hashlib.sha256(text.encode()).hexdigest()}\n")


@pytest.fixture
def root(tmp_path):
    """Folder of a published collection with the six tiles."""
    with writer(tmp_path / "test") as out:
        tiles = make_tiles()
        out.add(tiles, make_vectors(), [thumbnail(t) for t in tiles])
        out.publish({"title": "Six tiles"})
    return tmp_path / "test"
