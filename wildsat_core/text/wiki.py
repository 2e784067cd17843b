"""LE-SINR's table of text embeddings (`wiki_data_v4.pt`), as files that can be mapped into memory.

127,484 sections of Wikipedia articles on 37,889 species, each embedded by GritLM-7B: what WildSAT's texts are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wildsat_core.arrays import load_array
from wildsat_core.errors import CheckpointError, MissingDataError

EMBEDDINGS_FILE, KEYS_FILE = "embeddings.npy", "sections.json"


@dataclass(frozen=True, slots=True)
class TextTable:
    """Row i of `embeddings` is the text `sections[i]`.

    Attributes:
        embeddings: (N, E), memory-mapped, of the type that the published file has.
        sections: species index and section name of each row.
        taxon_ids: iNaturalist taxon of each species index.
    """

    embeddings: npt.NDArray[np.generic]
    sections: Sequence[tuple[int, str]]
    taxon_ids: Sequence[int]


def is_text_table(content: dict[str, Any]) -> bool:
    """Whether a checkpoint is such a table."""
    return {"data", "keys", "taxon_id"} <= content.keys()


def save_text_table(content: dict[str, Any], directory: str | Path) -> int:
    """Write a published table as `.npy` and JSON.

    Args:
        content: of `read_checkpoint`.
        directory: made if it isn't there.

    Returns:
        The number of texts.

    Raises:
        CheckpointError: the table's parts don't fit each other.
    """
    import torch

    data, keys, taxa = content["data"], content["keys"], content["taxon_id"]
    if not isinstance(data, torch.Tensor) or data.ndim != 2 or not isinstance(taxa, torch.Tensor):
        raise CheckpointError("the table of texts has no two-dimensional tensor of embeddings, or no tensor of taxa")
    if not isinstance(keys, list) or len(keys) != len(data):
        raise CheckpointError(f"the table has {len(data)} embeddings and {len(keys)} keys; they must be as many")
    sections = [(int(species), str(section)) for species, section in keys]
    if any(not 0 <= species < len(taxa) for species, _ in sections):
        raise CheckpointError(f"a text names a species outside the {len(taxa)} of the table")
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    np.save(path / EMBEDDINGS_FILE, data.numpy(), allow_pickle=False)
    about = {"format": 1, "sections": sections, "taxon_ids": [int(taxon) for taxon in taxa]}
    (path / KEYS_FILE).write_text(json.dumps(about), encoding="utf-8")
    return len(sections)


def open_text_table(directory: str | Path) -> TextTable:
    """Open a table that `save_text_table` wrote.

    Raises:
        MissingDataError: there is none.
    """
    path = Path(directory)
    try:
        about = json.loads((path / KEYS_FILE).read_text(encoding="utf-8"))
        embeddings = load_array(path / EMBEDDINGS_FILE, mapped=True)
    except FileNotFoundError as err:
        raise MissingDataError(f"{path} has no table of texts; make it with `wildsat models convert`") from err
    return TextTable(embeddings, [(species, name) for species, name in about["sections"]], about["taxon_ids"])
