"""Reads CQL2, as text or JSON, and refuses what can't be compared with tiles before any is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wildsat_core.errors import InvalidInputError
from wildsat_core.search.properties.columns import PROPERTIES, Kind, Property, property_of
from wildsat_core.search.properties.language import (
    COMPARISONS,
    FOLDS,
    SPATIAL,
    TEMPORAL,
    ends_of,
    geometry_of,
    is_outline,
    operation,
    unfolded,
)

MAX_CHARACTERS: Final = 20_000  # of an expression as it was sent
MAX_DEPTH: Final = 40
MAX_PARTS: Final = 500  # operations, names and values of one expression
MAX_SPATIAL: Final = 4  # comparisons of geometries, the only ones that cost much


def read_expression(given: str | Mapping[str, Any], language: str | None, parameter: str) -> Any:  # noqa: ANN401 - JSON
    """Read and check an expression; see `PropertyFilter.read`."""
    expression = _parsed(given, language, parameter)
    _Check(parameter).condition(expression)
    return expression


def _parsed(given: str | Mapping[str, Any], language: str | None, parameter: str) -> Any:  # noqa: ANN401 - JSON
    import cql2

    if language not in (None, "cql2-text", "cql2-json"):
        raise InvalidInputError(
            f"{parameter}-lang must be cql2-text or cql2-json, got {language[:40]!r}", f"{parameter}-lang"
        )
    if isinstance(given, str):
        if len(given) > MAX_CHARACTERS:
            raise InvalidInputError(f"{parameter} has {len(given)} characters, at most {MAX_CHARACTERS}", parameter)
        if language is None:
            language = "cql2-json" if given.lstrip().startswith("{") else "cql2-text"
        if language == "cql2-json":
            given = _json(given, parameter)
    elif language == "cql2-text":
        raise InvalidInputError(f"{parameter} must be text where {parameter}-lang is cql2-text", parameter)
    if not isinstance(given, str):
        _check_size(given, parameter)
    try:
        return (cql2.parse_text(given) if isinstance(given, str) else cql2.Expr(dict(given))).to_json()
    except Exception as err:  # cql2 raises Exception itself for JSON that is no expression
        said = str(err).strip().splitlines()
        raise InvalidInputError(f"{parameter} is not CQL2: {' '.join(said)[:300]}", parameter) from err


def _json(text: str, parameter: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InvalidInputError(f"{parameter} is not JSON: {err}", parameter) from err
    if not isinstance(value, dict):
        raise InvalidInputError(f"{parameter} must be a JSON object, got {type(value).__name__}", parameter)
    return value


def _check_size(value: Any, parameter: str) -> None:  # noqa: ANN401 - JSON
    """Refuse what is nested deeper than any reader should go, without going there."""
    level: list[Any] = [value]
    for _ in range(2 * MAX_DEPTH + 8):  # an operation and its list of arguments; a MultiPolygon's lists below
        level = [
            inner
            for outer in level
            if isinstance(outer, Mapping | list)
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
        ]
        if not level:
            return
    raise InvalidInputError(f"{parameter} is nested deeper than {MAX_DEPTH} operations", parameter)


class _Check:
    """Refuses an expression that can't be compared with tiles, before any is looked at."""

    def __init__(self, parameter: str) -> None:
        self._parameter = parameter
        self._parts = self._spatial = self._depth = 0

    def _refuse(self, said: str) -> InvalidInputError:
        return InvalidInputError(f"{self._parameter}: {said}", self._parameter)

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self._refuse(f"has more than {MAX_PARTS} operations, names and values")

    def condition(self, expression: Any) -> None:  # noqa: ANN401 - JSON
        self._count()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refuse(f"is nested deeper than {MAX_DEPTH} operations")
        if not isinstance(expression, bool):
            self._operation(expression)
        self._depth -= 1

    def _operation(self, expression: Any) -> None:  # noqa: ANN401 - JSON
        found = operation(expression)
        if found is None:
            raise self._refuse(f"a condition is wanted, got {json.dumps(expression)[:80]}")
        op, args = found
        if op in ("and", "or"):
            self._arguments(op, args, 1, None)
            for arg in args:
                self.condition(arg)
        elif op == "not":
            self._arguments(op, args, 1, 1)
            self.condition(args[0])
        elif op in COMPARISONS:
            self._arguments(op, args, 2, 2)
            self._comparable(args)
        elif op == "between":
            self._arguments(op, args, 3, 3)
            if self._comparable(args) not in ("number", "time"):
                raise self._refuse("BETWEEN takes numbers or times")
        elif op == "in":
            self._arguments(op, args, 2, 2)
            if not isinstance(args[1], list) or not args[1]:
                raise self._refuse("IN takes a list of values")
            self._comparable([args[0], *args[1]])
        elif op == "like":
            self._arguments(op, args, 2, 2)
            if self._comparable(args) != "text" or not isinstance(unfolded(args[1]), str):
                raise self._refuse("LIKE compares a text with a pattern")
        elif op == "isnull":
            self._arguments(op, args, 1, 1)
            if not is_outline(args[0]):
                self._kind(args[0])
        elif op in SPATIAL:
            self._arguments(op, args, 2, 2)
            self._geometries(args)
        elif op in TEMPORAL:
            self._arguments(op, args, 2, 2)
            for arg in args:
                self._interval(arg)
        else:
            raise self._refuse(f"the operation {op[:40]!r} is not known here")

    def _arguments(self, op: str, args: Sequence[Any], least: int, most: int | None) -> None:
        if len(args) < least or (most is not None and len(args) > most):
            raise self._refuse(
                f"{op!r} takes {least if most == least else f'{least} or more'} arguments, got {len(args)}"
            )

    def _comparable(self, args: Sequence[Any]) -> Kind:
        kinds = {self._kind(arg) for arg in args}
        if kinds == {"text", "time"}:  # people write datetime >= '2024-01-01'
            for arg in args:
                if isinstance(arg, str):
                    self._moment(arg)
                elif self._kind(arg) == "text":
                    raise self._refuse("a time can't be compared with a text")
            return "time"
        if len(kinds) != 1:
            raise self._refuse(f"{' and '.join(sorted(kinds))} can't be compared: {json.dumps(args)[:80]}")
        return kinds.pop()

    def _kind(self, value: Any) -> Kind:  # noqa: ANN401 - JSON
        self._count()
        if isinstance(value, bool):
            return "truth"
        if isinstance(value, int | float):
            return "number"
        if isinstance(value, str):
            return "text"
        if isinstance(value, Mapping):
            if "property" in value:
                return self._known(value["property"]).kind
            if "timestamp" in value or "date" in value:
                self._moment(value)
                return "time"
            found = operation(value)
            if found and found[0] in FOLDS and len(found[1]) == 1 and self._kind(found[1][0]) == "text":
                return "text"
        raise self._refuse(f"a property, text, number or time is wanted, got {json.dumps(value)[:80]}")

    def _known(self, name: object) -> Property:
        prop = property_of(name)
        if prop is None:
            names = ", ".join((*PROPERTIES, "geometry"))
            raise self._refuse(f"tiles have no property {str(name)[:60]!r}; they have: {names}")
        return prop

    def _moment(self, value: Any) -> None:  # noqa: ANN401 - JSON
        try:
            ends_of(value)
        except (ValueError, OverflowError) as err:
            raise self._refuse(f"no time or day: {json.dumps(value)[:60]}; write 2024-01-31T00:00:00Z") from err

    def _interval(self, value: Any) -> None:  # noqa: ANN401 - JSON
        self._count()
        if isinstance(value, Mapping) and "interval" in value:
            ends = value["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise self._refuse("an interval has two ends")
            for end in ends:
                if end != "..":
                    self._instant(end)
            return
        self._instant(value)

    def _instant(self, value: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(value, str):
            self._moment(value)
        elif self._kind(value) != "time":
            raise self._refuse(f"a time is wanted, got {json.dumps(value)[:60]}")

    def _geometries(self, args: Sequence[Any]) -> None:
        self._spatial += 1
        if self._spatial > MAX_SPATIAL:
            raise self._refuse(f"has more than {MAX_SPATIAL} comparisons of geometries")
        named = [is_outline(arg) for arg in args]
        if sum(named) != 1:
            raise self._refuse(
                "a comparison of geometries has the property geometry on one side, a geometry on the other"
            )
        try:
            geometry_of(args[named.index(False)])
        except InvalidInputError as err:
            raise self._refuse(str(err)) from err
