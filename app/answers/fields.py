"""Which fields of Items are answered (https://github.com/stac-api-extensions/fields)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# What the extension advises to give with whatever is asked for, so that an Item stays one.
ALWAYS = ("type", "stac_version", "stac_extensions", "id", "collection", "geometry", "bbox", "links", "assets")
TIMES = tuple(f"properties.{name}" for name in ("datetime", "start_datetime", "end_datetime"))
BARE: dict[str, Any] = {"geometry": None, "properties": {}}  # GeoJSON wants these two; left out they are empty
KEPT = ("type", "id")


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of fields, with dots between a part and what is in it.

    Attributes:
        include: beside those that are always given; None for all.
        exclude: left out, whether included or not.
    """

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()

    @classmethod
    def read(cls, text: str) -> Fields:
        """Read names with commas, as a URL has them: those with a minus are left out."""
        names = [name.strip() for name in text.split(",") if name.strip()]
        include = tuple(name.removeprefix("+") for name in names if not name.startswith("-"))
        return cls(include or None, tuple(name[1:] for name in names if name.startswith("-")))

    def of(self, item: dict[str, Any]) -> dict[str, Any]:
        """The item without what was not asked for."""
        if self.include is not None:
            item = _only(item, (*ALWAYS, *TIMES, *self.include))
        for name in self.exclude:
            if name not in KEPT:
                item = _without(item, name.split("."))
        return {**BARE, **item}


def _only(item: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        part, _, within = name.partition(".")
        if part not in item or (within and not isinstance(item[part], dict)):
            continue
        if not within:
            found[part] = item[part]
        elif part not in found or found[part] is not item[part]:  # not there in whole already
            found[part] = found.get(part, {}) | _only(item[part], (within,))
    return found


def _without(item: dict[str, Any], path: list[str]) -> dict[str, Any]:
    part, within = path[0], path[1:]
    if part not in item or (within and not isinstance(item[part], dict)):
        return item
    rest = {name: value for name, value in item.items() if name != part}
    return rest | {part: _without(item[part], within)} if within else rest
