"""Shards on a Ray cluster: an actor for each replica of each shard, and what is done when one of them is gone.

A call names the generation that it is about; an actor that does not hold it says so, so that an answer is never put
together from two. A replica that fails, or takes too long, is passed over until it has opened the shard again: another
one is asked, and only when none is left the shard is missing. Whatever an actor dies of, Ray starts it again elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildsat_core.collection.copies import Copies, copies_of
from wildsat_core.collection.manifest import Manifest
from wildsat_core.collection.mirror import mirror_of, mirrored
from wildsat_core.errors import MissingExtraError, ShardsMissingError, UnreachableError, WildsatError
from wildsat_core.ray_cluster import join, settle_environment
from wildsat_core.search.cache import Cache
from wildsat_core.search.layout import Layout
from wildsat_core.search.scan import Scores
from wildsat_core.search.scorer import ScanSettings
from wildsat_core.search.shard import Shard
from wildsat_core.search.shards import Later, Shards

settle_environment()  # before Ray is imported

try:
    import ray
    from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError
except ImportError as err:
    raise MissingExtraError("ray", "ray", "serving shards on a cluster") from err

log = logging.getLogger(__name__)

ANSWER_S = 30.0  # a replica that takes longer is passed over
OPEN_S = 1800.0  # copies of the vectors of 10^8 tiles are made meanwhile
_GENERATIONS = 2  # that an actor holds of a collection: requests may still run on the one before
_CONCURRENT = 8  # calls that an actor works on at once

Said = tuple[str, Any]  # "answer" and what, or "error" and which


@dataclass(frozen=True, slots=True)
class Part:
    """What an actor needs to open a shard.

    Attributes:
        key: names the generation and how it is dealt out; every call carries it.
        root: folder of the collection, at the same path on every node.
        store: address of the store that has it instead: each node has a copy of its own, of what its actors hold.
        layout, texts, settings: see `Shard`.
    """

    key: str
    root: str
    store: str | None
    layout: Layout
    texts: Scores
    settings: ScanSettings


class Holder:
    """The actor: one replica of one shard, of every collection that is served."""

    def __init__(self, number: int) -> None:
        """Hold nothing yet."""
        self._number = number
        self._shards: dict[str, Cache[str, Shard]] = {}  # by collection, then by key
        self._latest: dict[str, Shard] = {}
        self._lock = threading.Lock()

    def open(self, part: Part) -> None:
        """Open a shard and read ahead what searches need."""
        with self._lock:
            held = self._shards.setdefault(part.layout.manifest.name, Cache(_GENERATIONS))
        held.get(part.key, lambda: self._opened(part))

    def _opened(self, part: Part) -> Shard:
        name = part.layout.manifest.name
        before = self._latest.get(name)
        shard = Shard(self._folder(part), part.layout, self._number, part.texts, part.settings, before)
        shard.warm()
        self._latest[name] = shard
        return shard

    def _folder(self, part: Part) -> Path:
        """Where the shard's segments lie; of a collection in a store they are brought there first."""
        if part.store is None:
            return Path(part.root)
        manifest = part.layout.manifest
        mirror = mirrored(part.store, manifest.name, copies_of(part.store, Copies.PARTS))
        mirror.bring_part(manifest, part.layout.part(self._number))
        return mirror.root

    def ask(self, packed: bytes) -> bytes:
        """What a shard says to some calls; nothing where the generation is not held.

        Both are pickled here: Ray would pickle each argument on its own, which takes longer than a call that has none.
        """
        name, key, calls = pickle.loads(packed)  # noqa: S301 - from the service, as all that Ray brings
        held = self._shards.get(name)
        shard = held.known(key) if held else None
        return pickle.dumps([_said(shard, *call) for call in calls] if shard else None, pickle.HIGHEST_PROTOCOL)

    def process(self) -> tuple[str, int]:
        """The node's id and the number of the process, for whoever looks after the cluster."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


class Replica:
    """One replica of a shard, as the service sees it; safe to use from many threads."""

    def __init__(self, number: int, group: Any, place: int) -> None:  # noqa: ANN401 - a Ray placement group
        """Start the actor."""
        self._number, self._group, self._place = number, group, place
        self._lock = threading.Lock()
        self._coming: Any = None  # tells when the actor is there again with its shard
        self.running = 0
        self.actor = self._start()

    def _start(self) -> Any:  # noqa: ANN401 - a handle
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(self._group, self._place)
        options = {"num_cpus": 1, "max_restarts": -1, "max_concurrency": _CONCURRENT, "scheduling_strategy": strategy}
        return ray.remote(Holder).options(**options).remote(self._number)

    def open(self, part: Any) -> Any:  # noqa: ANN401 - references of Ray
        """Begin to open a shard."""
        return self.actor.open.remote(part)

    def lost(self, part: Any) -> None:  # noqa: ANN401 - a reference of Ray
        """Pass the replica over until it has opened its shard again."""
        with self._lock:
            if self._coming is None:
                self._coming = self.open(part)

    def is_there(self, part: Any) -> bool:  # noqa: ANN401 - a reference of Ray
        """Whether it may be asked."""
        with self._lock:
            if self._coming is None:
                return True
            ready, _ = ray.wait([self._coming], timeout=0)
            if not ready:
                return False
            try:
                ray.get(self._coming)
            except ActorDiedError:  # Ray will not start it again
                self.actor = self._start()
                self._coming = self.open(part)
            except RayError:
                self._coming = self.open(part)
            else:
                self._coming = None
            return self._coming is None


def _said(shard: Shard, method: str, args: tuple[Any, ...]) -> Said:
    try:
        return "answer", getattr(shard, method)(*args)
    except WildsatError as err:
        return "error", err


class _Calls:
    """Some calls to one shard, which go as one; another replica is asked when one is gone."""

    def __init__(self, shards: RayShards, shard: int) -> None:
        """Nothing is asked yet."""
        self._shards, self._shard = shards, shard
        self._calls: list[tuple[str, tuple[Any, ...]]] = []
        self._tried: list[Replica] = []
        self._sent: Any = None
        self._said: list[Said] | None = None
        self._lock = threading.Lock()

    def add(self, method: str, args: tuple[Any, ...]) -> Later[Any]:
        """One more."""
        place = len(self._calls)
        self._calls.append((method, args))
        return lambda: self._answer(place)

    def send(self) -> None:
        """Ask the replica with least to do of those not tried."""
        self._sent = self._shards.asked(self._shard, self._calls, self._tried)

    def _answer(self, place: int) -> Any:  # noqa: ANN401 - of `Shard`
        with self._lock:
            if self._said is None:
                self._said = self._waited()
        kind, value = self._said[place]
        if kind == "error":
            raise value
        return value

    def _waited(self) -> list[Said]:
        while True:
            if self._sent is None:
                self.send()
            said = self._shards.waited(self._tried[-1], self._sent)
            if said is not None:
                return said
            self._sent = None


class RayShards(Shards):
    """One generation on a cluster."""

    def __init__(self, layout: Layout, key: str, part: Any, replicas: Sequence[Sequence[Replica]]) -> None:  # noqa: ANN401
        """Remember; `RayCluster.open` opens."""
        super().__init__(layout)
        self._key, self._part, self._replicas = key, part, replicas
        self._together = threading.local()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """See `Shards.at_once`."""
        calls: dict[int, _Calls] = {}
        self._together.calls = calls
        try:
            yield
        finally:
            self._together.calls = None
        for each in calls.values():
            each.send()

    def _begin(self, shard: int, method: str, *args: Any) -> Later[Any]:  # noqa: ANN401 - of `Shard`
        together: dict[int, _Calls] | None = getattr(self._together, "calls", None)
        calls = _Calls(self, shard) if together is None else together.setdefault(shard, _Calls(self, shard))
        answer = calls.add(method, args)
        if together is None:
            calls.send()
        return answer

    def asked(self, shard: int, calls: Sequence[tuple[str, tuple[Any, ...]]], tried: list[Replica]) -> Any:  # noqa: ANN401
        """Ask the replica with least to do of those not tried."""
        left = [one for one in self._replicas[shard] if one not in tried and one.is_there(self._part)]
        if not left:
            raise ShardsMissingError(
                f"part of collection {self.name!r} can't be reached just now: no replica of shard {shard + 1} of "
                f"{len(self.layout.shards)} answers; try again, or take partial=true",
                frozenset({shard}),
            )
        chosen = min(left, key=lambda one: one.running)
        chosen.running += 1
        tried.append(chosen)
        return chosen.actor.ask.remote(pickle.dumps((self.name, self._key, calls), pickle.HIGHEST_PROTOCOL))

    def waited(self, replica: Replica, asked: Any) -> list[Said] | None:  # noqa: ANN401 - a reference of Ray
        """What a replica says to each call; None where it can't be asked now."""
        said: list[Said] | None = None
        try:
            said = pickle.loads(ray.get(asked, timeout=ANSWER_S))  # noqa: S301 - from an actor of ours
        except RayTaskError:
            raise  # a fault of ours: another replica would do no better
        except (RayError, GetTimeoutError) as err:
            log.warning("a replica is passed over: %s", str(err).splitlines()[0])
        finally:
            replica.running -= 1
        if said is None:
            replica.lost(self._part)
        return said


class RayCluster:
    """Actors on a cluster that hold the shards of every collection served."""

    def __init__(self, address: str, shards: int, replicas: int) -> None:
        """Join the cluster and start the actors.

        Args:
            address: of the cluster's head, host:port, or "auto" for the one of this machine.
            shards: how many shards each collection is cut into.
            replicas: how many actors hold each; on different nodes as far as there are so many.

        Raises:
            UnreachableError: there is no such cluster, or it has no room for the actors.
        """
        join(
            address,
            "serving shards on a cluster",
            namespace="wildsat",
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        self._replicas = [self._placed(number, replicas) for number in range(shards)]

    @staticmethod
    def _placed(number: int, replicas: int) -> list[Replica]:
        """The replicas of a shard, on different nodes as far as possible."""
        from ray.util.placement_group import placement_group

        group = placement_group([{"CPU": 1}] * replicas, strategy="SPREAD")
        try:
            ray.get(group.ready(), timeout=60)
        except GetTimeoutError as err:
            raise UnreachableError(
                f"the Ray cluster has no room for {replicas} replicas of shard {number + 1}, a processor each: add "
                "nodes, or ask for fewer shards or replicas"
            ) from err
        return [Replica(number, group, place) for place in range(replicas)]

    def open(
        self, root: Path, manifest: Manifest, texts: Scores, settings: ScanSettings, previous: Shards | None = None
    ) -> RayShards:
        """Open a generation on all shards; it is answered from when all of them have it.

        Args:
            root: folder of the collection.
            manifest: of the generation.
            texts: (M, D) vectors of typical texts; none without a text space.
            settings: how vectors are scanned.
            previous: what is served now; its segments stay where they are.

        Raises:
            UnreachableError: some shard has no replica that could open it.
        """
        layout = Layout.of(manifest, len(self._replicas), previous.layout if previous else None)
        dealt = hashlib.sha256(f"{manifest.model_dump_json()} {layout.shards}".encode()).hexdigest()
        key, mirror = f"{manifest.generation}-{dealt[:16]}", mirror_of(root)
        store = mirror.store.address if mirror else None
        part = ray.put(Part(key, str(root.resolve()), store, layout, texts, settings))
        opening = [[(one, one.open(part)) for one in of_shard] for of_shard in self._replicas]
        for number, begun in enumerate(opening):
            faults = [fault for one, opened in begun if (fault := _fault(one, opened, part))]
            if len(faults) == len(begun):
                raise UnreachableError(
                    f"no replica of shard {number + 1} could open collection {manifest.name!r}: {faults[0]}"
                )
        return RayShards(layout, key, part, self._replicas)

    def processes(self) -> list[list[tuple[str, int]]]:
        """Node and process of each replica of each shard, as far as they are there."""
        return [[told for one in of_shard for told in _process(one)] for of_shard in self._replicas]


def _process(replica: Replica) -> list[tuple[str, int]]:
    try:
        return [ray.get(replica.actor.process.remote(), timeout=ANSWER_S)]
    except RayError:
        return []


def _fault(replica: Replica, opened: Any, part: Any) -> str | None:  # noqa: ANN401 - references of Ray
    """Why a replica could not open a shard; None when it did."""
    try:
        ray.get(opened, timeout=OPEN_S)
    except RayTaskError as err:
        replica.lost(part)
        return str(err.cause)
    except RayError as err:
        replica.lost(part)
        return str(err).splitlines()[0]
    return None
