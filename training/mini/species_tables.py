"""Ranges of mammals and birds, rebuilt roughly from the published traits tables.

PanTHERIA gives a mammal's range box, its area, and the mean temperature and rain of the range; AVONET gives a bird's
band of latitude, its centre, the area, and a class of habitat.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.earth.claims import Mask
from training.earth.vocabulary import Vocabulary
from wildsat_core.errors import SourceError

MISSING = -900.0
CELL_KM = 27.8
ACTIVITY = {"1.00": "nocturnal", "2.00": "cathemeral", "3.00": "day-active"}
DIET = {"1.00": "plant-eating", "2.00": "omnivorous", "3.00": "meat-eating"}
DENSITY = {"1": "dense", "2": "semi-open", "3": "open"}
BIRD_HABITATS = {
    "Forest": (
        "forest",
        "facet('forest') | facet('rainforest') | facet('cloudf') | facet('taiga') | (rain > 800) & (temp > 15)",
    ),
    "Woodland": (
        "woodland",
        "facet('savanna') | facet('tdry') | facet('tbroad') | facet('medit') | facet('forest') & (rain < 1600)",
    ),
    "Shrubland": ("shrubland", "facet('shrub') | facet('savanna') | facet('alpine') | facet('steppe') | facet('tdry')"),
    "Grassland": (
        "grassland",
        "facet('grass') | facet('alpine') | facet('highdesert') | facet('tundra') | facet('paramo')",
    ),
    "Wetland": ("wetland and marsh", "facet('wetland') | facet('delta') | facet('wetcold') | facet('floodplain')"),
    "Marine": ("open sea and coast", "coast < 60"),
    "Coastal": ("seashore", "coast < 60"),
    "Riverine": ("rivers and streams", "rain > 400"),
    "Desert": ("desert", "facet('desert') | facet('semidesert')"),
    "Rock": ("rocky cliffs", "facet('steep')"),
    "Human Modified": ("farmland and towns", "rain > 250"),
    "NA": ("varied country", "lat > -90"),
}


@dataclass(frozen=True, slots=True)
class MammalRange:
    """One mammal: names, traits, and the box, area (km2), temperature (C) and monthly rain (mm) of its range.

    Attributes:
        name: the common one, where there is one.
    """

    name: str
    scientific: str
    has_common_name: bool
    family: str
    traits: tuple[str, ...]
    box: tuple[float, float, float, float]
    area_km2: float
    temp_c: float
    rain_mm: float

    def mask(self, vocabulary: Vocabulary) -> Mask:
        """(N,) cells of the box, best climate first, until the stated area is reached."""
        west, south, east, north = self.box
        grow_lat, grow_lon = (0.3 if north - south < 0.6 else 0.0), (0.3 if east - west < 0.6 else 0.0)
        mask = vocabulary.predicates.box(west - grow_lon, south - grow_lat, east + grow_lon, north + grow_lat)
        rows = np.flatnonzero(mask)
        if self.temp_c < MISSING or self.rain_mm < 0 or self.area_km2 <= 0 or len(rows) < 2:
            return mask
        cells = vocabulary.cells
        temp, rain = cells.temp_c[:, rows].mean(0), cells.rain_mm[:, rows].sum(0)
        misfit = ((temp - self.temp_c) / 6) ** 2 + ((np.sqrt(rain) - np.sqrt(self.rain_mm * 12)) / 8) ** 2
        order = np.argsort(misfit)
        area = np.cumsum(np.cos(np.radians(cells.lat[rows[order]])) * CELL_KM**2)
        kept = rows[order[area <= max(1.15 * self.area_km2, 2500)]]
        if len(kept) < 2:
            return mask
        narrowed = np.zeros_like(mask)
        narrowed[kept] = True
        return narrowed


@dataclass(frozen=True, slots=True)
class BirdRange:
    """One bird: name, family, habitat class, band of latitude, centre and area (km2) of its range."""

    name: str
    family: str
    habitat: str
    density: str
    south: float
    north: float
    centre_lat: float
    centre_lon: float
    area_km2: float

    @property
    def habitat_words(self) -> str:
        return BIRD_HABITATS[self.habitat][0]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """A box of the stated height and area around the centre: west, south, east, north."""
        height = max(self.north - self.south, 0.6)
        degree_km2 = 111.0**2 * max(np.cos(np.radians(self.centre_lat)), 0.1)
        # ranges fill a little over half of their box
        width = min(max(self.area_km2 / (degree_km2 * height) / 0.55, 0.8), 340.0)
        west, east = max(self.centre_lon - width / 2, -180.0), min(self.centre_lon + width / 2, 180.0)
        return west, self.south - 0.2, east, self.north + 0.2

    def mask(self, vocabulary: Vocabulary, habitats: dict[str, Mask]) -> Mask:
        """(N,) cells of the box, narrowed to the habitat class where that leaves enough."""
        box = vocabulary.predicates.box(*self.box)
        narrowed = box & habitats[self.habitat]
        return narrowed if narrowed.sum() >= max(2, 0.04 * box.sum()) else box


def habitat_masks(vocabulary: Vocabulary) -> dict[str, Mask]:
    """The land of every class of bird habitat, (N,) cells each."""
    return {name: vocabulary.predicates.mask(text) for name, (_, text) in BIRD_HABITATS.items()}


def read_mammals(folder: Path, families: dict[str, str]) -> list[MammalRange]:
    """Mammals with a known range box; `families` turns a family's name into a plain word."""
    common = {
        row["sci_name"]: row["common"].replace("NA", "") for row in _rows(folder / "wildfinder-mammals_list.csv", ",")
    }
    found = []
    for row in _rows(folder / "PanTHERIA_1-0_WR05_Aug2008.txt", "\t"):
        north = float(row["26-2_GR_MaxLat_dd"])
        if north < MISSING:
            continue
        name = row["MSW05_Binomial"]
        traits = (ACTIVITY.get(row["1-1_ActivityCycle"], ""), DIET.get(row["6-2_TrophicLevel"], ""))
        west, south, east = (
            float(row[key]) for key in ("26-6_GR_MinLong_dd", "26-3_GR_MinLat_dd", "26-5_GR_MaxLong_dd")
        )
        found.append(
            MammalRange(
                name=common.get(name) or name,
                scientific=name,
                has_common_name=bool(common.get(name)),
                family=families.get(row["MSW05_Family"], f"{row['MSW05_Order'].lower()} mammal"),
                traits=tuple(trait for trait in traits if trait),
                box=(west, south, east, north),
                area_km2=float(row["26-1_GR_Area_km2"]),
                temp_c=float(row["28-2_Temp_Mean_01degC"]) / 10,
                rain_mm=float(row["28-1_Precip_Mean_mm"]),
            )
        )
    return found


def read_birds(folder: Path, families: dict[str, str]) -> list[BirdRange]:
    """Birds with a known range."""
    found = []
    for row in _rows(folder / "AVONET1_BirdLife.csv", ","):
        numbers = [
            row[key]
            for key in ("Min.Latitude", "Max.Latitude", "Centroid.Latitude", "Centroid.Longitude", "Range.Size")
        ]
        if "NA" in numbers or "" in numbers:
            continue
        south, north, centre_lat, centre_lon, area = (float(number) for number in numbers)
        order = row["Order1"].lower().replace("iformes", "")
        found.append(
            BirdRange(
                name=row["Species1"],
                family=families.get(row["Family1"], f"{order} bird"),
                habitat=row["Habitat"],
                density=DENSITY.get(row["Habitat.Density"], ""),
                south=south,
                north=north,
                centre_lat=centre_lat,
                centre_lon=centre_lon,
                area_km2=area,
            )
        )
    return found


def _rows(path: Path, delimiter: str) -> list[dict[str, str]]:
    if not path.exists():
        raise SourceError(f"no species table at {path}; set WILDSAT_DATA to the folder that holds species/")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
