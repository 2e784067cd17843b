"""The queries of the retrieval benchmark, and which tiles answer them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from training.earth.cells import Cells
from training.earth.squares import TileTable, land_of, land_shares
from training.earth.vocabulary import Vocabulary

FRESH = "fresh.yaml"
FRESH2 = "fresh2.yaml"  # written when failures of the first had been seen
FRESH3 = "fresh3.yaml"  # written when the texts had been widened by whole fields, by someone who had not seen them
RELEVANT_SHARE = 0.3  # of the land in a tile's footprint
LEAST_LAND_SHOWN = 0.25  # of a tile, for a query that is not about coasts
COASTAL_KM, COASTAL_SHARE = 60.0, 0.5


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


def read_asked() -> dict[str, Any]:
    """Questions with a place, a negation, a misspelt word, or in another language, and what is right for each."""
    return dict(yaml.safe_load(_table("asked.yaml")))


def relevance(queries: list[BenchmarkQuery], cells: Cells, tiles: TileTable) -> NDArray[np.bool_]:
    """(Q, N) which tiles are right; see `judge`."""
    return judge(queries, cells, tiles)[0]


def judge(queries: list[BenchmarkQuery], cells: Cells, tiles: TileTable) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which tiles are right, and which queries are about coasts.

    A tile is right when at least 30 % of its land satisfies the query's claim, and, unless the query is about coasts,
    at least a quarter of it is land: a picture of the sea does not show a forest. A query is about coasts when at least
    half of the land that satisfies its claim lies within 60 km of the sea.

    Returns:
        (Q, N) and (Q,).
    """
    predicates = Vocabulary(cells).predicates
    masks = np.stack([predicates.mask(query.predicate) for query in queries], 1).astype(np.float32)
    area = (np.cos(np.radians(cells.lat)) * cells.land)[:, None] * masks
    by_the_sea = area[cells.coast_km < COASTAL_KM].sum(0) / np.maximum(area.sum(0), 1e-9)
    coastal = by_the_sea >= COASTAL_SHARE
    right = np.asarray((land_shares(cells, tiles) @ masks).T >= RELEVANT_SHARE)
    shows_land = land_of(cells, tiles) >= LEAST_LAND_SHOWN
    return right & (coastal[:, None] | shows_land), coastal


def _table(name: str) -> str:
    return (resources.files("training.evaluation") / "tables" / name).read_text(encoding="utf-8")
