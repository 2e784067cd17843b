"""Compares many tiles at once with an expression that was read. Truths are pairs of masks: true, known."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import LimitExceededError
from wildsat_core.geo import boxes_meet
from wildsat_core.search.properties.columns import Rows, property_of
from wildsat_core.search.properties.language import (
    COMPARISONS,
    SPATIAL,
    TEMPORAL,
    ends_of,
    geometry_of,
    is_outline,
    operation,
)
from wildsat_core.types import BBox

if TYPE_CHECKING:
    from wildsat_core.collection.reader import Collection

OUTLINES_AT_ONCE: Final = 4_096  # between two looks at the clock
OUTLINES_S: Final = 3.0

Mask = npt.NDArray[np.bool_]
Truth = tuple[Mask, Mask]


class RowValues:
    """Compares some rows of a collection with an expression that was checked. Truths are pairs: true, known."""

    def __init__(self, collection: Collection, rows: Rows) -> None:
        self._collection, self._rows = collection, rows

    def truth(self, expression: Any) -> Truth:  # noqa: ANN401 - JSON
        if isinstance(expression, bool):
            return np.full(len(self._rows), expression), np.ones(len(self._rows), bool)
        found = operation(expression)
        assert found is not None  # checked when it was read
        op, args = found
        if op in ("and", "or", "not"):
            return self._combined(op, [self.truth(arg) for arg in args])
        if op in SPATIAL:
            return self._spatial(op, args), np.ones(len(self._rows), bool)
        if op in TEMPORAL:
            return self._temporal(op, args)
        if op == "isnull":
            values = None if is_outline(args[0]) else self._values(args[0])
            known = self._known(values) if isinstance(values, np.ndarray) else self._everywhere()
            return ~known, self._everywhere()
        if op == "in":
            return self._combined("or", [self._compared("=", [args[0], value]) for value in args[1]])
        if op == "between":
            pairs = ((">=", [args[0], args[1]]), ("<=", [args[0], args[2]]))
            return self._combined("and", [self._compared(op, pair) for op, pair in pairs])
        return self._compared(op, args)

    def _everywhere(self) -> Mask:
        return np.ones(len(self._rows), bool)

    @staticmethod
    def _combined(op: str, parts: Sequence[Truth]) -> Truth:
        """Kleene's logic: false AND unknown is false, true OR unknown is true."""
        if op == "not":
            ((true, known),) = parts
            return ~true, known
        # What decides alone: a truth for OR, a falsehood for AND.
        decided = [(true if op == "or" else ~true) & known for true, known in parts]
        any_decides = np.logical_or.reduce(decided)
        all_known = np.logical_and.reduce([known for _, known in parts])
        return (any_decides if op == "or" else ~any_decides), any_decides | all_known

    def _compared(self, op: str, args: Sequence[Any]) -> Truth:
        values = [self._values(arg) for arg in args]
        if any(getattr(value, "dtype", np.dtype(object)).kind == "M" for value in values):
            values = [
                ends_of(arg)[0] if isinstance(arg, str) else value for arg, value in zip(args, values, strict=True)
            ]
        as_arrays = (np.array(value, object) if isinstance(value, str) else np.asarray(value) for value in values)
        left, right = (np.broadcast_to(array, self._rows.shape) for array in as_arrays)
        known = self._known(left) & self._known(right)
        true = np.zeros(len(self._rows), bool)
        if op == "like":
            pattern = Pattern(str(right[0])) if len(right) else Pattern("")
            true[known] = [pattern.fits(text) for text in left[known]]
        else:
            true[known] = COMPARISONS[op](left[known], right[known]).astype(bool)
        return true, known

    @staticmethod
    def _known(values: npt.NDArray[Any]) -> Mask:
        if values.dtype.kind == "O":
            return np.array([value is not None for value in values], bool)
        return ~np.isnat(values) if values.dtype.kind == "M" else ~np.isnan(values.astype(np.float64))

    def _values(self, value: Any) -> Any:  # noqa: ANN401 - a column or one value
        if isinstance(value, Mapping):
            if "property" in value:
                prop = property_of(value["property"])
                assert prop is not None  # checked when it was read
                return prop.column(self._collection, self._rows)
            if "timestamp" in value or "date" in value:
                return ends_of(value)[0]
            found = operation(value)
            assert found is not None  # checked when it was read
            op, (inner,) = found
            fold = str.casefold if op == "casei" else _without_accents
            held = self._values(inner)
            if isinstance(held, str):
                return fold(held)
            return np.array([None if text is None else fold(text) for text in held], object)
        return value

    def _temporal(self, op: str, args: Sequence[Any]) -> Truth:
        ends = [np.broadcast_to(end, self._rows.shape) for arg in args for end in self._interval(arg)]
        known = np.logical_and.reduce([~np.isnat(end) for end in ends])
        return np.asarray(TEMPORAL[op](*ends), bool), known

    def _interval(self, value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - columns or single times
        if isinstance(value, Mapping) and "interval" in value:
            first, last = value["interval"]
            start = np.datetime64("0001-01-01", "us") if first == ".." else self._interval(first)[0]
            return start, np.datetime64("9999-12-31T23:59:59", "us") if last == ".." else self._interval(last)[1]
        if isinstance(value, Mapping) and "property" in value:
            times = self._values(value)
            return times, times
        return ends_of(value)

    def _spatial(self, op: str, args: Sequence[Any]) -> Mask:
        import shapely

        tile_first = is_outline(args[0])
        geometry = geometry_of(args[1 if tile_first else 0])
        shapely.prepare(geometry)
        compare = getattr(shapely, SPATIAL[op])
        tiles, rows = self._collection.tiles, self._rows
        box = BBox(*geometry.bounds)
        near = np.flatnonzero(boxes_meet(box, tiles.west[rows], tiles.south[rows], tiles.east[rows], tiles.north[rows]))
        true = np.full(len(rows), op == "s_disjoint")
        give_up = time.monotonic() + OUTLINES_S
        for start in range(0, len(near), OUTLINES_AT_ONCE):
            if time.monotonic() > give_up:
                raise LimitExceededError(
                    f"the geometry takes longer than {OUTLINES_S:g} s to compare with {len(near)} tiles; use a smaller "
                    "one, or bbox beside it",
                    "filter",
                )
            part = near[start : start + OUTLINES_AT_ONCE]
            outlines = tiles.outlines(rows[part])
            true[part] = compare(outlines, geometry) if tile_first else compare(geometry, outlines)
        return true


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


class Pattern:
    """A LIKE pattern: % for any text, _ for one character, a backslash before either as itself.

    One expression with a `.*` for each % would take years for some patterns; the pieces between them, each found as
    early as it can be, take a moment.
    """

    def __init__(self, text: str) -> None:
        """Cut the pattern at its %."""
        pieces = [""]
        for part in re.findall(r"\\.|.", text, re.DOTALL):
            if part == "%":
                pieces.append("")
            else:
                pieces[-1] += "." if part == "_" else re.escape(part[-1])
        self._pieces = [re.compile(piece, re.DOTALL) for piece in pieces]
        self._tail = re.compile(f"(?:{pieces[-1]})\\Z", re.DOTALL)
        self._tail_length = len(re.findall(r"\\.|.", pieces[-1], re.DOTALL))

    def fits(self, text: str) -> bool:
        """Whether the whole text is as the pattern says."""
        if len(self._pieces) == 1:
            return self._pieces[0].fullmatch(text) is not None
        found = self._pieces[0].match(text)
        for piece in self._pieces[1:-1]:
            found = piece.search(text, found.end()) if found else None
        tail_at = len(text) - self._tail_length
        return found is not None and tail_at >= found.end() and self._tail.match(text, tail_at) is not None
