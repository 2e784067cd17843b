"""The nouns that every room shares. Longitude first, EPSG:4326, aware UTC."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Literal

from wildsat_core.errors import InvalidInputError

Metric = Literal["cosine", "inner_product"]
Space = Literal["text", "location", "image", "place"]

SPACES: tuple[Space, ...] = ("text", "location", "image", "place")


@dataclass(frozen=True, slots=True)
class BBox:
    """Box in degrees, WGS 84 (EPSG:4326). West greater than east means that it crosses the antimeridian.

    Raises:
        InvalidInputError: a number is not finite or out of range, or south is greater than north.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        """Check ranges once, so that every box in the program is a valid one."""
        values = self.as_tuple()
        if not all(math.isfinite(v) for v in values):
            raise InvalidInputError(f"bbox must have four finite numbers, got {values}", "bbox")
        if not (-180 <= self.west <= 180 and -180 <= self.east <= 180):
            raise InvalidInputError(f"bbox longitudes must lie in [-180, 180], got {values}", "bbox")
        if not (-90 <= self.south <= 90 and -90 <= self.north <= 90):
            raise InvalidInputError(f"bbox latitudes must lie in [-90, 90], got {values}", "bbox")
        if self.south > self.north:
            raise InvalidInputError(f"bbox south {self.south} is greater than north {self.north}", "bbox")

    @property
    def crosses_antimeridian(self) -> bool:
        return self.west > self.east

    @property
    def width_deg(self) -> float:
        """Eastward extent in degrees, in [0, 360]."""
        return self.east - self.west + (360.0 if self.crosses_antimeridian else 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude in [-180, 180) and latitude of the middle."""
        lon = (self.west + self.width_deg / 2 + 180.0) % 360.0 - 180.0
        return lon, (self.south + self.north) / 2

    def as_tuple(self) -> tuple[float, float, float, float]:
        return self.west, self.south, self.east, self.north


@dataclass(frozen=True, slots=True)
class Tile:
    """The indexed unit: one square of one scene.

    Attributes:
        tile_id: stable; the same source, place and date give the same id.
        bbox: extent in degrees.
        captured_on: day of the picture (UTC), None when unknown or a composite of many days.
        cloud_cover: share of cloud in [0, 1], None when unknown.
        gsd_m: ground size of a pixel in metres, 0 when unknown.
        source: the name of the source, such as "sentinel2" or "raster".
        href: where the pixels came from, relative or absolute; for people, never fetched by the service.
        country: ISO 3166-1 alpha-3 code, None at sea or unknown.
        land_share: share of the box that is land, lakes among it, in [0, 1]; None when unknown.
        footprint_wkb: exact outline as WKB in EPSG:4326, None when it is the box.
    """

    tile_id: str
    bbox: BBox
    gsd_m: float
    source: str
    href: str = ""
    captured_on: dt.date | None = None
    cloud_cover: float | None = None
    country: str | None = None
    land_share: float | None = None
    footprint_wkb: bytes | None = None

    @property
    def lon_lat(self) -> tuple[float, float]:
        """Centre of the box."""
        return self.bbox.centre


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """A named set of vectors: dimension, how they are compared, and how they are stored."""

    dim: int
    metric: Metric
    dtype: Literal["float16", "float32"] = "float16"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model made the vectors of a collection; compared when the collection is opened.

    Attributes:
        name: registry name.
        weights_sha256: hash of the safetensors file.
        text_encoder: the text encoder that the model's text head belongs to, such as "minilm".
        preprocessing: a one-line account of the pixels' preparation, compared as text.
    """

    name: str
    weights_sha256: str
    text_encoder: str
    preprocessing: str

    def beside(self, other: ModelRef) -> str:
        """Its name for people, and what tells it from another model."""
        facts = (
            (f"weights {self.weights_sha256[:12]}", self.weights_sha256 != other.weights_sha256),
            (f"text encoder {self.text_encoder}", self.text_encoder != other.text_encoder),
            (f"preprocessing {self.preprocessing}", self.preprocessing != other.preprocessing),
        )
        told = ", ".join(fact for fact, differs in facts if differs)
        return f"{self.name} ({told})" if told else self.name
