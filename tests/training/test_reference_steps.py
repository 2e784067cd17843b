"""One step of the reference's recipe in each row: its loss, gradients, batch statistics and change of weights, against
the formulas in float64. All networks but one stand small here, of the same layers under the same names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.conftest import make_batch
from tests.training.formulas import (
    Pass,
    both_ways,
    clip,
    min_max,
    prithvi_tokens,
    resnet,
    swin,
    vit_of_timm,
    vit_of_torchvision,
)
from tests.training.test_configs import MODELS, location_weights, row_changes
from training import assembly
from training.config import read_train_config
from training.data.tables import open_dataset
from training.objective import TrainingModule, make_views, match_losses, weighted_sum
from training.setup import make_optimiser
from training.tuning import apply_tuning
from wildsat_core.torchvision_guard import guard_torchvision

PAIRS = 4
WHOLE = "resnet50-imagenet"
SMALLER = {
    "vitb16-prithvi": ["feature_size=128"],  # four tokens of 32
    "resnet50-satclip": ["architecture_args.layers=[2, 1, 1, 1]", "architecture_args.base_width=8"],
}
SWIN_SIDE = 40  # ten tokens a side, which windows of four don't fill, then five


def small(name: str, weights: None, **arguments: Any) -> nn.Module:
    """What torchvision builds under a name, of a few layers."""
    guard_torchvision()
    from torchvision.models import resnet as r
    from torchvision.models import swin_transformer as s
    from torchvision.models.vision_transformer import VisionTransformer

    patches: dict[str, Any] = {"patch_size": [4, 4], "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
    patches |= {"window_size": [4, 4], "stochastic_depth_prob": 0.5}
    second = {"block": s.SwinTransformerBlockV2, "downsample_layer": s.PatchMergingV2}
    sizes = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64}
    builders: dict[str, Callable[[], nn.Module]] = {
        "resnet50": lambda: r.ResNet(r.Bottleneck, [2, 1, 1, 1], width_per_group=8, **arguments),
        "swin_t": lambda: s.SwinTransformer(**patches, **arguments),
        "swin_v2_t": lambda: s.SwinTransformer(**patches, **second, **arguments),
        "vit_b_16": lambda: VisionTransformer(**sizes, **arguments),
    }
    return builders[name]()


def formula_of(row: str) -> Callable[[torch.Tensor, Pass], torch.Tensor]:
    kinds = {"vitb16-clip": clip, "vitb16-satclip": vit_of_timm}
    families = {"resnet50": resnet, "swint": swin, "vitb16": vit_of_torchvision}
    return kinds.get(row, families[row.split("-", maxsplit=1)[0]])


def laid_out(pictures: torch.Tensor, row: str) -> torch.Tensor:
    """Red, green and blue where the row's network has them among its bands."""
    channels, at = {"satclip": (13, [3, 2, 1]), "prithvi": (6, [2, 1, 0])}.get(row.split("-")[1], (3, [0, 1, 2]))
    bands = pictures.new_zeros(len(pictures), channels, *pictures.shape[2:])
    bands[:, at] = pictures
    return bands


def record_paths(backbone: nn.Module) -> dict[str, list[torch.Tensor]]:
    """Filled, as the network runs, with what each layer that drops paths made of its input."""
    kept: dict[str, list[torch.Tensor]] = {}

    def note(name: str, share: float) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            stays = output.flatten(1).abs().sum(1) > 0
            kept.setdefault(name, []).append(stays.double() / (1 - share))

        return hook

    for name, layer in backbone.named_modules():
        if type(layer).__name__ == "StochasticDepth":
            layer.register_forward_hook(note(name, float(layer.p)))
    return kept


def in_their_order(tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """(B, N, D) tokens as the network laid them out, each picture's in an order of its own; `seen` is (B, N D)."""
    laid = seen.detach().unflatten(1, tokens.shape[1:])
    orders = torch.cdist(laid, tokens.detach()).argmin(2)
    assert all(sorted(order.tolist()) == list(range(tokens.shape[1])) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) > 1
    return tokens.gather(1, orders[:, :, None].expand_as(tokens))


def may_train(name: str, row: str, recipe_mode: str) -> bool:
    """What the reference trains, by the parts of names that it looks for; `name` is of the whole model."""
    if name.startswith(("text_head.", "location.head.")):
        return True
    if name.startswith("location."):
        return False
    if recipe_mode == "classifier":
        return name.startswith(("tile_heads.", "backbone.fc.", "backbone.head."))
    if recipe_mode == "bnft":
        parts = ("bn", "norm", "ln", "fc", "head", "proj")
        return name.startswith("backbone.") and any(part in name.removeprefix("backbone.") for part in parts)
    return recipe_mode == "full" or name.startswith("tile_heads.") or ".lora_" in name


@pytest.mark.parametrize("row", sorted(MODELS))
def test_a_step_has_the_references_loss_gradients_and_batch_statistics(
    row: str, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    guard_torchvision()
    if row != WHOLE:
        monkeypatch.setattr("torchvision.models.get_model", small)
    side = SWIN_SIDE if row.startswith("swint") else 32
    changes = [*row_changes(row, painted, tmp_path / "run", location_weights(tmp_path)), "recipe=reference"]
    changes += [f"model.{change}" for change in SMALLER.get(row, [])]
    changes += [] if row.startswith("vitb16") else ["model.input_px=null"]
    config = read_train_config(row, changes)
    model = assembly.build_model(config, open_dataset(painted))
    apply_tuning(model, config.tuning)
    for parameter in model.parameters():
        if not parameter.any():  # what the libraries begin with at zero would let no gradient through
            nn.init.normal_(parameter, std=0.02)
    module = TrainingModule(model, config.losses, settle_frozen=config.tuning.settle_frozen)
    module.train()
    model.backbone.double()  # many norms in a row make rounding large: nothing of it here
    taken: list[torch.Tensor] = []
    given: list[torch.Tensor] = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0].double()) or (taken[-1],))
    model.backbone.register_forward_hook(lambda _, inputs, output: given.append(output) or output.float())
    kept = record_paths(model.backbone)
    batch = make_batch(PAIRS, side)
    views = make_views(batch, model, config.augment, config.losses, seed=5)
    assert views.positive is not None
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    loss = weighted_sum(
        match_losses(module(views.anchor, views.positive, batch.text, batch.lon_lat), batch, config.losses),
        config.losses,
    )
    loss.backward()

    p = {name: value.double().requires_grad_() for name, value in before.items() if value.is_floating_point()}
    seen = torch.cat([min_max(view.double() / 255) for view in (views.anchor, views.positive)])
    torch.testing.assert_close(taken[0], laid_out(seen, row), rtol=0, atol=1e-6)
    inner = {name.removeprefix("backbone."): value for name, value in p.items() if name.startswith("backbone.")}
    run = Pass(inner, kept=kept)
    if row == "vitb16-prithvi":
        features = in_their_order(prithvi_tokens(taken[0], run), given[0]).flatten(1)
    else:
        features = formula_of(row)(taken[0], run)
    heads = {space: p[f"tile_heads.{space}.weight"].T for space in ("text", "location", "image")}
    assert model.location is not None
    with torch.no_grad():
        place = model.location.encoder.eval()(batch.lon_lat).double()
    own, other = features[:PAIRS], features[PAIRS:]
    expected = (
        2 * both_ways(own @ heads["text"], batch.text.double() @ p["text_head.weight"].T)
        + 1 * both_ways(own @ heads["location"], place @ p["location.head.weight"].T)
        + 4 * both_ways(own @ heads["image"], other @ heads["image"])
    )
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)

    trained = {name: q for name, q in model.named_parameters() if q.requires_grad}
    assert set(trained) == {name for name, _ in model.named_parameters() if may_train(name, row, config.tuning.mode)}
    for name, parameter in trained.items():
        wanted = p[name].grad
        assert parameter.grad is not None
        assert wanted is not None
        assert float(wanted.norm()) > 0, name
        assert float((parameter.grad - wanted).norm()) <= 1e-4 * float(wanted.norm()), name
    after = model.state_dict()
    norms = {name for name in before if name.startswith("backbone.") and "running_" in name}
    assert norms == {f"backbone.{name}" for name in run.stats}, "frozen norms follow the batch, too"
    for name, value in run.stats.items():
        torch.testing.assert_close(after[f"backbone.{name}"].double(), value.detach(), rtol=1e-6, atol=1e-8)
    if row.startswith("swint"):
        assert any((factors == 0).any() for calls in kept.values() for factors in calls), (
            "paths are dropped as in training"
        )

    make_optimiser(module, config.optimiser, torch.device("cpu")).step()
    for name, parameter in model.named_parameters():  # Adam's first step: the rate, by the sign of the gradient
        gradient = parameter.grad
        step = torch.zeros_like(parameter) if gradient is None else -1e-4 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach() - before[name], step, rtol=0, atol=2e-7)
