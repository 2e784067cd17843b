"""Other orders of tiles than the curve's: by their properties, ascending or descending, what is unknown last.

The syntax is that of STAC's Sort extension (https://github.com/stac-api-extensions/sort).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import InvalidInputError
from wildsat_core.search.properties.columns import OTHER_NAMES, PROPERTIES, Property, Rows

if TYPE_CHECKING:
    from wildsat_core.collection.reader import Collection

MAX_KEYS: Final = 10
Value = str | int | float | None  # times are microseconds since 1970
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


def _names(collection: Collection, rows: Rows) -> npt.NDArray[np.object_]:
    return np.full(len(rows), collection.manifest.name, object)


SORTABLES: Final[Mapping[str, Property]] = {**PROPERTIES, **OTHER_NAMES, "collection": Property("text", _names, {})}


class _Backwards:
    """Turns the order of a value round."""

    def __init__(self, value: Any) -> None:  # noqa: ANN401 - text or a number
        self.value = value

    def __lt__(self, other: _Backwards) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]  # it is for comparing alone


@dataclass(frozen=True, slots=True)
class SortKey:
    """A property to sort by.

    Attributes:
        name: of `SORTABLES`.
        descending: the greatest first.
    """

    name: str
    descending: bool = False

    @classmethod
    def of(cls, field: str, *, descending: bool = False) -> SortKey:
        """From the name of a field of Items; `properties.` before it may be left out.

        Raises:
            InvalidInputError: Items have no such field to sort by.
        """
        name = field.removeprefix("properties.")
        if name not in SORTABLES:
            raise InvalidInputError(f"sortby: no field {name[:80]!r}; there are {', '.join(SORTABLES)}", "sortby")
        return cls(name, descending)

    @property
    def _types(self) -> tuple[type, ...]:
        """What a value of the property may be."""
        return {"text": (str,), "time": (int,), "number": (int, float)}[SORTABLES[self.name].kind]

    def holds(self, value: object) -> bool:
        """Whether it can be a value of the property."""
        return value is None or (isinstance(value, self._types) and not isinstance(value, bool))

    def rank(self, value: Value) -> tuple[bool, Any]:
        """What a value is sorted by, beside those of other tiles."""
        if value is None:
            return True, 0
        return False, _Backwards(value) if self.descending else value


Sorting = tuple[SortKey, ...]


def read_sorting(text: str) -> Sorting:
    """Fields with commas, as a URL has them: `-` before one begins with the greatest, `+` or nothing with the least.

    Raises:
        InvalidInputError: a field that Items lack, none, one twice, or too many.
    """
    # A plus that was not escaped arrives as a space.
    fields = [field.strip() for field in text.split(",")]
    return checked(SortKey.of(field.lstrip("+-").strip(), descending=field.startswith("-")) for field in fields)


def checked(keys: Iterable[SortKey]) -> Sorting:
    """The keys, if they make an order.

    Raises:
        InvalidInputError: one is there twice, or there are too many.
    """
    sorting = tuple(keys)
    columns = [SORTABLES[key.name].column for key in sorting]
    if len(sorting) > MAX_KEYS or len(set(columns)) < len(columns):
        raise InvalidInputError(f"sortby: each field once, and at most {MAX_KEYS}", "sortby")
    return sorting


@dataclass(frozen=True, slots=True, eq=False)
class SortColumn:
    """A property of some tiles, in the order of a key.

    Attributes:
        levels: the different values that are known, ascending.
        codes: (K,) a tile's place among them in the order of the key; that of the unknown ones is after all.
        descending: whether codes run against levels.
    """

    levels: Sequence[Any]
    codes: Codes
    descending: bool

    @classmethod
    def of(cls, key: SortKey, collection: Collection, rows: Rows) -> SortColumn:
        """Look the values of some rows (R,) up."""
        values = SORTABLES[key.name].column(collection, rows)
        levels: Sequence[Any]
        if values.dtype.kind == "O":
            levels, codes = _texts(values)
        else:
            unknown = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
            plain = values.astype(np.int64) if values.dtype.kind == "M" else values
            known, found = np.unique(plain[~unknown], return_inverse=True)
            levels, codes = known.tolist(), np.full(len(rows), len(known), np.int64)
            codes[~unknown] = found
        if key.descending:
            codes = np.where(codes < len(levels), len(levels) - 1 - codes, codes)
        return cls(levels, codes, key.descending)

    def values(self, at: Rows) -> list[Value]:
        """Values of some of the tiles, (n,) places among them."""
        count = len(self.levels)
        places = [count - 1 - code if self.descending else code for code in self.codes[at].tolist()]
        return [self.levels[place] if 0 <= place < count else None for place in places]

    def beyond(self, value: Value) -> tuple[Mask, Mask]:
        """(R,) which tiles come after a value, and (R,) which have it."""
        count = len(self.levels)
        if value is None:
            first, last = count, count + 1
        else:
            first, last = bisect_left(self.levels, value), bisect_right(self.levels, value)
            if self.descending:
                first, last = count - last, count - first
        return self.codes >= last, (self.codes >= first) & (self.codes < last)


def _texts(values: npt.NDArray[np.object_]) -> tuple[list[str], Codes]:
    """Different texts in order, and the number of each among them; None comes after all."""
    import pyarrow as pa

    coded = pa.array(values, pa.string(), from_pandas=True).dictionary_encode()
    texts = coded.dictionary.to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    places = np.full(len(texts) + 1, len(texts), np.int64)
    places[order] = np.arange(len(texts))
    return [texts[i] for i in order], places[coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
