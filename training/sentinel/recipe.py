"""How wildsat-s2 is made, from chips, tables and facts to a model directory; costly steps are kept in a work folder.

`wildsat train s2 --data $WILDSAT_DATA --work work/s2 --out wildsat_core/pretrained/wildsat-s2`
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.earth.chips import read_eurosat, read_world
from training.earth.stretches import STRETCHES
from training.embedded import embed_sentences
from training.evaluation.sentinel import read_wordings as benchmark_wordings
from training.familiar import fit_familiarity, spread_sample
from training.material import material_digest
from training.sentinel.heads import HeadSettings, TileFeatures, read_features, train_heads
from training.sentinel.model import s2_config
from training.sentinel.points import Points, kept_points, points_digest
from training.sentinel.scenes import SceneMaker
from training.sentinel.text_head import TextHeadSettings, fit_text_head
from training.sentinel.texts import Sentences, kind_sentences, read_wordings
from training.sentinel.vision import VisionSettings, VisionStudent, accuracy, train_vision
from training.steps import folder_for
from wildsat_core.errors import TrainingError
from wildsat_core.files import write_text_atomically
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.weights import read_safetensors, write_safetensors

log = logging.getLogger(__name__)

SUPERVISED_FILE = "supervised.json"
SHAPE = ("architecture", "architecture_args", "tile_heads", "location")
SUPERVISED_STRETCHES = ("0 to 0.275, as EuroSAT", "0 to 0.3", "percentiles 2 to 98")


@dataclass(frozen=True, slots=True)
class SentinelSettings:
    """Everything that decides the weights, beside the data; `most_chips` makes a short look of it."""

    vision: VisionSettings = field(default_factory=VisionSettings)
    heads: HeadSettings = field(default_factory=HeadSettings)
    text_head: TextHeadSettings = field(default_factory=TextHeadSettings)
    most_chips: int | None = None


@dataclass(frozen=True, slots=True)
class Texts:
    """Sentences about kinds of ground and about points, with their embeddings (S, 384)."""

    kinds: Sentences
    kind_embeddings: NDArray[np.float32]
    points: Points
    point_embeddings: NDArray[np.float32]


def make_model(
    data: Path,
    work: Path,
    settings: SentinelSettings,
    out: Path,
    device: torch.device | str = "cpu",
    start: Path | None = None,
) -> WildSATModel:
    """Train all parts, put them together, and write the model directory.

    Args:
        data: folder with eurosat/ and sentinel2/.
        work: what is made on the way is kept there and read again; parts of other settings, tables or data lie apart.
        settings: sizes and lengths.
        out: new model directory.
        device: what everything is trained on; the seeds give the same weights again on one kind of device alone.
        start: directory of a model of this kind whose image encoder is trained on; None for random weights. Where no
            stage of the encoder and no step of the heads is left, both stay as they are, and its texts alone are new.

    Raises:
        TrainingError: the model to start from is of another shape.
    """
    device = torch.device(device)
    torch.manual_seed(settings.vision.seed)
    model = WildSATModel(s2_config()).to(device)
    begun = None if start is None else _take_parts(model, start, heads=not settings.heads.steps)
    chips = read_eurosat(data, "train", settings.most_chips)
    world = read_world(data, "train")
    log.info("%d chips of EuroSAT", len(chips))
    pictures = material_digest(data, "eurosat", "sentinel2")
    folder = folder_for(work, "vision", settings.vision, settings.most_chips, device.type, begun, pictures)
    student = train_vision(model, chips, world, settings.vision, folder, trained=begun is not None)
    scenes = SceneMaker(chips, world, settings.vision.seed, settings.vision.stages[-1].style, device)
    count = settings.heads.scenes
    features = _features(folder / f"features-{count}.safetensors", lambda: read_features(student, chips, scenes, count))
    texts = read_texts(work)
    told = (texts.kinds, texts.kind_embeddings), (texts.points, texts.point_embeddings)
    if settings.heads.steps:
        claims = texts.kinds.claims.tolist()  # the same texts may be said of other land
        kept = folder_for(folder, "heads", settings.heads, texts.kinds.texts, claims, points_digest())
        train_heads(model, features, *told, settings.heads, kept)
    fit_text_head(model, features, *told, settings.text_head)
    if start is None or settings.vision.trains:
        _write_supervised(student, data, settings, out)
    elif (start / SUPERVISED_FILE).is_file():
        write_text_atomically(out / SUPERVISED_FILE, (start / SUPERVISED_FILE).read_text(encoding="utf-8"))
    export_model(model.to("cpu"), texts, work, out)
    return model


def _take_parts(model: WildSATModel, start: Path, *, heads: bool) -> str:
    """Give a model the image encoder and image head of another of its shape; the other's hash.

    With `heads` it gets the tile head of the text space and the position encoder, too.
    """
    other = WildSATModel.open(start, model.device)
    if any(getattr(other.config, part) != getattr(model.config, part) for part in SHAPE):
        raise TrainingError(
            f"{start} is of another shape than {model.config.name}; start from one that this command wrote"
        )
    model.backbone.load_state_dict(other.backbone.state_dict())
    model.tile_heads["image"].load_state_dict(other.tile_heads["image"].state_dict())
    if heads:
        assert model.location is not None  # the config says so
        assert other.location is not None
        model.tile_heads["text"].load_state_dict(other.tile_heads["text"].state_dict())
        model.location.load_state_dict(other.location.state_dict())
    return other.weights_sha256


def read_texts(work: Path) -> Texts:
    """Sentences and their embeddings, from the work folder where they are there already."""
    points, kinds = kept_points(work), kind_sentences()
    log.info("%d sentences about kinds of ground, %d about %d points", len(kinds.texts), len(points.texts),
             len(points.lon_lat))  # fmt: skip
    return Texts(
        kinds,
        embed_sentences(kinds.texts, work),
        points,
        embed_sentences(points.texts, work),
    )


def export_model(model: WildSATModel, texts: Texts, work: Path, out: Path) -> None:
    """Fit when nothing matches, and write the model directory in half precision."""
    out.mkdir(parents=True, exist_ok=True)
    # Without the lexicon: single words lie farther apart than what is asked does, and would fill the sample.
    asked = {text for said in read_wordings().values() for text, _ in said}
    whole = np.asarray([text in asked for text in texts.kinds.texts])
    known = spread_sample(np.concatenate([texts.kind_embeddings[whole], texts.point_embeddings]))
    real = [wording.text for wording in benchmark_wordings() if not wording.held]
    no_match = fit_familiarity(partial(embed_sentences, folder=work), known, real).save(out)
    model.config = model.config.model_copy(update={"no_match": no_match})
    log.info("weights %s", model.half().save(out))
    model.float()


def _features(path: Path, read: Callable[[], TileFeatures]) -> TileFeatures:
    if not path.is_file():
        found = read()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors({"features": found.features, "truth": found.truth}, path)
    kept = read_safetensors(path)
    log.info("features of %d pictures", len(kept["features"]))
    return TileFeatures(kept["features"], kept["truth"])


def _write_supervised(student: VisionStudent, data: Path, settings: SentinelSettings, out: Path) -> None:
    """What the linear read-out with labels reaches on the test part: the ceiling of this network."""
    chips = read_eurosat(data, "test", settings.most_chips)
    out.mkdir(parents=True, exist_ok=True)
    reached = {name: round(accuracy(student, chips, STRETCHES[name]), 4) for name in SUPERVISED_STRETCHES}
    log.info("supervised accuracy %s", reached)
    (out / SUPERVISED_FILE).write_text(json.dumps({"chips": len(chips), "accuracy": reached}, indent=1) + "\n")
