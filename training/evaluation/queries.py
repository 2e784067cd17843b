"""The queries of the retrieval benchmark, and which tiles answer them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

import numpy as np
import yaml
from numpy.typing import NDArray

from training.earth.cells import Cells
from training.earth.squares import TileTable, land_shares
from training.earth.vocabulary import Vocabulary

FRESH = "fresh.yaml"
RELEVANT_SHARE = 0.3  # of the land in a tile's footprint


@dataclass(frozen=True, slots=True)
class BenchmarkQuery:
    """One query: its text, its kind, the claim that a relevant tile satisfies, and its half.

    Attributes:
        held: in the half that nothing was tuned on.
    """

    text: str
    kind: str
    predicate: str
    held: bool


def is_held(text: str) -> bool:
    """The half of a query: odd or even first byte of the SHA-256 of its text, so that no one chooses."""
    return hashlib.sha256(text.encode("utf-8")).digest()[0] % 2 == 1


def read_queries(table: str = "queries.yaml") -> list[BenchmarkQuery]:
    """All queries of a table, in its order: those of the benchmark, or "fresh.yaml", written after the weights."""
    kinds = yaml.safe_load(_table(table))
    return [
        BenchmarkQuery(text, kind, predicate, is_held(text))
        for kind, entries in kinds.items()
        for text, predicate in entries.items()
    ]


def read_paraphrases() -> list[list[str]]:
    """Groups of texts that mean one habitat."""
    return [[str(text) for text in group] for group in yaml.safe_load(_table("paraphrases.yaml"))]


def read_nonsense() -> list[str]:
    """Texts that no place on the map answers."""
    return [line for line in _table("nonsense.txt").splitlines() if line.strip()]


def relevance(queries: list[BenchmarkQuery], cells: Cells, tiles: TileTable) -> NDArray[np.bool_]:
    """(Q, N) whether at least 30 % of a tile's land satisfies a query's predicate."""
    predicates = Vocabulary(cells).predicates
    masks = np.stack([predicates.mask(query.predicate) for query in queries], 1).astype(np.float32)
    return np.asarray((land_shares(cells, tiles) @ masks).T >= RELEVANT_SHARE)


def _table(name: str) -> str:
    return (resources.files("training.evaluation") / "tables" / name).read_text(encoding="utf-8")
