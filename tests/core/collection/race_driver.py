"""Processes that change one collection at once, without locks, as where those hold on one machine alone.

    python -m tests.core.collection.race_driver ROOT add|delete [STORE]

With a store each has a cache of its own, below ROOT. Of three forked children two commit segments and one writes, twice
each; or all of them delete what they had added.
"""

import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from tests.core.collection.conftest import MODEL, SPACES, make_tiles, make_vectors, writer
from wildsat_core.collection import commit, maintain
from wildsat_core.collection import writer as writing
from wildsat_core.collection.mirror import mirrored
from wildsat_core.collection.segment import write_segment

PROCESSES, TURNS = 3, 2


def own(number, turn):
    """Rows of five tiles that only this process adds in this turn."""
    return range(6 + 20 * number + 5 * turn, 11 + 20 * number + 5 * turn)


def change(root, kind, number, turn):
    tiles, vectors = make_tiles(70, "many"), make_vectors(70)
    mine = [*own(number, turn), 66 + turn]  # the last one all of them have
    part = [tiles[i] for i in mine], {space: array[mine] for space, array in vectors.items()}
    if kind == "delete":
        ids = [tiles[i].tile_id for i in own(number, turn)]
        maintain.delete_where(root, lambda collection: collection.tiles.rows_of(ids))
    elif number:
        segment = write_segment(root, *part, [None] * 6, SPACES, generation=2, job=f"{number}")
        commit.commit_segments(root, MODEL, SPACES, [segment])
    else:
        with writer(root) as out:
            out.add(*part)
            out.publish()


def opened(root, number, store):
    """Folder of the collection as this process sees it; a store is opened in it alone: threads don't survive forks."""
    if store is None:
        return root
    os.environ["WILDSAT_CACHE"] = f"{root}/{number}"
    mirror = mirrored(store, "test")
    mirror.pull()
    return mirror.root


def main(root, kind, store=None):
    for module in (commit, maintain, writing):
        module.writer_lock = lambda *_: nullcontext()
    gate, starter = os.pipe()
    children = []
    for number in range(PROCESSES):
        children.append(os.fork())
        if not children[-1]:
            os.close(starter)
            try:
                here = opened(root, number, store)
                os.read(gate, 1)  # ends for all of them at once
                for turn in range(TURNS):
                    change(here, kind, number, turn)
                os._exit(0)
            except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
                sys.excepthook(*sys.exc_info())
                os._exit(1)
    if store is not None:
        time.sleep(1)  # until all have fetched it
    os.close(starter)
    failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    raise SystemExit(f"{failed} children failed" if failed else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
