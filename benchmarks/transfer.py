"""`python -m benchmarks.indexing transfer`: what sending batches while a GPU computes gains over waiting for each.

"resident" embeds a batch that the device holds already, the most that any way of sending reaches. "waiting" sends a
batch and waits for its vectors before the next; "overlapped" gathers it in page-locked memory and
fetches its vectors one batch later, as a build does. The ways take turns, and must give the same vectors.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.index_throughput import random_model
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model
from wildsat_core.models.transfer import PendingVectors, gathered

Vectors = dict[str, np.ndarray]
Batch = list[np.ndarray]


def again(model: WildSATModel, batch: torch.Tensor, times: int) -> object:
    return [model.begin_embedding(batch) for _ in range(times)][-1].result()


def waiting(model: WildSATModel, batches: list[Batch]) -> list[Vectors]:
    return [dict(model.embed_pixels(np.stack(batch))) for batch in batches]


def overlapped(model: WildSATModel, batches: list[Batch]) -> list[Vectors]:
    found: list[Vectors] = []
    pending: PendingVectors | None = None
    for batch in batches:
        begun = model.begin_embedding(gathered(batch, model.device))
        if pending is not None:
            found.append(dict(pending.result()))
        pending = begun
    assert pending is not None
    return [*found, dict(pending.result())]


def transfer(args: argparse.Namespace) -> None:
    model = load_model(args.model) if args.architecture is None else random_model(args.architecture, args.features)
    model = model.to(args.device).optimise_for_inference()
    rng = np.random.default_rng(0)
    shape = (args.batch, 3, args.tile_px, args.tile_px)
    batches = [list(rng.integers(0, 256, shape, np.uint8)) for _ in range(args.batches)]
    resident = torch.from_numpy(np.stack(batches[0])).to(args.device)
    ways: dict[str, Callable[[], object]] = {
        "resident": lambda: again(model, resident, len(batches)),
        "waiting": lambda: waiting(model, batches),
        "overlapped": lambda: overlapped(model, batches),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, object] = {}
    for _ in range(args.turns + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = way()
            seconds[name].append(time.perf_counter() - start)
    off = max(
        float(np.abs(one[space] - other[space]).max())
        for one, other in zip(answers["waiting"], answers["overlapped"], strict=True)  # type: ignore[call-overload]
        for space in one
    )
    tiles = args.batch * args.batches
    rates = {name: tiles / statistics.median(turns[1:]) for name, turns in seconds.items()}  # the first warms up
    shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    print(f"{args.architecture or args.model} on {device}, {args.tile_px} px, batches of {args.batch}: {shown} tiles/s")
    print(f"  overlapped/waiting {rates['overlapped'] / rates['waiting']:.2f}; vectors differ by {off:.1e} at most")
