"""How many threads one multiplication may take: requests side by side use the processors better than one could."""

from __future__ import annotations

import sys


def limit_threads(threads: int) -> None:
    """Bound the pools of numpy's BLAS, and of torch where it is loaded; who loads it later bounds it then.

    A pool of two shared by three searches makes each wait for the others at every product; with one thread each, eight
    clients got three times the answers, and one client alone waits no longer.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
