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

    Links are followed: whoever made them wants what is there. One to a folder within `root`, or to one that another
    link led to, leads to nothing new.

    Args:
        root: the folder. It may be hidden itself: whoever names it means it.
        suffixes: in small letters, as ".tif"; those of the files may be in capitals.
    """
    top, seen = Path(root).resolve(), set[Path]()

    def is_new(folder: Path) -> bool:
        if not folder.is_symlink():
            return True
        real = folder.resolve()
        is_known = real.is_relative_to(top) or top.is_relative_to(real) or any(real.is_relative_to(one) for one in seen)
        seen.add(real)
        return not is_known

    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_of_a_program(name) and is_new(Path(folder, name)))
        for path in map(Path(folder).joinpath, files):
            if path.suffix.lower() in suffixes and not is_of_a_program(path.name):
                yield path
