"""It learns from real pictures, and what comes out serves: train, export, index, search."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from tests.training.conftest import tiny_config
from training.data.pixels import PixelReader
from training.data.tables import (
    EMBEDDINGS,
    DatasetAbout,
    open_dataset,
    pairs_table,
    places_table,
    texts_table,
    write_dataset,
)
from training.loop import train
from wildsat_core.bands import NINE_BANDS, SENTINEL2
from wildsat_core.models.model import WildSATModel

CHIP_BANDS = tuple(band for band in SENTINEL2 if band != "b10")
SIDE_PX = 32


@pytest.fixture(scope="session")
def sentinel2() -> Path:
    root = os.environ.get("WILDSAT_DATA")
    if not root or not (Path(root) / "sentinel2" / "index.csv").is_file():
        pytest.skip("needs real Sentinel-2 chips: set WILDSAT_DATA to a folder with sentinel2/index.csv")
    return Path(root) / "sentinel2"


@pytest.fixture(scope="session")
def real(sentinel2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 windows of real Sentinel-2 chips, each with a text of its own embedded by MiniLM."""
    from wildsat_core.text import load_text_encoder

    folder = tmp_path_factory.mktemp("real")
    with (sentinel2 / "index.csv").open() as lines:
        chips = list(csv.DictReader(lines))
    reader = PixelReader(sentinel2, CHIP_BANDS, side_px=SIDE_PX)
    places: list[dict[str, Any]] = []
    for corner in (0, 128):
        for chip in chips:
            pixels = reader.read(chip["file"], (corner, corner, 128, 128)).astype(float)
            if pixels.std() < 100 or len(places) == 32:  # leaves the nearly empty chip out
                continue
            name = f"{len(places)}.png"
            # The square root keeps dark water and bright snow both within eight bits.
            stretched = 255 * np.sqrt((pixels / 16000).clip(0, 1))
            Image.fromarray(stretched.round().astype(np.uint8).transpose(1, 2, 0)).save(folder / name)
            places.append(
                {
                    "path": name,
                    "window": None,
                    "lon": float(chip["lon"]),
                    "lat": float(chip["lat"]),
                    "captured_on": None,
                    "cell": len(places),
                    "site": len(places),
                    "split": "train",
                }
            )
    assert len(places) == 32
    held_out = [place | {"split": "val"} for place in places]  # the same pictures: this measures memory, on purpose
    words = [f"the {c} {n}" for c in ("dry", "wet", "cold", "warm") for n in WORDS]
    texts = [{"species": t, "section": None, "text": t, "source": "test", "licence": "CC0"} for t in words]
    pairs = [
        {"place": i, "text": i % 32, "group": i, "lon": p["lon"], "lat": p["lat"]}
        for i, p in enumerate(places + held_out)
    ]
    about = DatasetAbout(imagery=str(folder), text_encoder="minilm")
    write_dataset(folder, about, places_table(places + held_out), texts_table(texts), pairs_table(pairs))
    save_file({"embeddings": load_text_encoder("minilm").encode(words)}, folder / EMBEDDINGS)
    return folder


WORDS = ("desert", "forest", "coast", "lake", "field", "mountain", "glacier", "town")


@pytest.fixture(scope="session")
def trained(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns the 32 pairs by heart."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("runs") / "run"
    off = {"flips": False, "mixing": 0, "noise_sigma": 0, "jitter_chance": 0, "grey_chance": 0, "blur_chance": 0}
    config = tiny_config(
        real,
        run,
        model={"row": "timm:test_resnet", "start": "none", "input_px": SIDE_PX, "dim": 32},
        data={"tile_px": SIDE_PX},
        losses={"image": 0, "scale": 20.0},
        augment=off | {"crop_area": (1.0, 1.0)},
        optimiser={"lr": 5e-3, "schedule": "cosine", "warmup_steps": 5},
        run={"batch": 32, "steps": 160, "validate_every": 40, "checkpoint_every": 160, "log_every": 40},
    )
    outcome = train(config)
    assert outcome.best == 1.0, "each of 32 real tiles finds its text, and each text its tile, first of all"
    return run


def test_32_real_tiles_are_learnt_by_heart(trained: Path) -> None:
    assert (trained / "model" / "config.json").is_file()


def test_what_was_trained_is_exported_indexed_and_searched(
    trained: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.commands.index import index
    from wildsat_core.models.commands import models
    from wildsat_core.search.commands import search

    monkeypatch.setenv("WILDSAT_MODEL_DIR", str(tmp_path / "models"))
    searching = typer.Typer()
    searching.command()(search)

    def run(command: Any, *arguments: object) -> str:
        result = CliRunner().invoke(command, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    run(models, "export", trained, "--name", "by-heart")
    data = open_dataset(real)
    chips = shutil.copytree(data.imagery_root, tmp_path / "chips")
    with (chips / "index.csv").open("w") as table:
        table.write("file,lon,lat,gsd_m,id\n")
        for i, place in enumerate(data.places.to_pylist()[:32]):
            table.write(f"{place['path']},{place['lon']},{place['lat']},40,tile-{i}\n")
    where = ("--collections", tmp_path)
    run(index, "build", "folder", "real", "--input", chips, "--model", "by-heart", "--workers", 0, *where)
    asked = ("--collection", "real", "-k", 3, "--format", "geojson", "--min-land", 0)  # what was learnt alone decides
    for row in (0, 7, 31):
        text = str(data.column("texts", "text")[row])
        found = json.loads(run(searching, text, *asked, "--folder", tmp_path))
        assert found["features"][0]["properties"]["tile_id"] == f"tile-{row}"


def test_reflectance_of_nine_bands_trains_as_it_is_stored(sentinel2: Path, tmp_path: Path) -> None:
    """Windows of the GeoTIFFs themselves, sixteen bits, nine bands into SatCLIP's thirteen channels."""
    torch.set_num_threads(1)
    with (sentinel2 / "index.csv").open() as lines:
        chips = list(csv.DictReader(lines))[:4]
    places = [
        {
            "path": chip["file"],
            "window": [0, 0, 64, 64],
            "lon": float(chip["lon"]),
            "lat": float(chip["lat"]),
            "captured_on": None,
            "cell": i,
            "site": i,
            "split": "train",
        }
        for i, chip in enumerate(chips)
    ]
    texts = [{"species": str(i), "section": None, "text": str(i), "source": "", "licence": ""} for i in range(4)]
    pairs = [{"place": i, "text": i, "group": i, "lon": p["lon"], "lat": p["lat"]} for i, p in enumerate(places)]
    about = DatasetAbout(imagery=str(sentinel2), bands=CHIP_BANDS, text_encoder="minilm")
    write_dataset(tmp_path / "set", about, places_table(places), texts_table(texts), pairs_table(pairs))
    save_file({"embeddings": np.eye(4, 8, dtype=np.float32)}, tmp_path / "set" / EMBEDDINGS)
    config = tiny_config(
        tmp_path / "set",
        tmp_path / "run",
        model={
            "row": "vitb16-satclip",
            "architecture_args": {"img_size": 32, "depth": 1},
            "bands": NINE_BANDS,
            "scale": 10_000.0,
        },
        run={"steps": 1},
    )
    outcome = train(config)
    assert np.isfinite(outcome.loss)
    spec = WildSATModel.open(outcome.folder / "model").config.preprocessing
    assert (spec.bands, spec.channels, spec.scale) == (NINE_BANDS, 13, 10_000.0)


def test_export_refuses_a_folder_without_a_model(tmp_path: Path) -> None:
    from wildsat_core.errors import ModelNotFoundError
    from wildsat_core.models.commands import models

    result = CliRunner().invoke(models, ["export", str(tmp_path), "--name", "x"])
    assert isinstance(result.exception, ModelNotFoundError)


def test_the_exported_model_is_the_trained_one(trained: Path) -> None:
    model = WildSATModel.open(trained / "model")
    assert set(model.spaces) == {"text"}
    assert model.config.text_encoder == "minilm"
