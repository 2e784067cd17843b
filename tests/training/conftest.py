"""A tiny data set of painted pictures: each species has a colour of its own, so that there is something to learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from training.config import TrainConfig
from training.data.cells import cell_of
from training.data.stream import Batch
from training.data.tables import (
    EMBEDDINGS,
    DatasetAbout,
    pairs_table,
    places_table,
    texts_table,
    write_dataset,
)

SIDE_PX = 32
TEXT_DIM = 8


def make_dataset(folder: Path, *, places: int = 24, dates: int = 2, species: int = 12, seed: int = 0) -> Path:
    """Places in a row along the 40th parallel, each with pictures of several dates; one text a species."""
    random = np.random.default_rng(seed)
    colours = random.integers(40, 200, (species, 3))
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for site in range(places):
        kind, lon, lat = site % species, -100.0 + 3 * site, 40.0
        for date in range(dates):
            pixels = colours[kind] + random.integers(-30, 30, (SIDE_PX, SIDE_PX, 3))
            name = f"{site}_{date}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(pictures / name)
            part = "val" if site >= places - species // 2 else "train"
            rows.append(
                {
                    "path": name,
                    "window": None,
                    "lon": lon,
                    "lat": lat,
                    "captured_on": None,
                    "cell": int(cell_of(lon, lat, 100.0)),
                    "site": site,
                    "split": part,
                }
            )
        pairs.append({"place": len(rows) - 1, "text": kind, "group": site, "lon": lon, "lat": lat})
    texts = [
        {"species": f"Species {i}", "section": "habitat", "text": f"Habitat {i}", "source": "test", "licence": "CC0"}
        for i in range(species)
    ]
    embeddings = random.standard_normal((species, TEXT_DIM)).astype(np.float32)
    save_file({"embeddings": embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)}, folder / EMBEDDINGS)
    about = DatasetAbout(imagery="pictures", text_encoder="minilm")
    write_dataset(folder, about, places_table(rows), texts_table(texts), pairs_table(pairs))
    return folder


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny data set; read only."""
    return make_dataset(tmp_path_factory.mktemp("painted") / "set")


def make_batch(pairs: int, side: int) -> Batch:
    """Pairs of two noisy pictures each, every one of a species and a cell of its own."""
    random = torch.Generator().manual_seed(3)
    pictures = [torch.randint(0, 256, (pairs, 3, side, side), generator=random, dtype=torch.uint8) for _ in range(2)]
    rows, degrees = torch.arange(pairs), torch.rand(pairs, 2, generator=random) * 90
    return Batch(*pictures, torch.randn(pairs, TEXT_DIM, generator=random), degrees, rows, rows, rows, rows)


def tiny_config(data: Path, run: Path, /, **sections: dict[str, Any]) -> TrainConfig:
    """A run of a small ResNet on small pictures, without a location term."""
    content: dict[str, Any] = {
        "name": "tiny",
        "model": {"row": "timm:test_resnet", "start": "none", "input_px": 32, "dim": 16},
        "data": {"folder": data, "tile_px": None, "workers": 0},
        "losses": {"location": 0, "scale": 10.0},
        "augment": {"crop_px": 32},
        "optimiser": {"lr": 1e-3, "schedule": "none"},
        "run": {"folder": run, "batch": 4, "steps": 4, "log_every": 1, "device": "cpu", "precision": "fp32"},
    }
    for name, changes in sections.items():
        content[name] = content.get(name, {}) | changes
    return TrainConfig.model_validate(content)


def write_reference(folder: Path) -> tuple[Path, Path]:
    """`dataloader_data.npy` and `wiki_data_v4.pt` in the reference's form, tiny."""
    groups = [
        [("u1/tci/10_20.png", -98.0, 33.5, 2, ["u2/tci/10_20.png"]), ("u3/tci/11_20.png", -97.9, 33.4, 0, [])],
        [("u2/tci/10_20.png", np.float64(-98.0), 33.5, np.int64(1), ["u1/tci/10_20.png"])],
    ]
    pictures, wiki = folder / "dataloader_data.npy", folder / "wiki_data_v4.pt"
    np.save(pictures, {"dataloader_data": groups}, allow_pickle=True)  # type: ignore[arg-type]
    keys = [(0, "Habitat"), (0, "Range"), (1, "Habitat")]
    torch.save({"data": torch.randn(3, 16), "keys": keys, "taxon_id": torch.tensor([501, 777])}, wiki)
    return pictures, wiki
