"""What other systems lack is neither imported nor called: this one is made to lack it, for our own code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

POORER = """
import builtins, os, sys

imported, rooms = builtins.__import__, {"app", "indexer", "training", "wildsat_core"}

def only_what_windows_has(name, globals=None, *rest):
    asker = (globals or {}).get("__name__", "").partition(".")[0]
    if name in ("fcntl", "resource", "pwd", "grp", "termios") and asker in rooms:
        raise ModuleNotFoundError(f"no module {name} here", name=name)
    return imported(name, globals, *rest)

builtins.__import__ = only_what_windows_has
del os.sched_getaffinity
"""


def on_a_poorer_system(code: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", POORER + code], cwd=ROOT, capture_output=True, text=True, env=None, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported(tmp_path):
    code = """
import importlib, pkgutil
for room in rooms:
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        importlib.import_module(module.name)
print("all")
"""
    assert on_a_poorer_system(code, tmp_path).split() == ["all"]


def test_a_collection_is_built_locked_and_scanned(tmp_path):
    code = f"""
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from indexer.pipeline.reading import default_workers
from indexer.pipeline.report import BuildReport
from tests.core.search.fakes import random_collection
from training.config import default_workers as readers
from wildsat_core.collection.lock import writer_lock
from wildsat_core.errors import CollectionLockedError
from wildsat_core.search.quantised import QuantisedScan

collection = random_collection(Path({str(tmp_path)!r}) / "c", 500)
with writer_lock(collection.root):
    try:
        with writer_lock(collection.root):
            print("two writers")
    except CollectionLockedError:
        print("one writer")
report = BuildReport("c", "m")
print("peak_memory_mib" in report.as_dict(), "peak memory" in report.text())
print(default_workers() >= 1, readers() >= 1)
dim = collection.manifest.spaces["text"].dim
plan = SimpleNamespace(slopes={{"text": np.ones(dim, np.float32)}}, constant=0.0)
print(len(QuantisedScan(collection, np.arange(500)).sample_scores(plan)))
"""
    lines = on_a_poorer_system(code, tmp_path).splitlines()
    assert lines == ["one writer", "False False", "True True", "500"]
