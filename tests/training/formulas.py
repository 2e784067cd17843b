"""The networks of the table's rows as their papers define them, over weights by name: what a training step is held to.

Nothing here is shared with the libraries that the product builds its networks from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

Activation = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Pass:
    """One pass of a network in training.

    Attributes:
        p: weights by name.
        stats: filled with the running statistics that batch norms have afterwards.
        kept: what the network drew of its paths, by name of the layer: for each call (B,) factors.
    """

    p: dict[str, torch.Tensor]
    stats: dict[str, torch.Tensor] = field(default_factory=dict)
    kept: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """x W' + b; where there is an adapter, with DoRA's weights (Liu et al., arXiv:2402.09353, equations 5 and 11).

        They are m (W + s B A) / |W + s B A|, by rows, of which the length counts as a constant; s is 1 for a rank of 8
        and an alpha of 8.
        """
        if f"{name}.base_layer.weight" not in self.p:
            y = x @ self.p[f"{name}.weight"].T
            return y + self.p[f"{name}.bias"] if f"{name}.bias" in self.p else y
        low, high = (self.p[f"{name}.lora_{part}.default.weight"] for part in "AB")
        weight = self.p[f"{name}.base_layer.weight"] + high @ low
        length = weight.norm(dim=1, keepdim=True).detach()
        y = x @ (self.p[f"{name}.lora_magnitude_vector.default.weight"][:, None] / length * weight).T
        bias = self.p.get(f"{name}.base_layer.bias")
        return y if bias is None else y + bias

    def layer_norm(self, x: torch.Tensor, name: str, eps: float) -> torch.Tensor:
        """Ba et al. (arXiv:1607.06450)."""
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / ((centred**2).mean(-1, keepdim=True) + eps).sqrt()
        return scaled * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def batch_norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Ioffe and Szegedy (arXiv:1502.03167), by the batch's own mean and variance; running ones move by a tenth."""
        mean, var = x.mean((0, 2, 3)), ((x - x.mean((0, 2, 3), keepdim=True)) ** 2).mean((0, 2, 3))
        count = x.numel() / x.shape[1]
        self.stats[f"{name}.running_mean"] = 0.1 * mean
        self.stats[f"{name}.running_var"] = 0.9 + 0.1 * var * count / (count - 1)
        scaled = (x - mean.view(1, -1, 1, 1)) / (var.view(1, -1, 1, 1) + 1e-5).sqrt()
        return scaled * self.p[f"{name}.weight"].view(1, -1, 1, 1) + self.p[f"{name}.bias"].view(1, -1, 1, 1)

    def conv(self, x: torch.Tensor, name: str, **how: int) -> torch.Tensor:
        return F.conv2d(x, self.p[f"{name}.weight"], self.p.get(f"{name}.bias"), **how)

    def count(self, start: str) -> int:
        """How many numbered layers there are under a name."""
        return len({name[len(start) :].split(".")[0] for name in self.p if name.startswith(start)})


def gelu(x: torch.Tensor) -> torch.Tensor:
    """x times the normal distribution's share below it (Hendrycks and Gimpel, arXiv:1606.08415)."""
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """CLIP's."""
    return x * torch.sigmoid(1.702 * x)


def resnet(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """He et al. (arXiv:1512.03385), strides in the 3 x 3 convolutions; every norm as in training."""
    x = run.batch_norm(run.conv(x, "conv1", stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in range(1, 5):
        for block in range(run.count(f"layer{layer}.")):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = run.batch_norm(run.conv(x, f"{at}.conv1"), f"{at}.bn1").relu()
            y = run.batch_norm(run.conv(y, f"{at}.conv2", stride=stride, padding=1), f"{at}.bn2").relu()
            y = run.batch_norm(run.conv(y, f"{at}.conv3"), f"{at}.bn3")
            if block == 0:
                x = run.batch_norm(run.conv(x, f"{at}.downsample.0", stride=stride), f"{at}.downsample.1")
            x = (x + y).relu()
    pooled = x.mean((2, 3))
    return run.linear(pooled, "fc") if "fc.weight" in run.p else pooled


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)  # (B, N, D) -> (B, heads, N, d)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    """Vaswani et al. (arXiv:1706.03762), equation 1, in each head; all (B, N, D)."""
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    shares = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
    return (shares @ v).transpose(1, 2).flatten(2)


def vit_of_torchvision(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """Dosovitskiy et al. (arXiv:2010.11929): the class token's score, of two heads."""
    patches = run.conv(x, "conv_proj", stride=16).flatten(2).transpose(1, 2)
    x = torch.cat([run.p["class_token"].expand(len(x), -1, -1), patches], 1) + run.p["encoder.pos_embedding"]
    for i in range(run.count("encoder.layers.encoder_layer_")):
        at = f"encoder.layers.encoder_layer_{i}"
        y, attention = run.layer_norm(x, f"{at}.ln_1", 1e-6), f"{at}.self_attention"
        qkv = y @ run.p[f"{attention}.in_proj_weight"].T + run.p[f"{attention}.in_proj_bias"]
        x = x + run.linear(attend(*qkv.chunk(3, -1), heads=2), f"{attention}.out_proj")
        y = run.layer_norm(x, f"{at}.ln_2", 1e-6)
        x = x + run.linear(gelu(run.linear(y, f"{at}.mlp.0")), f"{at}.mlp.3")
    return run.linear(run.layer_norm(x, "encoder.ln", 1e-6)[:, 0], "heads.head")


def fused_blocks(x: torch.Tensor, run: Pass, heads: int, eps: float) -> torch.Tensor:
    """The same layers under timm's and Prithvi's names."""
    for i in range(run.count("blocks.")):
        at = f"blocks.{i}"
        y = run.layer_norm(x, f"{at}.norm1", eps)
        x = x + run.linear(attend(*run.linear(y, f"{at}.attn.qkv").chunk(3, -1), heads=heads), f"{at}.attn.proj")
        y = run.layer_norm(x, f"{at}.norm2", eps)
        x = x + run.linear(gelu(run.linear(y, f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return run.layer_norm(x, "norm", eps)


def vit_of_timm(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """timm's ViT-S/16 of six heads."""
    patches = run.conv(x, "patch_embed.proj", stride=16).flatten(2).transpose(1, 2)
    x = torch.cat([run.p["cls_token"].expand(len(x), -1, -1), patches], 1) + run.p["pos_embed"]
    return run.linear(fused_blocks(x, run, 6, 1e-6)[:, 0], "head")


def prithvi_tokens(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """Prithvi's encoder of two heads: its patch tokens (B, N, D) in their own order."""
    weight, bias = run.p["patch_embed.proj.weight"][:, :, 0], run.p["patch_embed.proj.bias"]
    tokens = F.conv2d(x, weight, bias, stride=16).flatten(2).transpose(1, 2) + run.p["pos_embed"][:, 1:]
    first = (run.p["cls_token"] + run.p["pos_embed"][:, :1]).expand(len(x), -1, -1)
    return fused_blocks(torch.cat([first, tokens], 1), run, 2, 1e-5)[:, 1:]


def clip(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """Radford et al. (arXiv:2103.00020): the vision tower of two heads, projected."""
    top = "vision.vision_model"
    patches = run.conv(x, f"{top}.embeddings.patch_embedding", stride=16).flatten(2).transpose(1, 2)
    first = run.p[f"{top}.embeddings.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([first, patches], 1) + run.p[f"{top}.embeddings.position_embedding.weight"]
    x = run.layer_norm(x, f"{top}.pre_layrnorm", 1e-5)
    for i in range(run.count(f"{top}.encoder.layers.")):
        at = f"{top}.encoder.layers.{i}"
        y = run.layer_norm(x, f"{at}.layer_norm1", 1e-5)
        q, k, v = (run.linear(y, f"{at}.self_attn.{part}_proj") for part in "qkv")
        x = x + run.linear(attend(q, k, v, 2), f"{at}.self_attn.out_proj")
        y = run.layer_norm(x, f"{at}.layer_norm2", 1e-5)
        x = x + run.linear(quick_gelu(run.linear(y, f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return run.linear(run.layer_norm(x[:, 0], f"{top}.post_layernorm", 1e-5), "vision.visual_projection")


def swin(x: torch.Tensor, run: Pass) -> torch.Tensor:
    """Liu et al. (arXiv:2103.14030) with norms before the layers, or the second version (arXiv:2111.09883), after them.

    Paths are dropped as the network drew it (Huang et al., arXiv:1603.09382).
    """
    second = any(name.endswith("logit_scale") for name in run.p)
    x = run.layer_norm(run.conv(x, "features.0.0", stride=4).permute(0, 2, 3, 1), "features.0.2", 1e-5)
    for stage in range(1, run.count("features."), 2):
        for block in range(run.count(f"features.{stage}.")):
            at = f"features.{stage}.{block}"
            kept = iter(run.kept[f"{at}.stochastic_depth"])
            layers = (
                ("norm1", lambda y, at=at, block=block: windowed(y, run, f"{at}.attn", shifted=block % 2 == 1)),
                ("norm2", lambda y, at=at: run.linear(gelu(run.linear(y, f"{at}.mlp.0")), f"{at}.mlp.3")),
            )
            for norm, layer in layers:
                if second:
                    y = run.layer_norm(layer(x), f"{at}.{norm}", 1e-5)
                else:
                    y = layer(run.layer_norm(x, f"{at}.{norm}", 1e-5))
                x = x + next(kept).view(-1, 1, 1, 1) * y
        if f"features.{stage + 1}.norm.weight" in run.p:
            x = merged(x, run, f"features.{stage + 1}", second=second)
    return run.linear(run.layer_norm(x, "norm", 1e-5).mean((1, 2)), "head")


def merged(x: torch.Tensor, run: Pass, at: str, *, second: bool) -> torch.Tensor:
    """Four neighbouring tokens to one of twice the width."""
    x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    x = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], -1)
    if second:
        return run.layer_norm(x @ run.p[f"{at}.reduction.weight"].T, f"{at}.norm", 1e-5)
    return run.layer_norm(x, f"{at}.norm", 1e-5) @ run.p[f"{at}.reduction.weight"].T


def windowed(x: torch.Tensor, run: Pass, at: str, *, shifted: bool, window: int = 4) -> torch.Tensor:
    """Attention among the tokens of a window: here of all to all, where those of other windows get no share.

    A shifted window reaches round the edge of the grid; what comes from the other side is not attended to.
    """
    high, wide = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -wide % window, 0, -high % window))
    grid = x.shape[1:3]
    shift = window // 2 if shifted and min(grid) > window else 0
    rows = torch.stack(torch.meshgrid(*map(torch.arange, grid), indexing="ij"), -1).flatten(0, 1)  # (N, 2)
    sides = torch.tensor(grid)
    moved = (rows - shift) % sides
    wrapped = (moved >= sides - shift) & (shift > 0)
    place = torch.cat([moved // window, wrapped], 1)
    together = (place[:, None] == place[None]).all(-1)  # (N, N)
    apart = (moved % window)[:, None] - (moved % window)[None]  # (N, N, 2), from the one that attends

    tokens = x.flatten(1, 2)
    bias = run.p[f"{at}.qkv.bias"]
    scale = run.p.get(f"{at}.logit_scale")
    if scale is not None:
        width = len(bias) // 3
        bias = torch.cat([bias[:width], torch.zeros_like(bias[:width]), bias[2 * width :]])
    heads = run.p[f"{at}.relative_position_bias_table"].shape[1] if scale is None else len(scale)
    q, k, v = (split_heads(part, heads) for part in (tokens @ run.p[f"{at}.qkv.weight"].T + bias).chunk(3, -1))
    if scale is None:
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        table = run.p[f"{at}.relative_position_bias_table"].unflatten(0, (2 * window - 1, -1))
        by_place = table[apart[..., 0] + window - 1, apart[..., 1] + window - 1]  # (N, N, heads)
    else:
        q, k = (part / part.norm(dim=-1, keepdim=True).clamp(min=1e-12) for part in (q, k))  # what fills up has none
        logits = q @ k.transpose(-1, -2) * scale.clamp(max=math.log(100)).exp()
        steps = 8 * apart.double() / (window - 1)
        hidden = run.linear(steps.sign() * (steps.abs() + 1).log2() / 3, f"{at}.cpb_mlp.0").relu()
        by_place = 16 * torch.sigmoid(run.linear(hidden, f"{at}.cpb_mlp.2"))
    shares = (logits + by_place.permute(2, 0, 1)).masked_fill(~together, -math.inf).softmax(-1)
    y = run.linear((shares @ v).transpose(1, 2).flatten(2), f"{at}.proj")
    return y.unflatten(1, grid)[:, :high, :wide]


def both_ways(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Mean of the cross-entropies of rows and of columns, by logits of ln 10 times the inner products."""
    logits = math.log(10) * left @ right.T
    own = logits.diagonal()
    return ((logits.logsumexp(1) - own).mean() + (logits.logsumexp(0) - own).mean()) / 2


def min_max(x: torch.Tensor) -> torch.Tensor:
    """Each picture from its own least value on, and where it spans more than 1, within 1."""
    x = x - x.amin((1, 2, 3), keepdim=True)
    return x / x.amax((1, 2, 3), keepdim=True).clamp(min=1)
