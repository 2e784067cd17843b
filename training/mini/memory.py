"""What the text head remembers: known texts, and for each the vector that best finds the land it is true of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.mini.bank import PLAIN_KINDS, Bank

Vectors = NDArray[np.float32]

MEMORY_BLEND = 0.8  # of the searches that the vectors are made for
# Chosen on the tuning halves and the first fresh lists; ridges of 0.003 to 0.03 and shares of 0.2 to 0.3 hardly differ.
RIDGE = 0.01  # as a share of the mean variance of a dimension
OWN_SHARE = 0.25  # of what the head itself makes of a text, beside the best vector's 1
BATCH = 512


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the image encoder makes of the tiles' pictures.

    Attributes:
        vectors: (N, D) of length 1, in the text space.
        known: (N,) true for tiles that the encoder learned from; others stay unseen.
    """

    vectors: NDArray[np.float32]
    known: NDArray[np.bool_]


def memory_rows(bank: Bank, slots: int) -> NDArray[np.int64]:
    """Rows of the sentences that a memory keeps, (slots,) or as many as there are: the bank's plainest, shortest first.

    Composed sentences and single species come last, and only where slots are left: what they say is said by their
    parts and families.
    """
    plain = np.isin(np.asarray(bank.kinds), PLAIN_KINDS)
    words = np.asarray([len(sentence.split()) for sentence in bank.sentences])
    return np.lexsort((words, ~plain))[:slots]


def best_vectors(bank: Bank, predicates: NDArray[np.int64], places: Vectors, pictures: Pictures) -> Vectors:
    """For each predicate the direction whose scores tell best, in the least squares, how true it is of the tiles.

    One vector is compared with places and with pictures, and both standardised scores are added at the blend; so the
    tiles are taken as the sums of both their vectors. Ridge regression of the shares on those, which is Fisher's
    discriminant where a tile is either right or wrong (Fisher, Annals of Eugenics 7, 1936).

    Args:
        bank: knows the shares, (P, N).
        predicates: (M,) rows of the shares.
        places: (N, D) vectors of the tiles' places.
        pictures: those of their pictures; of tiles that the image encoder did not learn from, only the place counts.

    Returns:
        (M, D) of length 1.
    """
    tiles = MEMORY_BLEND * _standardised(places)
    if pictures.known.any():
        tiles[pictures.known] += (1 - MEMORY_BLEND) * _standardised(pictures.vectors[pictures.known])
    covariance = tiles.T @ tiles / len(tiles)  # (N, D)' @ (N, D) -> (D, D)
    ridge = RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance), dtype=np.float32)
    inverse = np.linalg.inv(covariance + ridge).astype(np.float32)
    found = [
        _centred(np.asarray(bank.shares[rows], dtype=np.float32)) @ tiles @ inverse  # (B, N) @ (N, D) @ (D, D)
        for rows in np.array_split(predicates, max(len(predicates) // BATCH, 1))
    ]
    return _unit(np.concatenate(found))


def remembered(best: Vectors, own: Vectors, meaning: NDArray[np.int64]) -> Vectors:
    """What a memory holds of meanings, (V, D) of length 1.

    A best vector is fitted to one claim's land alone and knows nothing of other texts; the head's own, which has
    learned from all, keeps it near to what is meant alike.

    Args:
        best: (V, D) of length 1, the best vectors of the meanings.
        own: (M, D) of length 1, what the head itself makes of the texts.
        meaning: (M,) row of `best` of each text; every meaning has a text.
    """
    total = np.zeros_like(best)
    np.add.at(total, meaning, own)
    return _unit(best + OWN_SHARE * _unit(total))


def _unit(vectors: Vectors) -> Vectors:
    """(M, D) of length 1, or zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _standardised(vectors: Vectors) -> Vectors:
    """(N, D) about zero, with the mean spread of a score 1."""
    about_zero = vectors - vectors.mean(0)
    return np.asarray(about_zero / max(float(about_zero.std()), 1e-9), dtype=np.float32)


def _centred(shares: Vectors) -> Vectors:
    """(M, N) shares about the mean of each."""
    return np.asarray(shares - shares.mean(1, keepdims=True), dtype=np.float32)
