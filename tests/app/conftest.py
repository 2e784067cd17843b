"""A service over a tiny collection whose scores can be worked out by hand: six tiles, D = 4, a model of a few words."""

from __future__ import annotations

import datetime as dt
import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings
from wildsat_core.collection import CollectionWriter
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

WORDS = ("forest", "desert", "water", "ice")
MODEL = ModelRef("toy", "0" * 64, "words", "as they come")
SPACES = {"text": SpaceSpec(4, "cosine"), "place": SpaceSpec(4, "cosine")}


class ToyModel:
    """A text is the sum of the words in it that the model knows; a picture is its mean colour."""

    ref = MODEL
    default_blend = 0.25

    def notice_for(self, scale) -> str | None:
        return None

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        counts = np.array([[text.lower().count(word) for word in WORDS] for text in texts], np.float32)
        counts += 0.01
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)

    def typical_texts(self) -> np.ndarray:
        return np.empty((0, 0), np.float32)

    def are_unfamiliar(self, texts: list[str]) -> list[bool]:
        return ["motherboard" in text for text in texts]

    def embed_pixels(self, pixels: np.ndarray) -> Mapping[str, np.ndarray]:
        red, green, blue = (pixels[:, band].mean(axis=(1, 2)) / 255.0 for band in range(3))
        vectors = np.stack([green, red, blue, (red + green + blue) / 3], axis=1).astype(np.float32) + 0.01
        return {"text": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}

    def embed_places(self, lon_lat: np.ndarray) -> Mapping[str, np.ndarray]:
        cold = np.abs(lon_lat[:, 1]) / 90.0
        vectors = np.stack([1 - cold, 0 * cold, 0 * cold, cold], axis=1).astype(np.float32) + 0.01
        return {"place": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}


# id, box, day, cloud, country, how much of each word
ROWS = [
    ("amazon", BBox(-61, -4, -60, -3), dt.date(2024, 7, 1), 0.1, "BRA", (1.0, 0.0, 0.2, 0.0)),
    ("sahara", BBox(10, 24, 11, 25), dt.date(2024, 1, 15), 0.0, "DZA", (0.0, 1.0, 0.0, 0.0)),
    ("fiji", BBox(179.5, -18, -179.5, -17), dt.date(2023, 7, 9), 0.4, "FJI", (0.6, 0.0, 0.8, 0.0)),
    ("arctic", BBox(-180, 88, 180, 90), None, None, None, (0.0, 0.0, 0.3, 1.0)),
    ("congo", BBox(20, -1, 21, 0), dt.date(2024, 8, 2), 0.9, "COD", (0.9, 0.1, 0.1, 0.0)),
    ("texas", BBox(-98.5, 33, -97.5, 34), dt.date(2024, 3, 3), 0.2, "USA", (0.3, 0.6, 0.1, 0.0)),
]


def picture(colour: tuple[int, int, int], kind: str = "WEBP", size: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, kind)
    return out.getvalue()


def write_rows(root: Path, name: str, rows: list, provenance: dict | None = None) -> int:
    """Add tiles to a collection (made when absent) and publish."""
    told = provenance or {
        "title": "Toy",
        "attribution": "Nobody",
        "notice": "Six made-up tiles.",
        "description": "For tests.",
    }
    with CollectionWriter(root / name, name, MODEL, SPACES) as writer:
        tiles = [Tile(i, box, 10.0, "toy", f"{i}.png", day, cloud, country) for i, box, day, cloud, country, _ in rows]
        vectors = np.array([row[-1] for row in rows], np.float32) + 0.01
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        thumbnails = [picture((int(200 * v[1]), int(200 * v[0]), int(200 * v[2]))) for v in vectors]
        thumbnails[3 % len(rows)] = None
        writer.add(tiles, {"text": vectors, "place": vectors}, thumbnails)
        return writer.publish(provenance=told)


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the collection `demo`; nobody writes to it."""
    root = tmp_path_factory.mktemp("collections")
    write_rows(root, "demo", ROWS)
    return root


def toy_settings(folder: Path, **values: object) -> Settings:
    return Settings(collections=folder, **values)


@pytest.fixture(scope="session")
def client(toy_folder: Path) -> Iterator[TestClient]:
    """A client of a service with default settings."""
    with TestClient(
        create_app(toy_settings(toy_folder), lambda name: ToyModel()), raise_server_exceptions=False
    ) as client:
        yield client


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """A real server on loopback; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="session")
def live_url(toy_folder: Path) -> Iterator[str]:
    """Address of a real server with default settings."""
    with running(create_app(toy_settings(toy_folder), lambda name: ToyModel())) as url:
        yield url
