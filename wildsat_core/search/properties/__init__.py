"""Filters on the properties of tiles, as CQL2 writes them (https://docs.ogc.org/is/21-065r2/21-065r2.html).

`cql2` reads text and JSON into one JSON form; `reading` checks it against what a tile has (`columns`), `comparing`
holds it against many tiles at once. What is unknown of a tile is null: a comparison with it is neither true nor false,
and only what is true passes (section 6.4 there).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wildsat_core.search.properties.columns import OTHER_NAMES, PROPERTIES, UNDATED_SINCE, Rows, queryables
from wildsat_core.search.properties.comparing import RowValues
from wildsat_core.search.properties.reading import read_expression

if TYPE_CHECKING:
    from wildsat_core.collection.reader import Collection

__all__ = ["OTHER_NAMES", "PROPERTIES", "UNDATED_SINCE", "PropertyFilter", "queryables"]


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """A condition on tiles' properties. Two are equal when they are written alike in normal form.

    Attributes:
        text: the expression as CQL2 JSON in normal form.
        expression: the same, read.
    """

    text: str
    expression: Any = field(compare=False, repr=False)

    @classmethod
    def read(
        cls, given: str | Mapping[str, Any], language: str | None = None, parameter: str = "filter"
    ) -> PropertyFilter:
        """Read CQL2.

        Args:
            given: text, or JSON as text or as values.
            language: "cql2-text" or "cql2-json"; None tells by what was given.
            parameter: named in errors.

        Raises:
            InvalidInputError: not CQL2, too long, or asking for what tiles don't have.
        """
        expression = read_expression(given, language, parameter)
        return cls(json.dumps(expression, sort_keys=True, separators=(",", ":")), expression)

    def passing(self, collection: Collection, rows: Rows) -> Rows:
        """Those of some rows (R,) for which the condition is true, in the order given."""
        true, known = RowValues(collection, rows).truth(self.expression)
        return rows[true & known]
