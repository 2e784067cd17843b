"""Files of a folder, without what programs keep there for themselves: hidden folders, checkpoints, previews."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

# Jupyter's .ipynb_checkpoints and Apple's ._name files are hidden anyway; __MACOSX comes out of archives made there,
# @eaDir is what Synology's servers put beside pictures.
_OF_PROGRAMS = (".", "__MACOSX", "__pycache__", "@eaDir")


def is_of_a_program(name: str) -> bool:
    """Whether a file or folder of this name is none that a person put there."""
    return name.startswith(_OF_PROGRAMS)


def files_below(root: str | Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Files with one of these suffixes (".png", in small letters), at any depth, in no particular order.

    Args:
        root: the folder. It may be hidden itself: whoever names it means it.
        suffixes: in small letters, as ".tif"; those of the files may be in capitals.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_of_a_program(name)]
        for path in map(Path(folder).joinpath, files):
            if path.suffix.lower() in suffixes and not is_of_a_program(path.name):
                yield path
