"""`wildsat index build` and `add`."""

from typing import Final

from indexer.commands.build import PICTURE_ORDERS, Build, BuildVectors
from indexer.commands.by_source import by_source, join
from indexer.commands.roots import collection_root
from indexer.commands.share import run_in_units
from indexer.commands.sources import VectorOptions


def run_build(order: Build | BuildVectors) -> None:
    """Make the collection, or add to it."""
    order = order.at_hand(ids_alone=not order.dry_run)
    if isinstance(order, Build):
        run_in_units(order)
    else:
        order.run()


def run_add(order: Build | BuildVectors) -> None:
    """Add to a collection that there is."""
    collection_root(order.name, order.collections, order.store)
    run_build(order)


ORDERS: Final = {
    **PICTURE_ORDERS,
    "parquet": join(BuildVectors, VectorOptions),
}

build = by_source(
    ORDERS,
    run_build,
    """Index imagery into a collection, making it if there is none.

    The same command goes on after an interruption, and does nothing when all is indexed. Look first with --dry-run.

    For example: wildsat index build raster alps --input alps.tif --tile-km 2.56 --stretch 0,3000

    What a kind takes: wildsat index build KIND --help. The kind may also be given as --source KIND; without one it
    is a raster.
    """,
)

add = by_source(
    ORDERS,
    run_add,
    """Index more imagery into a collection that there is.

    Tiles that it holds already are skipped, or embedded anew and replaced with --replace. The options are those of
    `build`; the model is the collection's own.

    For example: wildsat index add raster alps --input tirol.tif --tile-km 2.56 --stretch 0,3000
    """,
)
