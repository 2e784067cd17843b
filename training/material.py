"""The folder of pictures and tables that the small models are made from."""

from __future__ import annotations

import os
from pathlib import Path

from wildsat_core.errors import InvalidInputError


def material_folder(given: Path | None, *parts: str) -> Path:
    """The folder given, or that which $WILDSAT_DATA names.

    Args:
        given: as on the command line.
        parts: folders that must lie in it.

    Raises:
        InvalidInputError: one of them is missing.
    """
    folder = given or Path(os.environ.get("WILDSAT_DATA", ""))
    if missing := [f"{part}/" for part in parts if not (folder / part).is_dir()]:
        raise InvalidInputError(
            f"{str(folder)!r} is not the folder of training data: it has no {' and no '.join(missing)}; "
            "name it with --data or set WILDSAT_DATA",
            "data",
        )
    return folder
