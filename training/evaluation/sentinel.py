"""The benchmark at ten metres: what a model finds among real Sentinel-2 chips of ten classes, none of them trained on.

Every wording is asked of all chips of EuroSAT's test part, under many stretches and in tiles of many sizes; chips from
other continents are asked apart. Colour alone and chance stand beside the model in the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray

from training.earth.chips import CHIP_PX, EUROSAT_WHITE, Chips, WorldChip, read_eurosat, read_world
from training.earth.kinds import KIND_OF_CLASS, KINDS
from training.earth.stretches import STRETCHES, Stretch, as_pictures
from training.evaluation.baseline import colour_vectors
from training.evaluation.measures import average_precision, bootstrap_interval, precision_at
from wildsat_core.models.model import WildSATModel

Vectors = NDArray[np.float32]
Pixels = NDArray[np.uint8]

CLASSES = tuple(KIND_OF_CLASS.values())
PLAIN = "0 to 0.3"  # the stretch that tiles of other sizes and scales are shown in
BATCH = 128
TAUGHT_COLOURS = 3000  # chips of the training part that the colour baseline learns from
# Side of a tile in chips, and in pixels once it is shown: larger tiles, and as large ones in coarser pixels.
SIZES = {"64 px": (1, 64), "128 px": (2, 128), "224 px": (4, 224), "256 px": (4, 256), "512 px": (8, 512)}
SCALES = {"20 m a pixel": (2, 64), "40 m a pixel": (4, 64), "60 m a pixel": (6, 64)}
MOST_TILES = {1: 200, 2: 100, 4: 40, 6: 40, 8: 20}  # of each class, by side in chips
WORLD_PX = 64


@dataclass(frozen=True, slots=True)
class Wording:
    """One way of asking for a class; `held` ones decided nothing."""

    text: str
    kind: str
    held: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Tiles, their classes and their vectors, ready to be asked for.

    Attributes:
        pixels: (N, 3, H, W) uint8.
        kinds: (N,) rows of `CLASSES`.
        vectors: (N, D) of length 1.
    """

    pixels: Pixels
    kinds: NDArray[np.int64]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Figures:
    """What was reached over one set of tiles.

    Attributes:
        accuracy: share of tiles whose class, as the mean of its tuning wordings, is the nearest of all ten.
        accuracy_names: the same with the classes' own names and nothing else.
        p20: mean precision among the best 20, over the held wordings; p20_interval: 95 %, bootstrap over wordings.
        p20_all, lowest, lowest_text: mean over all wordings, and the worst of them.
        mean_average_precision: over the held wordings.
        confusion: (C, C) tiles of each class (rows) by the class they were taken for.
    """

    tiles: int
    accuracy: float
    accuracy_names: float
    p20: float
    p20_interval: tuple[float, float]
    p20_all: float
    lowest: float
    lowest_text: str
    mean_average_precision: float
    confusion: list[list[int]]


def read_wordings() -> list[Wording]:
    """The benchmark's wordings, split into a tuning and a held half by a hash of their text."""
    return [
        Wording(text, kind, hashlib.sha256(text.encode()).digest()[0] % 2 == 1)
        for kind, texts in _table("sentinel2.yaml").items()
        for text in texts
    ]


def read_world_wordings() -> dict[str, list[str]]:
    """What is asked of the chips from other continents, by kind of ground."""
    return _table("sentinel2-world.yaml")


def judge(asked: Asked, texts: Vectors, names: Vectors, wordings: list[Wording]) -> Figures:
    """Ask every wording of every tile.

    Args:
        asked: tiles.
        texts: (Q, D) vectors of the wordings.
        names: (C, D) vectors of the classes' names.
        wordings: what they are.
    """
    kind = np.asarray([CLASSES.index(wording.kind) for wording in wordings])
    held = np.asarray([wording.held for wording in wordings])
    scores = texts @ asked.vectors.T  # (Q, N)
    relevant = kind[:, None] == asked.kinds[None]
    p20, ap = precision_at(scores, relevant, 20), average_precision(scores, relevant)
    ensemble = np.stack([_unit(texts[~held & (kind == c)].mean(0)) for c in range(len(CLASSES))])
    taken = (asked.vectors @ ensemble.T).argmax(1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (asked.kinds, taken), 1)
    low, high = bootstrap_interval(p20[held])
    return Figures(
        tiles=len(asked.kinds),
        accuracy=float((taken == asked.kinds).mean()),
        accuracy_names=float(((asked.vectors @ names.T).argmax(1) == asked.kinds).mean()),
        p20=float(p20[held].mean()),
        p20_interval=(low, high),
        p20_all=float(p20.mean()),
        lowest=float(p20.min()),
        lowest_text=wordings[int(p20.argmin())].text,
        mean_average_precision=float(ap[held].mean()),
        confusion=confusion.tolist(),
    )


class SentinelBenchmark:
    """One model on the test part of EuroSAT and on chips from all over the world."""

    def __init__(self, model: WildSATModel, data: Path, most: int | None = None) -> None:
        """Read the chips and embed the wordings.

        Args:
            model: to be judged.
            data: folder with eurosat/ and sentinel2/.
            most: only so many test chips, for a look.
        """
        self.model, self.data = model, data
        self.chips = read_eurosat(data, "test", most)
        self.wordings = read_wordings()
        self.texts = model.embed_texts([wording.text for wording in self.wordings])
        self.names = model.embed_texts(list(CLASSES))

    def judge(self, asked: Asked) -> Figures:
        """Ask all wordings of some tiles."""
        return judge(asked, self.texts, self.names, self.wordings)

    def stretched(self, stretch: Stretch) -> Asked:
        """All test chips under a stretch."""
        pixels = _bytes(as_pictures(self.chips.pixels, stretch))
        return Asked(pixels, self.chips.kinds, self.embed(pixels))

    def tiled(self, across: int, side_px: int) -> Asked:
        """Tiles of across x across chips of one class, brought to side x side pixels."""
        pixels, kinds = larger_tiles(self.chips, across, side_px, STRETCHES[PLAIN])
        return Asked(pixels, kinds, self.embed(pixels))

    def embed(self, pixels: Pixels) -> Vectors:
        """(N, D) vectors of pictures (N, 3, H, W) uint8 in the text space."""
        parts = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
        return np.concatenate([self.model.embed_pixels(part)["text"] for part in parts])

    def colour(self, asked: Asked) -> Asked:
        """The same tiles as their colour alone tells them: a ridge regression to the wordings' own mean vectors."""
        taught = read_eurosat(self.data, "train", TAUGHT_COLOURS)
        shown = _bytes(as_pictures(taught.pixels, STRETCHES[PLAIN]))
        kind = np.asarray([CLASSES.index(wording.kind) for wording in self.wordings])
        held = np.asarray([wording.held for wording in self.wordings])
        centres = np.stack([_unit(self.texts[~held & (kind == c)].mean(0)) for c in range(len(CLASSES))])
        pixels = np.concatenate([shown, asked.pixels])
        aims = np.concatenate([centres[taught.kinds], np.zeros((len(asked.pixels), centres.shape[1]), np.float32)])
        found = colour_vectors(pixels, aims, np.arange(len(pixels)) < len(shown))
        return Asked(asked.pixels, asked.kinds, found[len(shown) :])

    def world(self) -> dict[str, Any]:
        """Chips from other continents that the model never saw, cut into tiles of 64 pixels.

        The interval of the mean is drawn over kinds of ground: wordings of one kind ask for the same few chips.
        """
        chips = read_world(self.data, "test")
        pixels = np.concatenate([world_tiles(chip, STRETCHES[PLAIN]) for chip in chips])
        kinds = np.repeat([chip.kind for chip in chips], len(pixels) // len(chips))
        vectors = self.embed(pixels)
        found: dict[str, float] = {}
        by_kind: list[float] = []
        for kind, texts in read_world_wordings().items():
            relevant = np.repeat((kinds == KINDS.index(kind))[None], len(texts), 0)
            precision = precision_at(self.model.embed_texts(texts) @ vectors.T, relevant, 16)
            found |= {text: round(float(p), 4) for text, p in zip(texts, precision, strict=True)}
            by_kind.append(float(precision.mean()))
        mean, interval = float(np.mean(list(found.values()))), bootstrap_interval(np.asarray(by_kind))
        return {"tiles": len(pixels), "chips": len(chips), "p16": mean, "p16_interval": interval, "wordings": found}


def full_report(benchmark: SentinelBenchmark, *, stretches: bool = True, sizes: bool = True) -> dict[str, Any]:
    """Everything that the benchmark says of a model, ready for JSON."""
    plain = benchmark.stretched(STRETCHES[PLAIN])
    report: dict[str, Any] = {
        "model": benchmark.model.config.name,
        "weights_sha256": benchmark.model.weights_sha256,
        "classes": list(CLASSES),
        "wordings": len(benchmark.wordings),
        "held_wordings": sum(wording.held for wording in benchmark.wordings),
        "plain": asdict(benchmark.judge(plain)),
        "colour": asdict(benchmark.judge(benchmark.colour(plain))),
        "by_wording": by_wording(benchmark, plain),
        "world": benchmark.world(),
    }
    if stretches:
        report["stretches"] = {n: asdict(benchmark.judge(benchmark.stretched(s))) for n, s in STRETCHES.items()}
        report["most_lost_by_stretch"] = max(
            report["plain"]["accuracy"] - figures["accuracy"] for figures in report["stretches"].values()
        )
    if sizes:
        shown = {**SIZES, **SCALES}
        report["sizes"] = {n: asdict(benchmark.judge(benchmark.tiled(*shape))) for n, shape in shown.items()}
    return report


def by_wording(benchmark: SentinelBenchmark, asked: Asked) -> list[dict[str, Any]]:
    """Precision at 20 and average precision of each wording, worst first."""
    kind = np.asarray([CLASSES.index(wording.kind) for wording in benchmark.wordings])
    scores, relevant = benchmark.texts @ asked.vectors.T, kind[:, None] == asked.kinds[None]
    p20, ap = precision_at(scores, relevant, 20), average_precision(scores, relevant)
    rows = [
        {"text": w.text, "class": w.kind, "held": w.held, "p20": float(p20[i]), "ap": float(ap[i])}
        for i, w in enumerate(benchmark.wordings)
    ]
    return sorted(rows, key=lambda row: (row["p20"], row["ap"]))


def judged(benchmark: SentinelBenchmark) -> Judged:
    """The plain chips and every wording, for a contact sheet."""
    asked = benchmark.stretched(STRETCHES[PLAIN])
    kind = np.asarray([CLASSES.index(wording.kind) for wording in benchmark.wordings])
    return Judged(benchmark, asked, benchmark.wordings, kind[:, None] == asked.kinds[None])


@dataclass(frozen=True, slots=True)
class Judged:
    """What a contact sheet shows: pictures, queries, which of them are right, and the ranking."""

    benchmark: SentinelBenchmark
    asked: Asked
    queries: list[Wording]
    truth: NDArray[np.bool_]

    @property
    def pixels(self) -> Pixels:
        """(N, 3, H, W) uint8."""
        return self.asked.pixels

    def scores(self, texts: list[str], blend: float) -> NDArray[np.floating[Any]]:
        """(T, N) the ranking of texts; chips have no position, so there is nothing to blend."""
        return np.asarray(self.benchmark.model.embed_texts(texts) @ self.asked.vectors.T)


def larger_tiles(chips: Chips, across: int, side_px: int, stretch: Stretch) -> tuple[Pixels, NDArray[np.int64]]:
    """Tiles that show across x across chips of one class each, no chip twice in a tile.

    Returns:
        (N, 3, side_px, side_px) uint8, and the class of each, (N,).
    """
    rng = np.random.default_rng(across)
    pictures, kinds = [], []
    for kind in range(len(CLASSES)):
        rows = np.flatnonzero(chips.kinds == kind)
        for _ in range(min(MOST_TILES[across], len(rows) // across**2 * 4)):
            chosen = rng.choice(rows, across**2, replace=False)
            pictures.append(_mosaic(chips.pixels[chosen], across))
            kinds.append(kind)
    shown = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() * (EUROSAT_WHITE / 255)
    shown = F.interpolate(shown, size=(side_px, side_px), mode="bilinear", antialias=True, align_corners=False)
    return _bytes(stretch(shown) * 255), np.asarray(kinds)


def world_tiles(chip: WorldChip, stretch: Stretch) -> Pixels:
    """A chip cut into tiles of 64 pixels, (16, 3, 64, 64) uint8."""
    return _bytes(torch.cat([stretch(tile[None]) for tile in _cuts(chip)]) * 255)


def _cuts(chip: WorldChip) -> Iterator[torch.Tensor]:
    whole = torch.from_numpy(chip.reflectance).permute(2, 0, 1)
    for top in range(0, whole.shape[1] - WORLD_PX + 1, WORLD_PX):
        for left in range(0, whole.shape[2] - WORLD_PX + 1, WORLD_PX):
            yield whole[:, top : top + WORLD_PX, left : left + WORLD_PX]


def _mosaic(tiles: Pixels, across: int) -> Pixels:
    grid = tiles.reshape(across, across, CHIP_PX, CHIP_PX, 3)
    return grid.transpose(0, 2, 1, 3, 4).reshape(across * CHIP_PX, across * CHIP_PX, 3)


def _bytes(pictures: torch.Tensor) -> Pixels:
    return np.asarray(pictures.round().to(torch.uint8).numpy())


def _unit(vector: Vectors) -> Vectors:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)


def _table(name: str) -> dict[str, list[str]]:
    text = (resources.files("training.evaluation") / "tables" / name).read_text(encoding="utf-8")
    table: dict[str, list[str]] = yaml.safe_load(text)
    return table
