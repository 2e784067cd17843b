"""Catalogues of Sentinel-2 by name: their addresses stand in one file, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wildsat_core.errors import InvalidInputError

DEFAULT: Final = "earth-search"
DEFAULT_COLLECTION: Final = "sentinel-2-l2a"
FILE: Final = Path(__file__).with_name("catalogues.yaml")
VARIABLE: Final = "WILDSAT_CATALOGUES"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A STAC API that has Sentinel-2.

    Attributes:
        api: its address.
        collection: which of its collections.
        signer: "module:function" that turns an asset's address into one that may be read; None for none.
        tokens: address that a signer gets its tokens from.
        title: its name for people.
    """

    api: str
    collection: str = DEFAULT_COLLECTION
    signer: str | None = None
    tokens: str | None = None
    title: str = ""


def read_catalogues(file: Path | None = None) -> dict[str, Catalogue]:
    """The catalogues of a file; without one, of that which $WILDSAT_CATALOGUES names, or of the program's own.

    Raises:
        InvalidInputError: there is no such file, or it has another shape; says where.
    """
    import yaml

    path = file or Path(os.environ.get(VARIABLE) or FILE)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {str(name): Catalogue(**entry) for name, entry in entries.items()}
    except OSError as err:
        raise InvalidInputError(f"the catalogues in {path} can't be read: {err}", "catalogues") from err
    except (yaml.YAMLError, AttributeError, TypeError) as err:
        raise InvalidInputError(
            f"{path} must list catalogues by name, each with api, collection, signer, tokens and title: {err}",
            "catalogues",
        ) from err


def find_catalogue(name: str, file: Path | None = None) -> Catalogue:
    """One catalogue.

    Raises:
        InvalidInputError: there is none of this name; those that there are are named.
    """
    known = read_catalogues(file)
    if name not in known:
        raise InvalidInputError(f"no catalogue is called {name!r}; there are {', '.join(known)}", "catalogue")
    return known[name]
