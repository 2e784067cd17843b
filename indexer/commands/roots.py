"""Where collections are, as the commands name them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wildsat_core.collection.copies import Copies, copies_of
from wildsat_core.collection.manifest import holds_collection
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.errors import CollectionNotFoundError

CollectionsFolder = Annotated[
    Path, typer.Option("--collections", envvar="WILDSAT_COLLECTIONS", help="Folder that holds the collections.")
]
StoreAddress = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="WILDSAT_STORE",
        metavar="ADDRESS",
        help="Object storage instead: s3://…, gs://…, az://….",
        show_default=False,
        show_envvar=False,
    ),
]
CollectionName = Annotated[str, typer.Argument(help="Collection: its name, or the path of its folder.")]


def collection_root(name_or_path: str, collections: Path, store: str | None = None) -> Path:
    """Folder of a collection given by its name or its path; of one in a store that of its copy, brought up to date.

    Raises:
        CollectionNotFoundError: there is none.
        UnreachableError: the store can't be reached.
    """
    if store:
        mirror = mirrored(store, check_collection_name(name_or_path))
        mirror.pull()
        return mirror.root
    for root in (collections / name_or_path, Path(name_or_path)):
        if holds_collection(root):
            return root
    raise CollectionNotFoundError(
        f"no collection {name_or_path!r}: neither {collections / name_or_path} nor {name_or_path} has a generation. "
        "`wildsat index build` makes one"
    )


def folder_of(name: str, collections: Path, store: str | None, *, ids_alone: bool = False) -> Path:
    """Folder in which a collection lies or will lie; of one in a store that of the copies, its own brought up to date.

    Args:
        name: of the collection.
        collections: folder that is taken without a store.
        store: address, or None.
        ids_alone: whether its vectors can stay where they are.
    """
    if not store:
        return collections
    copies = copies_of(store, Copies.IDS if ids_alone else Copies.WHOLE)
    mirror = mirrored(store, check_collection_name(name), copies)
    try:
        mirror.pull()
    except CollectionNotFoundError:
        mirror.forget()
    return copies
