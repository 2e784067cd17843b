"""Converts WildSAT's own data files to the open format, once and without running anything that is in them.

`dataloader_data.npy` is a pickled dictionary: a list of groups, one a species in a cell, each a list of
`(path, lon, lat, text row, [paths of other dates])`. `wiki_data_v4.pt` holds text embeddings, their keys
`(species row, section)`, and taxon numbers by species row. The first is read by an unpickler that knows numpy's arrays
and plain containers and refuses all else; the second by torch's restricted reader.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.data.build import BuildReport, Rows, SplitPlan, assign_parts
from training.data.cells import cell_of
from training.data.imagery import satlas_centre
from training.data.tables import (
    EMBEDDINGS,
    DatasetAbout,
    clear_dataset,
    pairs_table,
    places_table,
    texts_table,
    write_dataset,
)
from wildsat_core.bands import NINE_BANDS
from wildsat_core.errors import CheckpointError, MissingDataError, WildsatError

CELL_KM = 100.0
SOURCE = "LE-SINR wiki_data_v4"
LICENCE = "CC BY-SA (Wikipedia)"

_SAFE_BUILTINS = {"set", "frozenset", "complex", "bytearray", "slice", "range"}
_SAFE_NUMPY = {"dtype", "ndarray"}
_SAFE_MULTIARRAY = {"_reconstruct", "scalar"}


class _PlainUnpickler(pickle.Unpickler):  # the one place where this format is read; nothing but arrays gets through
    """Makes numpy arrays, numbers, strings and containers, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the signature of pickle
        if module == "builtins" and name in _SAFE_BUILTINS:
            return getattr(__import__("builtins"), name)
        if module == "numpy" and name in _SAFE_NUMPY:
            return getattr(np, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in _SAFE_MULTIARRAY:
            return getattr(_multiarray(), name)
        raise CheckpointError(
            f"the file asks for {module}.{name}, which a list of pictures has no need of; nothing was run"
        )


def _multiarray() -> Any:  # noqa: ANN401 - a module that numpy does not type
    """Numpy's own module of array functions, whose place has moved between versions."""
    from numpy._core import multiarray

    return multiarray


def read_pickled_array(path: Path) -> Any:  # noqa: ANN401 - whatever plain thing the file holds
    """Read an `.npy` file whose elements are plain Python objects.

    Raises:
        MissingDataError: there is no such file.
        CheckpointError: not such a file, or it asks for anything but arrays and plain containers.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = header(file)
            if not dtype.hasobject:
                raise CheckpointError(f"{path} holds plain numbers ({dtype}), not a list of pictures")
            content = _PlainUnpickler(file).load()
    except FileNotFoundError as err:
        raise MissingDataError(f"there is no file at {path}") from err
    except WildsatError:
        raise
    except Exception as err:  # numpy's parser of headers and pickle fail on damaged bytes in a dozen ways
        raise CheckpointError(f"{path} can't be read as a pickled array: {err or type(err).__name__}") from err
    return content.item() if isinstance(content, np.ndarray) and shape == () else content


def import_reference(
    folder: Path, pictures: Path, wiki: Path, imagery: Path, *, plan: SplitPlan, nine_bands: bool = False
) -> BuildReport:
    """Write the reference's data as tables and safetensors.

    Args:
        folder: of the new data set.
        pictures: `dataloader_data.npy`.
        wiki: `wiki_data_v4.pt`.
        imagery: the SatlasPretrain tree that its paths begin at; need not be there yet.
        plan: of the parts; the reference itself holds nothing out.
        nine_bands: whether band files lie beside the true-colour pictures.

    Raises:
        MissingDataError: a file is missing.
        CheckpointError: a file is unsafe or not of this format.
    """
    places, pairs = _read_groups(read_pickled_array(pictures), pictures)
    texts, embeddings = _read_wiki(wiki)
    for pair in pairs:
        if not 0 <= pair["text"] < len(texts):
            raise CheckpointError(f"{pictures} refers to text {pair['text']}, {wiki} has {len(texts)}")
    cells = cell_of([p["lon"] for p in places], [p["lat"] for p in places], CELL_KM)
    for place, cell in zip(places, cells, strict=True):
        place["cell"] = int(cell)
    assign_parts(places, plan)
    about = DatasetAbout(
        imagery=str(imagery.expanduser().resolve()),
        text_encoder="gritlm",
        provenance={"pictures": pictures.name, "texts": wiki.name} | asdict(plan),
    )
    if nine_bands:
        about = about.model_copy(update={"bands": NINE_BANDS, "band_files": True})
    clear_dataset(folder)
    _save_embeddings(folder, embeddings)
    write_dataset(folder, about, places_table(places), texts_table(texts), pairs_table(pairs))
    return BuildReport.of(places, texts, pairs, plan)


def _read_groups(content: Any, path: Path) -> tuple[Rows, Rows]:  # noqa: ANN401
    """Groups to rows of places and pairs. Pictures that a sample names together, or that such link, share a site.

    A place's position is the middle of the tile that its path names, or else that of the first sighting there.
    """
    groups = content.get("dataloader_data") if isinstance(content, dict) else None
    if groups is None:
        raise CheckpointError(f"{path} has no entry 'dataloader_data'")
    rows: dict[str, int] = {}
    places: Rows = []
    pairs: Rows = []
    sites = _Links()

    def place_of(name: str, seen_lon: float, seen_lat: float) -> int:
        if name not in rows:
            rows[name] = sites.add()
            lon, lat = satlas_centre(name) or (seen_lon, seen_lat)
            places.append({"path": name, "window": None, "lon": lon, "lat": lat, "captured_on": None})
        return rows[name]

    for number, name, lon, lat, text, others in _samples(groups, path):
        place = place_of(name, lon, lat)
        for other in others:
            sites.join(place, place_of(other, lon, lat))
        pairs.append({"place": place, "text": text, "group": number, "lon": lon, "lat": lat})
    if not pairs:
        raise CheckpointError(f"{path} holds no samples")
    for row, place_row in enumerate(places):
        place_row["site"] = sites.first(row)
    return places, pairs


class _Links:
    """Numbers from 0 on, and which of them are linked, be it through others: a disjoint-set forest."""

    def __init__(self) -> None:
        self._before: list[int] = []

    def add(self) -> int:
        """The next number, linked to none."""
        self._before.append(len(self._before))
        return self._before[-1]

    def join(self, one: int, other: int) -> None:
        """Link two numbers."""
        first, second = sorted((self.first(one), self.first(other)))
        self._before[second] = first

    def first(self, number: int) -> int:
        """The lowest of the numbers that this one is linked to."""
        while self._before[number] != number:
            self._before[number] = self._before[self._before[number]]  # halves the way for the next time
            number = self._before[number]
        return number


def _samples(groups: Any, path: Path) -> Iterator[tuple[int, str, float, float, int, list[str]]]:  # noqa: ANN401
    if not _is_list(groups) or not all(_is_list(group) for group in groups):
        raise CheckpointError(f"{path}: 'dataloader_data' is not a list of groups, each a list of samples")
    for number, group in enumerate(groups):
        for sample in group:
            try:
                name, lon, lat, text, others = sample
                lon, lat, text = float(lon), float(lat), int(text)
                if not (math.isfinite(lon) and -90 <= lat <= 90) or not name or not _is_list(others):
                    raise ValueError("no place on the globe")
                yield number, str(name), lon, lat, text, [str(o) for o in others]
            except (TypeError, ValueError, OverflowError) as err:
                raise CheckpointError(
                    f"{path}: group {number} has a sample that is not (path, lon, lat, text, [paths]): {sample!r:.200}"
                ) from err


def _is_list(content: Any) -> bool:  # noqa: ANN401 - of a file
    return isinstance(content, (list, tuple)) or (isinstance(content, np.ndarray) and content.ndim > 0)


def _read_wiki(path: Path) -> tuple[Rows, Any]:
    """Rows of the table of texts, and the embeddings as a tensor (T, 4096)."""
    import torch

    from wildsat_core.models.checkpoint import read_checkpoint

    if not path.is_file():
        raise MissingDataError(f"there is no file at {path}")
    content = read_checkpoint(path)
    data: Any = content.get("data")
    keys: Any = content.get("keys")
    taxa: Any = content.get("taxon_id")
    lists = _is_list(keys) and (_is_list(taxa) or (isinstance(taxa, torch.Tensor) and taxa.ndim == 1))
    if not isinstance(data, torch.Tensor) or data.ndim != 2 or not lists or len(keys) != len(data):
        raise CheckpointError(f"{path} needs data (T, E), as many keys, and taxon_id; it has {sorted(content)}")
    if not data.is_floating_point():
        raise CheckpointError(f"{path} needs embeddings in data, and has {data.dtype} there")
    try:
        named = [(int(taxa[int(species)]), str(section)) for species, section in keys]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, RuntimeError) as err:
        raise CheckpointError(
            f"{path}: keys must be (species, section), species a row of taxon_id ({len(taxa)}): {err}"
        ) from err
    about = {"text": None, "source": SOURCE, "licence": LICENCE}
    return [{"species": f"taxon {taxon}", "section": section} | about for taxon, section in named], data


def _save_embeddings(folder: Path, embeddings: Any) -> None:  # noqa: ANN401 - a tensor; torch loads late here
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    part = folder / (EMBEDDINGS + ".part")
    save_file({"embeddings": embeddings.contiguous()}, part)
    part.replace(folder / EMBEDDINGS)
