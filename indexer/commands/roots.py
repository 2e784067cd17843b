"""Where collections are, as the commands name them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wildsat_core.collection.manifest import holds_collection
from wildsat_core.errors import CollectionNotFoundError

CollectionsFolder = Annotated[
    Path, typer.Option("--collections", envvar="WILDSAT_COLLECTIONS", help="Folder that holds the collections.")
]
CollectionName = Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")]


def collection_root(name_or_path: str, collections: Path) -> Path:
    """Folder of a collection given by its name or its path.

    Raises:
        CollectionNotFoundError: neither is there.
    """
    for root in (collections / name_or_path, Path(name_or_path)):
        if holds_collection(root):
            return root
    raise CollectionNotFoundError(
        f"no collection {name_or_path!r}: neither {collections / name_or_path} nor {name_or_path} has a generation. "
        "`wildsat index build` makes one"
    )
