"""What this machine has, on every system."""

from __future__ import annotations

import os
import sys


def processors() -> int:
    """Processors that this process may run on; all of them where the system knows no affinity (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, its children not counted; None where that can't be known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 2**20  # bytes on macOS, kibibytes elsewhere
