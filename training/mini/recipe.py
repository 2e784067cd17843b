"""How wildsat-mini is made, from facts to a model directory; every costly step is kept in a work folder and read again.

On a laptop: `wildsat train mini --data $WILDSAT_DATA --work work/mini --out wildsat_core/pretrained/wildsat-mini`
(two cores: about 10 minutes for facts, texts and pictures, 15 for teacher and position encoder, 60 for the images).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import Cells, load_cells
from training.earth.mosaics import crop_tiles, load_bmng, load_z7
from training.earth.squares import TileTable, grid_tiles, held_out, land_shares, land_tiles, overlap
from training.earth.vocabulary import Vocabulary
from training.mini.bank import Bank, BankBuilder
from training.mini.climate_sentences import add_climate_sentences
from training.mini.cores import weigh_cores
from training.mini.features import Standard, fit_standard, teacher_input, tile_facts
from training.mini.habitat_sentences import add_habitat_sentences
from training.mini.model import INPUT_PX, mini_config
from training.mini.sampling import SentenceSampler
from training.mini.species_sentences import add_species_sentences
from training.mini.stages import Stages
from training.mini.student import StudentSettings, train_student
from training.mini.teacher import Anchor, TeacherRun, TeacherSettings, teach, train_teacher
from training.mini.text_head import TextHeadSettings, memory_rows, tune_text_head
from training.mini.views import Views, load_views, make_views, save_views
from training.mini.vision import VisionSettings, VisionStudent, VisionTargets, VisionTrainer
from training.small_models import install_text_head, plain_text_head
from wildsat_core.models.heads import ResidualHead
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_model, load_model

log = logging.getLogger(__name__)

DENSE_STRIDE_KM = 60.0  # places that the position encoder learns from
EMBED_BATCH = 512
NOTHING_KEPT = Stages(None, "")


@dataclass(frozen=True, slots=True)
class MiniSettings:
    """Everything that decides the weights, beside the data.

    Attributes:
        start: name or directory of a wildsat-mini to go on from; None begins with random weights.
    """

    views_per_mosaic: int = 5
    hold_out: bool = False
    start: str | None = None
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    text_head: TextHeadSettings = field(default_factory=TextHeadSettings)
    vision: VisionSettings = field(default_factory=VisionSettings)


@dataclass(frozen=True, slots=True)
class Material:
    """What does not depend on the hold-out: facts, tiles, texts, and the pictures where the image encoder learns."""

    cells: Cells
    tiles: TileTable
    bank: Bank
    embeddings: NDArray[np.float16]
    views: Views | None


def prepare_material(data: Path, work: Path, settings: MiniSettings) -> Material:
    """Read the material from the work folder, making what is missing (about 12 minutes on two cores)."""
    cells = load_cells(work / "cells.npz")
    tiles = land_tiles(cells, grid_tiles())
    log.info("%d land cells, %d tiles", len(cells), len(tiles))
    bank = _bank(cells, tiles, data, work / "bank")
    views = _views(tiles, data, work, settings) if settings.vision.steps else None
    return Material(cells, tiles, bank, _embeddings(bank, work / "bank" / "embeddings.npy"), views)


def _bank(cells: Cells, tiles: TileTable, data: Path, folder: Path) -> Bank:
    if not (folder / "shares.npy").exists():
        vocabulary = Vocabulary(cells)
        builder = BankBuilder(land_shares(cells, tiles), np.asarray(overlap(cells, tiles).sum(1), np.float32).ravel())
        add_habitat_sentences(builder, vocabulary)
        add_climate_sentences(builder, vocabulary)
        log.info("%d predicates of habitats and places", builder.predicates)
        add_species_sentences(builder, vocabulary, data)
        builder.build().save(folder)
    bank = Bank.load(folder)
    log.info("%d sentences over %d predicates", len(bank.sentences), len(bank.shares))
    return bank


def _embeddings(bank: Bank, path: Path) -> NDArray[np.float16]:
    if not path.exists():
        from wildsat_core.text.minilm import MiniLMEncoder

        embeddings = MiniLMEncoder().encode(bank.sentences).astype(np.float16)
        np.save(path, embeddings)
    return np.asarray(np.load(path))


def _views(tiles: TileTable, data: Path, work: Path, settings: MiniSettings) -> Views:
    folder = work / "views"
    if not (folder / "squares.npy").exists():
        mosaics = [load_bmng()] * settings.views_per_mosaic
        mosaics += [load_z7(data, work / "z7.npy")] * settings.views_per_mosaic
        save_views(make_views(tiles, mosaics, INPUT_PX), folder)
    return load_views(folder)


@dataclass(frozen=True, slots=True)
class Places:
    """The teacher and text head, and how the teacher's input is scaled."""

    run: TeacherRun
    standard: Standard

    def vectors(self, cells: Cells, tiles: TileTable) -> NDArray[np.float32]:
        """(N, D) the teacher's vectors of any squares."""
        return teach(self.run.teacher, teacher_input(tiles, tile_facts(cells, tiles), self.standard))


def training_rows(tiles: TileTable, hold_out: bool) -> NDArray[np.int64]:
    """All tiles, or those outside the held-out blocks."""
    return np.flatnonzero(~held_out(tiles.lon, tiles.lat)) if hold_out else np.arange(len(tiles))


def make_places(
    material: Material, settings: MiniSettings, start: WildSATModel | None = None, stages: Stages = NOTHING_KEPT
) -> Places:
    """Train the place teacher and the text head."""
    import torch

    rows = training_rows(material.tiles, settings.hold_out)
    facts = tile_facts(material.cells, material.tiles)
    standard = fit_standard(facts)
    sampler = SentenceSampler(material.bank, rows, np.random.default_rng(settings.teacher.seed))
    inputs = teacher_input(material.tiles, facts, standard)
    torch.manual_seed(settings.teacher.seed)
    anchor = None if start is None else Anchor(plain_text_head(start), _places(start, material.tiles))
    run = TeacherRun(inputs.shape[1], anchor)

    def train() -> None:
        train_teacher(run, inputs, material.embeddings, sampler, rows, settings.teacher, anchor)

    stages.run("teacher", run, train)
    return Places(run.eval(), standard)


def _places(model: WildSATModel, tiles: TileTable) -> NDArray[np.float32]:
    return model.embed_places(tiles.lon_lat)["place"]


def _pictures(model: WildSATModel, tiles: TileTable) -> NDArray[np.float32]:
    """(N, D) the text vectors of the tiles' pictures."""
    pixels = crop_tiles(load_bmng(), tiles, INPUT_PX).transpose(0, 3, 1, 2)
    parts = [
        model.embed_pixels(pixels[first : first + EMBED_BATCH])["text"] for first in range(0, len(tiles), EMBED_BATCH)
    ]
    return np.concatenate(parts)


def vision_targets(material: Material, views: Views, places: Places) -> VisionTargets:
    """What the image encoder is to find in each view, for the very square that the view shows."""
    vocabulary = Vocabulary(material.cells)
    masks = np.stack([facet.mask for facet in vocabulary.facets.values()], 1).astype(np.float32)  # (cells, P)
    vectors, facts, facets = [], [], []
    for table in views.tables:
        raw = tile_facts(material.cells, table)
        facts.append((raw - places.standard.mean) / places.standard.deviation)
        vectors.append(places.vectors(material.cells, table))
        facets.append(np.asarray(land_shares(material.cells, table) @ masks).clip(0, 1))
    texts = project_texts(places.run, material.embeddings)
    return VisionTargets(np.stack(vectors), np.stack(facts).astype(np.float32), np.stack(facets), texts)


def project_texts(run: TeacherRun, embeddings: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, 384) sentence embeddings to (S, D) vectors of length 1."""
    import torch

    with torch.inference_mode():
        texts = run.text_head(torch.from_numpy(embeddings.astype(np.float32)))
        return np.asarray(torch.nn.functional.normalize(texts, dim=-1).numpy())


def make_model(material: Material, settings: MiniSettings, work: Path | None = None) -> WildSATModel:
    """Train all parts and put them together.

    Args:
        material: facts, tiles, texts and pictures.
        settings: everything that decides the weights, beside the data; a part of no steps stays that of the start.
        work: folder where each part is kept once it is trained, and read again; None keeps nothing.
    """
    import torch

    stages = Stages(None if work is None else work / "parts", repr(settings))
    start = None if settings.start is None else load_model(find_model(settings.start))
    places = make_places(material, settings, start, stages) if settings.teacher.steps else None
    torch.manual_seed(settings.vision.seed)
    model = WildSATModel(mini_config())
    if start is not None:
        model.load_state_dict(start.state_dict())
    assert model.location is not None
    if places is not None and settings.student.steps:
        stages.run("positions", model.location, lambda: teach_positions(model, material.cells, places, settings))
    head = plain_text_head(model) if places is None else places.run.text_head
    stages.run("text_head", head, lambda: finish_text_head(head, model, material, settings, start))
    assert model.config.text_head is not None
    assert model.config.text_head.slots is not None
    remembered = memory_rows(material.bank, model.config.text_head.slots)
    install_text_head(model, head, material.embeddings[remembered].astype(np.float32))
    if places is None or not settings.vision.steps:
        return model
    return train_vision(model, material, places, settings)


def finish_text_head(
    head: ResidualHead, model: WildSATModel, material: Material, settings: MiniSettings, start: WildSATModel | None
) -> None:
    """Tune the text head against the vectors that are searched, in place."""
    rows = training_rows(material.tiles, settings.hold_out)
    cores = weigh_cores(material.bank, material.tiles)
    sampler = SentenceSampler(cores, rows, np.random.default_rng(settings.text_head.seed))
    found = _places(model, material.tiles)
    pictures = None if start is None else _pictures(start, material.tiles)
    tune_text_head(head, found, material.embeddings, sampler, rows, settings=settings.text_head, pictures=pictures)


def train_vision(model: WildSATModel, material: Material, places: Places, settings: MiniSettings) -> WildSATModel:
    """Train the image encoder; the model with its averaged weights."""
    import torch

    assert material.views is not None, "made where the settings have steps for the image encoder"
    rows = training_rows(material.tiles, settings.hold_out)
    targets = vision_targets(material, material.views, places)
    student = VisionStudent(model, targets.facts.shape[2], targets.facets.shape[2])
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on processors
    sampler = SentenceSampler(material.bank, rows, np.random.default_rng(settings.vision.seed))
    return VisionTrainer(student, material.views, targets, sampler, rows, settings=settings.vision).run()


def teach_positions(model: WildSATModel, cells: Cells, places: Places, settings: MiniSettings) -> None:
    """Distil the teacher into the model's position encoder, in place."""
    from wildsat_core.location.position import PositionEncoder

    assert model.location is not None
    assert isinstance(model.location.encoder, PositionEncoder)
    tiles = land_tiles(cells, grid_tiles(stride_km=DENSE_STRIDE_KM))
    rows = training_rows(tiles, settings.hold_out)
    log.info("%d places teach the position encoder", len(rows))
    train_student(model.location.encoder, tiles.lon_lat[rows], places.vectors(cells, tiles)[rows], settings.student)
