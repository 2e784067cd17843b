"""Tests of training/earth/chips.py, on EuroSAT's own layout and, where there are any, on the real chips."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.earth.chips import part_of, read_eurosat, read_world
from training.earth.kinds import KIND_OF_CLASS, KINDS, WORLD
from wildsat_core.errors import MissingDataError


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory):
    """Sixty chips of two classes, each of one colour."""
    folder = tmp_path_factory.mktemp("data") / "eurosat"
    folder.mkdir()
    with zipfile.ZipFile(folder / "eurosat-rgb-open.zip", "w") as archive:
        for name, colour in (("Forest", (20, 60, 30)), ("SeaLake", (10, 20, 90))):
            for i in range(30):
                picture = io.BytesIO()
                Image.new("RGB", (64, 64), colour).save(picture, "JPEG")
                archive.writestr(f"{name}/{name}_{i}.jpg", picture.getvalue())
    return folder.parent


def test_each_chip_is_in_one_part_and_its_folder_is_its_kind(eurosat):
    parts = [read_eurosat(eurosat, part) for part in ("train", "tune", "test")]
    names = [name for part in parts for name in part.names]
    assert len(names) == len(set(names)) == 60
    for part in parts:
        for name, kind, pixels in zip(part.names, part.kinds, part.pixels, strict=True):
            assert KINDS[kind] == KIND_OF_CLASS[name.split("_")[0]]
            assert pixels.shape == (64, 64, 3)
            assert pixels[..., 2].mean() > 60 or KINDS[kind] == "forest"


def test_parts_hang_on_the_name_alone():
    names = [f"Forest_{i}.jpg" for i in range(4000)]
    shares = {part: np.mean([part_of(name) == part for name in names]) for part in ("train", "tune", "test")}
    assert shares["train"] == pytest.approx(0.80, abs=0.02)
    assert shares["tune"] == pytest.approx(0.05, abs=0.01)
    assert shares["test"] == pytest.approx(0.15, abs=0.02)
    assert part_of("Forest_1.jpg") == part_of("Forest_1.jpg")


def test_a_look_takes_chips_of_all_classes(eurosat):
    assert len(set(read_eurosat(eurosat, "train", most=6).kinds)) == 2


def test_missing_chips_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="EuroSAT's RGB chips"):
        read_eurosat(tmp_path, "train")
    with pytest.raises(MissingDataError, match=r"patch_\d+\.tif"):
        read_world(tmp_path, "train")


def test_the_world_is_split_so_that_every_tested_kind_is_taught_elsewhere():
    taught = {kind for kind, part in WORLD.values() if part == "train"} | set(KIND_OF_CLASS.values())
    tested = {kind for kind, part in WORLD.values() if part == "test"}
    assert tested <= taught
    assert {kind for kind, _ in WORLD.values()} <= set(KINDS)


@pytest.mark.skipif("WILDSAT_DATA" not in os.environ, reason="WILDSAT_DATA is not set: real Sentinel-2 chips")
def test_real_chips_are_reflectance_where_they_lie():
    chips = {chip.name: chip for chip in read_world(Path(os.environ["WILDSAT_DATA"]), "test")}
    dunes = chips["patch_759128"]
    assert dunes.reflectance.shape == (256, 256, 3)
    assert (dunes.lon, dunes.lat) == (pytest.approx(21.0, abs=0.05), pytest.approx(28.9, abs=0.05))
    red, green, blue = dunes.reflectance.mean((0, 1))
    assert 0.5 > red > green > blue > 0.1  # orange sand
