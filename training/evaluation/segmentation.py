"""What a model's patches tell of each pixel: a linear probe on its last feature map.

One linear layer over each patch's standardised features, as a 1x1 convolution, its logits brought to the mask's size
bilinearly, cross-entropy. The epoch that does best on the validation part counts, by mean intersection over union.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from training.evaluation.features import Features, Pixels, Subject
from training.evaluation.labelled_set import IGNORED, PARTS, LabelledSet, Mask, Part
from training.evaluation.measures import Float
from training.evaluation.results import Figure
from training.evaluation.several_labels import mean_of_drawn
from wildsat_core.errors import InvalidInputError

BATCH = 16
EPOCHS = 30
PATIENCE = 4  # epochs without a better validation part before the last one
RATE = 1e-3

Maps = NDArray[np.float16]  # (N, C, h, w)
Overlap = tuple[NDArray[np.int64], NDArray[np.int64]]


def probe_masks(
    subject: Subject, data: LabelledSet, rows: Mapping[Part, NDArray[np.int64]], seed: int = 0
) -> dict[str, Figure]:
    """Train on the rows of "train", choose by "val", and measure on "test".

    Args:
        subject: a model with feature maps.
        data: with masks.
        rows: of each part, (R,); "val" may have none.
        seed: of the order in which pictures are learned.

    Returns:
        "mIoU" over the classes that occur in the test part or are taken for it, "pixels" right, and each class's own.

    Raises:
        InvalidInputError: the model gives no feature maps, or masks are of several sizes.
    """
    if subject.maps is None:
        raise InvalidInputError(f"{subject.name} gives no feature maps; it can't be asked of pixels", "model")
    train, val, test = (_read(subject.maps, data, rows[part]) for part in PARTS)
    probe = PatchProbe(train, val, len(data.classes), seed)
    return iou_figures(*probe.overlap(*test), data.classes)


class PatchProbe:
    """Classes of pixels from feature maps."""

    def __init__(self, train: tuple[Maps, Mask], val: tuple[Maps, Mask], classes: int, seed: int = 0) -> None:
        """Fit.

        Args:
            train: maps (N, C, h, w), and masks (N, H, W) of classes or IGNORED.
            val: likewise; empty for none, then the last epoch counts.
            classes: how many there are.
            seed: of the order.
        """
        maps, masks = train
        self._mean = maps.mean((0, 2, 3), dtype=np.float32)[:, None, None]
        self._spread = np.maximum(maps.std((0, 2, 3), dtype=np.float32)[:, None, None], 1e-6)
        random = torch.Generator().manual_seed(seed)
        self._layer = nn.Conv2d(maps.shape[1], classes, 1)
        nn.init.zeros_(self._layer.weight)
        nn.init.zeros_(self._layer.bias)  # type: ignore[arg-type]
        optimiser = torch.optim.AdamW(self._layer.parameters(), RATE)
        best: tuple[float, int, dict[str, Any]] | None = None
        for epoch in range(EPOCHS):
            order = torch.randperm(len(maps), generator=random).numpy()
            for rows in np.split(order, range(BATCH, len(order), BATCH)):
                wanted = torch.from_numpy(masks[rows].astype(np.int64))
                logits = self._logits(maps[rows], wanted.shape[-2:])
                loss = F.cross_entropy(logits, wanted, ignore_index=IGNORED)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if len(val[0]):
                shared, either = self.overlap(*val)
                score = float(mean_iou(shared, either)(np.ones((1, len(shared))))[0])
                if best is None or score > best[0]:
                    best = score, epoch, {key: value.clone() for key, value in self._layer.state_dict().items()}
                elif epoch - best[1] > PATIENCE:
                    break
        if best is not None:
            self._layer.load_state_dict(best[2])

    @torch.no_grad()
    def overlap(self, maps: Maps, masks: Mask) -> Overlap:
        """Pixels that truth and prediction share, and those of either, for each picture and class, (N, K) each.

        Args:
            maps: (N, C, h, w).
            masks: (N, H, W).
        """
        classes = self._layer.out_channels
        shared, either = (np.zeros((len(maps), classes), np.int64) for _ in range(2))
        for start in range(0, len(maps), BATCH):
            wanted = masks[start : start + BATCH]
            found = self._logits(maps[start : start + BATCH], wanted.shape[-2:]).argmax(1).numpy()
            for i, (truth, said) in enumerate(zip(wanted, found, strict=True), start):
                known = truth != IGNORED
                pairs = truth[known].astype(np.int64) * classes + said[known]  # more than the eight bits of a mask hold
                table = np.bincount(pairs, minlength=classes**2).reshape(classes, -1)
                shared[i] = table.diagonal()
                either[i] = table.sum(0) + table.sum(1) - shared[i]
        return shared, either

    def _logits(self, maps: Maps, size: tuple[int, ...] | torch.Size) -> torch.Tensor:
        standard = torch.from_numpy(((maps - self._mean) / self._spread).astype(np.float32))
        return F.interpolate(self._layer(standard), size=tuple(size), mode="bilinear", align_corners=False)


def mean_iou(shared: NDArray[np.int64], either: NDArray[np.int64]) -> Callable[[Float], Float]:
    """Mean intersection over union of the classes that occur, from weights (D, N) of pictures to (D,).

    Args:
        shared: (N, K) pixels of both truth and prediction.
        either: (N, K) pixels of truth or prediction.
    """
    occurring = either.any(0)

    def measure(weights: Float) -> Float:
        all_ = weights @ either[:, occurring]
        values = np.where(all_ > 0, weights @ shared[:, occurring] / np.maximum(all_, 1), np.nan)
        return mean_of_drawn(values.T)

    return measure


def iou_figures(shared: NDArray[np.int64], either: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, Figure]:
    """Figures of what `PatchProbe.overlap` counted, (N, K) each: "mIoU", "pixels" right, and each class's IoU."""
    count = len(shared)
    known = np.maximum((either + shared).sum(1) / 2, 1)  # each pixel lies in one class of either kind

    def right(weights: Float) -> Float:
        return np.asarray(weights @ shared.sum(1) / (weights @ known))

    figures = {"mIoU": Figure.of_all(mean_iou(shared, either), count), "pixels": Figure.of_all(right, count)}
    for i in np.flatnonzero(either.any(0)).tolist():
        figures[classes[i]] = Figure.of_all(mean_iou(shared[:, i, None], either[:, i, None]), count)
    return figures


def _read(maps_of: Callable[[Pixels], Features], data: LabelledSet, rows: NDArray[np.int64]) -> tuple[Maps, Mask]:
    """Feature maps and masks of some pictures."""
    if not len(rows):  # of the validation part alone
        return np.empty((0, 1, 1, 1), np.float16), np.empty((0, 1, 1), np.uint8)
    assert data.mask is not None
    masks = [data.mask(int(row)) for row in rows]
    if len(sizes := {mask.shape for mask in masks}) > 1:
        raise InvalidInputError(f"masks must all be of one size, got {sorted(sizes)[:3]}; give --crop", "data")
    if (largest := max(int(mask[mask != IGNORED].max(initial=0)) for mask in masks)) >= len(data.classes):
        raise InvalidInputError(f"a mask has the class {largest}, and there are {len(data.classes)}", "data")
    maps = [maps_of(batch).astype(np.float16) for batch in data.batches(rows, BATCH)]
    return np.concatenate(maps), np.stack(masks)
