"""The parts of CQL2 that are understood here, and its values: times and geometries."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import bbox_geometry, parse_bbox
from wildsat_core.geometries import read_geometry

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": np.equal, "<>": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip
SPATIAL: Final = {
    "s_intersects": "intersects", "s_disjoint": "disjoint", "s_within": "within", "s_contains": "contains",
    "s_equals": "equals", "s_touches": "touches", "s_crosses": "crosses", "s_overlaps": "overlaps",
}  # fmt: skip
# By the ends of two intervals: start and end of the first, then of the second (section 7.6).
TEMPORAL: Final[Mapping[str, Callable[[Any, Any, Any, Any], Any]]] = {
    "t_after": lambda a, b, c, d: a > d,
    "t_before": lambda a, b, c, d: b < c,
    "t_contains": lambda a, b, c, d: (a < c) & (b > d),
    "t_disjoint": lambda a, b, c, d: (b < c) | (a > d),
    "t_during": lambda a, b, c, d: (a > c) & (b < d),
    "t_equals": lambda a, b, c, d: (a == c) & (b == d),
    "t_finishedby": lambda a, b, c, d: (a < c) & (b == d),
    "t_finishes": lambda a, b, c, d: (a > c) & (b == d),
    "t_intersects": lambda a, b, c, d: (a <= d) & (b >= c),
    "t_meets": lambda a, b, c, d: b == c,
    "t_metby": lambda a, b, c, d: a == d,
    "t_overlappedby": lambda a, b, c, d: (a > c) & (a < d) & (b > d),
    "t_overlaps": lambda a, b, c, d: (a < c) & (b > c) & (b < d),
    "t_startedby": lambda a, b, c, d: (a == c) & (b > d),
    "t_starts": lambda a, b, c, d: (a == c) & (b < d),
}
FOLDS: Final = ("casei", "accenti")
GEOMETRY_NAMES: Final = ("geometry", "bbox")


def operation(expression: Any) -> tuple[str, list[Any]] | None:  # noqa: ANN401 - JSON
    if isinstance(expression, Mapping) and "op" in expression:
        return str(expression["op"]).lower(), list(expression.get("args", ()))
    return None


def is_outline(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether a value is the tile's geometry."""
    return isinstance(value, Mapping) and value.get("property") in GEOMETRY_NAMES


def unfolded(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A text below CASEI and ACCENTI."""
    while (found := operation(value)) and found[0] in FOLDS:
        value = found[1][0]
    return value


def ends_of(value: Any) -> tuple[np.datetime64, np.datetime64]:  # noqa: ANN401 - JSON
    """First and last microsecond of a time (which are the same) or of a day.

    Raises:
        ValueError: neither.
    """
    text = str(value.get("timestamp") or value.get("date")) if isinstance(value, Mapping) else str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        day = np.datetime64(dt.date.fromisoformat(text), "us")
        return day, day + np.timedelta64(86_400_000_000 - 1, "us")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text, re.ASCII):
        raise ValueError(text)
    moment = np.datetime64(dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC).replace(tzinfo=None), "us")
    return moment, moment


def geometry_of(value: Any) -> BaseGeometry:  # noqa: ANN401 - JSON
    import shapely

    if isinstance(value, Mapping) and "bbox" in value:
        numbers = list(value["bbox"])
        return shapely.geometry.shape(
            bbox_geometry(parse_bbox(numbers if len(numbers) == 4 else numbers[:2] + numbers[3:5]))
        )
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"a geometry is wanted, got {json.dumps(value)[:60]}")
    return read_geometry(value, "geometry")
