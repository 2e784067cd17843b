"""When tiles were taken, as STAC and OGC tell it."""

import datetime as dt
from dataclasses import replace

import pytest

from tests.core.collection.conftest import make_tiles, make_vectors, writer
from tests.core.search.fakes import random_collection
from wildsat_core.collection import open_collection
from wildsat_core.search.extents import Extent, Told

MADE = dt.datetime(2021, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=1)))
MADE_UTC = "2021-01-02T02:04:05Z"
SUMMER = (dt.date(2019, 6, 1), dt.date(2019, 8, 31))
LATER = (dt.date(2022, 6, 1), dt.date(2022, 8, 31))
SINCE_EVER = "1970-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def extent(tmp_path_factory):
    return Extent.of(random_collection(tmp_path_factory.mktemp("extents") / "random", 20).tiles)


@pytest.mark.parametrize(
    ("days", "undated", "interval"),
    [
        (SUMMER, False, ("2019-06-01T00:00:00Z", "2019-08-31T23:59:59Z")),
        (SUMMER, True, (SINCE_EVER, MADE_UTC)),  # what has no day may have been taken until the collection was made
        (LATER, True, (SINCE_EVER, "2022-08-31T23:59:59Z")),
        (None, True, (SINCE_EVER, MADE_UTC)),
        (None, False, (SINCE_EVER, MADE_UTC)),  # no tile at all
    ],
)
def test_the_interval_holds_known_days_and_all_time_where_one_is_unknown(extent, days, undated, interval):
    assert replace(extent, days=days, undated=undated).interval(MADE) == interval


NOTHING = {"captured_on": None, "cloud_cover": None, "land_share": None, "country": None}
SOMETHING = {"captured_on": dt.date(2020, 3, 1), "cloud_cover": 0.5, "land_share": 0.0, "country": "PER"}


@pytest.mark.parametrize("known", ["", *SOMETHING])
def test_what_filters_can_tell_apart_is_what_some_tile_knows(tmp_path, known):
    tiles = [replace(tile, **NOTHING) for tile in make_tiles(3)]
    if known:
        tiles[1] = replace(tiles[1], **{known: SOMETHING[known]})
    with writer(tmp_path / "demo") as out:
        out.add(tiles, make_vectors(3))
        out.publish()
    told = Told.of(open_collection(tmp_path / "demo").tiles)
    assert (told.months, told.countries) == (
        frozenset({3} if known == "captured_on" else ()),
        frozenset({"PER"} if known == "country" else ()),
    )
    assert (told.cloud, told.land) == (known == "cloud_cover", known == "land_share")
