"""A small language for claims about land, such as `zone('Aw As') & (rain < 1700) & tropics`.

A predicate is read from a table and gives a truth value for every land cell. Only names, numbers, comparisons, `& | ~`,
arithmetic and the functions below are understood; nothing is ever executed as Python.

* numbers, one a cell: `lat lon abs_lat temp coldest warmest temp_range rain driest wettest dry_months
  summer_rain winter_rain frost_months warm_months elev relief coast island`
  (degrees, degrees Celsius, millimetres a year or month, metres, kilometres, square kilometres);
* shares of land cover, one a cell, 0 to 1: the names of `training.earth.cover.COVERS` and the sums of its `GROUPS`,
  such as `evergreen_broad`, `crop`, `trees`, `farmed`; `ndvi_low ndvi_high` greenness of the least and most green
  month;
* truth: `tropics`;
* `zone('Af Am')` Koeppen-Geiger zones, `facet('savanna')` a facet by name, `place('Andes')` a place by name,
  `box(w, s, e, n, ...)` one or more boxes in degrees; west > east crosses the antimeridian;
  `near(lon, lat, km)` within a distance; `country('GAB CMR')` ISO codes;
  `ecoregion('mangrove|swamp')` words in the name of an ecoregion, for evaluation only.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import ZONES, Cells, package_folder
from training.earth.cover import COVERS, GROUPS, ecoregions
from wildsat_core.countries import load_countries
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import EARTH_RADIUS_KM, unit_vectors

Mask = NDArray[np.bool_]
Value = NDArray[Any] | float | str

TROPIC_DEG = 23.5
DRY_MONTH_MM = 40.0
WARM_MONTH_C = 10.0  # below it trees do not grow
SUMMER = np.arange(3, 9)[:, None]  # April to September, the warm half of the year in the north
WINTER = np.asarray([9, 10, 11, 0, 1, 2])[:, None]

_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Predicates:
    """Evaluates predicates over one set of land cells.

    Args:
        cells: N land cells.
        facet: gives the (N,) mask of a facet by name.
        place: gives the (N,) mask of a place by name.
    """

    def __init__(self, cells: Cells, facet: Callable[[str], Mask], place: Callable[[str], Mask]) -> None:
        """Prepare the numbers that predicates may name."""
        self._cells = cells
        self._values = _cell_values(cells)
        self._functions: dict[str, Callable[..., Mask]] = {
            "zone": self._zone,
            "facet": facet,
            "place": place,
            "box": self.box,
            "near": self.near,
            "country": self._country,
            "ecoregion": self._ecoregion,
        }
        self._codes: NDArray[np.str_] | None = None

    def mask(self, text: str) -> Mask:
        """Truth of a predicate for every cell, (N,) bool.

        Raises:
            InvalidInputError: the text is not a predicate; the message shows what was not understood.
        """
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError as err:
            raise InvalidInputError(f"predicate {text!r} can't be read: {err.msg}") from err
        value = self._evaluate(tree.body, text)
        if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
            raise InvalidInputError(f"predicate {text!r} gives no truth value for cells; compare it with a number")
        return value

    def box(self, *edges: float) -> Mask:
        """(N,) cells whose centre is in one of the boxes given as west, south, east, north, west, ... in degrees."""
        if not edges or len(edges) % 4:
            raise InvalidInputError(f"box() takes four numbers a box, got {len(edges)}")
        lat, lon = self._values["lat"], self._values["lon"]
        inside = np.zeros(len(self._cells), np.bool_)
        for west, south, east, north in zip(*[iter(edges)] * 4, strict=True):
            across = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
            inside |= across & (lat >= south) & (lat <= north)
        return inside

    def near(self, lon: float, lat: float, km: float) -> Mask:
        """(N,) cells whose centre is within a great-circle distance of a point in degrees."""
        here = unit_vectors(lon, lat)  # one point
        cosine = unit_vectors(self._values["lon"], self._values["lat"]) @ here
        return np.asarray(cosine >= np.cos(km / EARTH_RADIUS_KM))

    def _country(self, codes: str) -> Mask:
        if self._codes is None:
            countries = load_countries()
            if countries is None:
                raise InvalidInputError("country() needs the outlines; install them with 'python -m app.assets'")
            lon_lat = np.stack([self._cells.lon, self._cells.lat], 1)
            self._codes = np.asarray([code or "" for code in countries.code_at(lon_lat)])
        return np.isin(self._codes, codes.split())

    def _ecoregion(self, words: str) -> Mask:
        names, grid = ecoregions(package_folder("bw2_lcimpact") / "data" / "land_use.gpkg")
        chosen = [number for number, name in enumerate(names) if re.search(words, name)]
        if not chosen:
            raise InvalidInputError(f"no ecoregion's name has {words!r}")
        return np.isin(grid.ravel()[self._cells.index], chosen)

    def _zone(self, names: str) -> Mask:
        unknown = [name for name in names.split() if name not in ZONES]
        if unknown:
            raise InvalidInputError(f"unknown climate zone {unknown[0]!r}; known are {' '.join(ZONES)}")
        return np.isin(self._cells.zone, [ZONES.index(name) for name in names.split()])

    def _apply(self, op: type[ast.AST], left: ast.expr, right: ast.expr, text: str) -> Value:
        value: Value = _OPERATORS[op](self._evaluate(left, text), self._evaluate(right, text))
        return value

    def _evaluate(self, node: ast.expr, text: str) -> Value:
        match node:
            case ast.Constant(value=float() | int() | str() as constant):
                return constant
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return ~self._evaluate(operand, text)  # type: ignore[operator]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._evaluate(operand, text)  # type: ignore[operator]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._apply(type(op), left, right, text)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
                return self._apply(type(op), left, right, text)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in self._functions:
                return self._functions[name](*[self._evaluate(arg, text) for arg in args])
        raise InvalidInputError(f"predicate {text!r}: {ast.unparse(node)!r} is not understood")


def _cell_values(cells: Cells) -> dict[str, NDArray[Any]]:
    temp, rain = cells.temp_c, cells.rain_mm
    north, cell = (cells.lat > 0)[None], np.arange(len(cells))[None]
    return {
        "lat": cells.lat,
        "lon": cells.lon,
        "abs_lat": np.abs(cells.lat),
        "tropics": np.abs(cells.lat) < TROPIC_DEG,
        "temp": temp.mean(0),
        "coldest": temp.min(0),
        "warmest": temp.max(0),
        "temp_range": temp.max(0) - temp.min(0),
        "rain": rain.sum(0),
        "driest": rain.min(0),
        "wettest": rain.max(0),
        "dry_months": (rain < DRY_MONTH_MM).sum(0),
        "summer_rain": rain[np.where(north, SUMMER, WINTER), cell].sum(0),
        "winter_rain": rain[np.where(north, WINTER, SUMMER), cell].sum(0),
        "frost_months": (temp < 0).sum(0),
        "warm_months": (temp > WARM_MONTH_C).sum(0),
        "elev": cells.elev_m,
        "relief": cells.relief_m,
        "coast": cells.coast_km,
        "island": cells.island_km2,
        "ndvi_low": cells.ndvi_low,
        "ndvi_high": cells.ndvi_high,
        **_covers(cells),
    }


def _covers(cells: Cells) -> dict[str, NDArray[Any]]:
    single = dict(zip(COVERS, cells.cover, strict=True))
    groups = {name: np.sum([single[part] for part in parts], 0) for name, parts in GROUPS.items()}
    return {**single, **groups}
