"""Tiles sorted by properties: as Python sorts them, page by page, however many shards hold them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.core.search.fakes import REF, SPACES, FakeModel, random_tile, unit
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.paging import Position
from wildsat_core.search.query import Filters
from wildsat_core.search.sorting import read_sorting
from wildsat_core.types import Tile

N = 150
VALUES = {  # what a tile is sorted by, from the Tile itself
    "datetime": lambda tile: tile.captured_on,
    "eo:cloud_cover": lambda tile: tile.cloud_cover,
    "gsd": lambda tile: tile.gsd_m,
    "wildsat:country": lambda tile: tile.country,
    "wildsat:source": lambda tile: tile.source,
    "collection": lambda tile: "random",
}


@pytest.fixture(scope="module")
def tiles() -> list[Tile]:
    """Many with equal values, and of each property some that are unknown."""
    rng = np.random.default_rng(8)
    made = [random_tile(rng, i) for i in range(N)]
    return [
        replace(
            tile,
            cloud_cover=None if i % 7 == 0 else round(float(rng.integers(0, 4)) / 10, 1),
            country=None if i % 5 == 0 else str(rng.choice(["BRA", "FJI", "ZWE"])),
            captured_on=None if i % 11 == 0 else tile.captured_on,
        )
        for i, tile in enumerate(made)
    ]


@pytest.fixture(scope="module", params=[1, 3])
def engine(request: pytest.FixtureRequest, tiles: list[Tile], tmp_path_factory: pytest.TempPathFactory) -> SearchEngine:
    root, rng = tmp_path_factory.mktemp("sorting") / "random", np.random.default_rng(5)
    with CollectionWriter(root, "random", REF, SPACES, segment_rows=40) as out:
        for first in range(0, N, 40):
            part = tiles[first : first + 40]
            out.add(part, {space: unit(rng, len(part)) for space in SPACES})
        out.publish()
    return SearchEngine(open_collection(root), FakeModel(), shards=request.param)


def walk(engine: SearchEngine, sortby: str, limit: int, filters: Filters) -> Iterator[Tile]:
    sorting, after = read_sorting(sortby), None
    while True:
        page = engine.page(filters, limit, after=after, sorting=sorting)
        yield from engine.tiles_at(page.rows)
        if page.following is None:
            return
        assert len(page.rows) == limit
        after = Position.read(str(page.following), "after", sorting)


def as_python_sorts(order: list[Tile], sortby: str) -> list[Tile]:
    """A stable sort by each key, the last one first; unknown ones stay behind."""
    for field in reversed(sortby.split(",")):
        value = VALUES[field.strip("+-")]
        known = sorted((t for t in order if value(t) is not None), key=value, reverse=field.startswith("-"))
        order = known + [t for t in order if value(t) is None]
    return order


@pytest.mark.parametrize(
    "sortby",
    [
        "datetime", "-datetime", "eo:cloud_cover", "-eo:cloud_cover,wildsat:country", "wildsat:country,-gsd",
        "-wildsat:country,-eo:cloud_cover,datetime", "collection,-wildsat:source",
    ],
)  # fmt: skip
def test_pages_come_as_python_sorts_the_tiles(engine: SearchEngine, sortby: str) -> None:
    for filters in (Filters(), Filters(max_cloud=0.2)):
        plain = list(walk(engine, "collection", 1000, filters))
        expected = [tile.tile_id for tile in as_python_sorts(plain, sortby)]
        for limit in (7, 60, 1000):
            assert [tile.tile_id for tile in walk(engine, sortby, limit, filters)] == expected


def test_ids_and_times_sort_and_steps_over_some_count_in_the_same_order(engine: SearchEngine) -> None:
    down = [tile.tile_id for tile in walk(engine, "-id", 13, Filters())]
    assert down == sorted(down, reverse=True)
    assert len(down) == N
    page = engine.page(Filters(), 5, skip=20, sorting=read_sorting("-properties.id"))
    assert [tile.tile_id for tile in engine.tiles_at(page.rows)] == down[20:25]


@pytest.mark.parametrize("text", ["", "colour", "gsd,", "gsd,-gsd", "gsd,gsd_m", "geometry", "--gsd x", "properties."])
def test_an_order_that_can_not_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="sortby"):
        read_sorting(text)


@pytest.mark.parametrize(
    "after",
    ["00000000-a", "~00000000-a", "W10=~00000000-a", "WzEsMl0=~00000000-a", "WyJ4Il0=~00000000-a",
     "W3RydWVd~00000000-a", "e30=~00000000-a", "%%%~00000000-a", "WzFd~a"],
)  # fmt: skip
def test_a_position_in_another_order_is_refused(after: str) -> None:
    with pytest.raises(InvalidInputError, match="next page"):
        Position.read(after, "after", read_sorting("gsd"))
