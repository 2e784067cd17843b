"""A folder of pictures ranked by words: no places, no collection, no service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from indexer.sources.folder import SUFFIXES
from indexer.sources.picture import read_picture
from indexer.sources.pixels import Stretch, fault_of
from indexer.sources.walking import files_below
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError
from wildsat_core.picture_page import Figure, Section, for_people, shown_bands, write_picture_page

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

BATCH: Final = 32
MAX_MISSING: Final = 0.5

Pixels = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """Pictures as one model reads them.

    Attributes:
        root: the folder; pictures lie in it at any depth.
        bands: of the model, in its order.
        band_indexes: which of a file's bands these are, counted from 1; None takes red, green and blue as the file
            names them, or else its first three bands.
        stretch: map of stored values to eight bits; None leaves them as they are.
        eight_bit: the model takes eight-bit values, so that others without a stretch are refused.
    """

    root: Path
    bands: tuple[str, ...] = RGB
    band_indexes: tuple[int, ...] | None = None
    stretch: Stretch | None = None
    eight_bit: bool = True

    @classmethod
    def for_model(
        cls, root: Path, model: WildSATModel, band_indexes: tuple[int, ...] | None, stretch: Stretch | None
    ) -> PictureFolder:
        """A folder read for a model.

        Raises:
            MissingDataError: there is no such folder.
            InvalidInputError: the number of bands is not the model's.
        """
        if not root.is_dir():
            raise MissingDataError(f"there is no folder of pictures at {root}")
        spec = model.config.preprocessing
        given = len(RGB) if band_indexes is None else len(band_indexes)
        if given != len(spec.bands) or (band_indexes is None and set(spec.bands) != set(RGB)):
            raise InvalidInputError(
                f"{model.config.name} reads the bands {', '.join(spec.bands)}: say with --band-indexes which of a "
                "file's bands they are, counted from 1",
                "band_indexes",
            )
        return cls(root, spec.bands, band_indexes, stretch, spec.takes_eight_bit)

    def names(self) -> list[str]:
        """Pictures below the folder, by name.

        Raises:
            MissingDataError: there is none.
        """
        found = sorted(path.relative_to(self.root).as_posix() for path in files_below(self.root, SUFFIXES))
        if not found:
            raise MissingDataError(f"{self.root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        return found

    def read(self, name: str) -> Pixels:
        """(C, H, W) in the order of `bands`, uint8, or as stored for a model that takes reflectance.

        Raises:
            SourceError: it can't be read, shows nothing, or needs a stretch.
        """
        reading = read_picture(str(self.root / name), self.band_indexes, self.stretch)
        if self.eight_bit and reading.pixels.dtype != np.uint8:
            raise SourceError(
                f"{name} has values of the type {reading.pixels.dtype}; say with --stretch which become black and "
                "white, as 0,3000"
            )
        if fault := fault_of(reading, MAX_MISSING):
            raise SourceError(f"{name} shows nothing: {fault}")
        order = range(len(self.bands)) if self.band_indexes else [RGB.index(band) for band in self.bands]
        return reading.pixels[list(order)]

    def shown(self, name: str) -> npt.NDArray[np.uint8]:
        """(3, H, W) uint8 of a picture for people."""
        return for_people(self.read(name)[[self.bands.index(band) for band in shown_bands(self.bands)]])


@dataclass(slots=True)
class Ranking:
    """Pictures with a score for each text.

    Attributes:
        texts: T of them, as asked.
        names: of the N pictures that were read.
        scores: (T, N) similarity of text and picture, by the model's own measure; it ranks, and is no probability.
        unfamiliar: (T,) whether a text is about nothing that the model knows of places.
        left_out: pictures that could not be read, and a sentence why.
    """

    texts: Sequence[str]
    names: list[str]
    scores: npt.NDArray[np.float32]
    unfamiliar: list[bool]
    left_out: dict[str, str] = field(default_factory=dict)

    def best(self, text: int, k: int) -> list[tuple[str, float]]:
        """The k best pictures of a text and their scores, the best first; equal ones by name."""
        row = self.scores[text]
        return [(self.names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:k]]


def rank_pictures(pictures: PictureFolder, texts: Sequence[str], model: WildSATModel) -> Ranking:
    """Compare every picture of a folder with texts.

    Args:
        pictures: read for this model.
        texts: at least one, none blank.
        model: with a text head.

    Raises:
        InvalidInputError: no text, or a blank one.
        SpaceUnavailableError: the model has no text head.
        SourceError: not one picture can be read; the first one's fault is told.
    """
    if not texts or not all(text.strip() for text in texts):
        raise InvalidInputError("say in words what to look for: --text ocean", "text")
    asked = model.embed_texts(texts)  # (T, D)
    left_out: dict[str, str] = {}
    names: list[str] = []
    scores: list[npt.NDArray[np.float32]] = []
    for batch_names, batch in _batches(pictures, left_out):
        names += batch_names
        scores.append(asked @ model.embed_pixels(batch)["text"].T)  # (T, D) @ (D, B) -> (T, B)
    if not names:
        raise SourceError(f"none of {len(left_out)} pictures can be read: {next(iter(left_out.values()))}")
    order = np.argsort(names, kind="stable")
    table = np.concatenate(scores, axis=1)[:, order]
    return Ranking(texts, [names[i] for i in order], table, model.are_unfamiliar(texts), left_out)


def write_sheet(path: Path, ranking: Ranking, pictures: PictureFolder, model: str, k: int) -> None:
    """Write a contact sheet (HTML in one file): the best pictures of each text in a row.

    Args:
        path: of the page.
        ranking: of these pictures.
        pictures: where they are read from again.
        model: its name.
        k: how many of each text.
    """
    lines = [
        f"{len(ranking.names)} pictures, ranked by {model}. A score orders the pictures of one text; it is no "
        "probability, and the best of a folder need not be good."
    ]
    if ranking.left_out:
        lines.append(f"{len(ranking.left_out)} pictures could not be read: {'; '.join(left_out_in_words(ranking))}")
    write_picture_page(path, "Pictures ranked by words", lines, _sections(ranking, pictures, k))


def left_out_in_words(ranking: Ranking, most: int = 5) -> list[str]:
    """Why pictures were left out, for the first few."""
    told = list(ranking.left_out.values())[:most]
    return told if len(ranking.left_out) <= most else [*told, f"and {len(ranking.left_out) - most} more"]


def _sections(ranking: Ranking, pictures: PictureFolder, k: int) -> Iterator[Section]:
    for row, text in enumerate(ranking.texts):
        lines = ["The model knows nothing of this: the order means little."] if ranking.unfamiliar[row] else []
        yield Section(text, lines, _figures(ranking.best(row, k), pictures, text))


def _figures(best: Iterable[tuple[str, float]], pictures: PictureFolder, text: str) -> Iterator[Figure]:
    for rank, (name, score) in enumerate(best, 1):
        yield Figure(pictures.shown(name), f"{rank}. {name}\nscore {score:.3f}", f"number {rank} for {text}: {name}")


def _batches(pictures: PictureFolder, left_out: dict[str, str]) -> Iterator[tuple[list[str], Pixels]]:
    """Pictures that can be read, (B, C, H, W), those of one size and type together."""
    waiting: dict[tuple[tuple[int, ...], str], list[tuple[str, Pixels]]] = {}
    for name in pictures.names():
        try:
            pixels = pictures.read(name)
        except SourceError as err:
            left_out[name] = str(err)
            continue
        alike = waiting.setdefault((pixels.shape, pixels.dtype.name), [])
        alike.append((name, pixels))
        if len(alike) == _batch_of(pixels):
            yield _stacked(alike)
            alike.clear()
    yield from (_stacked(alike) for alike in waiting.values() if alike)


def _batch_of(pixels: Pixels) -> int:
    """Fewer of large pictures, so that a batch stays small."""
    return max(1, min(BATCH, BATCH * 512 * 512 // int(np.prod(pixels.shape[1:]))))


def _stacked(alike: list[tuple[str, Pixels]]) -> tuple[list[str], Pixels]:
    return [name for name, _ in alike], np.stack([pixels for _, pixels in alike])
