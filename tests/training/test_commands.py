"""From files to a trained model by commands alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.indexer.stac_server import StacServer, scene
from tests.training.conftest import write_reference
from training.commands import dataset, train
from training.data.pixels import PixelReader
from training.data.tables import open_dataset
from training.report import Reporter
from wildsat_core.errors import InvalidInputError


def run(app: object, *arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))  # type: ignore[arg-type]
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result


def test_build_embed_and_train_by_commands(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    chips = tmp_path / "chips"
    chips.mkdir()
    index, seen = ["file,lon,lat"], ["species,decimalLongitude,decimalLatitude", "Lynx lynx,200,0"]
    for i in range(12):
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(chips / f"{i}.png")
        index.append(f"{i}.png,{-170 + 25 * i},{40 - 5 * i}")
        seen.append(f"{'Lynx lynx' if i % 2 else 'Crax rubra'},{-170 + 25 * i},{40 - 5 * i}")
    (chips / "index.csv").write_text("\n".join(index) + "\n")
    (tmp_path / "seen.csv").write_text("\n".join(seen) + "\n")
    (tmp_path / "texts.csv").write_text(
        "species,text,source,licence\nLynx lynx,Cold forest,me,CC0\nCrax rubra,Jungle,me,CC0\n"
    )
    folder = tmp_path / "set"
    built = run(
        dataset, "build", str(folder), "--observations", str(tmp_path / "seen.csv"), "--texts",
        str(tmp_path / "texts.csv"), "--imagery", f"folder:{chips}", "--shares", "0.5,0.5,0",
    )  # fmt: skip
    assert "12 sightings read; rows left out: 1 with a position off the globe" in built.output
    assert "12 pairs of 12 places and 2 texts; places by part: " in built.output
    assert "embedded 2 texts with minilm" in run(dataset, "embed-texts", str(folder)).output
    embeddings = (folder / "text_embeddings.safetensors").read_bytes()
    with pytest.raises(AssertionError, match=r"holds a data set already.*--again"):
        run(dataset, "build", str(folder), "--observations", "x", "--texts", "x", "--imagery", f"folder:{chips}")
    assert (folder / "text_embeddings.safetensors").read_bytes() == embeddings
    changes = {
        "data.folder": folder, "data.tile_px": "null", "data.workers": 0, "losses.location": 0, "model.start": "none",
        "model.input_px": 32, "run.folder": tmp_path / "run", "run.batch": 2, "run.steps": 1, "run.device": "cpu",
        "model.dim": 8,
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text("name: mine\nmodel: {row: 'timm:test_resnet'}\n")
    options = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    assert "finished after 1 steps" in run(train, "--config", str(tmp_path / "mine.yaml"), *options).output
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_any_source_of_the_indexer_is_cut_and_built_by_one_command(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "texts.csv").write_text("species,text,source,licence\nLynx lynx,Cold forest,me,CC0\n")
    (tmp_path / "seen.csv").write_text("species,lon,lat\nLynx lynx,-97.95,33.45\nLynx lynx,0,33\n")
    sources = ["--observations", str(tmp_path / "seen.csv"), "--texts", str(tmp_path / "texts.csv")]
    with StacServer(tmp_path / "files") as server:
        scene(server, "early", "2021-06-01", 5.0, 900)
        box = ",".join(str(v) for v in scene(server, "later", "2022-06-01", 1.0, 2200, baseline="04.00").as_tuple())
        catalogue = [
            "sentinel2", "--input", server.url, "--bbox", box, "--from", "2021-01-01", "--to", "2022-12-31",
            "--pick", "all", "--assets", "bands", "--workers", "0",
        ]  # fmt: skip
        built = run(dataset, "build", str(tmp_path / "set"), *sources, "--shares", "1,0,0", "--", *catalogue)
        planned = run(dataset, "build", str(tmp_path / "other"), *sources, "--", *catalogue, "--dry-run")
    assert "1 pairs of 2 places and 1 texts" in built.output
    assert "left out: 1 sightings without imagery" in built.output
    assert "tiles to cut" in planned.output
    assert not (tmp_path / "other").exists()
    (tmp_path / "set").rename(tmp_path / "moved")  # the imagery is a part of it
    data = open_dataset(tmp_path / "moved")
    assert [str(day) for day in data.column("places", "captured_on")] == ["2021-06-01", "2022-06-01"]
    pixels = PixelReader(data.imagery_root, data.about.bands, ("red", "green")).read(data.column("places", "path")[1])
    assert 1150 < pixels[0][pixels[0] > 0].mean() < 1250
    assert 1250 < pixels[1][pixels[1] > 0].mean() < 1350
    for more, message in (([], "give --imagery, or the options"), (["extra"], "unexpected argument 'extra'")):
        with pytest.raises(InvalidInputError, match=message):
            CliRunner().invoke(dataset, ["build", str(tmp_path / "set"), *more, *sources], catch_exceptions=False)


def test_import_by_command_and_wrong_shares(tmp_path: Path) -> None:
    pictures, wiki = write_reference(tmp_path)
    options = ["--pictures", str(pictures), "--wiki", str(wiki), "--imagery", str(tmp_path)]
    assert "3 pairs of 3 places and 3 texts" in run(dataset, "import", str(tmp_path / "set"), *options).output
    for shares in ("1,1,1", "a,b,c", "0.5,0.5"):
        result = CliRunner().invoke(dataset, ["import", str(tmp_path / "x"), *options, "--shares", shares])
        assert isinstance(result.exception, InvalidInputError)
    result = CliRunner().invoke(dataset, ["import", str(tmp_path / "x"), *options, "--block-deg", "40"])
    with pytest.raises(InvalidInputError, match="5 to 15"):
        raise result.exception  # type: ignore[misc]


def test_every_command_says_what_it_is_for() -> None:
    from wildsat_core.cli import load_command

    for name in ("train", "dataset", "eval", "index", "models"):
        assert load_command(name).get_short_help_str(), name


def test_the_bar_and_the_loss_fit_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr("training.report.Console", lambda **_: console)
    numbers = {"loss": 68.5, "loss_text": 2.25, "accuracy_text": 0.5, "loss_image": 16.0, "accuracy_image": 0.125}
    recall = {f"{way}_r{k}": k / 20 for way in ("tile_to_text", "text_to_tile") for k in (1, 5, 10)}
    with Reporter(tmp_path, steps=2, first=0, pairs_per_step=8, active=True) as reporter:
        reporter.step(1, numbers)
        reporter.validation(1, recall)
        reporter.step(2, numbers)
    shown = screen.getvalue()
    assert "loss 68.500: text 2.250 (50% right), image 16.000 (12% right)" in shown
    assert "step 1: held out, tile to text R@1 0.050 R@5 0.250 R@10 0.500" in shown
    last = next(line for line in reversed(shown.splitlines()) if "2/2" in line)
    assert all(part in last for part in ("steps/s", "pairs/s", "MB", "left 0:00:00"))
    assert "…" not in shown


def test_a_resumed_run_keeps_the_board_up_to_its_checkpoint(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for first, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # stopped after step 3, gone on from the checkpoint of step 2
        with Reporter(tmp_path, steps=4, first=first, pairs_per_step=1, active=True) as reporter:
            for step in steps:
                reporter.step(step, {"loss": first + step})
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [(1, 1), (2, 2), (3, 5), (4, 6)]
