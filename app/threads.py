"""How many threads one multiplication may take: requests side by side use the processors better than one could."""

from __future__ import annotations


def limit_threads(threads: int) -> None:
    """Bound the pools of numpy's BLAS and of torch in this process.

    A pool of two shared by three searches makes each wait for the others at every product; with one thread each, eight
    clients got three times the answers, and one client alone waits no longer.
    """
    import torch
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)
