"""What is said to actors, without a cluster: few messages, and another replica where one is gone."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.core.search.fakes import FakeModel, random_collection
from wildsat_core.errors import ShardsMissingError, TileNotFoundError
from wildsat_core.search.cache import Cache
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.layout import Layout
from wildsat_core.search.query import Query, TextTerm, TileTerm
from wildsat_core.search.scorer import ScanSettings
from wildsat_core.search.shard import Shard

ray = pytest.importorskip("ray")

from wildsat_core.search.ray_shards import Holder, RayShards  # noqa: E402 - it needs Ray

QUERY = Query((TextTerm("dunes"), TextTerm("ice", weight=-0.5)), k=20, explain=True)


class Replica:
    """One that answers in this process, at once, as long as it is alive."""

    def __init__(self, holder):
        self.holder, self.alive, self.running, self.messages = holder, True, 0, 0
        self.actor = SimpleNamespace(ask=SimpleNamespace(remote=self._ask))

    def is_there(self, part):
        return self.alive

    def lost(self, part):
        self.alive = False

    def _ask(self, packed):
        self.messages += 1
        return lambda: self._answer(packed)

    def _answer(self, packed):
        if not self.alive:
            raise ray.exceptions.RayActorError
        return self.holder.ask(packed)


@pytest.fixture
def collection(tmp_path):
    return random_collection(tmp_path / "random", 900, segment_rows=200)


@pytest.fixture
def engine(collection, monkeypatch):
    """Three shards of two replicas each."""
    monkeypatch.setattr("wildsat_core.search.ray_shards.ray.get", lambda asked, timeout: asked())
    layout, replicas = Layout.of(collection.manifest, 3, None), []
    for number in range(3):
        shard = Shard(collection.root, layout, number, np.empty((0, 8), np.float32), ScanSettings())
        holder = Holder(number)
        held = holder._shards.setdefault(collection.manifest.name, Cache(2))
        held.get("key", lambda shard=shard: shard)
        replicas.append([Replica(holder), Replica(holder)])
    engine = SearchEngine.over(RayShards(layout, "key", None, replicas), FakeModel())
    engine.search(replace(QUERY, k=1))  # what is asked once of a generation is known now
    for of_shard in replicas:
        for one in of_shard:
            one.messages = 0
    return engine


def test_each_shard_gets_two_messages_for_a_search(collection, engine):
    found = engine.search(QUERY)
    assert found.hits == SearchEngine(collection, FakeModel()).search(QUERY).hits
    assert [sum(one.messages for one in of_shard) for of_shard in engine.shards._replicas] == [2, 2, 2]
    assert [one.running for of_shard in engine.shards._replicas for one in of_shard] == [0] * 6


def test_another_replica_is_asked_all_again_where_one_dies_meanwhile(collection, engine):
    [first, second], begin = engine.shards._replicas[1], engine.shards.begin_tiles

    def dies(rows):
        first.alive = False
        first.is_there = lambda part: first.running == 0 and not second.messages  # not known yet
        return begin(rows)

    engine.shards.begin_tiles = dies
    assert engine.search(QUERY).hits == SearchEngine(collection, FakeModel()).search(QUERY).hits
    assert second.messages


def test_errors_of_a_shard_are_raised_here_and_a_shard_without_replicas_is_named(engine):
    with pytest.raises(TileNotFoundError, match="none-such"):
        engine.search(Query((TileTerm("none-such"),)))
    with pytest.raises(TypeError):  # a fault of ours
        engine.shards.all("count")
    for one in engine.shards._replicas[2]:
        one.alive = False
    with pytest.raises(ShardsMissingError, match="no replica of shard 3 of 3") as failed:
        engine.search(QUERY)
    assert failed.value.shards == {2}
