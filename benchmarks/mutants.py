"""How many small faults the tests notice: mutmut's mutants of search/, collection/, app/requests and app/layers.

    make mutants MINUTES=30                              # a sample, drawn by chance; the same again goes on
    python -m benchmarks.mutants --only 'app.layers.*'   # or of a part of the code

mutmut makes some nine thousand mutants in the folder `mutants` (remove it after changes). All would take many hours, so
a sample is tried within a time: the tests of a module (below) run in a forked process until one fails. First they must
pass without a mutant. Each result is kept in mutants/results.jsonl; `mutmut show NAME` prints what a survivor changed.
"""

import argparse
import fnmatch
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
RESULTS = FOLDER / "results.jsonl"
PRELOADED = ("faiss", "numpy", "pyarrow.parquet", "pytest", "shapely", "torch")  # no plug-in of pytest
SECONDS = 300.0  # then it hangs
NOTICED = ("killed", "timeout")
NOBODY = "no-such-mutant"

SEARCH, APP = "tests/core/search", "tests/app"
# Which tests are to notice mutants of a module; the first line that fits.
TESTS = {
    "app.layers.": [f"{APP}/test_layers.py", f"{APP}/test_guard.py", f"{APP}/test_kept.py", f"{APP}/test_service.py"],
    "app.requests.": [f"{APP}/test_search.py", f"{APP}/test_formats.py", f"{APP}/test_contract.py"],
    "wildsat_core.collection.map_tiles": ["tests/indexer/test_demo.py", f"{SEARCH}/test_heatmap.py"],
    "wildsat_core.collection.": ["tests/core/collection/test_collection.py", f"{SEARCH}/test_engine.py"],
    "wildsat_core.search.ann": [f"{SEARCH}/test_ann.py"],
    "wildsat_core.search.commands": [f"{SEARCH}/test_commands.py"],
    "wildsat_core.search.device": [f"{SEARCH}/test_device.py"],
    "wildsat_core.search.feedback": [f"{SEARCH}/test_feedback.py"],
    "wildsat_core.search.filters": [f"{SEARCH}/test_engine.py", f"{SEARCH}/test_filters.py"],
    "wildsat_core.search.geojson": [f"{SEARCH}/test_geojson.py", f"{APP}/test_search.py"],
    "wildsat_core.search.habitats": [f"{APP}/test_formats.py", f"{APP}/test_service.py"],
    "wildsat_core.search.heatmap": [f"{SEARCH}/test_heatmap.py"],
    "wildsat_core.search.paging": [f"{SEARCH}/test_paging.py"],
    "wildsat_core.search.pixels": [f"{SEARCH}/test_heatmap.py"],
    "wildsat_core.search.prefix": [f"{SEARCH}/test_prefix.py"],
    "wildsat_core.search.properties": [f"{SEARCH}/test_properties.py"],
    "wildsat_core.search.quantised": [f"{SEARCH}/test_quantised.py"],
    "wildsat_core.search.scorer": [f"{SEARCH}/test_prefix.py", f"{SEARCH}/test_engine.py"],
    "wildsat_core.search.species": [f"{SEARCH}/test_species.py"],
    "wildsat_core.search.understanding": [f"{SEARCH}/test_understanding.py"],
    "wildsat_core.search.": [f"{SEARCH}/test_engine.py", f"{SEARCH}/test_hubs.py", f"{APP}/test_search.py"],
}


def make_mutants() -> None:
    """Have mutmut copy the sources and write every mutant beside its function."""
    from mutmut import __main__ as mutmut

    if not FOLDER.is_dir():
        FOLDER.mkdir()
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.create_mutants(os.cpu_count() or 1)


def mutants(only: str) -> list[str]:
    files = sorted(FOLDER.rglob("*.meta"))
    names = [name for file in files for name in json.loads(file.read_text())["exit_code_by_key"]]
    return [name for name in names if fnmatch.fnmatch(name, only)]


def tests_of(mutant: str) -> list[str]:
    return next(tests for module, tests in TESTS.items() if mutant.startswith(module))


def try_mutant(name: str, tests: list[str]) -> str:
    """What becomes of a mutant: killed, survived or timeout."""
    child = os.fork()
    if child == 0:
        run_tests(name, tests)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "killed" if os.waitstatus_to_exitcode(status) else "survived"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run_tests(mutant: str, tests: list[str]) -> None:
    """In a process of its own, with the folder of mutants in the place of the sources; never returns."""
    os.setsid()
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sources = Path.cwd()
    os.chdir(FOLDER)
    sys.path[:] = [str(Path.cwd()), *(path for path in sys.path if Path(path).resolve() != sources)]
    os.environ["MUTANT_UNDER_TEST"] = mutant
    import pytest

    options = ["--rootdir=.", "--tb=no", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    os._exit(int(pytest.main([*options, *tests])))


def wilson(part: int, whole: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    share, spread = part / whole, z * z / whole
    middle, half = share + spread / 2, z * ((share * (1 - share) + spread / 4) / whole) ** 0.5
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


def read_results() -> dict[str, str]:
    lines = RESULTS.read_text().splitlines() if RESULTS.is_file() else []
    return {entry["mutant"]: entry["outcome"] for entry in map(json.loads, lines)}


def report(outcomes: dict[str, str], total: int) -> None:
    by_room: dict[str, Counter[str]] = {}
    for name, outcome in outcomes.items():
        by_room.setdefault(".".join(name.split(".")[:2]), Counter())[outcome] += 1
        by_room.setdefault("all", Counter())[outcome] += 1
    for room, counts in sorted(by_room.items()):
        tried, noticed = counts.total(), sum(counts[outcome] for outcome in NOTICED)
        low, high = wilson(noticed, tried)
        parts = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        print(f"{room}: {noticed}/{tried} noticed, {noticed / tried:.0%} (95 %: {low:.0%} to {high:.0%}); {parts}")
    print(f"{len(outcomes)} of {total} mutants tried. Survived:")
    for name in sorted(name for name, outcome in outcomes.items() if outcome not in NOTICED):
        print(f"  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on")
    parser.add_argument("--only", default="*", help="names of mutants, as 'app.layers.*'")
    parser.add_argument("--seed", type=int, default=0, help="of the sample's order")
    asked = parser.parse_args()
    make_mutants()
    names, outcomes = mutants(asked.only), read_results()
    random.Random(asked.seed).shuffle(names)
    for module in PRELOADED:  # once, and not in each child
        importlib.import_module(module)
    clean: set[str] = set()
    end = time.monotonic() + asked.minutes * 60
    with RESULTS.open("a") as file:
        for name in names:
            if name in outcomes or time.monotonic() > end:
                continue
            tests = tests_of(name)
            if not clean >= set(tests):
                assert try_mutant(NOBODY, tests) == "survived", f"{' '.join(tests)} fail without a mutant"
                clean.update(tests)
            outcomes[name] = try_mutant(name, tests)
            file.write(json.dumps({"mutant": name, "outcome": outcomes[name]}) + "\n")
            file.flush()
            print(f"{outcomes[name]}  {name}", file=sys.stderr)
    known = set(names)
    report({name: outcome for name, outcome in outcomes.items() if name in known}, len(names))


if __name__ == "__main__":
    main()
