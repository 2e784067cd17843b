"""Columns of numbers that stay where they are: in the files of the segments, and gathered by row when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]


class Column(np.lib.mixins.NDArrayOperatorsMixin):
    """A (N,) column that lies in parts, one a segment, most of them mapped from files.

    `column[rows]` reads those rows only. As a whole it is an array to numpy, made anew each time.
    """

    def __init__(self, parts: Sequence[Numbers], offsets: npt.NDArray[np.int64]) -> None:
        """Take the parts, in order, and the first row of each, then N."""
        self._parts, self._offsets = tuple(parts), offsets

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def __getitem__(self, rows: Any) -> Any:  # noqa: ANN401 - as an array takes them
        if len(self._parts) == 1:
            return self._parts[0][rows]
        if isinstance(rows, int | np.integer):
            row = int(rows) % len(self)
            part = int(np.searchsorted(self._offsets, row, side="right")) - 1
            return self._parts[part][row - self._offsets[part]]
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        return self._gather(np.flatnonzero(rows) if rows.dtype == bool else rows)

    def _gather(self, rows: npt.NDArray[np.integer]) -> Numbers:
        part_of = np.searchsorted(self._offsets, rows, side="right") - 1
        order = np.argsort(part_of, kind="stable")
        edges = np.searchsorted(part_of[order], np.arange(len(self._parts) + 1))
        out = np.empty(len(rows), self._parts[0].dtype if self._parts else float)
        for i in np.flatnonzero(np.diff(edges)):
            mine = order[edges[i] : edges[i + 1]]
            out[mine] = self._parts[i][rows[mine] - self._offsets[i]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Numbers:  # noqa: ANN401 - as numpy has it
        whole = np.concatenate(self._parts) if self._parts else np.empty(0)
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[Any]:
        return (value for part in self._parts for value in part)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:  # noqa: ANN401
        return getattr(ufunc, method)(*(np.asarray(i) if isinstance(i, Column) else i for i in inputs), **options)

    def min(self) -> Any:  # noqa: ANN401 - a number
        return min(part.min() for part in self._parts if part.size)

    def max(self) -> Any:  # noqa: ANN401 - a number
        return max(part.max() for part in self._parts if part.size)


class Derived(Column):
    """A column that follows from others row by row, worked out when it is asked for."""

    def __init__(self, follows: Callable[..., Numbers], *columns: Column) -> None:
        """Take the rule and what it is applied to, at least one column."""
        self._follows, self._columns = follows, columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, rows: Any) -> Any:  # noqa: ANN401 - as an array takes them
        return self._follows(*(column[rows] for column in self._columns))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Numbers:  # noqa: ANN401 - as numpy has it
        whole = self._follows(*map(np.asarray, self._columns))
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[Any]:
        return iter(np.asarray(self))

    def min(self) -> Any:  # noqa: ANN401 - a number
        return np.asarray(self).min()

    def max(self) -> Any:  # noqa: ANN401 - a number
        return np.asarray(self).max()
