"""Which country a place lies in: Natural Earth's borders at 1 : 50 million (public domain) with ISO 3166-1 codes.

Three too small for that scale (Gibraltar, Tuvalu, the outlying islands of the USA) are drawn at 1 : 10 million.

The names are those of the Unicode locale data. `data/countries.parquet` has all; `python -m
wildsat_core.data.make_countries` made it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.geo import KM_PER_DEGREE

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

FILE: Final = Path(__file__).parent / "data" / "countries.parquet"


@dataclass(frozen=True, slots=True)
class Country:
    """One country or territory: ISO 3166-1 alpha-3 code, short English name, outline in degrees."""

    code: str
    name: str
    outline: BaseGeometry


class Countries:
    """Answers which country places lie in.

    Args:
        countries: may hold a code more than once, for a country in several features; the first one's name is shown.
    """

    def __init__(self, countries: Sequence[Country]) -> None:
        """Build the spatial index once."""
        import shapely

        self.countries = tuple(countries)
        self._names: dict[str, str] = {}
        for country in countries:
            self._names.setdefault(country.code, country.name)
        # A tree over single polygons: the boxes of whole countries (Russia, France, the USA) span the globe.
        parts, owner = shapely.get_parts([c.outline for c in countries], return_index=True)
        self._parts, self._owner = parts, owner
        self._tree = shapely.STRtree(parts)
        shapely.prepare(self._parts)
        self._asking = threading.Lock()  # a prepared outline notes whom it is asked by: two threads at once end it all
        self._pieces: dict[str, list[int]] = {}
        for part, country_index in enumerate(owner):
            self._pieces.setdefault(countries[country_index].code, []).append(part)

    def code_at(self, lon_lat: npt.ArrayLike, within_km: float = 0.0) -> list[str | None]:
        """Alpha-3 codes of places.

        Args:
            lon_lat: (N, 2) degrees.
            within_km: a place at sea takes the nearest country within this distance, so that coasts have one.

        Returns:
            N codes, None where no country is.
        """
        import shapely

        positions = np.asarray(lon_lat, np.float64).reshape(-1, 2)
        codes: list[str | None] = [None] * len(positions)
        # The tree goes by boxes; outlines are prepared once, and so each is quick to ask about many places.
        rows, parts = self._tree.query(shapely.points(positions))
        with self._asking:
            inside = shapely.intersects_xy(self._parts[parts], *positions[rows].T)
        for row, part in zip(rows[inside][::-1].tolist(), parts[inside][::-1].tolist(), strict=True):
            codes[row] = self.countries[self._owner[part]].code
        missing = [i for i, code in enumerate(codes) if code is None]
        if within_km > 0 and missing:
            for i, code in zip(missing, self._nearest(positions[missing], within_km), strict=True):
                codes[i] = code
        return codes

    def pieces(self, code: str) -> list[BaseGeometry]:
        """The polygons that a country consists of, none for an unknown code."""
        return [self._parts[i] for i in self._pieces.get(code, ())]

    def piece_near(self, lon: float, lat: float, code: str) -> BaseGeometry | None:
        """The polygon of a country that holds a place, else the nearest one in degrees; None for an unknown code."""
        import shapely

        pieces = self.pieces(code)
        if not pieces:
            return None
        return pieces[int(shapely.distance(pieces, shapely.Point(lon, lat)).argmin())]

    @property
    def names(self) -> dict[str, str]:
        """Short English names by alpha-3 code, in the order of the names."""
        return dict(sorted(self._names.items(), key=lambda entry: entry[1]))

    def name_of(self, code: str) -> str | None:
        """Short English name of an alpha-3 code, None for an unknown one."""
        return self._names.get(code)

    def _nearest(self, lon_lat: npt.NDArray[np.float64], within_km: float) -> list[str | None]:
        """Code of the nearest outline to each of (N, 2) places, None where all are further than that.

        Distances are those of a plane stretched so that both axes are kilometres near the place.
        """
        import shapely

        lon, lat = lon_lat.T
        height = within_km / KM_PER_DEGREE
        shrink = np.maximum(np.cos(np.radians(lat)), 0.01)
        windows = shapely.box(lon - height / shrink, lat - height, lon + height / shrink, lat + height)
        rows, parts = self._tree.query(windows)
        with self._asking:
            meets = shapely.intersects(self._parts[parts], windows[rows])
        best: list[tuple[float, str | None]] = [(within_km, None)] * len(lon_lat)
        for row, part in zip(rows[meets].tolist(), parts[meets].tolist(), strict=True):
            near = shapely.clip_by_rect(self._parts[part], *windows[row].bounds)
            km = np.array([shrink[row] * KM_PER_DEGREE, KM_PER_DEGREE])
            flat = shapely.transform(near, km.__mul__)
            distance = float(shapely.distance(flat, shapely.points(lon_lat[row] * km)))
            if distance <= best[row][0]:
                best[row] = (distance, self.countries[self._owner[part]].code)
        return [code for _, code in best]


@functools.cache
def load_countries() -> Countries:
    """All countries, read once a process."""
    import pyarrow.parquet as pq
    import shapely

    table = pq.read_table(FILE)
    outlines = shapely.from_wkb(table.column("geometry").to_numpy())
    named = zip(table.column("code").to_pylist(), table.column("name").to_pylist(), outlines, strict=True)
    return Countries([Country(code, name, outline) for code, name, outline in named])


def country_of(lon: float, lat: float) -> tuple[str, str] | None:
    """Alpha-3 code and name of the country at a place; None at sea."""
    countries = load_countries()
    code = countries.code_at([[lon, lat]])[0]
    return (code, countries.name_of(code) or code) if code else None
