"""The text head of wildsat-s2: what each known text finds best, carried over to unknown ones by kernel regression.

Tiles and places have their vectors by now. A sentence about a kind of ground gets the one vector whose scores tell that
kind best from all others among tiles; a sentence about points that which tells best where it is true. Both are solved
for, so that nothing but words is left to generalise, and that is what a kernel over embeddings of texts does best.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from training.sentinel.heads import TileFeatures
from training.sentinel.points import Points
from training.sentinel.texts import Sentences
from training.small_models import TEXT_DIM, TEXT_FEATURES
from wildsat_core.models.config import HeadConfig
from wildsat_core.models.heads import KernelHead, build_head
from wildsat_core.models.model import WildSATModel

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
BATCH = 4096
CLAIMS_BATCH = 256
# Length of what finds a kind among places beside what finds it among tiles: more would make its cosines with tiles
# smaller than those of kinds that no land cover tells.
KIND_PLACED = 0.3


@dataclass(frozen=True, slots=True)
class TextHeadSettings:
    """How the text head is fitted, chosen on the tuning half of the wordings and on phrases left out of the lexicon.

    Attributes:
        sharpness, ridge, decision: of the head.
        spread: ridge of the vectors that find kinds among tiles, as a share of the mean variance of a dimension.
        balance: how far kinds that few tiles show count as much as others: 0 for not at all, 1 for the same sum.
        spread_places: the same of those that find points.
        places: weight of the scores of places beside those of tiles, which are to tell nothing, when points are sought.
    """

    sharpness: float = 2.0
    ridge: float = 0.1
    decision: float = 16.0
    spread: float = 3.0
    balance: float = 0.5
    spread_places: float = 0.1
    places: float = 0.3


def fit_text_head(
    model: WildSATModel,
    tiles: TileFeatures,
    sentences: tuple[Sentences, Vectors],
    points: tuple[Points, Vectors],
    settings: TextHeadSettings,
) -> None:
    """Give a model its text head.

    Args:
        model: whose tile head and position encoder are trained.
        tiles: features and truth of pictures.
        sentences: about kinds of ground, and their embeddings (S, 384).
        points: positions with sentences about them, and the embeddings of those.
        settings: of the fit.
    """
    model.eval()
    known = _Seeker(model, tiles, points[0], settings).seek(sentences[0])
    _, first = np.unique([*sentences[0].texts, *points[0].texts], return_index=True)
    first.sort()
    keys = F.normalize(torch.from_numpy(np.concatenate([sentences[1], points[1]])[first]), dim=-1)
    shape = HeadConfig(
        kind="kernel",
        in_features=TEXT_FEATURES,
        out_features=TEXT_DIM,
        slots=len(keys),
        meanings=len(known.meanings),
        recall_sharpness=settings.sharpness,
        decision=settings.decision,
    )
    head = build_head(shape)
    assert isinstance(head, KernelHead)  # as the config says
    votes, values, meanings = (
        torch.from_numpy(part) for part in (known.votes[first], known.values[first], known.meanings)
    )
    head.fit(keys, votes, values, meanings, settings.ridge)
    log.info("text head of %d texts", len(keys))
    model.config = model.config.model_copy(update={"text_head": shape})
    model.text_head = head.to(model.device).eval()


@dataclass(frozen=True, slots=True)
class _Known:
    """What S sentences mean: (S, K) which kinds, (S, D) what beside; and the vectors of the kinds, (K, D)."""

    votes: Vectors
    values: Vectors
    meanings: Vectors


class _Seeker:
    """Finds the vectors whose scores tell best, in the least squares, which tiles or which points are meant.

    Ridge regression of what is true on the vectors, which is Fisher's discriminant where a tile is either right or
    wrong (Fisher, Annals of Eugenics 7, 1936). To a claim about points all tiles score alike: pictures show no climate.
    """

    def __init__(self, model: WildSATModel, tiles: TileFeatures, points: Points, settings: TextHeadSettings) -> None:
        self._points, self._truth, self._settings = points, tiles.truth.numpy(), settings
        counts = np.maximum(self._truth.sum(0), 1)
        weight = (self._truth / counts**settings.balance).sum(1)
        self._weight: Vectors = (weight / weight.sum())[:, None]  # (N, 1), of sum 1
        self._tiles = _standardised(_project(model, tiles.features), self._weight)
        self._covariance: Vectors = self._tiles.T @ (self._tiles * self._weight)  # (D, N) @ (N, D)
        places = _standardised(model.embed_places(points.lon_lat)["place"])
        self._places = places * np.float32(np.sqrt(settings.places))

    def seek(self, sentences: Sentences) -> _Known:
        """What sentences about kinds of ground mean, and those about points after them.

        A kind that is claimed of points, too, is told in both; so is what is said of a kind in some region.
        """
        together: Vectors = self._truth.T @ (self._tiles * self._weight)  # (K, N) @ (N, D)
        meanings: Vectors = together @ _inverse(self._covariance, self._settings.spread)
        pairs, rows = np.unique(self._points.claims, axis=0, return_inverse=True)
        placed = self._placed(rows.reshape(-1), len(pairs), together) * np.float32(
            np.linalg.norm(meanings, axis=1).mean()
        )
        kind_of = _kinds_of_claims(sentences, self._points)
        kinds = np.eye(len(meanings), dtype=np.float32)
        about = np.zeros((len(pairs), len(meanings)), np.float32)
        for row, (claim, other) in enumerate(pairs):
            if claim in kind_of:
                about[row] = kinds[kind_of[claim]]
                if claim == other:
                    meanings[kind_of[claim]] += KIND_PLACED * placed[row]
                    placed[row] = 0
        values = np.concatenate(
            [np.zeros((len(sentences.texts), placed.shape[1]), np.float32), placed[rows.reshape(-1)]]
        )
        return _Known(np.concatenate([kinds[sentences.claims], about[rows.reshape(-1)]]), values, meanings)

    def _placed(self, rows: NDArray[np.int64], pairs: int, apart: Vectors) -> Vectors:
        """(P, D) of length 1, of each pair of claims; `rows` (S,) says which pair a sentence makes.

        They have nothing of `apart` (K, D), by which kinds differ among tiles: so they change no kind's order of tiles.
        """
        _, first = np.unique(rows, return_index=True)
        everywhere = np.arange(len(self._places))
        inverse = _inverse(self._covariance + _covariance(self._places), self._settings.spread_places)
        found = np.concatenate(
            [
                _centred(self._points.true_of(part, everywhere)) @ self._places @ inverse
                for part in np.array_split(first, max(pairs // CLAIMS_BATCH, 1))
            ]
        )
        axes = np.linalg.svd(apart, full_matrices=False)[2][: np.linalg.matrix_rank(apart)]
        found -= found @ axes.T @ axes
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _kinds_of_claims(sentences: Sentences, points: Points) -> dict[int, int]:
    """The kind of ground that a claim about points is, by what is said of both."""
    kinds = dict(zip(sentences.texts, sentences.claims.tolist(), strict=True))
    return {
        claim: kinds[text]
        for text, (claim, other) in zip(points.texts, points.claims.tolist(), strict=True)
        if claim == other and text in kinds
    }


@torch.inference_mode()
def _project(model: WildSATModel, features: Tensor) -> Vectors:
    """Features (N, F) to vectors of length 1 in the text space, (N, D)."""
    parts = (model.project_features(part.to(model.device))["text"].cpu() for part in torch.split(features, BATCH))
    return torch.cat(list(parts)).numpy()


def _standardised(vectors: Vectors, weight: Vectors | None = None) -> Vectors:
    """(N, D) about zero, with the mean spread of a score 1; `weight` (N, 1) says how much each row counts for that."""
    about_zero = vectors - (vectors.mean(0) if weight is None else (vectors * weight).sum(0))
    return np.asarray(about_zero / max(float(about_zero.std()), 1e-9), dtype=np.float32)


def _covariance(vectors: Vectors) -> Vectors:
    return np.asarray(vectors.T @ vectors / len(vectors), dtype=np.float32)  # (N, D)' @ (N, D) -> (D, D)


def _inverse(covariance: Vectors, spread: float) -> Vectors:
    """Of a covariance (D, D) with a ridge of so large a share of its mean variance."""
    ridge = spread * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(covariance + ridge), dtype=np.float32)


def _centred(shares: Vectors) -> Vectors:
    """(M, N) shares about the mean of each."""
    return np.asarray(shares - shares.mean(1, keepdims=True), dtype=np.float32)
