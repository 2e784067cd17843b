"""Pages: each tile once, whatever happens to the collection between two of them."""

import numpy as np
import pytest

from wildsat_core.collection.tile_files import tiles_to_arrow
from wildsat_core.collection.tiles import SegmentTiles, TileTable
from wildsat_core.errors import InvalidInputError
from wildsat_core.search.paging import Pages, Position
from wildsat_core.types import BBox, Tile


def tiles_of(count: int, places: int, seed: int = 0) -> list[Tile]:
    """Tiles of random ids, many at the same place."""
    random = np.random.default_rng(seed)
    lon, lat = random.uniform(-179, 178, places), random.uniform(-89, 88, places)
    ids = [f"tile-{number}" for number in random.permutation(count)]
    return [Tile(ids[i], BBox(lon[p], lat[p], lon[p] + 1, lat[p] + 1), 10.0, "toy") for i, p in
            enumerate(random.integers(0, places, count))]  # fmt: skip


def table_of(tiles: list[Tile], parts: int = 1) -> TileTable:
    cut = np.array_split(np.arange(len(tiles)), parts)
    segments = [SegmentTiles.from_arrow(tiles_to_arrow([tiles[i] for i in part])) for part in cut]
    return TileTable.of(segments, np.ones(len(tiles), bool))


def ids_at(table: TileTable, rows: np.ndarray) -> list[str]:
    return [tile.tile_id for tile in table.tiles_at(rows)]


def walk(tables: list[TileTable], limit: int) -> list[str]:
    """Ids over all pages; each page is of the next table, which stands for a later generation."""
    seen, after = [], None
    while True:
        table = tables.pop(0) if len(tables) > 1 else tables[0]
        page = Pages(table).page(np.flatnonzero(table.live), limit, after=after)
        seen += ids_at(table, page.rows)
        if page.following is None:
            return seen
        assert len(page.rows) == limit
        after = Position.read(str(page.following), "after")


@pytest.mark.parametrize(("count", "places"), [(1, 1), (50, 1), (200, 7), (200, 200)])
@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_pages_hold_every_tile_once_in_one_order(count, places, limit):
    table = table_of(tiles_of(count, places))
    seen = walk([table], limit)
    assert sorted(seen) == sorted(ids_at(table, np.arange(count)))
    assert seen == walk([table], 1000)


@pytest.mark.parametrize("skip", [0, 1, 10, 199, 200, 10**9])
def test_skipping_is_counting_in_the_same_order(skip):
    table = table_of(tiles_of(200, 7))
    rows = np.arange(200)
    page = Pages(table).page(rows, 13, skip=skip)
    assert ids_at(table, page.rows) == walk([table], 1000)[skip : skip + 13]
    assert (page.following is None) == (skip + 13 >= 200)


def test_no_tile_is_lost_or_told_twice_while_others_come_and_go():
    tiles = tiles_of(300, 20)
    random = np.random.default_rng(1)
    stays = set(random.choice(300, 200, replace=False).tolist())
    generations = []
    for number in range(40):  # others come and go, rows move from segment to segment
        kept = [tile for i, tile in enumerate(tiles) if i in stays or random.random() < 0.5]
        shuffled = [kept[i] for i in random.permutation(len(kept))]
        generations.append(table_of(shuffled, parts=1 + number % 4))
    seen = walk(generations, 11)
    assert len(seen) == len(set(seen))
    assert {tiles[i].tile_id for i in stays} <= set(seen)


def test_a_position_may_be_of_a_tile_that_is_gone():
    tiles = tiles_of(20, 1)
    whole = table_of(tiles)
    page = Pages(whole).page(np.arange(20), 10)
    rest = table_of([tile for tile in tiles if tile.tile_id != page.following.tile_id])
    after = Pages(rest).page(np.arange(19), 100, after=page.following)
    assert ids_at(whole, page.rows) + ids_at(rest, after.rows) == walk([whole], 100)


def test_no_rows_are_an_empty_page():
    assert len(Pages(table_of(tiles_of(3, 1))).page(np.empty(0, np.int64), 5).rows) == 0


@pytest.mark.parametrize("text", ["", "3", "0000000g-x", "00000000-", "00000000", "٠٠٠٠٠٠٠٠-x"])
def test_a_position_that_was_not_given_out_is_refused(text):
    with pytest.raises(InvalidInputError, match="next page"):
        Position.read(text, "after")
