"""Retrieval on held-out blocks: given a tile, is a text of its place near the top, and given a text, is such a tile?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from training.data.stream import Batch, Key, PairDataset
from training.data.tables import Ints
from training.objective import TrainingModule
from wildsat_core.errors import TrainingError

LEVELS = (1, 5, 10)

Vectors = npt.NDArray[np.float32]


def recall_at(scores: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> dict[int, float]:
    """Share of rows with a relevant column among the highest 1, 5 and 10.

    Args:
        scores: (N, M).
        relevant: (N, M), each row with at least one true.
    """
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    # A column that ties with the best relevant one counts as above it, so that equal scores win nothing.
    above = ((scores >= best) & ~relevant).sum(1)
    return {k: float((above < k).mean()) for k in LEVELS}


@torch.inference_mode()
def validate(
    module: TrainingModule,
    data: PairDataset,
    rows: Ints,
    *,
    most: int,
    batch: int,
    device: torch.device,
    bf16: bool,
    note: Callable[[Batch], None],
) -> dict[str, float]:
    """R@1, R@5 and R@10 both ways over the places and texts of the first `most` pairs of a fixed shuffle.

    Each place and each text counts once, however many pairs it is in; right is what any held-out pair joins.

    Args:
        module: the model.
        data: reads the pairs.
        rows: (R,) of the held-out pairs.
        most: pairs to take.
        batch: pairs at a time.
        device: of the model.
        bf16: run the backbone in bfloat16.
        note: takes each batch as it is read, to count what could not be.

    Returns:
        "tile_to_text_r1" ... "text_to_tile_r10", "score", their mean, and "pairs".

    Raises:
        TrainingError: there are no held-out pairs, or the vectors are not finite.
    """
    if not len(rows):
        raise TrainingError("the data set has no pairs for validation; build it with a share for val")
    chosen = np.random.default_rng(0).permutation(rows)[:most]
    was_training = module.training
    module.eval()
    tiles, words, places, texts = [], [], [], []
    for start in range(0, len(chosen), batch):
        keys = [Key(0, int(row), int(row)) for row in chosen[start : start + batch]]
        part = data.__getitems__(keys).to(device)
        note(part)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            vectors = module(part.anchor, None, part.text, part.lon_lat)
        tiles.append(vectors["text"].float().cpu().numpy())
        words.append(vectors["words"].float().cpu().numpy())
        texts.append(part.text_row.cpu().numpy())
        places.append(part.place.cpu().numpy())
    module.train(was_training)
    place_rows, place_vectors = _once(places, tiles)
    text_rows, text_vectors = _once(texts, words)
    found = _recalls(place_vectors, text_vectors, data.belonging(place_rows, text_rows))
    return found | {"pairs": float(len(chosen))}


def _once(rows: list[Ints], vectors: list[Vectors]) -> tuple[Ints, Vectors]:
    """Each row number once, with its vector."""
    unique, first = np.unique(np.concatenate(rows), return_index=True)
    return unique, np.concatenate(vectors)[first]


def _recalls(tiles: Vectors, words: Vectors, relevant: npt.NDArray[np.bool_]) -> dict[str, float]:
    """From tiles (N, D) and words (T, D) of which some belong together, (N, T)."""
    if not (np.isfinite(tiles).all() and np.isfinite(words).all()):
        raise TrainingError("validation gave vectors that are not finite; the run's last checkpoint is intact")
    scores = tiles @ words.T  # (N, D) @ (D, T) -> (N, T)
    result: dict[str, float] = {}
    for way, recalls in (
        ("tile_to_text", recall_at(scores, relevant)),
        ("text_to_tile", recall_at(scores.T, relevant.T)),
    ):
        result |= {f"{way}_r{k}": value for k, value in recalls.items()}
    result["score"] = float(np.mean(list(result.values())))
    return result
