"""Tests of indexer/pipeline/scale.py: models and the size of pixels."""

from dataclasses import dataclass

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from app.main import create_app
from app.settings import Settings
from indexer.commands.index import index
from indexer.pipeline.scale import ScaleGate, model_name
from indexer.sources.protocol import Candidate, LeftOut, Partition
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.errors import InvalidInputError
from wildsat_core.types import BBox, Tile


@dataclass
class Config:
    name: str = "fine"
    gsd_m: tuple[float, float] | None = (10.0, 60.0)
    input_px: int | None = None


def candidates(*sizes_m, side_deg=1.0):
    box = BBox(0, 0, side_deg, side_deg)
    return [Candidate(Tile(f"t{i}", box, size, "test")) for i, size in enumerate(sizes_m)]


@dataclass
class Listed:
    items: list

    def partitions(self):
        yield Partition("all", len(self.items), self.items)

    def candidates(self, partition=None):
        return iter(self.items if partition is None else partition.locator)


def test_tiles_of_the_models_scale_and_of_unknown_scale_pass():
    given = candidates(10.0, 0.0, 20.0, 60.0)
    assert list(ScaleGate(Config()).passed(iter(given))) == given


def test_the_first_tile_outside_stops_a_build_naming_the_model_that_fits():
    passed = ScaleGate(Config()).passed(iter(candidates(10.0, 3000.0)))
    next(passed)
    with pytest.raises(InvalidInputError) as caught:
        next(passed)
    assert str(caught.value) == (
        "fine is not for this imagery: the tiles have pixels of 3 km, and it is for 10 to 60 m; "
        "use --model wildsat-mini, or insist with --any-scale"
    )


def test_a_build_may_insist():
    given = candidates(3000.0)
    assert list(ScaleGate(Config(), any_scale=True).passed(iter(given))) == given


def test_where_no_model_fits_the_refusal_does_not_invent_one():
    with pytest.raises(InvalidInputError, match="no installed model is; cut other tiles, or insist with --any-scale"):
        list(ScaleGate(Config()).passed(iter(candidates(0.5, side_deg=0.001))))


def test_the_first_tile_that_can_be_listed_tells_the_model(tmp_path):
    source = Listed([LeftOut("damaged", "a file"), *candidates(3000.0)])
    assert model_name(tmp_path / "new", None, source) == "wildsat-mini"
    assert model_name(tmp_path / "new", "auto", source) == "wildsat-mini"
    assert model_name(tmp_path / "new", "vitb16-clip", source) == "vitb16-clip"


@pytest.fixture(scope="module")
def fine_raster(tmp_path_factory):
    """256 x 128 pixels of 2 m."""
    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 256), dtype=np.uint8)
    path = tmp_path_factory.mktemp("fine") / "fine.tif"
    return write_raster(path, pixels, "EPSG:32631", 500_000, 5_000_000, 2)


def run(*arguments):
    return CliRunner().invoke(index, [str(a) for a in arguments])


def test_from_refusal_to_the_notice_that_answers_carry(fine_raster, tmp_path):
    build = ["build", "fine", "--input", fine_raster, "--tile-px", 64, "--step-px", 64, "--collections", tmp_path]
    build += ["--workers", 0, "--model", "wildsat-mini"]
    refused = run(*build)
    assert isinstance(refused.exception, InvalidInputError)
    assert "wildsat-mini is not for this imagery: the tiles have pixels of 2 m" in str(refused.exception)
    assert not (tmp_path / "fine" / "CURRENT").exists()
    assert isinstance(run(*build, "--dry-run").exception, InvalidInputError)

    built = run(*build, "--any-scale")
    assert built.exit_code == 0, built.output
    scale = open_collection(tmp_path / "fine").ground_scale
    assert scale is not None
    assert scale.gsd_m == (2.0, 2.0)
    assert scale.side_m[0] == pytest.approx(128, rel=0.02)
    with TestClient(create_app(Settings(collections=tmp_path, default_collection="fine"))) as client:
        answer = client.get("/search", params={"q": "forest"}).json()
        assert "Searched with wildsat-mini outside of its scale: the tiles have pixels of 2 m" in answer["notice"]
        told = client.get("/collections/fine").json()
        assert told["wildsat"]["gsd_m"] == [2.0, 2.0]
        assert told["notice"] == answer["notice"]
