import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsat_core.collection import CollectionWriter
from wildsat_core.errors import InvalidInputError
from wildsat_core.ids import TILE_ID, is_tile_id, tile_id_of
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

ODD = ["a/b", "with space", "森林", ".", "..", "-a", "a?b", "a#b", "a%2Fb", "a,b", "a\nb", "é", "x" * 200, "😀", "a\\b"]


def test_an_id_that_can_be_served_stays_as_it_is():
    for text in ("raster-42-117", "S2A_MSIL2A_20230714", "a:b@c+d~e.f", "x" * 128):
        assert tile_id_of(text) == text


@pytest.mark.parametrize("text", ODD)
def test_an_odd_id_becomes_one_that_can_be_served(text):
    made = tile_id_of(text)
    assert re.fullmatch(TILE_ID, made, re.ASCII), made
    assert made == tile_id_of(text)


def test_different_odd_ids_stay_different():
    assert len({tile_id_of(text) for text in [*ODD, "a-b", "a b", "b/a"]}) == len(ODD) + 3


@given(st.text(min_size=1))
def test_every_text_but_an_empty_one_gives_an_id(text):
    if text.strip():
        assert is_tile_id(tile_id_of(text))


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_id_is_refused(text):
    with pytest.raises(InvalidInputError):
        tile_id_of(text)


@pytest.mark.parametrize(
    "odd",
    [
        {"tile_id": ""},
        {"tile_id": "a/b"},
        {"tile_id": "森林"},
        {"gsd_m": float("nan")},
        {"gsd_m": float("inf")},
        {"gsd_m": -1.0},
        {"cloud_cover": float("nan")},
        {"cloud_cover": 1.5},
        {"land_share": 1.5},
    ],
)
def test_what_no_search_could_give_back_never_enters_a_collection(odd, tmp_path):
    facts = {"tile_id": "t", "bbox": BBox(0, 0, 1, 1), "gsd_m": 10.0, "source": "toy"} | odd
    spaces = {"image": SpaceSpec(2, "inner_product")}
    with CollectionWriter(tmp_path / "toy", "toy", ModelRef("m", "", "", ""), spaces) as writer:
        with pytest.raises(InvalidInputError, match=next(iter(odd)).split("_")[0]):
            writer.add([Tile(**facts)], {"image": np.ones((1, 2), np.float32)})
        assert writer.rows_pending == 0
