"""A model whose vectors can be worked out by hand, and collections made at random."""

import datetime as dt
import zlib

import numpy as np
import shapely
import torch

from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

REF = ModelRef("fake", "f" * 64, "fake", "rgb")
DIM = 8
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]  # for the scan; the CPU is a torch device, too
SPACES = {space: SpaceSpec(DIM, "cosine") for space in ("text", "image", "place")}


def unit(rng, n):
    vectors = rng.standard_normal((n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class FakeModel:
    """Texts become random directions that depend on nothing but the text."""

    ref = REF
    default_blend = 0.25

    def notice_for(self, scale):
        return None

    def embed_texts(self, texts):
        return np.concatenate([unit(np.random.default_rng(zlib.crc32(t.encode())), 1) for t in texts])

    def typical_texts(self):
        return self.embed_texts([f"habitat {i}" for i in range(16)])

    def are_unfamiliar(self, texts):
        return ["ramen" in text for text in texts]

    def embed_pixels(self, pixels):
        return {s: unit(np.random.default_rng(int(p.sum())), 1) for p in pixels for s in ("text", "image")}

    def embed_places(self, lon_lat):
        return {"place": np.concatenate([unit(np.random.default_rng(int(abs(a) + abs(b))), 1) for a, b in lon_lat])}


def random_tile(rng, i):
    width, height = rng.choice([0.01, 1.0, 20.0]), rng.choice([0.01, 1.0, 10.0])
    west = rng.uniform(-180, 180) if rng.random() < 0.7 else 180 - width / 2
    south = rng.choice([-90.0, 90.0 - height, rng.uniform(-90, 90 - height)])
    east = west + width
    box = BBox(west, south, east - 360 if east > 180 else east, south + height)
    wkb = None
    if rng.random() < 0.2 and not box.crosses_antimeridian:  # a triangle inside its box
        wkb = shapely.to_wkb(shapely.Polygon([(west, south), (west + width, south), (west, south + height)]))
    day = dt.date(2020, 1, 1) + dt.timedelta(int(rng.integers(0, 900)))
    return Tile(
        f"tile-{i}",
        box,
        10.0,
        "test",
        captured_on=day if rng.random() < 0.8 else None,
        cloud_cover=float(rng.random()) if rng.random() < 0.8 else None,
        country=[None, "BRA", "FJI", "NOR"][rng.integers(0, 4)],
        land_share=[None, 0.0, 0.1, 0.25, 0.6, 1.0][i % 6],
        footprint_wkb=wkb,
    )


def random_collection(folder, n, seed=0, segment_rows=1000):
    rng = np.random.default_rng(seed)
    tiles = [random_tile(rng, i) for i in range(n)]
    with CollectionWriter(folder, "random", REF, SPACES, segment_rows=segment_rows) as out:
        for start in range(0, n, segment_rows):
            part = tiles[start : start + segment_rows]
            out.add(part, {space: unit(rng, len(part)) for space in SPACES})
        out.publish()
    return open_collection(folder)


def revisited_collection(folder, n, seed=0, segment_rows=40):
    """Some n tiles at places that were visited up to five times, a little beside where they were seen before."""
    rng = np.random.default_rng(seed)
    tiles = []
    while len(tiles) < n:
        side = float(rng.choice([0.006, 0.0075, 1.0, 1.3]))
        lon, lat = (
            rng.choice([0.0, 179.999, float(rng.uniform(-180, 180))]),
            rng.choice([0.0, 88.0, rng.uniform(-80, 80)]),
        )
        for _ in range(rng.integers(1, 6)):
            away = rng.choice([0.0, 0.0, 0.1, 0.2, 0.24, 0.26, 0.5]) * side  # up to and beyond what is the same place
            grown = side * rng.choice([1.0, 1.0, 1.2, 1.3])
            south = float(lat + away - grown / 2)
            west, east = (float((lon + end + 180) % 360 - 180) for end in (-grown / 2, grown / 2))
            day = dt.date(2019, 1, 1) + dt.timedelta(int(rng.integers(0, 1500)))
            told = {"captured_on": day if rng.random() < 0.9 else None, "cloud_cover": float(rng.random())}
            tiles.append(Tile(f"visit-{len(tiles)}", BBox(west, south, east, south + grown), 10.0, "test", **told))
    tiles = [tiles[i] for i in rng.permutation(len(tiles))]
    with CollectionWriter(folder, folder.name, REF, SPACES, segment_rows=segment_rows) as out:
        for start in range(0, len(tiles), segment_rows):
            part = tiles[start : start + segment_rows]
            out.add(part, {space: unit(rng, len(part)) for space in SPACES})
        out.publish()
    return open_collection(folder)
