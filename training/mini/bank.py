"""The text bank: sentences, and for each the exact share of every tile's land for which it is true.

Every sentence belongs to a *predicate*, a mask over land cells. `shares[predicate, tile]` says how much of the tile
satisfies it, so a training step knows for each pair of sentence and tile whether, and how far, it is a positive. No
negative is guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.earth.claims import Mask
from wildsat_core.files import file_aside

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Shares = NDArray[np.float32]

FULL = 255  # shares are stored as bytes
BATCH = 64
LEAST_BEST_SHARE = 0.25  # a predicate that fills no tile to this share teaches nothing
FULL_LAND = 0.5  # a picture with less shows that little of what its land, or its coast, is said to be
# Sentences of other kinds are composed of these, or are about single species.
PLAIN_KINDS = ("word", "field", "name", "atom", "attribute", "use", "flagship", "place", "family", "ecoregion")


@dataclass(frozen=True, slots=True)
class Bank:
    """S sentences over P predicates and N tiles.

    Attributes:
        sentences: (S,) texts.
        kinds: (S,) where each came from: atom, place, ... (see `build_bank`).
        predicate: (S,) row of `shares`.
        shares: (P, N) uint8, 255 = all of the tile's land.
    """

    sentences: list[str]
    kinds: list[str]
    predicate: NDArray[np.int64]
    shares: NDArray[np.uint8]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"sentences": self.sentences, "kinds": self.kinds, "predicate": self.predicate.tolist()}
        (folder / "bank.json").write_text(json.dumps(texts), encoding="utf-8")
        with file_aside(folder / "shares.npy") as file:  # last, and whole: that it is there says that the bank is
            np.save(file, self.shares)

    def take(self, rows: NDArray[np.int64]) -> Bank:
        """Some sentences, rows (R,), in the order given, over the same predicates."""
        sentences, kinds = ([values[row] for row in rows] for values in (self.sentences, self.kinds))
        return Bank(sentences, kinds, self.predicate[rows], self.shares)

    @classmethod
    def load(cls, folder: Path) -> Bank:
        texts = json.loads((folder / "bank.json").read_text(encoding="utf-8"))
        shares = np.load(folder / "shares.npy", mmap_mode="r")
        return cls(texts["sentences"], texts["kinds"], np.asarray(texts["predicate"]), shares)


class BankBuilder:
    """Collects predicates and their sentences.

    Args:
        land_shares: (N tiles, cells) sparse, rows summing to 1.
        land: (N,) share of each tile that is land.
    """

    def __init__(self, land_shares: csr_matrix, land: Shares) -> None:
        """Start empty."""
        self._land_shares = land_shares
        self.land = land
        self._sentences: list[str] = []
        self._kinds: list[str] = []
        self._predicate: list[int] = []
        self._pending: list[Mask] = []
        self._rows: list[NDArray[np.uint8]] = []

    @property
    def predicates(self) -> int:
        return sum(len(rows) for rows in self._rows) + len(self._pending)

    def shares_of(self, masks: NDArray[np.bool_]) -> Shares:
        """(M, cells) masks to (M, N) shares of the tiles' land."""
        return np.asarray((self._land_shares @ masks.T.astype(np.float32)).T.clip(0, 1), dtype=np.float32)

    def add(self, mask: Mask, sentences: list[str], kind: str) -> None:
        """A predicate given by its (N,) mask over cells, and what may be said of such land."""
        self._name(sentences, kind)
        self._pending.append(mask)
        if len(self._pending) >= BATCH:
            self._flush()

    def add_shares(self, shares: Shares, sentences: list[str], kind: str) -> None:
        """A predicate given directly by its (N,) shares in [0, 1]."""
        self._flush()
        self._name(sentences, kind)
        self._rows.append(_bytes(self._shown(shares[None])))

    def add_sea(self, sentences: list[str]) -> None:
        """What may be said of water without land."""
        self._flush()
        self._name(sentences, "word")
        self._rows.append(_bytes((1 - self.land)[None]))

    def build(self) -> Bank:
        """The bank, without the predicates that fill no tile, and without repeated sentences of one predicate."""
        self._flush()
        shares = np.concatenate(self._rows)
        useful = shares.max(1) >= LEAST_BEST_SHARE * FULL
        new_row = np.cumsum(useful) - 1
        kept = list(dict.fromkeys(zip(self._sentences, self._kinds, self._predicate, strict=True)))
        kept = [entry for entry in kept if useful[entry[2]]]
        rows = np.asarray([new_row[predicate] for _, _, predicate in kept], dtype=np.int64)
        return Bank([text for text, _, _ in kept], [kind for _, kind, _ in kept], rows, shares[useful])

    def _name(self, sentences: list[str], kind: str) -> None:
        row = self.predicates
        for sentence in sentences:
            self._sentences.append(" ".join(sentence.split()))
            self._kinds.append(kind)
            self._predicate.append(row)

    def _flush(self) -> None:
        if self._pending:
            self._rows.append(_bytes(self._shown(self.shares_of(np.stack(self._pending)))))
            self._pending = []

    def _shown(self, shares: Shares) -> Shares:
        """(M, N) shares of land, less where little of the picture is land; each predicate's largest stays as it is."""
        shown = shares * np.minimum(self.land / FULL_LAND, 1)
        largest, left = shares.max(1, keepdims=True), shown.max(1, keepdims=True)
        return np.asarray(shown * (largest / np.maximum(left, np.finfo(np.float32).tiny)), dtype=np.float32)


def _bytes(shares: Shares) -> NDArray[np.uint8]:
    return (shares * FULL).round().astype(np.uint8)
