"""Several processes that train one model together, started by torchrun."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import torch
import torch.distributed as dist

from wildsat_core.errors import InvalidInputError


def choose_device(wanted: str) -> torch.device:
    """The device of this process: its own GPU of several, or the CPU.

    Raises:
        InvalidInputError: a GPU is wanted and there is none, or fewer than processes on this machine.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError("cuda is wanted as the device, and this machine has no CUDA device", "run.device")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local_rank >= gpus:
        raise InvalidInputError(
            f"process {local_rank + 1} on this machine needs a GPU of its own, and there are {gpus}: give torchrun "
            f"--nproc-per-node {gpus}, or train on the CPU with --set run.device=cpu",
            "run.device",
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def several_processes() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes if torchrun started this one; nothing alone."""
    if not several_processes():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def end_process() -> NoReturn:
    """End a process that was one of several well, without taking its interpreter down.

    Threads of a gloo group with which DistributedDataParallel has worked outlive `destroy_process_group`. One that lets
    go of its last tensor while the interpreter is being taken down aborts the process, after all has been done well.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor(float(flag), device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def barrier() -> None:
    """Wait for the other ranks."""
    if dist.is_initialized():
        dist.barrier()


def step_seed(seed: int, rank: int, step: int) -> int:
    """A seed of its own for each rank and step.

    With it the random numbers of a step depend on nothing but these three, so a resumed run draws the same ones.
    """
    mixed = (seed * 1_000_003 + rank) * 1_000_000_007 + step
    return mixed % (2**63 - 1)
