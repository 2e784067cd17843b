"""What this machine has, on every system."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def processors() -> int:
    """Processors that this process may run on; all of them where the system knows no affinity (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def let_threads_sleep() -> None:
    """Have OpenMP's threads, which are torch's, sleep while one waits for another; before torch is loaded.

    By default they keep their processors busy for a while, which readers and other requests want: docs/performance.md
    has what that cost.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@cache
def thread_pool() -> ThreadPoolExecutor:
    """As many threads as there are processors to run on: numpy and numkong let go of the interpreter's lock.

    All searches share them, so nothing that runs on one may wait for another.
    """
    return ThreadPoolExecutor(processors(), "wildsat-scan")


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, its children not counted; None where that can't be known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**20  # bytes on macOS, kibibytes elsewhere


def open_files(wanted: int) -> int | None:
    """How many files and connections this process may have open at once; None where there is no limit.

    Args:
        wanted: up to here the limit is raised, as far as the system lets a process do that itself.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    if limit < wanted:
        limit = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, highest))
    return limit
