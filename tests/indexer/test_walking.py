"""Tests of indexer/sources/walking.py: what programs keep in folders is no imagery, whichever source walks there."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from indexer.sources.folder import FolderSource
from indexer.sources.majortom import MajorTomSource
from indexer.sources.satlas import SatlasSource
from indexer.sources.walking import files_below
from indexer.sources.xyz import XyzSource
from indexer.vectors.files import parquet_files
from tests.indexer.conftest import write_raster

HIDDEN = (".ipynb_checkpoints", "__MACOSX", ".git", "@eaDir")


def noise():
    return np.random.default_rng(0).integers(1, 255, (3, 32, 32)).astype(np.uint8)


def raster(path):
    write_raster(path, noise(), "EPSG:4326", 10, 50, 0.001)


def png(path):
    Image.fromarray(noise().transpose(1, 2, 0)).save(path, "PNG")


def thumbnails(path):
    row = {"grid_cell": ["1U_2R"], "thumbnail": [b"x"], "centre_lat": [1.0], "centre_lon": [2.0]}
    pq.write_table(pa.table(row), path)


def listed(source):
    return [candidate.tile.href or candidate.tile.tile_id for candidate in source.candidates()]


@pytest.mark.parametrize(
    ("make", "place", "also", "source"),
    [
        (raster, "a/b.tif", "{}/b.tif", FolderSource),
        (raster, "a/b.tif", "a/{}/b.tif", FolderSource),
        (raster, "a/b.tif", "a/._b.tif", FolderSource),
        (png, "seen/tci/4000_3000.png", "{}/tci/4000_3000.png", SatlasSource),
        (png, "seen/tci/4000_3000.png", "seen/tci/._4000_3001.png", SatlasSource),
        (png, "7/100/40.png", "{}/100/41.png", XyzSource),
        (png, "7/100/40.png", "7/{}/41.png", XyzSource),
        (png, "7/100/40.png", "7/100/._41.png", XyzSource),
        (thumbnails, "p/a.parquet", "{}/a.parquet", MajorTomSource),
        (thumbnails, "p/a.parquet", "p/._a.parquet", MajorTomSource),
    ],
)
def test_hidden_folders_and_files_hold_no_tiles(tmp_path, make, place, also, source):
    for name in (place, *(also.format(hidden) for hidden in HIDDEN)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make(tmp_path / name)
    found = source(str(tmp_path))
    assert len(listed(found)) == 1
    assert [path.removeprefix(f"{tmp_path}/") for path in found.inputs()] == [place]


def test_vectors_are_looked_for_at_any_depth_but_not_where_programs_keep_theirs(tmp_path):
    wanted = ("a.parquet", "year=2024/b.parquet")
    for name in (*wanted, ".ipynb_checkpoints/a.parquet", "_metadata", "year=2024/.c.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert parquet_files(tmp_path) == [tmp_path / name for name in wanted]


def test_a_hidden_folder_that_is_named_is_meant(tmp_path):
    (tmp_path / ".mine").mkdir()
    (tmp_path / ".mine" / "A.TIF").touch()
    assert list(files_below(tmp_path / ".mine", {".tif"})) == [tmp_path / ".mine" / "A.TIF"]
