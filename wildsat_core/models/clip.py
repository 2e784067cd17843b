"""CLIP's vision tower with its projection, by default ViT-B/16: pictures (B, 3, 224, 224) to features (B, 512)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from wildsat_core.torchvision_guard import guard_torchvision

# openai/clip-vit-base-patch16, https://huggingface.co/openai/clip-vit-base-patch16
VIT_B_16 = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "projection_dim": 512,
    "hidden_act": "quick_gelu",
}


class CLIPBackbone(nn.Module):
    """The transformers module, answering with its projected image embedding, not normalised."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - fields of CLIPVisionConfig
        """Build with random weights; arguments replace those of ViT-B/16."""
        super().__init__()
        guard_torchvision()
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**(VIT_B_16 | arguments)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, 224, 224) in [0, 1] to (B, 512)."""
        embeds: torch.Tensor = self.vision(pixel_values=pixels).image_embeds
        return embeds
