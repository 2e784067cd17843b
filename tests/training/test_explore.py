"""Places of a data set on a page."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from training.commands import dataset
from training.data.explore import Selection, choose_places, write_explorer
from training.data.tables import open_dataset
from wildsat_core.errors import InvalidInputError
from wildsat_core.picture_page import for_people, shown_bands

from .conftest import make_dataset


def test_a_place_shows_its_tile_other_date_species_text_and_position(painted, tmp_path):
    out = tmp_path / "page.html"
    answer = CliRunner().invoke(dataset, ["explore", str(painted), "--out", str(out), "--species", "species 3"])
    assert answer.exit_code == 0, answer.output
    page = out.read_text("utf-8")
    # Species 3 lives at sites 3 and 15; the sighting's picture is the second date's, and comes first.
    assert re.findall(r"\n(\d+_\d)\.png<", page) == ["3_1", "3_0", "15_1", "15_0"]
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Species 3", "Species 3"]
    assert re.search(r"<p>40\.0000° N, 91\.0000° W, United States.*; part train</p>", page)
    assert page.count("<p>Habitat 3 [habitat, test, CC0]</p>") == 2
    first = re.search(r'src="data:image/webp;base64,([^"]+)"', page)
    assert first is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(first[1]))).convert("RGB").resize((1, 1)))
    truth = np.asarray(Image.open(painted / "pictures" / "3_1.png").resize((1, 1)))
    assert np.abs(shown.astype(int) - truth).max() < 12


def test_parts_and_seeds_choose_and_none_is_refused(painted):
    data = open_dataset(painted)
    held = choose_places(data, Selection(99, part="val"))
    assert set(data.column("places", "split")[held]) == {"val"}
    assert len(held) == 6
    one, other = (choose_places(data, Selection(5, seed=seed)).tolist() for seed in (0, 1))
    assert len(one) == len(other) == 5
    assert one != other
    with pytest.raises(InvalidInputError, match="has no place of yeti, val"):
        choose_places(data, Selection(species="yeti", part="val"))


def test_a_picture_that_is_gone_is_told_and_the_rest_shown(tmp_path):
    folder = make_dataset(tmp_path / "set", places=8, species=4)
    (folder / "pictures" / "0_0.png").unlink()
    data = open_dataset(folder)
    faults = write_explorer(tmp_path / "page.html", data, choose_places(data, Selection(99)))
    assert len(faults) == 1
    assert "0_0.png can't be read" in faults[0]
    assert (tmp_path / "page.html").read_text("utf-8").count("<figure>") == 16


def test_deep_pictures_are_brightened_for_people():
    values = np.arange(300, dtype=np.uint16).reshape(3, 10, 10) * 10
    shown = for_people(values)
    assert (shown.min(), shown.max()) == (0, 255)
    assert not for_people(np.full((3, 2, 2), np.nan, np.float32)).any()
    assert shown_bands(("blue", "red", "green")) == ("red", "green", "blue")
    assert shown_bands(("vv", "vh")) == ("vv", "vh", "vh")
