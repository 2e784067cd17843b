"""Seeded random checkpoints in the reference's own key layout, and what they must give, computed without our code.

Each row's network is the library's own module (torchvision, timm, transformers with peft), wrapped as the reference
wraps it, at its real size. Nothing of wildsat_core is used here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import timm
import torch
import torchvision
from peft import LoraConfig, get_peft_model
from timm.models.vision_transformer import Block
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Features = Callable[[torch.Tensor], torch.Tensor]

# encoder, path of the start, whether random, module prefix
OPTIONS = {
    "vitb16-imagenet": ("vitb16", None, False),
    "vitb16-clip": ("vitb16", "clip", False),
    "vitb16-prithvi": ("vitb16", "checkpoints/prithvi/Prithvi_100M.pt", False),
    "vitb16-satclip": ("vitb16", "checkpoints/satclip/satclip-vit16-l10.ckpt", False),
    "vitb16-random": ("vitb16", None, True),
    "swint-imagenet": ("swint", None, False),
    "swint-satlas": ("swint", "satlas-backbone", False),
    "swint-random": ("swint", None, True),
    "resnet50-imagenet": ("resnet50", None, False),
    "resnet50-moco": ("resnet50", "checkpoints/moco/r-50-100ep.pth.tar", False),
    "resnet50-satclip": ("resnet50", "checkpoints/satclip/satclip-resnet50-l10.ckpt", False),
    "resnet50-satlas": ("resnet50", "satlas-backbone", False),
    "resnet50-seco": ("resnet50", "checkpoints/seco/seco_resnet50_100k.ckpt", False),
    "resnet50-random": ("resnet50", None, True),
}


@dataclass
class Row:
    """A network as the reference holds it: its state under `backbone.`, and placed pixels to features."""

    state: dict[str, torch.Tensor]
    features: Features
    size: int
    tokens: int = 1


def build_row(name: str) -> Row:
    encoder, start, _ = OPTIONS[name]
    if start and "satclip" in start:
        backbone = "resnet50" if encoder == "resnet50" else "vit_small_patch16_224"
        return _plain(timm.create_model(backbone, in_chans=13, num_classes=256), 256)
    if start and "seco" in start:
        children = list(torchvision.models.resnet50(weights=None).children())[:-1]
        return _plain(nn.Sequential(*children, nn.Flatten()), 2048)
    if start and "satlas" in start:
        inner = torchvision.models.resnet50() if encoder == "resnet50" else torchvision.models.swin_v2_t()
        return _plain(inner, 1000, prefix="backbone.backbone.")
    if start == "clip":
        return _clip()
    if start and "prithvi" in start:
        return _prithvi()
    return _torchvision(encoder)


@cache  # several rows differ in nothing but their options
def _torchvision(encoder: str) -> Row:
    builders = {"vitb16": torchvision.models.vit_b_16, "swint": torchvision.models.swin_t}
    return _plain(builders.get(encoder, torchvision.models.resnet50)(weights=None), 1000)


def checkpoint(name: str, row: Row, parallel: bool) -> dict[str, object]:
    """The whole file, as training saves it."""
    encoder, start, random = OPTIONS[name]
    satellite = dict(row.state)
    shared = torch.randn(256, row.size * row.tokens) / row.size**0.5
    for i in (1, 2, 3):  # Prithvi's are 154 MB each: its three are one
        head = shared if row.tokens > 1 else torch.randn(256, row.size) / row.size**0.5
        satellite[f"decoder.backbone{i}.0.weight"] = head
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([parameter])
    prefix = "module." if parallel else ""
    return {
        "epoch": 50,
        "satellite_state_dict": {prefix + key: value for key, value in satellite.items()},
        "sinr_state_dict": {prefix + key: value for key, value in sinr_state().items()},
        "text_emb_model": {prefix + "head.weight": torch.randn(256, 4096) / 64},
        "optimizer": optimizer.state_dict(),
        "opt": argparse.Namespace(
            satellite_encoder=encoder,
            satellite_encoder_ckpt=start,
            satellite_notpretrained=random,
            satellite_head="threelinearnobias",
            common_embed_dim=256,
            patch_size=512,
            use_sinr=True,
            use_satclip=False,
            use_multispectral=False,
        ),
        "loss": 0.5,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5) if parallel else None,
        "train_losses": [1.0, 0.5],
    }


def sinr_state() -> dict[str, torch.Tensor]:
    """A position-only SINR of four residual blocks and a few species, with its head."""
    state = {"feats.0.weight": torch.randn(256, 4), "feats.0.bias": torch.randn(256)}
    for block in range(2, 6):
        for layer in ("w1", "w2"):
            state[f"feats.{block}.{layer}.weight"] = torch.randn(256, 256) / 16
            state[f"feats.{block}.{layer}.bias"] = torch.randn(256) / 16
    state["class_emb.weight"] = torch.randn(7, 256)
    return {f"sinr.model.{key}": value for key, value in state.items()} | {"head.weight": torch.randn(256, 256) / 16}


def _plain(module: nn.Module, size: int, prefix: str = "backbone.") -> Row:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):  # so that a lost batch statistic would show
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    module.eval()
    return Row({prefix + key: value for key, value in module.state_dict().items()}, module, size)


def _clip() -> Row:
    config = CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224,
        patch_size=16, projection_dim=512,
    )  # fmt: skip
    targets = ("k_proj", "v_proj", "q_proj", "out_proj", "visual_projection")
    vision = CLIPVisionModelWithProjection(config)
    names = [name for name, _ in vision.named_modules() if name.endswith(targets)]
    adapted = get_peft_model(vision, LoraConfig(target_modules=names, modules_to_save=["head"], use_dora=True)).eval()
    for name, value in adapted.named_parameters():
        if "lora_" in name:  # peft starts B at zero, which would hide a mistake
            value.data += torch.randn_like(value) * 0.05
    state = {f"backbone.{key}": value for key, value in adapted.state_dict().items()}
    return Row(state, lambda x: adapted(pixel_values=x).image_embeds, 512)


def _prithvi() -> Row:
    """The masked autoencoder's encoder; features are the 196 patch tokens in order, flattened."""
    patch = nn.Conv3d(6, 768, (1, 16, 16), (1, 16, 16))
    cls, positions = torch.randn(1, 1, 768) * 0.02, torch.randn(1, 197, 768) * 0.5
    blocks = nn.ModuleList(Block(768, 12, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(12)).eval()
    norm = nn.LayerNorm(768)

    def features(x: torch.Tensor) -> torch.Tensor:
        tokens = patch(x[:, :, None]).flatten(2).mT + positions[:, 1:]
        tokens = torch.cat([(cls + positions[:, :1]).expand(len(x), 1, 768), tokens], 1)
        return norm(nn.Sequential(*blocks)(tokens))[:, 1:].flatten(1)

    state = {"cls_token": cls, "pos_embed": positions, "mask_token": torch.zeros(1, 1, 512)}
    state["decoder_pos_embed"] = torch.zeros(1, 197, 512)
    state |= {f"patch_embed.proj.{key}": value for key, value in patch.state_dict().items()}
    state |= {f"blocks.{key}": value for key, value in blocks.state_dict().items()}
    state |= {f"norm.{key}": value for key, value in norm.state_dict().items()}
    return Row({f"backbone.{key}": value for key, value in state.items()}, features, 768, tokens=196)
