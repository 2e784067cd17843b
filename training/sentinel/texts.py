"""Sentences about the kinds of ground, each in many wordings, and their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from training.earth.kinds import KINDS

FRAMES = (
    "a satellite picture of {}",
    "{} seen from above",
    "an area with {}",
    "habitat: {}",
    "where to find {}",
    "land covered by {}",
    "an aerial photo of {}",
    "a place with {}",
)
FRAMES_EACH = 2


@dataclass(frozen=True, slots=True)
class Sentences:
    """S sentences; row i of every array is sentence i.

    Attributes:
        texts: (S,).
        claims: (S,) row of the claim that each makes; here the row of `KINDS`.
        plain: (S,) true for a wording as it stands, false for one in a frame.
    """

    texts: list[str]
    claims: NDArray[np.int64]
    plain: NDArray[np.bool_]


def read_wordings() -> dict[str, list[tuple[str, bool]]]:
    """Wordings by kind, each with whether it fits into a frame."""
    table = yaml.safe_load((resources.files("training.sentinel") / "tables" / "kinds.yaml").read_text(encoding="utf-8"))
    return {
        kind: [(text, True) for text in entry["say"]] + [(text, False) for text in entry["sentence"]]
        for kind, entry in table.items()
    }


def kind_sentences(seed: int = 0) -> Sentences:
    """Every wording of every kind as it stands, and those that fit into a frame in two of them."""
    rng = np.random.default_rng(seed)
    texts, claims, plain = [], [], []
    for kind, wordings in read_wordings().items():
        for text, fits in wordings:
            frames = rng.choice(FRAMES, FRAMES_EACH, replace=False) if fits else ()
            said = [text, *(frame.format(text) for frame in frames)]
            texts += said
            claims += [KINDS.index(kind)] * len(said)
            plain += [True] + [False] * (len(said) - 1)
    return Sentences(texts, np.asarray(claims), np.asarray(plain))


def embed_sentences(texts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """(S, 384) embeddings of length 1 from minilm, kept in a file beside the texts that they are of."""
    listed = cache.with_suffix(".txt")
    joined = "\n".join(texts) + "\n"
    if not (cache.is_file() and listed.is_file() and listed.read_text(encoding="utf-8") == joined):
        from wildsat_core.text.minilm import MiniLMEncoder

        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, MiniLMEncoder().encode(texts).astype(np.float16))
        listed.write_text(joined, encoding="utf-8")
    return np.asarray(np.load(cache), dtype=np.float32)
