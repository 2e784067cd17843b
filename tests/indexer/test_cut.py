"""Tiles cut into a folder of pictures, which the `folder` source reads as what they were."""

import csv
import datetime as dt
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from indexer.commands.index import index
from indexer.pipeline import reading
from indexer.pipeline.cutting import CutFolder, cut_tiles
from indexer.pipeline.listing import Chooser
from indexer.pipeline.reading import ReadOptions
from indexer.sources.folder import FolderSource, find_table
from indexer.sources.majortom import MajorTomSource
from indexer.sources.protocol import Candidate, Partition, Reading
from indexer.sources.raster import PixelGrid, RasterSource
from tests.indexer.conftest import png, write_raster
from tests.indexer.stac_server import scene
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox, Tile


def cut(*arguments):
    """Run `wildsat index cut`; give what it printed, or raise what it raised."""
    answer = CliRunner().invoke(index, ["cut", *(str(a) for a in arguments)])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    assert answer.exit_code == 0, answer.output
    return answer.output


def into(folder, source):
    """Cut a source into a folder within this process."""
    made = CutFolder(folder, source.bands, source.provenance())
    return cut_tiles(source, made, Chooser(made.known), ReadOptions(None), workers=0)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def field(tmp_path):
    """A raster of six squares of 32 pixels, the last of which is all of one value."""
    values = np.random.default_rng(0).integers(1, 255, (3, 64, 96)).astype(np.uint8)
    values[:, 32:, 64:] = 7
    return write_raster(tmp_path / "field.tif", values, "EPSG:32614", 592_000, 3_707_000, 10)


def field_source(field):
    return RasterSource(str(field), PixelGrid(32, 32), captured_on=dt.date(2023, 7, 1), cloud_cover=0.25)


def test_cut_tiles_are_read_as_what_they_were(field, tmp_path):
    source = field_source(field)
    report = into(tmp_path / "out", source)
    assert (report.written, dict(report.left_out)) == (5, {"one colour": 1, "outside the area": 0, "sea": 0})
    again = FolderSource(str(tmp_path / "out"), find_table(str(tmp_path / "out")))
    before = list(source.candidates())[:5]
    for old, new in zip(before, again.candidates(), strict=True):
        assert new.tile.tile_id == old.tile.tile_id
        assert new.tile.lon_lat == pytest.approx(old.tile.lon_lat, abs=1e-6)
        assert new.tile.gsd_m == old.tile.gsd_m
        assert (new.tile.captured_on, new.tile.cloud_cover) == (dt.date(2023, 7, 1), 0.25)
        assert np.array_equal(again.read(new).pixels, source.read(old).pixels)


class Fiji:
    """Tiles of four 16-bit bands, one of them over the antimeridian."""

    name, bands = "fiji", ("red", "green", "blue", "b08")

    def partitions(self):
        yield Partition("all", 2)

    def candidates(self, partition=None):
        for west, east in ((179.0, 179.5), (179.75, -179.75)):
            yield Candidate(Tile(f"t{west}", BBox(west, -17.5, east, -17.0), 800.0, "fiji", "x"), int(west * 4))

    def count(self):
        return 2

    def provenance(self):
        return {"source": "fiji"}

    def read(self, candidate):
        return Reading(np.random.default_rng(candidate.locator).integers(0, 9000, (4, 48, 64)).astype(np.uint16))


def test_many_bands_of_16_bits_lose_nothing_and_keep_their_place_over_the_antimeridian(tmp_path):
    into(tmp_path / "out", Fiji())
    again = FolderSource(str(tmp_path / "out"), find_table(str(tmp_path / "out")), None, (1, 2, 3, 4), Fiji.bands)
    for old, new in zip(Fiji().candidates(), again.candidates(), strict=True):
        assert new.tile.bbox.as_tuple() == pytest.approx(old.tile.bbox.as_tuple(), abs=1e-9)
        assert again.read(new).pixels.dtype == np.uint16
        assert np.array_equal(again.read(new).pixels, Fiji().read(old).pixels)


class Interrupted:
    """A source whose reader is interrupted at one tile."""

    def __init__(self, source, at):
        self._source, self._at, self.read_ids = source, at, []

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, candidate):
        if len(self.read_ids) == self._at:
            raise KeyboardInterrupt
        self.read_ids.append(candidate.tile.tile_id)
        return self._source.read(candidate)


def test_an_interrupted_cut_goes_on_and_ends_with_the_same_folder(field, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_TILES", 2)
    source, out = field_source(field), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        into(out, Interrupted(source, at=3))
    assert not (out / "index.csv").exists()  # nothing takes the part for the whole
    with (out / ".tmp-index.jsonl").open("a") as part:
        part.write('{"file": "tiles/fie')  # as a kill leaves it
    rest = Interrupted(source, at=99)
    report = into(out, rest)
    ids = [c.tile.tile_id for c in source.candidates()]
    assert rest.read_ids == ids[2:]
    assert (report.written, report.before) == (3, 2)
    into(tmp_path / "whole", source)
    assert files(out) == files(tmp_path / "whole")
    assert into(out, source).written == 0


def test_a_folder_of_something_else_is_refused(field, tmp_path):
    out = tmp_path / "out"
    cut("-i", field, "--tile-px", 32, "--workers", 0, "--out", out)
    with pytest.raises(InvalidInputError, match="of another command, with another max_missing"):
        cut("-i", field, "--tile-px", 32, "--workers", 0, "--out", out, "--max-missing", 0.1)
    with pytest.raises(InvalidInputError, match="of another command, with another options"):
        cut("-i", field, "--tile-px", 32, "--workers", 0, "--out", out, "--nodata", 7)
    with pytest.raises(InvalidInputError, match="has other things in it"):
        cut("-i", field, "--tile-px", 32, "--out", field.parent)


def test_nothing_to_cut_says_why(tmp_path):
    black = write_raster(tmp_path / "black.tif", np.zeros((3, 64, 64), np.uint8), "EPSG:32614", 592_000, 3_707_000, 10)
    with pytest.raises(SourceError, match="no tile could be cut: 4 all zero"):
        cut("-i", black, "--tile-px", 32, "--workers", 0, "--out", tmp_path / "out")


def test_a_full_disk_is_said_with_what_to_do(field, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("indexer.pipeline.cutting.os.fsync", full)
    with pytest.raises(SourceError, match=r"full after 0 tiles; make room and give the same command again"):
        into(tmp_path / "out", field_source(field))


def test_the_report_keeps_to_its_lines_however_long_the_folder_is_called(field, tmp_path):
    out = tmp_path / ("f" * 100)
    assert f"{out}: 5 tiles cut; left out: 1 one colour\n" in cut("-i", field, "--tile-px", 32, "--out", out)


def test_a_dry_run_counts_and_writes_nothing(field, tmp_path):
    printed = cut("-i", field, "--tile-px", 32, "--out", tmp_path / "out", "--dry-run")
    assert "6 tiles to cut; left out: none" in printed
    assert "measured on 6 tiles" in printed
    assert not (tmp_path / "out").exists()


def test_a_catalogue_is_cut_with_the_dates_of_its_scenes(server, tmp_path):
    scene(server, "early", "2021-06-01", 5.0, 900)
    area = scene(server, "later", "2022-06-01", 1.0, 1200, applied=True)
    box = ",".join(str(v) for v in area.as_tuple())
    options = ["sentinel2", "-i", server.url, "--bbox", box, "--from", "2021-01-01", "--to", "2022-12-31"]
    printed = cut(*options, "--pick", "all", "--workers", 0, "--out", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "index.csv").read_text().splitlines()))
    assert f"{len(rows)} tiles cut" in printed
    assert {row["date"] for row in rows} == {"2021-06-01", "2022-06-01"}
    assert {round(float(row["side_km"]), 2) for row in rows} == {2.56}
    bands = [*options, "--assets", "bands", "--workers", 0, "--out", tmp_path / "bands"]
    cut(*bands)
    assert json.loads((tmp_path / "bands" / "cut.json").read_text())["bands"] == ["red", "green", "blue"]
    deep = FolderSource(str(tmp_path / "bands"), find_table(str(tmp_path / "bands")))
    pixels = deep.read(next(iter(deep.candidates()))).pixels
    assert (pixels.dtype, pixels.shape) == (np.uint16, (3, 256, 256))
    assert 1150 < pixels[0][pixels[0] > 0].mean() < 1250  # red of `later`: 1200 and a little noise


def test_major_tom_files_are_cut(majortom, tmp_path):
    images, metadata = majortom / "images", majortom / "metadata.parquet"
    cut("majortom", "-i", images, "--metadata", metadata, "--workers", 0, "--out", tmp_path / "out")
    again = FolderSource(str(tmp_path / "out"), find_table(str(tmp_path / "out")))
    _, second = again.candidates()
    assert second.tile.bbox.crosses_antimeridian
    assert second.tile.captured_on == dt.date(2021, 7, 16)
    assert np.array_equal(again.read(second).pixels, png(2)[1].transpose(2, 0, 1))
    assert [c.tile.tile_id for c in again.candidates()] == [
        c.tile.tile_id for c in MajorTomSource(str(images), str(metadata)).candidates()
    ]
