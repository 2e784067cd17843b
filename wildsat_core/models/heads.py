"""Projections into a shared space: what stands between an encoder's features and the vectors that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from wildsat_core.models.config import HeadConfig

DROPOUT = 0.1
# Embeddings of length 1 have elements of about 1/sqrt(E); the gain brings them nearer to the size that layers are
# initialised for, and so to a useful rate of learning.
INPUT_GAIN = 3.0
RECALLED = 16  # known texts that a memory looks at; chosen on the tuning half of the retrieval benchmark's queries


class LinearHead(nn.Linear):
    """One linear layer without a bias, as in WildSAT (arXiv:2412.14428): (B, F) to (B, D)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Build with random weights."""
        super().__init__(in_features, out_features, bias=False)


class MLPHead(nn.Module):
    """A perceptron with one hidden layer: (B, F) to (B, D)."""

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(hidden, out_features)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features."""
        projected: torch.Tensor = self.layers(features)
        return projected


class ResidualHead(nn.Module):
    """A linear layer and a perceptron beside it, added: the line carries the meaning over, the perceptron bends it."""

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.line = nn.Linear(in_features, out_features)
        self.bend = MLPHead(in_features, out_features, hidden)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features of length 1."""
        raised = features * INPUT_GAIN
        projected: torch.Tensor = self.line(raised) + self.bend(raised)
        return projected


class MemoryHead(ResidualHead):
    """A residual head that also recalls: what the known texts nearest to a text mean is added to its own vector.

    A perceptron errs most on words that it never saw; what their nearest known texts mean is then the better guess.
    Each counts by how near it is, `share * exp(sharpness * (cosine - 1))` beside the perceptron's vector of length 1;
    what is like no known text is left to the perceptron. Texts are compared in the few directions in which known ones
    differ most, those that mean the same share a vector, and both have a byte a number: many fit in little room.

    Args:
        slots: how many texts are known.
        meanings: how many vectors they share.
        directions: in which texts are compared, at most as many as features.
        share: weight of a known text itself.
        sharpness: how fast it falls with the distance.

    Attributes:
        basis: (F, R) the directions, of length 1: the leading principal ones of known texts' features.
        keys: (M, R) int8, each in the direction of a known text; cosines move by some thousandths.
        meaning: (M,) row of `values` of each text.
        values: (V, D) int8, each in the direction of a meaning.
        units, vectors: (M, R) and (V, D) keys and values of length 1; made of those when weights are loaded, and not
            stored.
    """

    basis: torch.Tensor
    keys: torch.Tensor
    units: torch.Tensor
    meaning: torch.Tensor
    values: torch.Tensor
    vectors: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: int,
        slots: int,
        meanings: int,
        directions: int,
        share: float,
        sharpness: float,
    ) -> None:
        """Build with random weights and an empty memory."""
        super().__init__(in_features, out_features, hidden)
        self.share, self.sharpness = share, sharpness
        self.register_buffer("basis", torch.zeros(in_features, directions))
        self.register_buffer("keys", torch.zeros(slots, directions, dtype=torch.int8))
        self.register_buffer("units", torch.zeros(slots, directions), persistent=False)
        self.register_buffer("meaning", torch.zeros(slots, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(meanings, out_features, dtype=torch.int8))
        self.register_buffer("vectors", torch.zeros(meanings, out_features), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.widen())  # type: ignore[no-untyped-call]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features of length 1."""
        own = F.normalize(super().forward(features), dim=-1)
        asked = F.normalize(features @ self.basis, dim=-1)  # (B, R)
        cosines, rows = (asked @ self.units.T).topk(min(RECALLED, len(self.units)), dim=1)  # (B, K)
        weights = self.share * ((cosines - 1) * self.sharpness).exp()
        return own + torch.einsum("bk,bkd->bd", weights, self.vectors[self.meaning[rows]])

    @torch.no_grad()
    def widen(self) -> None:
        """Make what is not stored anew, as keys and values have changed."""
        self.units.copy_(F.normalize(self.keys.float(), dim=-1))
        self.vectors.copy_(F.normalize(self.values.float(), dim=-1))

    @torch.no_grad()
    def remember(self, keys: torch.Tensor, meaning: torch.Tensor, values: torch.Tensor) -> None:
        """Fill the memory.

        Args:
            keys: (M, F) features of known texts.
            meaning: (M,) row of `values` of each.
            values: (V, D) vectors of the meanings, of any length.
        """
        directions = torch.linalg.eigh(keys.T @ keys).eigenvectors.flip(1)  # those of the largest spread first
        self.basis.copy_(directions[:, : self.basis.shape[1]].half())  # as the weight file will have it
        self.keys.copy_(_in_bytes(keys @ self.basis))
        self.meaning.copy_(meaning)
        self.values.copy_(_in_bytes(values))
        self.widen()


def _in_bytes(rows: torch.Tensor) -> torch.Tensor:
    """(M, K) rows, each stretched so that its largest number is as large as a signed byte can be."""
    largest = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    return (rows / largest * torch.iinfo(torch.int8).max).round()


class KernelHead(nn.Module):
    """Kernel ridge regression over known texts: every one of them counts, by how near it is to what is asked.

    Texts vote for meanings, whose vectors are mixed by a softmax of the votes, so that a text that is nearest to one
    meaning gets its vector nearly pure; what they add beside is the regression itself.
    Source of the method: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 2.2.

    Args:
        sharpness: of the kernel `exp(sharpness * (cosine - 1))`, which is the Gaussian one for texts of length 1.
        decision: multiplies the votes, which are about 1 for what is meant and 0 for the rest, before the softmax.

    Attributes:
        keys: (M, F) features of known texts, of length 1.
        votes: (M, K) what each text adds to the votes of texts near it.
        values: (M, D) what it adds to their vectors.
        start: (K + D,) votes and vector of no text in particular.
        meanings: (K, D) vectors that are voted for.
    """

    keys: torch.Tensor
    votes: torch.Tensor
    values: torch.Tensor
    start: torch.Tensor
    meanings: torch.Tensor

    def __init__(
        self, in_features: int, out_features: int, slots: int, meanings: int, sharpness: float, decision: float
    ) -> None:
        """Build with nothing known."""
        super().__init__()
        self.sharpness, self.decision = sharpness, decision
        self.register_buffer("keys", torch.zeros(slots, in_features))
        self.register_buffer("votes", torch.zeros(slots, meanings))
        self.register_buffer("values", torch.zeros(slots, out_features))
        self.register_buffer("start", torch.zeros(meanings + out_features))
        self.register_buffer("meanings", torch.zeros(meanings, out_features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project (B, F) features of length 1."""
        near = ((features @ self.keys.T - 1) * self.sharpness).exp()  # (B, F) @ (F, M)
        votes, beside = near @ self.votes, near @ self.values
        count = votes.shape[1]
        chosen = ((votes + self.start[:count]) * self.decision).softmax(1)
        projected: torch.Tensor = chosen @ self.meanings + beside + self.start[count:]  # (B, K) @ (K, D)
        return projected

    @torch.no_grad()
    def fit(
        self, keys: torch.Tensor, votes: torch.Tensor, values: torch.Tensor, meanings: torch.Tensor, ridge: float
    ) -> None:
        """Learn what known texts mean.

        Args:
            keys: (M, F) of length 1, as many as there are slots; like what is learned kept in the steps of float16,
                which weight files have.
            votes: (M, K) 1 for the meaning of a text, 0 for the others.
            values: (M, D) what its vector is to have beside that.
            meanings: (K, D).
            ridge: how little a single text is believed, beside 1 for what the kernel gives a text with itself.
        """
        keys, targets = keys.half().float(), torch.cat([votes, values], 1)
        near = ((keys @ keys.T - 1) * self.sharpness).exp()
        start = targets.mean(0)
        factor = torch.linalg.cholesky(near + ridge * torch.eye(len(near), device=near.device))
        exact = torch.cholesky_solve(targets - start, factor)
        learned = exact.half().float()
        self.keys.copy_(keys)
        self.meanings.copy_(meanings)
        self.votes.copy_(learned[:, : votes.shape[1]])
        self.values.copy_(learned[:, votes.shape[1] :])
        # What rounding adds is nearly the same for all texts, as many of them sum up: it is taken out of the mean.
        self.start.copy_(start + (near @ (exact - learned)).mean(0))


def build_head(config: HeadConfig) -> nn.Module:
    """Build a head of the kind that the config names, with random weights."""
    if config.kind == "linear":
        return LinearHead(config.in_features, config.out_features)
    if config.kind == "kernel":
        slots, meanings, sharpness, decision = config.slots, config.meanings, config.recall_sharpness, config.decision
        assert slots is not None  # the config refuses a kernel head without one of these
        assert meanings is not None
        assert sharpness is not None
        assert decision is not None
        return KernelHead(config.in_features, config.out_features, slots, meanings, sharpness, decision)
    assert config.hidden is not None  # the config refuses other kinds without a hidden width
    if config.kind == "memory":
        slots, meanings, share, sharpness = config.slots, config.meanings, config.recall_share, config.recall_sharpness
        directions = config.recall_features
        assert slots is not None  # likewise
        assert meanings is not None
        assert directions is not None
        assert share is not None
        assert sharpness is not None
        sizes = (config.in_features, config.out_features, config.hidden, slots, meanings, directions)
        return MemoryHead(*sizes, share=share, sharpness=sharpness)
    kind = MLPHead if config.kind == "mlp" else ResidualHead
    return kind(config.in_features, config.out_features, config.hidden)
