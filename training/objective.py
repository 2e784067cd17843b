"""One step's computation: views of a batch, the network once over all of them, and the weighted sum of losses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from training.augment import AugmentConfig, Chance, anchor_view, positive_view
from training.augment_ops import resize
from training.config import LossSection
from training.data.stream import Batch
from training.losses import LogitScale, Match, symmetric_loss
from training.reference_views import reference_anchor, reference_positive
from training.tuning import settle_modes
from wildsat_core.bands import RGB
from wildsat_core.errors import InvalidInputError
from wildsat_core.models.model import WildSATModel

LOSSES = ("text", "location", "image", "place")


@dataclass(frozen=True, slots=True)
class Views:
    """What the network sees of one batch: pixels in the model's own scale, (B, C, h, w); no positive, no image loss."""

    anchor: torch.Tensor
    positive: torch.Tensor | None


class TrainingModule(nn.Module):
    """The model and the scale of its losses, so that one forward pass touches every trained parameter."""

    def __init__(self, model: WildSATModel, losses: LossSection, *, settle_frozen: bool = True) -> None:
        """Wrap a model whose heads fit the losses in use; for `settle_frozen` see the tuning's config."""
        super().__init__()
        self.model, self.settle_frozen = model, settle_frozen
        self.scale = LogitScale(losses.scale, learned=losses.learned_scale)
        self.uses_place = losses.location > 0 or losses.place > 0
        self.uses_text = losses.text > 0 or losses.place > 0

    def train(self, mode: bool = True) -> TrainingModule:
        """Training mode for what is trained; what is frozen stays in evaluation mode."""
        super().train(mode)
        if mode:
            settle_modes(self.model, frozen_layers=self.settle_frozen)
        return self

    def forward(
        self, anchor: torch.Tensor, positive: torch.Tensor | None, text: torch.Tensor, lon_lat: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Vectors (B, D) by name: the tile's "text", "location", "image"; "positive"; the text's "words"; the "place".

        Also "scale", a scalar. The backbone runs once over anchors and positives together.

        Args:
            anchor: (B, C, h, w) as of `make_views`.
            positive: likewise; None without an image loss.
            text: (B, E) embeddings.
            lon_lat: (B, 2) degrees.
        """
        count = len(anchor)
        views = anchor if positive is None else torch.cat([anchor, positive])
        tiles = self.model(views)
        vectors: dict[str, torch.Tensor] = {space: v[:count] for space, v in tiles.items()}
        if positive is not None:
            vectors["positive"] = tiles["image"][count:]
        if self.uses_text:
            vectors["words"] = self.model.project_texts(text)
        if self.uses_place:
            # Serving runs the frozen encoder in float32, and so must training: bf16 knows a longitude to half a degree.
            with torch.autocast(anchor.device.type, enabled=False):
                vectors["place"] = self.model.locate(lon_lat)
        vectors["scale"] = torch.as_tensor(self.scale(), device=anchor.device)
        return vectors


def make_views(batch: Batch, model: WildSATModel, augment: AugmentConfig, losses: LossSection, seed: int) -> Views:
    """Two views of a batch on its device.

    Pictures are brought to the network's size first, so that everything after works on no more pixels than are used;
    the reference's views are made at the stored size.
    """
    spec, chance = model.config.preprocessing, Chance(seed, batch.anchor.device)
    by_reference = augment.views == "reference"
    if by_reference and batch.anchor.shape[1] != len(RGB):
        raise InvalidInputError(
            f"the reference's views are made for red, green and blue, and pictures have {batch.anchor.shape[1]} bands; "
            "give --set augment.views=ours",
            "augment.views",
        )

    def prepared(pixels: torch.Tensor) -> torch.Tensor:
        # Deeper pixels come as float32; clamped they would all be white.
        if pixels.dtype != torch.uint8 and spec.takes_eight_bit and (brightest := float(pixels.max())) > 255:
            raise InvalidInputError(
                f"pictures hold values up to {brightest:g} and the model takes eight bits: give "
                "--set model.scale=10000 for reflectance x 10,000, or pictures stretched to 0..255",
                "model.scale",
            )
        values = (pixels.float() / spec.scale).clamp(0, 1)
        return values if by_reference else sized(values)

    def sized(values: torch.Tensor) -> torch.Tensor:
        return values if spec.input_px is None else resize(values, spec.input_px)

    def laid_out(pixels: torch.Tensor) -> torch.Tensor:
        return (pixels * spec.scale).contiguous(memory_format=torch.channels_last)

    with torch.no_grad():
        make_anchor, make_positive = (
            (reference_anchor, reference_positive) if by_reference else (anchor_view, positive_view)
        )
        anchor = laid_out(sized(make_anchor(prepared(batch.anchor), augment, chance)))
        if losses.image == 0:
            return Views(anchor, None)
        return Views(anchor, laid_out(sized(make_positive(prepared(batch.positive), augment, chance))))


def match_losses(vectors: dict[str, torch.Tensor], batch: Batch, losses: LossSection) -> dict[str, Match]:
    """The losses in use, by name."""
    species = batch.species if losses.mask_species else None
    cell = batch.cell if losses.mask_cell else None
    sides = {
        "text": ("text", "words"),
        "location": ("location", "place"),
        "image": ("image", "positive"),
        "place": ("place", "words"),
    }
    return {
        name: symmetric_loss(
            vectors[sides[name][0]], vectors[sides[name][1]], vectors["scale"], species, cell, gather=losses.gather
        )
        for name in LOSSES
        if getattr(losses, name) > 0
    }


def weighted_sum(matches: dict[str, Match], losses: LossSection) -> torch.Tensor:
    """The loss that is made small, a scalar."""
    parts = [getattr(losses, name) * match.loss for name, match in matches.items()]
    return torch.stack(parts).sum()
