"""Folds LoRA and DoRA adapters into the weights that they adapt, so that the network is an ordinary one again.

LoRA adds a product of two thin matrices to a weight (arXiv:2106.09685); DoRA then rescales each row of the sum to a
learnt length (arXiv:2402.09353). Key names are those of the peft library.
"""

from __future__ import annotations

import torch

from wildsat_core.errors import CheckpointError
from wildsat_core.models.checkpoint import without_prefix

WRAPPER = "base_model.model."
# peft has written a magnitude both as a bare parameter and as the weight of a small module.
_MAGNITUDES = ("lora_magnitude_vector.default.weight", "lora_magnitude_vector.default", "lora_magnitude_vector")


def fold_adapters(state: dict[str, torch.Tensor], scaling: float = 1.0) -> dict[str, torch.Tensor]:
    """Fold every adapter of a peft state dict.

    Args:
        state: keys begin with `base_model.model.`.
        scaling: alpha over rank; 1 for peft's defaults (8 and 8), which WildSAT used.

    Returns:
        The weights under the names of the network without adapters.

    Raises:
        CheckpointError: an adapter without its weight, of a kind that isn't a linear layer's, or keys left over.
    """
    inner = without_prefix(state, WRAPPER)
    left = {name for name in inner if ".lora_" in name}
    folded: dict[str, torch.Tensor] = {}
    for name, value in inner.items():
        if ".modules_to_save.default." in name:
            folded[name.replace(".modules_to_save.default.", ".")] = value
        elif ".original_module." in name or ".lora_" in name:
            continue
        elif name.endswith(".base_layer.weight"):
            layer = name.removesuffix(".base_layer.weight")
            folded[f"{layer}.weight"] = _folded(inner, layer, value, scaling, left)
        else:
            folded[name.replace(".base_layer.", ".")] = value
    if left:
        raise CheckpointError(f"adapters that can't be folded: {', '.join(sorted(left)[:5])}")
    return folded


def _folded(
    state: dict[str, torch.Tensor], layer: str, weight: torch.Tensor, scaling: float, left: set[str]
) -> torch.Tensor:
    """One layer's weight with its adapter; the adapter's keys are taken off `left`."""
    names = [f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight"]
    if not all(name in state for name in names) or weight.ndim != 2:
        raise CheckpointError(f"{layer} has no complete LoRA adapter of a linear layer")
    a, b = (state[name].float() for name in names)
    total = weight.float() + scaling * (b @ a)  # (out, rank) @ (rank, in) -> (out, in)
    magnitude_name = next((n for n in (f"{layer}.{m}" for m in _MAGNITUDES) if n in state), None)
    if magnitude_name is not None:
        names.append(magnitude_name)
        magnitude = state[magnitude_name].float().reshape(-1, 1)
        total = total * (magnitude / torch.linalg.vector_norm(total, dim=1, keepdim=True))
    left.difference_update(names)
    return total.to(weight.dtype)
