"""The folder of pictures and tables that the small models are made from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wildsat_core.errors import InvalidInputError
from wildsat_core.files import sha256_file


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


def material_digest(folder: Path, *parts: str) -> str:
    """Eight digits that change with any file of these parts of the folder, to name what was made of them and is kept.

    All bytes are read, 0.4 s for the 200 MB of the shipped models; where the folder lies doesn't count.
    """
    files = sorted(file for part in parts for file in (folder / part).rglob("*") if file.is_file())
    told = "".join(f"{file.relative_to(folder).as_posix()} {sha256_file(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:8]
