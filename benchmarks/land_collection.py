"""A collection of wildsat-mini's place vectors of random land points: what a trained model's vectors are like.

It needs global-land-mask (extra `train`) and takes some minutes for a million points, once.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import yaml

from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.reader import Collection
from wildsat_core.geo import square_bbox
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model
from wildsat_core.types import SpaceSpec, Tile

QUERIES = Path(__file__).parents[1] / "training" / "evaluation" / "tables" / "queries.yaml"
BATCH = 65_536


class LandModel:
    """wildsat-mini, whose text vectors are kept: the benchmark is of the search, not of the text encoder."""

    default_blend = 1.0  # the place space alone

    def __init__(self) -> None:
        self.model: WildSATModel = load_model("wildsat-mini")
        self.ref = self.model.ref
        self._kept: dict[str, np.ndarray] = {}

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        for text in texts:
            if text not in self._kept:
                self._kept[text] = self.model.embed_texts([text])[0]
        return np.stack([self._kept[text] for text in texts])

    def typical_texts(self) -> np.ndarray:
        return self.model.typical_texts()

    def are_unfamiliar(self, texts: list[str]) -> list[bool]:
        return [False] * len(texts)


def questions() -> Iterator[str]:
    """Texts of the retrieval benchmark, which the bank of known texts does not hold, over and over."""
    texts = list(chain.from_iterable(yaml.safe_load(QUERIES.read_text(encoding="utf-8")).values()))
    for round_ in range(1_000):
        yield from (text if not round_ else f"{text} {round_}" for text in texts)


def land_collection(folder: Path, rows: int, model: LandModel) -> Collection:
    """Open the collection of `rows` places in `folder`, making it first when it is not there."""
    root = folder / f"land-{rows}-{model.ref.weights_sha256[:8]}"
    if not (root / "CURRENT").exists():
        space = {"place": SpaceSpec(model.typical_texts().shape[1], "cosine")}
        rng = np.random.default_rng(0)
        with CollectionWriter(root, root.name, model.ref, space, job="land") as out:
            for first in range(0, rows, BATCH):
                points = land_points(rng, min(BATCH, rows - first))
                tiles = [
                    Tile(f"p{first + i}", square_bbox(float(lon), float(lat), 5.0), 10.0, "land")
                    for i, (lon, lat) in enumerate(points)
                ]
                out.add(tiles, {"place": model.model.embed_places(points)["place"]})
            out.publish()
    return open_collection(root)


def land_points(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 2) longitudes and latitudes, even over the land."""
    from global_land_mask import globe

    found = np.empty((0, 2))
    while len(found) < count:
        lon = rng.uniform(-180, 180, 4 * count)
        lat = np.degrees(np.arcsin(rng.uniform(-0.999, 0.999, 4 * count)))
        land = globe.is_land(lat, lon)
        found = np.concatenate([found, np.stack([lon[land], lat[land]], axis=1)])
    return found[:count]
