"""Making room for a collection without removing what lies there."""

from __future__ import annotations

from itertools import count
from pathlib import Path

REPLACED = ".replaced"


def move_aside(root: Path) -> Path:
    """Move a collection's folder into `.replaced` beside it, under its own name or with the first free number.

    Services don't look into folders whose names begin with a dot. Moved back, the collection is what it was.

    Args:
        root: the folder; whoever calls holds its writer's lock.

    Returns:
        Where it lies now.
    """
    shelf = root.parent / REPLACED
    shelf.mkdir(exist_ok=True)
    names = (root.name if number == 1 else f"{root.name}-{number}" for number in count(1))
    free = next(shelf / name for name in names if not (shelf / name).exists())
    return root.rename(free)
