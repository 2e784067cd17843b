"""Tests of wildsat_core/ground_scale.py and of choosing a model by it."""

from dataclasses import dataclass

import pytest

from wildsat_core.errors import InvalidInputError
from wildsat_core.ground_scale import GroundScale, in_words, mismatch, scale_notice, seen_m, suits
from wildsat_core.models.config import ModelConfig, read_config
from wildsat_core.models.registry import MODELS, PRETRAINED, model_for
from wildsat_core.types import BBox, Tile


@dataclass
class Config:
    name: str = "m"
    gsd_m: tuple[float, float] | None = (10.0, 60.0)
    input_px: int | None = None


def of(gsd_m, side_m=640.0):
    return GroundScale((gsd_m, gsd_m), (side_m, side_m))


def tile(gsd_m, height_deg=0.01):
    return Tile("t", BBox(10, 50, 10.02, 50 + height_deg), gsd_m, "raster")


def test_the_scale_of_a_tile_is_its_pixel_and_its_side():
    scale = GroundScale.of(tile(10.0))
    assert scale is not None
    assert scale.gsd_m == (10.0, 10.0)
    assert scale.side_m[0] == pytest.approx(1112, abs=1)


@pytest.mark.parametrize("gsd_m", [0.0, float("nan"), float("inf"), -10.0])
def test_a_tile_of_unknown_pixel_size_has_no_scale(gsd_m):
    assert GroundScale.of(tile(gsd_m)) is None
    assert GroundScale.of_all([None, None]) is None


def test_the_scale_of_many_tiles_spans_all():
    assert GroundScale.of_all([of(10, 640), None, of(20, 500)]) == GroundScale((10, 20), (500, 640))


@pytest.mark.parametrize(
    ("gsd_m", "fits"), [(10, True), (60, True), (8, True), (75, True), (7.9, False), (76, False), (0.3, False)]
)
def test_a_model_suits_its_range_and_a_little_more(gsd_m, fits):
    assert suits(Config(), of(gsd_m)) is fits


def test_one_tile_outside_is_outside():
    assert not suits(Config(), GroundScale((10, 250), (640, 640)))


def test_a_model_that_resizes_sees_the_side_of_a_tile_in_its_own_pixels():
    mini = Config(gsd_m=(500, 8000), input_px=40)
    assert seen_m(mini, of(10, 640)) == (16, 16)
    assert not suits(mini, of(10, 640))
    assert suits(mini, of(50, 200_000))


def test_a_model_that_names_no_range_suits_everything():
    assert suits(Config(gsd_m=None), of(0.3))
    assert mismatch(Config(gsd_m=None), of(0.3)) is None


def test_a_mismatch_says_what_is_and_what_should_be():
    assert mismatch(Config(), of(250.0)) == "the tiles have pixels of 250 m, and it is for 10 to 60 m"
    mini = Config(name="mini", gsd_m=(500, 8000), input_px=40)
    assert mismatch(mini, of(10)) == (
        "the tiles have pixels of 10 m, which mini sees as 16 m, and it is for 500 m to 8 km"
    )


def test_a_notice_is_given_outside_of_the_range_only():
    assert scale_notice(Config(), of(10)) is None
    assert scale_notice(Config(), None) is None
    notice = scale_notice(Config(), of(250))
    assert notice is not None
    assert notice.startswith("Searched with m outside of its scale: the tiles have pixels of 250 m")


def test_sizes_in_words():
    assert [in_words(r) for r in [(10, 10), (10, 60), (500, 8000), (1234, 7400), (999_900, 1_683_000)]] == [
        "10 m", "10 to 60 m", "500 m to 8 km", "1.23 km to 7.4 km", "1,000 km to 1,683 km",
    ]  # fmt: skip


def test_every_shipped_model_says_what_it_is_for():
    for directory in PRETRAINED.iterdir():
        config = read_config(directory)
        assert config.gsd_m == MODELS[config.name].gsd_m
        assert config.gsd_m is not None


def test_published_models_are_for_the_pixels_that_they_were_trained_on():
    assert MODELS["resnet50-seco"].trained_gsd_m == (4.8, 9.55)
    low, high = MODELS["vitb16-clip"].trained_gsd_m
    assert (round(low, 1), round(high, 1)) == (11.0, 21.8)


def test_the_model_is_chosen_by_the_scale():
    assert model_for(of(7400, 200_000)) == "wildsat-mini"
    assert model_for(of(10, 640)) == model_for(of(60, 5120)) == "wildsat-s2"


def test_where_no_model_is_for_a_scale_all_are_named():
    with pytest.raises(
        InvalidInputError, match=r"is for pixels of 0.3 m in tiles of 100 m: .*wildsat-mini is for 500 m"
    ):
        model_for(of(0.3, 100))
    assert model_for(of(200_000, 8e6), any_scale=True) == "wildsat-mini"


@pytest.mark.parametrize("gsd_m", [(60.0, 10.0), (0.0, 10.0), (10.0, float("inf"))])
def test_a_config_with_an_impossible_range_is_refused(gsd_m):
    config = read_config(PRETRAINED / "wildsat-mini").model_dump()
    with pytest.raises(ValueError, match="gsd_m must be two positive sizes in metres"):
        ModelConfig.model_validate(config | {"gsd_m": gsd_m})
