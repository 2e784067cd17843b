"""Places of a data set for people to look at: the tile, its other dates, its species and texts, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.pixels import PixelReader
from training.data.tables import TrainingSet
from wildsat_core.countries import country_of
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.picture_page import Figure, Section, for_people, shown_bands, write_picture_page

MOST_TEXTS = 5  # of a place; how many more there are is said
MOST_CHARACTERS = 400  # of a text

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which places are shown.

    Attributes:
        count: at most so many, drawn at random.
        species: only places of species with these letters in their name, in any case; empty for all.
        part: "train", "val", "test" or "buffer" alone; empty for all.
        seed: of the draw.
    """

    count: int = 12
    species: str = ""
    part: str = ""
    seed: int = 0


def choose_places(data: TrainingSet, selection: Selection) -> Ints:
    """Rows of `places.parquet` that a sighting is paired with, in order, (P,).

    Raises:
        InvalidInputError: no place is so.
    """
    wanted = np.ones(len(data.pairs), bool)
    if selection.species:
        letters = selection.species.casefold()
        named = np.array([letters in (name or "").casefold() for name in data.texts.column("species").to_pylist()])
        wanted &= named[data.column("pairs", "text")]
    if selection.part:
        wanted &= (data.column("places", "split") == selection.part)[data.column("pairs", "place")]
    places = np.unique(data.column("pairs", "place")[wanted])
    if not len(places):
        what = ", ".join(filter(None, (selection.species, selection.part)))
        parts = ", ".join(np.unique(data.column("places", "split")).tolist())
        raise InvalidInputError(
            f"{data.folder} has no place of {what or 'any species'}: choose another species or part; it has {parts}",
            "species" if selection.species else "part",
        )
    random = np.random.default_rng(selection.seed)
    return np.sort(random.permutation(places)[: selection.count]).astype(np.int64)


def write_explorer(path: Path, data: TrainingSet, places: Ints) -> list[str]:
    """Write a page (HTML in one file) of some places.

    Args:
        path: of the page.
        data: the data set.
        places: (P,) rows of `places.parquet`, as `choose_places` gives them.

    Returns:
        What is wrong with pictures that could not be read.
    """
    faults: list[str] = []
    parts = data.column("places", "split").tolist()
    lines = [
        f"{len(data.pairs)} pairs of {len(data.places)} places and {len(data.texts)} texts; places by part: "
        + ", ".join(f"{parts.count(part)} {part}" for part in dict.fromkeys(parts)),
        f"Here are {len(places)} of them. Pictures of one place show the same ground, the sighting's first.",
    ]
    write_picture_page(path, f"Data set {data.folder.resolve().name}", lines, _sections(data, places, faults))
    return faults


def _sections(data: TrainingSet, places: Ints, faults: list[str]) -> Iterator[Section]:
    bands = shown_bands(data.about.bands)
    reader = PixelReader(data.imagery_root, data.about.bands, bands, data.about.band_files)
    sites, pair_places = data.column("places", "site"), data.column("pairs", "place")
    for place in places:
        texts = data.texts.take(np.unique(data.column("pairs", "text")[pair_places == place])).to_pylist()
        species = dict.fromkeys(row["species"] or "species without a name" for row in texts)
        same = np.flatnonzero(sites == sites[place])
        rows = data.places.take(np.concatenate([[place], same[same != place]])).to_pylist()
        country = country_of(rows[0]["lon"], rows[0]["lat"])
        where = f"{_degrees(rows[0])}{f', {country[1]}' if country else ''}; part {rows[0]['split']}"
        yield Section(", ".join(species), [where, *_texts(texts)], _figures(rows, reader, faults))


def _figures(rows: list[dict[str, Any]], reader: PixelReader, faults: list[str]) -> Iterator[Figure]:
    for row in rows:
        day = row["captured_on"].isoformat() if row["captured_on"] else "no date"
        window = tuple(row["window"]) if row["window"] else None
        try:
            pixels = for_people(reader.read(row["path"], window))
        except SourceError as err:
            faults.append(str(err))
            yield Figure(np.zeros((3, 8, 8), np.uint8), f"{row['path']}\ncan't be read", f"{row['path']}, not readable")
            continue
        yield Figure(pixels, f"{day}\n{row['path']}", f"picture of {day}, {_degrees(row)}")


def _texts(rows: list[dict[str, Any]]) -> list[str]:
    told = []
    for row in rows[:MOST_TEXTS]:
        text = row["text"] or "(only the embedding of this text is known)"
        text = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
        about = ", ".join(filter(None, (row["section"], row["source"], row["licence"])))
        told.append(f"{text} [{about}]" if about else text)
    return told if len(rows) <= MOST_TEXTS else [*told, f"and {len(rows) - MOST_TEXTS} more texts"]


def _degrees(row: dict[str, Any]) -> str:
    return (
        f"{abs(row['lat']):.4f}° {'N' if row['lat'] >= 0 else 'S'}, "
        f"{abs(row['lon']):.4f}° {'E' if row['lon'] >= 0 else 'W'}"
    )
