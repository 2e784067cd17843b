"""How wildsat-mini is made, from facts to a model directory; every costly step is kept in a work folder and read again.

On a laptop: `wildsat train mini --data $WILDSAT_DATA --work work/mini --out wildsat_core/pretrained/wildsat-mini`
(two cores: about 10 minutes for facts, texts and pictures, 15 for teacher and position encoder, 60 for the images).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import Cells, load_cells
from training.earth.mosaics import crop_tiles, load_bmng, load_z7
from training.earth.squares import TileTable, grid_tiles, held_out, land_shares, land_tiles, overlap
from training.earth.vocabulary import Vocabulary, tables_digest
from training.embedded import embed_sentences
from training.material import material_digest
from training.mini.bank import Bank, BankBuilder
from training.mini.climate_sentences import add_climate_sentences
from training.mini.features import Standard, fit_standard, teacher_input, tile_facts
from training.mini.habitat_sentences import add_habitat_sentences
from training.mini.memory import Pictures, best_vectors, memory_rows, remembered
from training.mini.model import INPUT_PX, MOST_SLOTS, mini_config
from training.mini.name_sentences import add_name_sentences
from training.mini.reading import Reader
from training.mini.sampling import SentenceSampler
from training.mini.species_sentences import add_species_sentences
from training.mini.student import StudentSettings, train_student
from training.mini.teacher import Anchor, TeacherRun, TeacherSettings, teach, train_teacher
from training.mini.text_head import TextHeadSettings, tune_text_head
from training.mini.views import Views, load_views, make_views, save_views
from training.mini.vision import VisionSettings, VisionStudent, VisionTargets, train_vision
from training.small_models import MEMORY, install_text_head, plain_text_head
from training.steps import device_of, folder_for
from wildsat_core.errors import TrainingError
from wildsat_core.models.heads import ResidualHead
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_model, load_model

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

DENSE_STRIDE_KM = 60.0  # places that the position encoder learns from
EMBED_BATCH = 512
FILLED = {f"text_head.{name}" for name in MEMORY}


@dataclass(frozen=True, slots=True)
class MiniSettings:
    """Everything that decides the weights, beside the data.

    Attributes:
        hold_out: keep the image encoder from the held-out blocks; the texts and the places know all land.
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
    """What does not depend on the hold-out: facts, tiles, texts, and the pictures where the image encoder learns.

    Attributes:
        made_of: digest of the tables and data that all was made of, to name what is learned from it.
    """

    cells: Cells
    tiles: TileTable
    bank: Bank
    embeddings: NDArray[np.float16]
    views: Views | None
    made_of: str


def prepare_material(data: Path, work: Path, settings: MiniSettings) -> Material:
    """Read the material from the work folder, making what is missing (about 12 minutes on two cores)."""
    cells = load_cells(work / "cells.npz")
    tiles = land_tiles(cells, grid_tiles())
    log.info("%d land cells, %d tiles", len(cells), len(tiles))
    tables, species, pictures = tables_digest(), *(material_digest(data, part) for part in ("species", "bluemarble"))
    folder = folder_for(work, "bank", tables, species)  # texts of other tables lie apart
    bank = _bank(cells, tiles, data, folder)
    if not (settings.teacher.steps or settings.text_head.steps):  # nothing is read but what is remembered
        bank = bank.take(memory_rows(bank, MOST_SLOTS))
    views = _views(tiles, data, work, settings, pictures) if settings.vision.steps else None
    embeddings = embed_sentences(bank.sentences, folder).astype(np.float16)
    return Material(cells, tiles, bank, embeddings, views, made_of=f"{tables} {species} {pictures}")


def _bank(cells: Cells, tiles: TileTable, data: Path, folder: Path) -> Bank:
    if not (folder / "shares.npy").exists():
        vocabulary = Vocabulary(cells)
        builder = BankBuilder(land_shares(cells, tiles), np.asarray(overlap(cells, tiles).sum(1), np.float32).ravel())
        add_habitat_sentences(builder, vocabulary)
        add_climate_sentences(builder, vocabulary)
        log.info("%d predicates of habitats and places", builder.predicates)
        add_species_sentences(builder, vocabulary, data)
        add_name_sentences(builder, vocabulary, tiles)
        builder.build().save(folder)
    bank = Bank.load(folder)
    log.info("%d sentences over %d predicates", len(bank.sentences), len(bank.shares))
    return bank


def _views(tiles: TileTable, data: Path, work: Path, settings: MiniSettings, pictures: str) -> Views:
    folder = folder_for(work, "views", settings.views_per_mosaic, pictures)
    if not (folder / "squares.npy").exists():
        mosaics = [load_bmng()] * settings.views_per_mosaic
        mosaics += [load_z7(data, work / f"z7-{pictures}.npy")] * settings.views_per_mosaic
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


def shown_tiles(tiles: TileTable, hold_out: bool) -> NDArray[np.bool_]:
    """(N,) which tiles the image encoder may see: all, or those outside the held-out blocks."""
    return ~held_out(tiles.lon, tiles.lat) if hold_out else np.ones(len(tiles), np.bool_)


def make_places(
    material: Material,
    settings: MiniSettings,
    start: WildSATModel | None = None,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
) -> Places:
    """Train the place teacher and the text head on a device; the folder keeps checkpoints to go on from."""
    import torch

    rows = np.arange(len(material.tiles))
    facts = tile_facts(material.cells, material.tiles)
    standard = fit_standard(facts)
    reader = _reader(material, rows, settings.teacher)
    inputs = teacher_input(material.tiles, facts, standard)
    torch.manual_seed(settings.teacher.seed)
    anchor = None if start is None else Anchor(plain_text_head(start), _places(start, material.tiles))
    run = TeacherRun(inputs.shape[1], anchor).to(device)
    train_teacher(run, inputs, reader, settings.teacher, anchor, folder)
    return Places(run, standard)


def _reader(material: Material, rows: NDArray[np.int64], settings: TeacherSettings) -> Reader:
    return Reader(material.embeddings, SentenceSampler(material.bank, rows), rows, settings.sentences, settings.tiles)


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
    texts = project_texts(places.run.text_head, material.embeddings)
    return VisionTargets(np.stack(vectors), np.stack(facts).astype(np.float32), np.stack(facets), texts)


def project_texts(head: ResidualHead, embeddings: NDArray[np.float16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, 384) sentence embeddings to (S, D) vectors of length 1."""
    import torch

    with torch.inference_mode():
        texts = head(torch.from_numpy(embeddings.astype(np.float32)).to(device_of(head)))
        return np.asarray(torch.nn.functional.normalize(texts, dim=-1).cpu().numpy())


def make_model(
    material: Material, settings: MiniSettings, work: Path | None = None, device: torch.device | str = "cpu"
) -> WildSATModel:
    """Train all parts and put them together.

    Args:
        material: facts, tiles, texts and pictures.
        settings: everything that decides the weights, beside the data; a part of no steps stays that of the start.
        work: folder where each part keeps checkpoints to go on from; None keeps nothing.
        device: what everything is trained on; the seeds give the same weights again on one kind of device alone.

    Raises:
        TrainingError: the model to start from is of another shape.
    """
    import torch

    start = None if settings.start is None else _open_start(settings.start)
    begun = None if start is None else start.weights_sha256

    def folder(part: str) -> Path | None:
        if work is None:
            return None
        return folder_for(work, "parts", settings, torch.device(device).type, begun, material.made_of) / part

    places = make_places(material, settings, start, folder("teacher"), device) if settings.teacher.steps else None
    torch.manual_seed(settings.vision.seed)
    model = WildSATModel(mini_config()).to(device)
    if start is not None:
        model.load_state_dict(_kept(start), strict=False)
    if places is not None and settings.student.steps:
        teach_positions(model, material.cells, places, settings, folder("positions"))
    if places is not None and settings.vision.steps:
        model = teach_pictures(model, material, places, settings, folder("vision"))
    head = plain_text_head(model).to(device) if places is None else places.run.text_head
    best = _best(model, material, settings)
    if settings.text_head.steps:
        rows = np.arange(len(material.tiles))
        sampler = SentenceSampler(material.bank, rows)
        tune_text_head(head, material.embeddings, best, sampler, settings.text_head, folder("text_head"))
    _install(model, head, material, best)
    return model.to("cpu").eval()


def _best(model: WildSATModel, material: Material, settings: MiniSettings) -> NDArray[np.float32]:
    """(S, D) the best vector of each sentence of the bank, among the vectors that are searched."""
    pictures = Pictures(_pictures(model, material.tiles), shown_tiles(material.tiles, settings.hold_out))
    meant, which = np.unique(material.bank.predicate, return_inverse=True)
    return best_vectors(material.bank, meant, _places(model, material.tiles), pictures)[which]


def _open_start(name: str) -> WildSATModel:
    """A wildsat-mini to go on from; its memory, which is filled anew, may be of another size."""
    import torch

    start = load_model(find_model(name))
    with torch.device("meta"):
        expected = WildSATModel(mini_config())
    shapes, wanted = ({name: value.shape for name, value in _kept(one).items()} for one in (start, expected))
    if shapes != wanted:
        raise TrainingError(f"{name} is of another shape than {expected.config.name}; start from a wildsat-mini")
    return start


def _kept(model: WildSATModel) -> dict[str, torch.Tensor]:
    """All weights but the memory."""
    return {name: value for name, value in model.state_dict().items() if name not in FILLED}


def _install(model: WildSATModel, head: ResidualHead, material: Material, best: NDArray[np.float32]) -> None:
    """Put the head into the model, with a memory of the plainest texts: vectors that find their land, and its own."""
    rows = memory_rows(material.bank, MOST_SLOTS)
    _, first, meaning = np.unique(material.bank.predicate[rows], return_index=True, return_inverse=True)
    keys = material.embeddings[rows].astype(np.float32)
    values = remembered(best[rows[first]], project_texts(head.eval(), keys), meaning)
    install_text_head(model, head, keys, meaning, values)


def teach_pictures(
    model: WildSATModel, material: Material, places: Places, settings: MiniSettings, folder: Path | None = None
) -> WildSATModel:
    """Train the model's image encoder."""
    assert material.views is not None, "made where the settings have steps for the image encoder"
    rows = np.flatnonzero(shown_tiles(material.tiles, settings.hold_out))
    targets = vision_targets(material, material.views, places)
    student = VisionStudent(model, targets).to(model.device)
    sampler = SentenceSampler(material.bank, rows)
    return train_vision(student, material.views, targets, sampler, rows, settings=settings.vision, folder=folder)


def teach_positions(
    model: WildSATModel, cells: Cells, places: Places, settings: MiniSettings, folder: Path | None = None
) -> None:
    """Distil the teacher into the model's position encoder, in place."""
    from wildsat_core.location.position import PositionEncoder

    assert model.location is not None
    assert isinstance(model.location.encoder, PositionEncoder)
    tiles = land_tiles(cells, grid_tiles(stride_km=DENSE_STRIDE_KM))
    log.info("%d places teach the position encoder", len(tiles))
    train_student(model.location.encoder, tiles.lon_lat, places.vectors(cells, tiles), settings.student, folder)
