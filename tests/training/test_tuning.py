"""Each mode trains exactly the parameters that it should, and folded adapters give the same vectors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from training.tuning import TuningConfig, apply_tuning, settle_modes, without_adapters
from wildsat_core.errors import InvalidInputError
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing

TINY_CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "projection_dim": 8,
}


def tiny_model(architecture: str, feature_size: int, **arguments: Any) -> WildSATModel:
    head = HeadConfig(in_features=feature_size, out_features=4)
    torch.manual_seed(0)
    return WildSATModel(
        ModelConfig(
            name="tiny",
            architecture=architecture,
            architecture_args=arguments,
            feature_size=feature_size,
            preprocessing=Preprocessing(input_px=32),
            tile_heads={"text": head, "image": head},
            text_head=HeadConfig(in_features=6, out_features=4),
            location=LocationConfig(
                kind="position",
                parameters={"dim": 5, "waves": 4, "width": 8, "depth": 1},
                head=HeadConfig(in_features=5, out_features=4),
                out_features=4,
            ),
        )
    )


def clip_model() -> WildSATModel:
    return tiny_model("clip:vit", 8, **TINY_CLIP)


def trained(model: WildSATModel) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


HEADS = {"tile_heads.text.weight", "tile_heads.image.weight", "text_head.weight", "location.head.weight"}


def test_full_trains_all_but_the_location_encoder() -> None:
    model = tiny_model("timm:resnet10t", 512)
    apply_tuning(model, TuningConfig())
    assert trained(model) == {n for n, _ in model.named_parameters() if not n.startswith("location.encoder.")}


def test_frozen_trains_heads_alone_and_keeps_statistics() -> None:
    model = tiny_model("timm:resnet10t", 512)
    apply_tuning(model, TuningConfig(mode="frozen"))
    assert trained(model) == HEADS
    before = model.backbone.state_dict()["bn1.running_mean"].clone()
    settle_modes(model.train())
    model(torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8))
    torch.testing.assert_close(model.backbone.state_dict()["bn1.running_mean"], before)


def test_bnft_trains_every_norm_the_classifier_and_heads() -> None:
    model = tiny_model("torchvision:resnet18", 1000)
    apply_tuning(model, TuningConfig(mode="bnft"))
    blocks = [f"layer{i}.{j}.bn{k}" for i in (1, 2, 3, 4) for j in (0, 1) for k in (1, 2)]
    norms = ["bn1", *blocks, *(f"layer{i}.0.downsample.1" for i in (2, 3, 4))]
    expected = {f"backbone.{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    assert trained(model) == expected | {"backbone.fc.weight", "backbone.fc.bias"} | HEADS


def test_bnft_by_the_reference_misses_downsampling_norms_and_tile_heads() -> None:
    ours, reference = (tiny_model("torchvision:resnet18", 1000) for _ in range(2))
    apply_tuning(ours, TuningConfig(mode="bnft"))
    apply_tuning(reference, TuningConfig(mode="bnft", reference=True))
    missed = {f"backbone.layer{i}.0.downsample.1.{part}" for i in (2, 3, 4) for part in ("weight", "bias")}
    assert trained(ours) - trained(reference) == missed | {"tile_heads.text.weight", "tile_heads.image.weight"}


def test_bnft_by_the_reference_takes_projections_of_a_transformer_by_name() -> None:
    model = tiny_model("torchvision:vit_b_16", 1000, image_size=32)
    apply_tuning(model, TuningConfig(mode="bnft", reference=True))
    names = {n for n in trained(model) if n.startswith("backbone.")}
    assert {"backbone.conv_proj.weight", "backbone.heads.head.bias"} <= names
    assert all(any(part in n for part in ("ln", "proj", "head")) for n in names)
    ours = tiny_model("torchvision:vit_b_16", 1000, image_size=32)
    apply_tuning(ours, TuningConfig(mode="bnft"))
    assert not any("proj" in n for n in trained(ours))


@pytest.mark.parametrize(
    ("mode", "parts"), [("lora", ("lora_A", "lora_B")), ("dora", ("lora_A", "lora_B", "magnitude"))]
)
def test_adapters_sit_on_the_five_projections_of_clip(mode: Any, parts: tuple[str, ...]) -> None:
    model = clip_model()
    targets = {
        n
        for n, m in model.backbone.named_modules()
        if n.rpartition(".")[2] in ("k_proj", "v_proj", "q_proj", "out_proj", "visual_projection")
    }
    apply_tuning(model, TuningConfig(mode=mode))
    backbone = {n.removeprefix("backbone.") for n in trained(model) if n.startswith("backbone.")}
    assert {n.split(".lora_")[0] for n in backbone} == targets
    assert len(targets) == 2 * 4 + 1
    assert len(backbone) == len(parts) * len(targets)
    assert all(any(part in n for part in parts) for n in backbone)
    assert trained(model) - {f"backbone.{n}" for n in backbone} == HEADS


@pytest.mark.parametrize("mode", ["lora", "dora"])
def test_folded_adapters_give_the_same_vectors_and_ordinary_names(mode: Any) -> None:
    model = clip_model()
    names = set(model.state_dict())
    apply_tuning(model, TuningConfig(mode=mode))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(1))
    pixels = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    plain = without_adapters(model)
    assert set(plain.state_dict()) == names
    before, after = model.embed_pixels(pixels), plain.embed_pixels(pixels)
    torch.testing.assert_close(torch.from_numpy(after["text"]), torch.from_numpy(before["text"]), rtol=1e-4, atol=1e-5)
    assert any("lora" in n for n in model.state_dict()), "the original keeps its adapters and trains on"


def test_adapters_without_targets_take_all_linear_layers_of_a_timm_transformer() -> None:
    model = tiny_model("timm:vit_tiny_patch16_224", 192, img_size=32)
    apply_tuning(model, TuningConfig(mode="lora", rank=2))
    adapted = {n.split(".lora_")[0] for n in trained(model) if ".lora_" in n}
    assert len(adapted) == 12 * 4


def test_unfit_settings_are_refused() -> None:
    model = tiny_model("timm:resnet10t", 512)
    with pytest.raises(InvalidInputError, match="goes with mode bnft"):
        apply_tuning(model, TuningConfig(reference=True))
    with pytest.raises(InvalidInputError, match=r"no linear layer .* is named q_proj; name others"):
        apply_tuning(model, TuningConfig(mode="lora", targets=("q_proj",)))
    with pytest.raises(
        InvalidInputError, match=r"no linear layer .* is one that an adapter can follow; .*tuning\.mode"
    ):
        apply_tuning(model, TuningConfig(mode="lora"))


@pytest.mark.parametrize(
    ("architecture", "feature_size", "targets"),
    [("torchvision:swin_t", 1000, ()), ("torchvision:vit_b_16", 1000, ()), ("timm:test_vit", 64, ())],
)
def test_every_adapter_gets_a_gradient(architecture: str, feature_size: int, targets: tuple[str, ...]) -> None:
    arguments = {"image_size": 32} if architecture.endswith("vit_b_16") else {}
    arguments |= {"img_size": 32} if architecture.startswith("timm:") else {}
    model = tiny_model(architecture, feature_size, **arguments)
    for parameter in model.parameters():  # torchvision's transformer begins with a classifier of zeros
        if not parameter.any():
            torch.nn.init.normal_(parameter.data)
    apply_tuning(model, TuningConfig(mode="lora", rank=2, targets=targets))
    model(torch.rand(2, 3, 32, 32) * 255)["text"].sum().backward()
    adapters = {name: p for name, p in model.named_parameters() if "lora_B" in name}
    assert len(adapters) >= 8
    assert [name for name, p in adapters.items() if p.grad is None or not p.grad.any()] == []


def test_layers_that_no_adapter_can_follow_are_refused_by_name_too() -> None:
    model = tiny_model("torchvision:vit_b_16", 1000, image_size=32)
    with pytest.raises(InvalidInputError, match=r"no linear layer .* is named out_proj"):
        apply_tuning(model, TuningConfig(mode="lora", targets=("out_proj",)))
