"""The place teacher and the text head, trained together: which text fits which place, knowing the place's climate.

The text head ships. The teacher does not: it shows the image encoder and the position encoder where to go.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.mini.model import TEXT_HIDDEN
from training.mini.sampling import SentenceSampler
from training.small_models import TEXT_DIM, TEXT_FEATURES
from training.soft_losses import alignment
from wildsat_core.errors import TrainingError
from wildsat_core.models.heads import ResidualHead

log = logging.getLogger(__name__)

FIRST_SCALE, HIGHEST_SCALE = 14.0, 60.0
TEXT_NOISE, FACT_NOISE = 0.01, 0.05
# Texts that say the same thing go to the same place: their vectors are drawn together, and mixtures of two of them are
# read as a third.
PARAPHRASE_WEIGHT = 2.0
MOST_MIXED = 0.5
ANCHOR_WEIGHT = 2.0  # of staying in the space of the weights that a run goes on from


class PlaceTeacher(nn.Module):
    """Facts of a place (B, F) to (B, D) of length 1."""

    def __init__(self, features: int, dim: int = TEXT_DIM, width: int = 384, depth: int = 3) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = nn.Linear(features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.output = nn.Linear(width, dim)

    def forward(self, facts: Tensor) -> Tensor:
        """Encode standardised facts."""
        x = self.input(facts)
        for block in self.blocks:
            x = x + block(x)
        return F.normalize(self.output(F.gelu(x)), dim=-1)


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a run goes on from: a trained text head, and the place vectors of the tiles, (N, D) of length 1."""

    text_head: ResidualHead
    places: NDArray[np.float32]


class TeacherRun(nn.Module):
    """A teacher, the text head beside it, and the logarithm of the scale of their similarities.

    Args:
        features: length of a place's facts.
        anchor: what the run goes on from; None begins with random weights.
    """

    def __init__(self, features: int, anchor: Anchor | None = None) -> None:
        """Build, with the anchor's text head where there is one."""
        super().__init__()
        self.teacher = PlaceTeacher(features)
        self.text_head = ResidualHead(TEXT_FEATURES, TEXT_DIM, TEXT_HIDDEN)
        self.log_scale = nn.Parameter(torch.tensor(np.log(FIRST_SCALE), dtype=torch.float32))
        if anchor is not None:
            self.text_head.load_state_dict(anchor.text_head.state_dict())


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Steps, sentences and tiles a step, rate."""

    steps: int = 450
    sentences: int = 384
    tiles: int = 2500
    rate: float = 1.5e-3
    seed: int = 0


def train_teacher(
    run: TeacherRun,
    facts: NDArray[np.float32],
    embeddings: NDArray[np.float16],
    sampler: SentenceSampler,
    rows: NDArray[np.int64],
    settings: TeacherSettings,
    anchor: Anchor | None = None,
) -> TeacherRun:
    """Train teacher and text head with exact soft positives, in place.

    Args:
        run: with random weights, or with the anchor's text head.
        facts: (N, F) the teacher's input for every tile.
        embeddings: (S, 384) of the bank's sentences, length 1.
        sampler: draws sentences and knows what they are true of.
        rows: training tiles.
        settings: length and size of the run.
        anchor: what the run goes on from; its place vectors are not left far behind.

    Raises:
        TrainingError: the loss is not finite.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    teacher, head, log_scale = run.teacher, run.text_head, run.log_scale
    weights = [*teacher.parameters(), *head.parameters()]
    groups = [{"params": weights, "weight_decay": 1e-2}, {"params": [log_scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=settings.steps, pct_start=0.1)
    inputs = torch.from_numpy(facts)
    for step in range(settings.steps):
        sentences = sampler.sentences(settings.sentences)
        tiles = rng.choice(rows, min(settings.tiles, len(rows)), replace=False)
        texts, said_otherwise = read_texts(head, embeddings, sentences, sampler.paraphrases(sentences))
        place = inputs[tiles]
        places = teacher(place + torch.randn_like(place) * FACT_NOISE)
        logits = texts @ places.T * log_scale.exp().clamp(max=HIGHEST_SCALE)  # (S, D) @ (D, N)
        loss = alignment(logits, torch.from_numpy(sampler.truth(sentences, tiles)))
        loss = loss + PARAPHRASE_WEIGHT * (1 - (texts * said_otherwise).sum(1)).mean()
        if anchor is not None:
            known = torch.from_numpy(anchor.places[tiles])
            loss = loss + ANCHOR_WEIGHT * (1 - (places * known).sum(1)).mean()
        if not torch.isfinite(loss):
            raise TrainingError(f"the teacher's loss is {loss.item()} at step {step}; lower the rate")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == settings.steps - 1:
            log.info(
                "teacher step %d/%d loss %.3f scale %.1f", step + 1, settings.steps, loss.item(), log_scale.exp().item()
            )
    return run.eval()


def read_texts(
    head: ResidualHead,
    embeddings: NDArray[np.float16],
    sentences: NDArray[np.int64],
    paraphrases: NDArray[np.int64],
) -> tuple[Tensor, Tensor]:
    """Vectors of sentences, each mixed a little with its paraphrase, and of the paraphrases, (S, D) of length 1."""
    first, second = (torch.from_numpy(embeddings[rows].astype(np.float32)) for rows in (sentences, paraphrases))
    return _read(head, first, second), _read(head, second, second)


def _read(head: ResidualHead, text: Tensor, paraphrase: Tensor) -> Tensor:
    """(S, D) of length 1: embeddings (S, 384), mixed with those of paraphrases, and a little noise."""
    share = torch.rand(len(text), 1) * MOST_MIXED
    mixed = F.normalize(text * (1 - share) + paraphrase * share, dim=-1)
    return F.normalize(head(mixed + torch.randn_like(mixed) * TEXT_NOISE), dim=-1)


@torch.inference_mode()
def teach(teacher: PlaceTeacher, facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) the teacher's vectors of places."""
    parts = [teacher(torch.from_numpy(facts[start : start + 4096])) for start in range(0, len(facts), 4096)]
    return torch.cat(parts).numpy()
