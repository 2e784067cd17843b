"""How many small faults the tests notice: mutmut's mutants of search/, collection/, app/requests and app/layers.

    make mutants MINUTES=30                              # a sample, drawn by chance; the same again goes on
    python -m benchmarks.mutants --only 'app.layers.*'   # or of a part of the code

mutmut makes some nine thousand mutants in the folder `mutants` (remove it after changes). All would take many hours, so
a sample is tried within a time. All tests (below) run once without a mutant, where they must pass, and tell which
functions each of them calls; of a mutant those run that call its function, the quickest first, in a forked process
until one fails. What fixtures call counts for all tests of the file. Each result is kept in mutants/results.jsonl;
`mutmut show NAME` prints what a survivor changed.
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
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

FOLDER = Path("mutants")
RESULTS = FOLDER / "results.jsonl"
REACH = FOLDER / "reach.json"  # which tests call a function, the quickest first
PRELOADED = ("faiss", "numpy", "pyarrow.parquet", "pytest", "shapely", "torch")  # no plug-in of pytest
SECONDS = 300.0  # then it hangs
NOTICED = ("killed", "timeout")
NOBODY = "stats"  # to mutmut: no mutant, but say which functions are called

# Tests that may notice them: all but those that run processes of their own, in which calls aren't seen, or a browser.
TESTS = ("tests/core/search", "tests/core/collection", "tests/app", "tests/indexer/test_demo.py")
LEFT_OUT = (
    "tests/app/browser",
    *(f"tests/app/test_{name}.py" for name in ("agents", "clients_md", "poor_machine", "ray", "stac_api", "workers")),
    *(f"tests/core/collection/test_{name}.py" for name in ("durability", "racing")),
)


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


def try_mutant(name: str, tests: list[str], *plugins: object, seconds: float = SECONDS) -> str:
    """What becomes of a mutant: killed, survived, timeout, or untested where no test calls its function."""
    if not tests:
        return "untested"
    child = os.fork()
    if child == 0:
        run_tests(name, tests, list(plugins))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "killed" if os.waitstatus_to_exitcode(status) else "survived"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def run_tests(mutant: str, tests: list[str], plugins: list[object]) -> None:
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
    os._exit(int(pytest.main([*options, *tests], plugins)))


class Reach:
    """A plug-in of pytest that writes which tests call a function."""

    def __init__(self) -> None:
        self.called: dict[str, set[str]] = defaultdict(set)  # by a test; by a file what its fixtures call
        self.seconds: dict[str, float] = defaultdict(float)
        self.imported: set[str] = set()  # called as modules were read, so that every test may notice

    def pytest_collection_finish(self) -> None:
        from mutmut.state import state

        self.imported |= state()._stats
        state()._stats.clear()

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        from mutmut.state import state

        self.seconds[item.nodeid] += call.duration
        part = item.nodeid.partition("::")[0] if call.when == "setup" else item.nodeid
        self.called[part] |= state()._stats
        state()._stats.clear()

    def pytest_sessionfinish(self) -> None:
        tests: dict[str, list[str]] = defaultdict(list)
        for test in sorted(self.seconds, key=self.seconds.__getitem__):
            for function in self.called[test] | self.called[test.partition("::")[0]] | self.imported:
                tests[function].append(test)
        Path(REACH.name).write_text(json.dumps(tests))


def reach() -> dict[str, list[str]]:
    """Tests by the function that they call; runs all of them where that isn't known yet."""
    if not REACH.is_file():
        tests = [*TESTS, *(f"--ignore={test}" for test in LEFT_OUT)]
        outcome = try_mutant(NOBODY, tests, Reach(), seconds=3600)
        assert outcome == "survived", f"pytest {' '.join(tests)} fails without a mutant"
    found: dict[str, list[str]] = json.loads(REACH.read_text())
    return found


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
    tests = reach()
    end = time.monotonic() + asked.minutes * 60
    with RESULTS.open("a") as file:
        for name in names:
            if name in outcomes or time.monotonic() > end:
                continue
            outcomes[name] = try_mutant(name, tests.get(name.rpartition("__mutmut_")[0], []))
            file.write(json.dumps({"mutant": name, "outcome": outcomes[name]}) + "\n")
            file.flush()
            print(f"{outcomes[name]}  {name}", file=sys.stderr)
    known = set(names)
    report({name: outcome for name, outcome in outcomes.items() if name in known}, len(names))


if __name__ == "__main__":
    main()
