"""Units on a Ray cluster: actors do them, this process hands them out, and whatever dies is done again.

Ray restarts nothing (`max_restarts=0`): the receipts say what is done, so a dead actor costs the units that it had.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from indexer.cluster.plan import JobPlan
from indexer.cluster.receipts import Receipt, note_failure, unit_names

UNITS_AN_ACTOR: Final = 2  # one at work, one waiting, so that no actor waits for this process
MOST_FAILURES: Final = 3
LOOK_S: Final = 1.0

StartWorker = Callable[[], Any]  # gives something with `run_unit(number) -> Receipt`


@dataclass(frozen=True)
class RayOptions:
    """Where and how the actors run.

    Attributes:
        address: of a running cluster, "auto" for the one of this machine; None starts one here, on loopback.
        actors: how many; None for one a GPU, or one a processor.
        gpus: an actor's share of a GPU.
        timeout_s: a unit that takes longer is given to another actor.
    """

    address: str | None = None
    actors: int | None = None
    gpus: float = 0.0
    timeout_s: float = 3600.0


@dataclass
class _Actor:
    handle: Any
    running: dict[Any, int] = field(default_factory=dict)  # by Ray's reference
    since: float = field(default_factory=time.monotonic)


class _UnitActor:
    """Runs in a process of its own; opens model and source once."""

    def __init__(self, start: StartWorker, folder: str) -> None:
        """Relative paths mean what they mean to the process that hands units out."""
        if Path(folder).is_dir():
            os.chdir(folder)
        self._worker = start()

    def run_unit(self, number: int) -> str:
        receipt: Receipt = self._worker.run_unit(number)
        return receipt.model_dump_json()


def run_on_ray(
    root: Path,
    plan: JobPlan,
    units: Sequence[int],
    start: StartWorker,
    options: RayOptions,
    on_done: Callable[[Receipt], None] = lambda _: None,
) -> Mapping[str, str]:
    """Have units done by actors; a unit that failed three times is named under `failed/` and left.

    Args:
        root: folder of the collection, as every node sees it.
        plan: of the job.
        units: numbers of those to do.
        start: called once in each actor.
        options: where and how.
        on_done: called with each receipt.

    Returns:
        Why units failed for good, by name.
    """
    import ray

    with connected(options.address):
        actor_class = ray.remote(max_restarts=0, num_gpus=options.gpus, num_cpus=1)(_UnitActor)
        count = options.actors or _room(options.gpus)
        run = _Run(root, plan, deque(units), options.timeout_s, on_done)
        run.go(lambda: actor_class.remote(start, str(Path.cwd())), min(count, max(len(units), 1)))
        return run.failed


class _Run:
    """The queue of units, who has which, and how often each failed."""

    def __init__(
        self, root: Path, plan: JobPlan, waiting: deque[int], timeout_s: float, on_done: Callable[[Receipt], None]
    ) -> None:
        self._root, self._plan, self._waiting = root, plan, waiting
        self._timeout_s, self._on_done = timeout_s, on_done
        self._names = unit_names(plan)
        self._failures: Counter[int] = Counter()
        self.failed: dict[str, str] = {}

    def go(self, new_actor: Callable[[], Any], count: int) -> None:
        import ray

        actors = [_Actor(new_actor()) for _ in range(count)]
        try:
            while self._waiting or any(actor.running for actor in actors):
                for actor in actors:
                    while self._waiting and len(actor.running) < UNITS_AN_ACTOR:
                        number = self._waiting.popleft()
                        if not actor.running:
                            actor.since = time.monotonic()
                        actor.running[actor.handle.run_unit.remote(number)] = number
                pending = [reference for actor in actors for reference in actor.running]
                done, _ = ray.wait(pending, num_returns=1, timeout=LOOK_S)
                for reference in done:
                    self._take(next(actor for actor in actors if reference in actor.running), reference, new_actor)
                for actor in actors:
                    if actor.running and time.monotonic() - actor.since > self._timeout_s:
                        ray.kill(actor.handle)
                        self._replace(actor, new_actor, f"took longer than {self._timeout_s:g} s")
        finally:
            for actor in actors:
                ray.kill(actor.handle)

    def _take(self, actor: _Actor, reference: Any, new_actor: Callable[[], Any]) -> None:  # noqa: ANN401 - Ray's
        import ray

        try:
            receipt = Receipt.model_validate_json(ray.get(reference))
        except ray.exceptions.RayActorError as err:
            self._replace(actor, new_actor, str(err))
            return
        except ray.exceptions.RayTaskError as err:
            self._again(actor.running.pop(reference), "".join(traceback.format_exception_only(err)))
        else:
            del actor.running[reference]
            self._on_done(receipt)
        actor.since = time.monotonic()

    def _replace(self, actor: _Actor, new_actor: Callable[[], Any], problem: str) -> None:
        """The actor is gone: what it had is done again; only the unit that was at work may be at fault."""
        lost = list(actor.running.values())
        actor.handle, actor.running = new_actor(), {}
        self._waiting.extendleft(reversed(lost[1:]))
        for number in lost[:1]:
            self._again(number, problem)

    def _again(self, number: int, problem: str) -> None:
        self._failures[number] += 1
        if self._failures[number] < MOST_FAILURES:
            self._waiting.append(number)
            return
        self.failed[self._names[number]] = problem
        note_failure(self._root, self._plan.job, self._names[number], problem)


class connected:  # noqa: N801 - a context manager
    """A connection to a cluster, ended with the block; one that is there already stays."""

    def __init__(self, address: str | None) -> None:
        # Without an address Ray would join whatever cluster was started on this machine last.
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._mine = False

    def __enter__(self) -> None:
        new = self._address == "local"
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if new:  # read when Ray is imported; without it Ray takes the machine's own address, and listens everywhere
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        import ray

        if ray.is_initialized():
            return
        local: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False} if new else {}
        ray.init(address=self._address, configure_logging=False, log_to_driver=False, **local)
        self._mine = True

    def __exit__(self, *_: object) -> None:
        import ray

        if self._mine:
            ray.shutdown()


def _room(gpus: float) -> int:
    import ray

    has = ray.cluster_resources()
    return max(1, int(has.get("GPU", 0) / gpus if gpus else has.get("CPU", 1)))
