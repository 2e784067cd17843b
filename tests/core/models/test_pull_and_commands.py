"""`wildsat models`: list, show, convert and pull, the last against a server on this machine."""

import http.server
import json
import pickle
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.core.models.reference_rows import build_row, checkpoint
from wildsat_core.errors import CheckpointError, InvalidInputError, MissingExtraError, ModelNotFoundError, SourceError
from wildsat_core.models.commands import known_models, models
from wildsat_core.models.location_files import load_location
from wildsat_core.models.pull import pull_model
from wildsat_core.models.registry import MODELS, find_spec, load_model
from wildsat_core.text.wiki import open_text_table

NAME = "resnet50-random"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("WILDSAT_MODEL_DIR", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder served at an address, with one checkpoint under its published identifier and a hostile file."""
    folder = tmp_path_factory.mktemp("served")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        torch.save(checkpoint(NAME, build_row(NAME), parallel=False), folder / MODELS[NAME].published_id)
    (folder / MODELS["resnet50-seco"].published_id).write_bytes(b"<html>quota exceeded</html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments):
    return CliRunner().invoke(models, list(arguments), catch_exceptions=False)


def test_a_published_checkpoint_is_fetched_converted_and_kept(published, home):
    _, base = published
    with pytest.raises(ModelNotFoundError, match=f"fetch it with `wildsat models pull {NAME}`"):
        load_model(NAME)
    result = run("pull", NAME, "--base", base)
    assert result.exit_code == 0
    assert str(home / NAME) in result.stdout
    model = load_model(NAME)
    assert model.embed_pixels(np.zeros((1, 3, 64, 64), np.uint8))["text"].shape == (1, 256)
    assert sorted(p.name for p in home.iterdir()) == [NAME]  # nothing else is left behind
    # Another pull needs no network.
    assert pull_model(NAME, "http://127.0.0.1:9/") == home / NAME


def test_what_can_not_be_fetched_leaves_nothing_behind(published, home, monkeypatch):
    _, base = published
    with pytest.raises(SourceError, match="404"):
        pull_model("swint-satlas", base)
    with pytest.raises(SourceError, match="can't fetch"):
        pull_model("swint-satlas", "http://127.0.0.1:9")
    monkeypatch.setenv("WILDSAT_CHECKPOINT_BASE", base)
    with pytest.raises(CheckpointError, match="can't be read"):
        pull_model("resnet50-seco")
    assert list(home.iterdir()) == []
    with pytest.raises(ModelNotFoundError, match="no checkpoint of 'wildsat-mini' is published"):
        pull_model("wildsat-mini")


def test_google_drive_is_asked_by_identifier_and_its_failures_are_named(home, monkeypatch):
    gdown = pytest.importorskip("gdown")
    asked = []

    def gives_nothing(**arguments):
        asked.append(arguments["id"])

    def refuses(**_):
        raise gdown.exceptions.FileURLRetrievalError("too many users have viewed this file")

    monkeypatch.setattr(gdown, "download", gives_nothing)
    with pytest.raises(SourceError, match="gave nothing for 1GWrhoRLx4hnpfGOi8HYM2aKUyxVMvQEP"):
        pull_model("resnet50-seco")
    assert asked == ["1GWrhoRLx4hnpfGOi8HYM2aKUyxVMvQEP"]
    monkeypatch.setattr(gdown, "download", refuses)
    with pytest.raises(SourceError, match="from Google Drive: too many users"):
        pull_model("resnet50-seco")
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[download\]"):
        pull_model("resnet50-seco")
    assert list(home.iterdir()) == []


def test_the_list_has_every_row_and_says_what_is_installed():
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert len(rows) >= 15
    assert set(MODELS) <= set(rows)
    needed = {"architecture", "start", "bands", "positions", "input_px", "preprocessing", "feature_size", "tuning"}
    needed |= {"text_encoder", "metric", "licence", "start_file"}
    assert all(needed <= row.keys() for name, row in rows.items() if name in MODELS)
    table = run("list").stdout
    assert all(name in table for name in rows)
    assert rows["vitb16-satclip"]["positions"] == [3, 2, 1]
    assert rows["vitb16-prithvi"]["positions"] == [2, 1, 0]
    assert [row["name"] for row in known_models() if row["installed"]][:1] in ([], ["wildsat-mini"])


def test_one_model_is_shown():
    assert "seco_resnet50_100k.ckpt" in run("show", "resnet50-seco").stdout
    shown = json.loads(run("show", "timm:resnet10t", "--json").stdout)
    assert shown["feature_size"] == 512
    assert shown["metric"] == "cosine"
    with pytest.raises(ModelNotFoundError, match="timm has no backbone 'resnet51x'"):
        find_spec("timm:resnet51x")


def test_convert_takes_a_checkpoint_and_refuses_to_overwrite(published, home):
    folder, _ = published
    file = str(folder / MODELS[NAME].published_id)
    assert run("convert", file, "--name", "mine").exit_code == 0
    assert load_model("mine").config.name == "mine"
    assert json.loads(run("show", "mine", "--json").stdout)["installed"] is True
    assert "mine" in run("list").stdout
    with pytest.raises(InvalidInputError, match="is there already"):
        run("convert", file, "--name", "mine")
    with pytest.raises(InvalidInputError, match="there is no file"):
        run("convert", "nowhere.pth", "--name", "other")


def test_convert_takes_sinr(tmp_path, home):
    width, state = 8, {"feats.0.weight": torch.randn(8, 4), "feats.0.bias": torch.randn(8)}
    for layer in ("w1", "w2"):
        state |= {f"feats.2.{layer}.weight": torch.randn(8, 8), f"feats.2.{layer}.bias": torch.randn(8)}
    state["class_emb.weight"] = torch.randn(5, width)
    params = {"model": "ResidualFCNet", "input_enc": "sin_cos", "input_dim": 4, "num_classes": 5, "num_filts": 8}
    params["class_to_taxa"] = [47219, 11, 7, 9, 3]
    torch.save({"params": params, "state_dict": state}, tmp_path / "model.pt")
    assert "a sinr location encoder of 5 species" in run("convert", str(tmp_path / "model.pt"), "--name", "sinr").stdout
    encoder = load_location(home / "sinr")
    assert json.loads((home / "sinr" / "species.json").read_text())["species"] == ["47219", "11", "7", "9", "3"]
    features = encoder(torch.tensor([[-98.0, 33.5]]))
    assert encoder.species_scores(features).shape == (1, 5)
    torch.testing.assert_close(encoder.class_emb.weight.detach(), state["class_emb.weight"])
    params["class_to_taxa"] = [1]
    torch.save({"params": params, "state_dict": state}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="names 1 species, its layer has 5"):
        run("convert", str(tmp_path / "other.pt"), "--name", "other")


def test_convert_takes_satclips_location_tower(tmp_path, home):
    nnet = {"layers.0.weight": torch.randn(8, 16), "layers.0.bias": torch.randn(8)}
    nnet |= {"last_layer.weight": torch.randn(4, 8), "last_layer.bias": torch.randn(4)}
    state = {f"model.location.nnet.{key}": value.double() for key, value in nnet.items()}
    state |= {f"model.nnet.{key}": value.double() for key, value in nnet.items()}
    hyper = {"le_type": "sphericalharmonics", "pe_type": "siren", "legendre_polys": 4}
    hyper |= {"harmonics_calculation": "closed-form", "eval_downstream": False, "air_temp_data_path": "x"}
    torch.save({"state_dict": state, "hyper_parameters": hyper}, tmp_path / "satclip.ckpt")
    assert run("convert", str(tmp_path / "satclip.ckpt"), "--name", "satclip").exit_code == 0
    encoder = load_location(home / "satclip")
    assert (encoder.degree, encoder.harmonics) == (4, "closed-form")
    assert encoder.encode([[180.0, -90.0]]).shape == (1, 4)


def test_convert_takes_the_table_of_texts(tmp_path, home):
    data = torch.randn(3, 6)
    keys = [(0, "Habitat"), (0, "Range"), (1, "Habitat")]
    torch.save({"data": data, "keys": keys, "taxon_id": torch.tensor([47, 11])}, tmp_path / "wiki.pt")
    assert "3 text embeddings" in run("convert", str(tmp_path / "wiki.pt"), "--name", "wiki").stdout
    table = open_text_table(home / "wiki")
    np.testing.assert_array_equal(table.embeddings, data.numpy())
    assert list(table.sections) == keys
    assert list(table.taxon_ids) == [47, 11]
    torch.save({"data": data, "keys": keys[:2], "taxon_id": torch.tensor([47, 11])}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="3 embeddings and 2 keys"):
        run("convert", str(tmp_path / "bad.pt"), "--name", "bad")


def test_convert_refuses_what_it_does_not_know(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(1)}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="neither a SINR file"):
        run("convert", str(tmp_path / "a.pt"), "--name", "a")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(print))
    with pytest.raises(CheckpointError, match="can't be read"):
        run("convert", str(tmp_path / "b.pt"), "--name", "b")


def test_the_documentation_names_every_row_and_every_setting():
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert [name for name in MODELS if f"| `{name}` |" not in text] == []
    settings = ("MODEL_DIR", "CHECKPOINT_BASE", "GRITLM", "TEXT_CACHE", "BIOCLIM")
    assert [name for name in settings if f"$WILDSAT_{name}" not in text] == []
