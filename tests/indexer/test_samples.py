"""Tests of indexer/samples.py: a second collection from chips of ten metres."""

import numpy as np
import pytest
import torch

from indexer import samples
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.models.model import WildSATModel


@pytest.fixture
def chips(tmp_path, monkeypatch):
    """Two chips of 128 pixels, twelve bands."""
    folder = tmp_path / "data" / "sentinel2"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(200, 4000, (12, 128, 128), dtype=np.uint16)
        write_raster(folder / f"patch_{number}.tif", pixels, "EPSG:32633", 400_000 + 50_000 * number, 5_000_000, 10)
    monkeypatch.setenv("WILDSAT_DATA", str(tmp_path / "data"))
    return folder


def test_chips_become_tiles_of_640_m(chips, model_folder, tmp_path):
    root = tmp_path / samples.NAME
    assert samples.samples_folder() == chips
    assert not samples.are_there(root, str(model_folder))
    report = samples.build_samples(root, chips, str(model_folder))
    assert report.added == 8
    assert samples.are_there(root, str(model_folder))
    collection = open_collection(root)
    assert collection.ground_scale.gsd_m == (10.0, 10.0)
    assert {collection.tile(row).tile_id.split("-")[0] for row in range(8)} == {"patch_0", "patch_1"}
    assert collection.manifest.provenance["title"] == "Sentinel-2 samples"


def test_samples_of_former_weights_are_moved_aside_and_built_anew(chips, model_folder, tmp_path, caplog):
    """A service refuses a collection of other weights than the model's: left where it is, it would never be shown."""
    root, newer = tmp_path / samples.NAME, tmp_path / "newer"
    samples.build_samples(root, chips, str(model_folder))
    torch.manual_seed(1)
    WildSATModel(WildSATModel.open(model_folder).config).save(newer)
    assert not samples.are_there(root, str(newer))
    assert samples.build_samples(root, chips, str(newer)).added == 8
    assert samples.are_there(root, str(newer))
    assert samples.are_there(tmp_path / ".replaced" / samples.NAME, str(model_folder))
    assert "was in the place of 'Sentinel-2 samples'" in caplog.text
    assert samples.build_samples(root, chips, str(newer)).added == 0


def test_partitions_of_chips_hold_every_tile_once(chips):
    (chips / "._patch_0.tif").write_bytes(b"of a file manager")
    source = samples.ChipsSource(str(chips))
    parts = [list(source.candidates(partition)) for partition in source.partitions()]
    assert [len(part) for part in parts] == [p.at_most for p in source.partitions()] == [4, 4]
    assert [found for part in parts for found in part] == list(source.candidates())
    assert all(source.read(candidate).pixels.shape == (3, 64, 64) for candidate in parts[1])


def test_without_chips_there_are_no_samples(tmp_path, monkeypatch):
    monkeypatch.delenv("WILDSAT_DATA", raising=False)
    assert samples.samples_folder() is None
    monkeypatch.setenv("WILDSAT_DATA", str(tmp_path))
    assert samples.samples_folder() is None
