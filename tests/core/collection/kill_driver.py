"""Runs a change of a collection again and again, killed at another of its write points each time.

    python -m tests.core.collection.kill_driver ROOT CHANGE

A write point is a call that makes, renames or removes something below ROOT, or opens it for writing: Python's audit
events name them all. Each attempt works on a copy of ROOT in a forked child that kills itself with SIGKILL at the n-th
point; a second child opens what is left and says what it found. One JSON line per attempt goes to standard output; the
last one is of the attempt that ran to its end.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from tests.core.collection.conftest import make_tiles, make_vectors, writer
from wildsat_core.collection import open_collection
from wildsat_core.collection.garbage import collect_garbage
from wildsat_core.collection.maintain import compact, delete_tiles, verify

WRITES = {
    "os.rename",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "sqlite3.connect",
    "shutil.rmtree",
}


def add(root):
    with writer(root, job="more") as out:
        out.add(make_tiles(9), make_vectors(9), on_known="replace")
        out.publish()


def delete(root):
    delete_tiles(root, np.array([0, 2]), generation=open_collection(root).generation)


def ann(root):
    from wildsat_core.search.ann import build_ann

    build_ann(open_collection(root), "text", "sq8")


def gc(root):
    collect_garbage(root, grace_s=-1)


CHANGES = {"add": add, "ann": ann, "delete": delete, "compact": compact, "gc": gc}


def die_at(point, root):
    """Kill this process at its n-th write point below root."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        writing = event in WRITES
        if event == "open" and isinstance(args[1], str):
            writing = any(letter in args[1] for letter in "wax+")
        elif event == "open":
            writing = bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writing and str(root) in str(args[0]):
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(hook)


def in_child(work):
    """Run in a forked child; True when it ended by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's code
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"a child failed with {os.WEXITSTATUS(status)}")
    return os.WIFEXITED(status)


def state(root):
    """What a reader finds: generation, ids, sums of vectors, problems."""
    collection = open_collection(root)
    rows = np.flatnonzero(collection.tiles.live)
    return {
        "generation": collection.generation,
        "ids": sorted(collection.tile(int(r)).tile_id for r in rows),
        "sum": round(float(np.abs(collection.vectors("text", rows)).sum()), 3),
        "indexes": sorted(collection.manifest.ann),
        "problems": verify(root),
    }


def main(root, change):
    copy = root.with_name("copy")
    for point in range(1000):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(root, copy)

        def attempt(point=point):
            die_at(point, copy)
            CHANGES[change](copy)

        finished = in_child(attempt)

        def look(point=point, finished=finished):
            before = state(copy)
            CHANGES[change](copy)  # the same change goes through afterwards
            after = state(copy)
            print(json.dumps({"point": point, "finished": finished, "before": before, "after": after}), flush=True)

        in_child(look)
        if finished:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
