"""A folder of pictures ranked by words, from the command to the page."""

import re

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from indexer.commands.quickstart import quickstart
from indexer.quickstart import PictureFolder, rank_pictures
from indexer.sources.pixels import Stretch
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError, SpaceUnavailableError
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing

from .conftest import tiny_config, write_raster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five pictures of two sizes, one in a folder, and one that is none."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    (root / "more").mkdir()
    sizes = {"a.png": 32, "b <i>.png": 32, "c.jpg": 48, "more/d.png": 32, "e.webp": 48}
    for name, side in sizes.items():
        Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)).save(root / name)
    (root / "torn.png").write_bytes((root / "a.png").read_bytes()[:200])
    return root


def run(*words):
    app = typer.Typer()
    app.command()(quickstart)
    return CliRunner().invoke(app, [*map(str, words)])


def test_scores_are_the_products_of_vectors_one_picture_at_a_time(folder, model):
    pictures = PictureFolder.for_model(folder, model, None, None)
    texts = ["ocean", "dry grassland"]
    ranking = rank_pictures(pictures, texts, model)
    assert ranking.names == ["a.png", "b <i>.png", "c.jpg", "e.webp", "more/d.png"]
    alone = np.concatenate([model.embed_pixels(pictures.read(name)[None])["text"] for name in ranking.names])
    np.testing.assert_allclose(ranking.scores, model.embed_texts(texts) @ alone.T, atol=1e-5)
    best = ranking.best(1, 2)
    assert [score for _, score in best] == sorted(ranking.scores[1].tolist(), reverse=True)[:2]
    assert list(ranking.left_out) == ["torn.png"]


def test_the_command_writes_a_page_that_needs_nothing_and_runs_nothing(folder, model_folder, tmp_path):
    out = tmp_path / "made" / "sheet.html"
    answer = run(
        folder, "--text", "ocean", "--text", "<script>alert(1)</script>", "--model", model_folder, "--out", out
    )
    assert answer.exit_code == 0, answer.output
    assert "left out 1: " in answer.output
    page = out.read_text("utf-8")
    assert page.count("<figure>") == 10
    assert not re.search(r"<script|<i>|https?:|src=\"(?!data:)|href=", page)
    assert "default-src 'none'" in page
    first = re.search(r"1\. (\S.*)\nscore ([\d.-]+)", page)
    ranked = re.search(r"^ +1 +(\S+) +(.+?) *$", answer.output, re.MULTILINE)
    assert first is not None
    assert ranked is not None
    assert (first[1].replace("&lt;", "<").replace("&gt;", ">"), first[2]) == (ranked[2], ranked[1])


def test_deep_pictures_need_a_stretch_and_bands_may_be_named(tmp_path, model):
    random = np.random.default_rng(2)
    write_raster(tmp_path / "a.tif", random.integers(1, 3000, (5, 32, 32)).astype(np.uint16), "EPSG:4326", 0, 1, 0.01)
    with pytest.raises(SourceError, match=r"none of 1 pictures can be read: a\.tif has values .* uint16.*--stretch"):
        rank_pictures(PictureFolder.for_model(tmp_path, model, None, None), ["sea"], model)
    answer = run(tmp_path, "--text", "sea", "--band-indexes", "5,9,2", "--stretch", "0,3000")
    assert isinstance(answer.exception, SourceError)
    folder = PictureFolder.for_model(tmp_path, model, (4, 3, 2), None)
    stretched = PictureFolder.for_model(tmp_path, model, (4, 3, 2), Stretch(0, 3000))
    with pytest.raises(SourceError, match="uint16"):
        folder.read("a.tif")
    assert stretched.read("a.tif").dtype == np.uint8
    assert len(rank_pictures(stretched, ["sea"], model).names) == 1


def test_bands_in_another_order_reach_the_model_in_its_own(folder):
    turned = PictureFolder(folder, ("blue", "green", "red"))
    plain = PictureFolder(folder)
    np.testing.assert_array_equal(turned.read("a.png"), plain.read("a.png")[::-1])
    np.testing.assert_array_equal(turned.shown("a.png"), plain.shown("a.png"))


def test_what_cannot_be_asked_is_told(folder, model, tmp_path):
    with pytest.raises(MissingDataError, match="no folder of pictures at"):
        PictureFolder.for_model(tmp_path / "none", model, None, None)
    with pytest.raises(MissingDataError, match="holds no pictures"):
        rank_pictures(PictureFolder.for_model(tmp_path, model, None, None), ["sea"], model)
    for texts in ([], ["sea", "  "]):
        with pytest.raises(InvalidInputError, match="--text"):
            rank_pictures(PictureFolder(folder), texts, model)
    with pytest.raises(InvalidInputError, match="reads the bands red, green, blue: say with --band-indexes"):
        PictureFolder.for_model(folder, model, (4, 3), None)
    mute = WildSATModel(tiny_config(text_head=None))
    with pytest.raises(SpaceUnavailableError):
        rank_pictures(PictureFolder(folder), ["sea"], mute)
    deep = WildSATModel(tiny_config(preprocessing=Preprocessing(bands=("red", "green", "b08"))))
    with pytest.raises(InvalidInputError, match="b08: say with --band-indexes"):
        PictureFolder.for_model(folder, deep, None, None)
