"""Which habitat phrases fit a tile best: the search turned round, with a fixed list of phrases as the candidates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wildsat_core.collection.reader import Collection
from wildsat_core.errors import SpaceUnavailableError
from wildsat_core.search.plan import QueryModel

PHRASES = Path(__file__).resolve().parent.parent / "data" / "habitats.txt"


@dataclass(frozen=True, slots=True)
class Habitat:
    """A phrase and how much better it fits this tile than the average one, in standard deviations."""

    phrase: str
    score: float


def read_phrases(path: Path = PHRASES) -> tuple[str, ...]:
    """Phrases, one a line; blank lines and lines that begin with # don't count."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


class HabitatNames:
    """Names the habitat of tiles of one collection; the phrases are embedded at the first question."""

    def __init__(self, collection: Collection, model: QueryModel, phrases: tuple[str, ...]) -> None:
        """Remember; nothing is embedded yet."""
        self._collection, self._model, self._phrases = collection, model, phrases

    def of(self, row: int, count: int) -> list[Habitat]:
        """The phrases that fit a row best, best first.

        Each phrase is compared with itself on all other tiles, so that one that fits everywhere says little.

        Raises:
            SpaceUnavailableError: the collection has no text vectors.
        """
        vectors, means, stds = self._table
        tile = self._collection.vectors("text", np.array([row]))[0]
        scores = (vectors @ tile - means) / stds  # (P, D) @ (D,) -> (P,)
        best = np.argsort(-scores, kind="stable")[:count]
        return [Habitat(self._phrases[i], float(scores[i])) for i in best]

    @cached_property
    def _table(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The phrases' vectors (P, D), and the mean and spread of each one's scores over all tiles (P,)."""
        if "text" not in self._collection.spaces:
            raise SpaceUnavailableError(
                f"collection {self._collection.name!r} has no text vectors, so its tiles can't be named", "collection"
            )
        vectors = self._model.embed_texts(list(self._phrases))
        moments = self._collection.moments["text"]
        means = np.array([moments.score_mean(v) for v in vectors])
        stds = np.array([moments.score_std(v) for v in vectors])
        return vectors, means, stds
