"""Ids of tiles: of letters that stand in an address as they are."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from wildsat_core.errors import InvalidInputError

TILE_ID: Final = r"[A-Za-z0-9][A-Za-z0-9_.:@+~-]{0,127}"
LONGEST: Final = 128


def is_tile_id(text: str) -> bool:
    """Whether the service can serve a tile of this id."""
    return re.fullmatch(TILE_ID, text, re.ASCII) is not None


def tile_id_of(name: str) -> str:
    """The id for a thing that has this name elsewhere: the name itself where it may be one.

    Any other becomes what is left of it and ten digits of its hash, so that different names stay different:
    "S2/a b" is "S2-a-b-5f2c…". The same name always gives the same id.

    Raises:
        InvalidInputError: the name is empty.
    """
    if is_tile_id(name):
        return name
    if not name.strip():
        raise InvalidInputError("an id is empty", "id")
    kept = re.sub(r"[^A-Za-z0-9_.:@+~-]+", "-", name).strip("-.:@+~_")
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{kept[: LONGEST - 11]}-{mark}" if kept else f"id-{mark}"
