"""Units on a Ray cluster: actors do them, this process hands them out, and whatever dies is done again.

Ray restarts nothing (`max_restarts=0`): the receipts say what is done, so a dead actor costs the units that it had.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from indexer.cluster.plan import JobPlan
from indexer.cluster.receipts import Receipt, note_failure, unit_names
from indexer.pipeline.options import Progress
from wildsat_core.errors import SourceError, WildsatError
from wildsat_core.ray_cluster import join

logger = logging.getLogger(__name__)

UNITS_AN_ACTOR: Final = 2  # one at work, one waiting, so that no actor waits for this process
MOST_FAILURES: Final = 3
LOOK_S: Final = 1.0
TELL_S: Final = 2.0  # after which actors are asked again how far they are
BEGIN_S: Final = 30.0  # after which it is said that no actor has begun

TELLING: Final = "telling"  # a thread of its own in each actor: one that is at work can be asked

StartWorker = Callable[[], Any]  # gives something with `run_unit(number, on_progress) -> Receipt`


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
    """An actor as this process sees it: it begins, then it has units.

    Attributes:
        handle: Ray's.
        beginning: Ray's reference of its beginning; None once it has begun.
        tries: how often it tried to begin.
        running: its units by Ray's reference.
        since: when it got the unit that is at work.
        telling: Ray's reference of how far it is; None where it was not asked.
    """

    handle: Any
    beginning: Any
    tries: int = 1
    running: dict[Any, int] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    telling: Any = None


class _UnitActor:
    """Runs in a process of its own; opens model and source once."""

    def begin(self, start: StartWorker, folder: str) -> None:
        """Relative paths mean what they mean to the process that hands units out."""
        if Path(folder).is_dir():
            os.chdir(folder)
        self._at_work = -1, 0
        self._worker = start()

    def run_unit(self, number: int) -> str:
        self._at_work = number, 0

        def on_progress(more: int) -> None:
            self._at_work = number, self._at_work[1] + more

        receipt: Receipt = self._worker.run_unit(number, on_progress)
        return receipt.model_dump_json()

    def at_work(self) -> tuple[int, int]:
        """The latest unit, and how many of its candidates were dealt with."""
        return self._at_work


def run_on_ray(
    root: Path,
    plan: JobPlan,
    units: Sequence[int],
    start: StartWorker,
    options: RayOptions,
    on_progress: Progress = lambda _: None,
    on_done: Callable[[Receipt], None] = lambda _: None,
) -> Mapping[str, str]:
    """Have units done by actors; a unit that failed three times is named under `failed/` and left.

    Args:
        root: folder of the collection, as every node sees it.
        plan: of the job.
        units: numbers of those to do.
        start: called once in each actor.
        options: where and how.
        on_progress: called with the number of candidates dealt with since the last call.
        on_done: called with each receipt.

    Returns:
        Why units failed for good, by name.

    Raises:
        MissingExtraError: Ray is not installed.
        UnreachableError: there is no such cluster.
        SourceError: no actor could begin, each for a reason like the one that is told.
    """
    with connected(options.address):
        import ray

        needs = {"max_restarts": 0, "num_gpus": options.gpus, "num_cpus": 1, "concurrency_groups": {TELLING: 1}}
        actor_class = ray.remote(**needs)(_UnitActor)
        folder = str(Path.cwd())

        def new() -> tuple[Any, Any]:
            handle = actor_class.remote()
            return handle, handle.begin.remote(start, folder)

        run = _Run(root, plan, deque(units), options.timeout_s, new, on_progress, on_done)
        run.go(min(options.actors or _room(options.gpus), max(len(units), 1)))
        return run.failed


class _Run:
    """The queue of units, who has which, and how often each failed."""

    def __init__(
        self,
        root: Path,
        plan: JobPlan,
        waiting: deque[int],
        timeout_s: float,
        new: Callable[[], tuple[Any, Any]],
        on_progress: Progress,
        on_done: Callable[[Receipt], None],
    ) -> None:
        self._root, self._plan, self._waiting = root, plan, waiting
        self._timeout_s, self._new, self._on_progress, self._on_done = timeout_s, new, on_progress, on_done
        self._shown: Counter[int] = Counter()  # candidates of units that are not done, as far as they were told
        self._names = unit_names(plan)
        self._failures: Counter[int] = Counter()
        self._actors: list[_Actor] = []
        self.failed: dict[str, str] = {}

    def go(self, count: int) -> None:
        """Have the units done by so many actors."""
        import ray

        self._actors = [_Actor(*self._new()) for _ in range(count)]
        told_at, ask_at = time.monotonic() + BEGIN_S, time.monotonic() + TELL_S
        try:
            while self._waiting or any(actor.running for actor in self._actors):
                self._hand_out()
                if time.monotonic() > ask_at:
                    self._ask()
                    ask_at = time.monotonic() + TELL_S
                pending = [
                    one
                    for actor in self._actors
                    for one in (actor.beginning, actor.telling, *actor.running)
                    if one is not None
                ]
                done, _ = ray.wait(pending, num_returns=1, timeout=LOOK_S)
                for reference in done:
                    self._take(reference)
                if time.monotonic() > told_at and all(actor.beginning is not None for actor in self._actors):
                    logger.warning("no actor has begun yet: %s", _what_is_free())
                    told_at = float("inf")
                for actor in self._actors:
                    if actor.running and time.monotonic() - actor.since > self._timeout_s:
                        ray.kill(actor.handle)
                        self._replace(actor, f"took longer than {self._timeout_s:g} s")
        finally:
            for actor in self._actors:
                ray.kill(actor.handle)

    def _hand_out(self) -> None:
        """Give units to actors that have begun; a second one only while there are more than enough for all."""
        begun = [actor for actor in self._actors if actor.beginning is None]
        for most in range(1, UNITS_AN_ACTOR + 1):
            left = 0 if most == 1 else len(self._actors)
            for actor in begun:
                if len(actor.running) >= most or len(self._waiting) <= left:
                    continue
                number = self._waiting.popleft()
                if not actor.running:
                    actor.since = time.monotonic()
                actor.running[actor.handle.run_unit.remote(number)] = number

    def _ask(self) -> None:
        """Ask those at work how far they are."""
        for actor in self._actors:
            if actor.running and actor.telling is None:
                actor.telling = actor.handle.at_work.options(concurrency_group=TELLING).remote()

    def _heard(self, actor: _Actor) -> None:
        """Progress moves on, and never back: a unit that is done again is shown once it is further than before."""
        import ray

        reference, actor.telling = actor.telling, None
        try:
            number, dealt = ray.get(reference)
        except ray.exceptions.RayError:
            return  # what becomes of its units is heard from them
        if number in actor.running.values():
            self._show(number, dealt)

    def _show(self, number: int, dealt: int) -> None:
        if dealt > self._shown[number]:
            self._on_progress(dealt - self._shown[number])
            self._shown[number] = dealt

    def _take(self, reference: Any) -> None:  # noqa: ANN401 - Ray's
        """An actor has begun, or did a unit, or could not, or tells how far it is."""
        import ray

        actor = next(
            one for one in self._actors if reference in (one.beginning, one.telling) or reference in one.running
        )
        if reference == actor.telling:
            self._heard(actor)
            return
        begins = reference == actor.beginning
        try:
            said = ray.get(reference)
        except ray.exceptions.RayError as err:
            died = isinstance(err, ray.exceptions.RayActorError)
            problem = str(err) if died else _why(err)
            if begins:
                self._begin_again(actor, problem)
            elif died:
                self._replace(actor, problem)
            else:
                self._again(actor.running.pop(reference), problem)
        else:
            if begins:
                actor.beginning = None
            else:
                del actor.running[reference]
                receipt = Receipt.model_validate_json(said)
                self._show(receipt.unit, receipt.listed)
                self._on_done(receipt)
        actor.since = time.monotonic()

    def _begin_again(self, actor: _Actor, problem: str) -> None:
        """It could not begin: another one may, on another node; after some tries there is one less.

        Raises:
            SourceError: none is left.
        """
        import ray

        ray.kill(actor.handle)
        if actor.tries < MOST_FAILURES:
            actor.tries += 1
            actor.handle, actor.beginning = self._new()
            return
        self._actors.remove(actor)
        logger.warning("an actor could not begin: %s", problem)
        if not self._actors:
            raise SourceError(f"no actor of the Ray cluster could begin: {problem}")

    def _replace(self, actor: _Actor, problem: str) -> None:
        """The actor is gone: what it had is done again; only the unit that was at work may be at fault."""
        lost = list(actor.running.values())
        actor.handle, actor.beginning = self._new()
        actor.tries, actor.running, actor.telling = 1, {}, None
        self._waiting.extendleft(reversed(lost[1:]))
        for number in lost[:1]:
            self._again(number, problem)

    def _again(self, number: int, problem: str) -> None:
        name = self._names[number]
        self._failures[number] += 1
        if self._failures[number] < MOST_FAILURES:
            self._waiting.append(number)
            return
        logger.error("unit %s: %s", name, problem.strip())
        self.failed[name] = problem
        note_failure(self._root, self._plan.job, name, problem)


def _why(err: Exception) -> str:
    """What went wrong in an actor: our own errors are sentences, others are told with where they came from."""
    cause = getattr(err, "cause", None)
    return str(cause) if isinstance(cause, WildsatError) else str(err)


def _what_is_free() -> str:
    """Of the cluster's processors and GPUs."""
    import ray

    has, free = ray.cluster_resources(), ray.available_resources()
    told = [f"{free.get(kind, 0):g} of {has[kind]:g} {kind}s" for kind in ("CPU", "GPU") if kind in has]
    return f"{' and '.join(told) or 'no processor'} of the cluster are free, and each actor takes one"


class connected:  # noqa: N801 - a context manager
    """A connection to a cluster, ended with the block; one that is there already stays."""

    def __init__(self, address: str | None) -> None:
        # Without an address Ray would join whatever cluster was started on this machine last.
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._mine = False

    def __enter__(self) -> None:
        new = self._address == "local"
        if new:  # read when Ray is imported; without it Ray takes the machine's own address, and listens everywhere
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        local: dict[str, Any] = {"_node_ip_address": "127.0.0.1", "include_dashboard": False} if new else {}
        self._mine = join(self._address, "building on a cluster", configure_logging=False, log_to_driver=False, **local)

    def __exit__(self, *_: object) -> None:
        import ray

        if self._mine:
            ray.shutdown()


def _room(gpus: float) -> int:
    import ray

    has = ray.cluster_resources()
    return max(1, int(has.get("GPU", 0) / gpus if gpus else has.get("CPU", 1)))
