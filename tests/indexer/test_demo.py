import sqlite3

import numpy as np
import pytest
import torch
from PIL import Image

from indexer import demo
from indexer.pipeline.imagery import write_imagery
from indexer.sources.grid import KilometreGrid
from tests.indexer.conftest import tiny_config
from wildsat_core.collection import CollectionWriter, list_collections, open_collection
from wildsat_core.collection.lock import writer_lock
from wildsat_core.collection.maintain import verify
from wildsat_core.errors import CollectionLockedError, MissingExtraError
from wildsat_core.files import sha256_file
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import load_model
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile


@pytest.fixture
def coarse(monkeypatch):
    """The demo on a grid of some hundred squares."""
    monkeypatch.setattr(demo, "GRID", KilometreGrid(1200, 1200))
    monkeypatch.setattr(demo, "IMAGERY_ZOOM", 1)


def test_the_demo_holds_land_and_coasts_from_pole_to_pole(coarse, model_folder, tmp_path):
    root = tmp_path / "demo"
    assert not demo.demo_state(root, str(model_folder)).ready
    report = demo.build_demo(root, str(model_folder), workers=0)
    collection = open_collection(root)
    share = len(collection) / demo.GRID.count()
    assert report.added == len(collection)
    assert 0.35 < share < 0.65  # land is 29 %, and squares of 1,200 km reach far over coasts
    assert collection.tiles.south.min() == -90  # the South Pole is a tile
    assert "not Sentinel-2" in collection.manifest.provenance["notice"]
    assert collection.imagery_path is not None
    assert collection.manifest.imagery.sha256 == sha256_file(collection.imagery_path)
    assert demo.demo_state(root, str(model_folder)).ready


def test_a_demo_by_another_model_is_moved_aside_and_built_anew(coarse, model_folder, tmp_path, caplog):
    root = tmp_path / "demo"
    demo.build_demo(root, str(model_folder), workers=0)
    torch.manual_seed(4)
    WildSATModel(tiny_config(name="newer")).save(tmp_path / "newer")
    assert demo.demo_state(root, str(tmp_path / "newer")).stranger.startswith("a collection made by tiny ")
    demo.build_demo(root, str(tmp_path / "newer"), workers=0)
    assert open_collection(root).manifest.model.name == "newer"
    aside = tmp_path / ".replaced" / "demo"
    assert f"it now lies in {aside}, whole" in caplog.text
    assert open_collection(aside).manifest.model.name == "tiny"
    assert verify(aside) == []


def test_every_collection_in_the_demos_place_is_kept(model_folder, tmp_path):
    """Made elsewhere, or with the demo's own model from imagery of one's own: none is added to, none is removed."""
    root = tmp_path / "demo"
    for number, model in enumerate([ModelRef("elsewhere", "0" * 64, "t", "p"), demo.model_ref(str(model_folder))]):
        with CollectionWriter(root, "demo", model, {"text": SpaceSpec(2, "cosine")}) as writer:
            writer.add([Tile("a", BBox(0, 0, 1, 1), 10.0, "s", "a")], {"text": np.array([[1, 0]], np.float32)})
            writer.publish(provenance={"title": "Mine"})
        before = sha256_file(root / "generations" / "1.json")
        with writer_lock(root), pytest.raises(CollectionLockedError):
            demo.make_room(root, str(model_folder))
        aside = demo.make_room(root, str(model_folder))
        assert aside == tmp_path / ".replaced" / ("demo" if number == 0 else "demo-2")
        assert sha256_file(aside / "generations" / "1.json") == before
        assert not root.exists()
    assert demo.make_room(root, str(model_folder)) is None
    assert list_collections(tmp_path) == []


def test_the_full_grid_of_the_demo_has_the_size_that_it_should():
    shares = demo.load_land().share([c.bbox for c in demo.GRID.cells()], generous=True)
    assert 8_000 < int((shares >= demo.LEAST_LAND).sum()) < 15_000


def test_bfloat16_changes_the_shipped_models_vectors_of_real_pictures_by_less_than_a_thousandth():
    picture = np.asarray(Image.open(demo.find_picture()))
    rng = np.random.default_rng(0)
    crops = [picture[y : y + 40, x : x + 40] for y, x in rng.integers((300, 0), (2300, 5360), (300, 2))]
    pixels = np.stack([crop for crop in crops if crop.std() > 10]).transpose(0, 3, 1, 2)
    assert len(pixels) > 80
    model = load_model(demo.MODEL)
    exact, rough = (model.embed_pixels(pixels, bf16=half) for half in (False, True))
    for space in exact:
        assert 1e-6 < 1 - (exact[space] * rough[space]).sum(axis=1).min() < 1e-3


def test_without_the_package_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[demo\]"):
        demo.find_picture()


def test_map_tiles_show_each_latitude_at_its_mercator_row(tmp_path):
    lat = 90 - (np.arange(512) + 0.5) / 512 * 180
    picture = np.zeros((512, 1024, 3), np.uint8)
    picture[..., 0] = np.rint((lat + 90) / 180 * 255)[:, None]
    picture[:, 512:, 1] = 200  # the eastern hemisphere
    path = tmp_path / "imagery.mbtiles"
    assert write_imagery(path, Image.fromarray(picture), 1, {"name": "test"}) == 5
    with sqlite3.connect(path) as file:
        facts = dict(file.execute("SELECT name, value FROM metadata"))
        tiles = {row[:3]: row[3] for row in file.execute("SELECT * FROM tiles")}
    file.close()
    assert (facts["format"], facts["minzoom"], facts["maxzoom"], facts["name"]) == ("jpg", "0", "1", "test")
    (tmp_path / "a.jpg").write_bytes(tiles[(1, 1, 1)])  # MBTiles counts rows from the south: this one is the north-east
    north_east = np.asarray(Image.open(tmp_path / "a.jpg"))
    assert north_east.shape == (512, 512, 3)
    assert north_east[..., 1].mean() > 180
    assert north_east[511, 5, 0] == pytest.approx(128, abs=3)  # the equator
    assert north_east[0, 5, 0] == pytest.approx((85.05 + 90) / 180 * 255, abs=3)
    # Row 256 of 512 from the equator to 85.05 degrees lies at 66.51 degrees.
    assert north_east[256, 5, 0] == pytest.approx((66.51 + 90) / 180 * 255, abs=3)
