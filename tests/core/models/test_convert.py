"""Which row a checkpoint is, what is refused, and odd layouts: nine bands, SatCLIP places, untrained branches."""

import argparse

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.core.models.reference_rows import OPTIONS, build_row, checkpoint
from wildsat_core.errors import CheckpointError
from wildsat_core.models.adapters import fold_adapters
from wildsat_core.models.convert import convert_checkpoint, mean_order_head, row_of
from wildsat_core.models.registry import MODELS, load_model


def options(**changes):
    base = {"satellite_encoder": "resnet50", "satellite_encoder_ckpt": None, "satellite_notpretrained": False}
    return argparse.Namespace(**(base | changes))


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_row_is_worked_out_from_the_options(name):
    encoder, start, random = OPTIONS[name]
    found = row_of(
        options(satellite_encoder=encoder, satellite_encoder_ckpt=start, satellite_notpretrained=random), "file"
    )
    assert found is MODELS[name]


def test_models_outside_the_registry_are_refused_by_name():
    with pytest.raises(CheckpointError, match="is a resnet18-seco, which is not in the registry"):
        row_of(options(satellite_encoder="resnet18", satellite_encoder_ckpt="seco.ckpt"), "file")
    with pytest.raises(CheckpointError, match=r"vitb16-checkpoints/graft"):
        row_of(options(satellite_encoder="vitb16", satellite_encoder_ckpt="checkpoints/graft"), "file")
    with pytest.raises(CheckpointError, match="heads of the kind 'mlp'"):
        row_of(options(satellite_head="mlp"), "file")
    with pytest.raises(CheckpointError, match="name its row with --row"):
        row_of(None, "file")
    with pytest.raises(CheckpointError, match="no row of the registry is called 'resnet5'"):
        row_of(options(), "file", "resnet5")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A ResNet-50 checkpoint to be changed by each test; its weights are shared, so that tests stay fast."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return checkpoint("resnet50-random", build_row("resnet50-random"), parallel=False)


def convert(saved, tmp_path, **keywords):
    torch.save(saved, tmp_path / "published.pth")
    return convert_checkpoint(tmp_path / "published.pth", "converted", tmp_path / "model", **keywords)


def test_a_file_for_another_architecture_is_refused_and_nothing_is_written(resnet, tmp_path):
    saved = resnet | {"opt": options(satellite_encoder="swint")}
    with pytest.raises(
        CheckpointError, match=r"does not fit WildSATModel: missing \d+ \(backbone\.features\.0\.0\.bias"
    ):
        convert(saved, tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_lost_and_a_stray_weight_are_named(resnet, tmp_path):
    weights = dict(resnet["satellite_state_dict"])
    del weights["backbone.layer4.2.bn3.running_var"]
    weights["backbone.extra.weight"] = torch.zeros(1)
    expected = r"missing 1 \(backbone\.layer4\.2\.bn3\.running_var\); unknown 1 \(backbone\.extra\.weight\)"
    with pytest.raises(CheckpointError, match=expected):
        convert(resnet | {"satellite_state_dict": weights}, tmp_path)


def test_a_missing_head_is_named(resnet, tmp_path):
    weights = {k: v for k, v in resnet["satellite_state_dict"].items() if "backbone3" not in k}
    with pytest.raises(CheckpointError, match=r"no weights called decoder\.backbone3\.0\.weight"):
        convert(resnet | {"satellite_state_dict": weights}, tmp_path)
    with pytest.raises(CheckpointError, match="no weights under 'text_emb_model'"):
        convert({k: v for k, v in resnet.items() if k != "text_emb_model"}, tmp_path)


def test_the_row_can_be_named_where_the_file_does_not_say(resnet, tmp_path):
    saved = {k: v for k, v in resnet.items() if k not in ("opt", "sinr_state_dict")}
    model = convert(saved, tmp_path, row="resnet50-random")
    assert model.config.location is None
    assert "resnet50-random" in model.config.description
    assert model.config.side_km == (2.5, 4.9), "the ground that a picture of its training showed"


def test_the_location_branch_equals_its_definition(resnet, tmp_path):
    """SINR's last hidden layer, then the head; both as the checkpoint has them."""
    model = convert(resnet, tmp_path)
    state = resnet["sinr_state_dict"]
    places = torch.tensor([[-98.0, 33.5], [151.2, -33.9]])
    u = places / torch.tensor([180.0, 90.0]) * torch.pi
    x = torch.cat([torch.sin(u), torch.cos(u)], 1)
    x = F.relu(x @ state["sinr.model.feats.0.weight"].T + state["sinr.model.feats.0.bias"])
    for block in range(2, 6):
        at = f"sinr.model.feats.{block}"
        y = F.relu(x @ state[f"{at}.w1.weight"].T + state[f"{at}.w1.bias"])
        x = x + F.relu(y @ state[f"{at}.w2.weight"].T + state[f"{at}.w2.bias"])
    found = model.embed_places(places.numpy())
    assert list(found) == ["location"]
    expected = (x @ state["head.weight"].T).numpy()
    np.testing.assert_allclose(found["location"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert "place" not in model.spaces


def test_a_branch_that_was_never_trained_is_kept_and_said(resnet, tmp_path):
    opt = argparse.Namespace(**(vars(resnet["opt"]) | {"use_sinr": False}))
    assert "kept random weights" in convert(resnet | {"opt": opt}, tmp_path).config.description


def test_a_satclip_location_branch_is_read(resnet, tmp_path):
    state = {"sinr.nnet.layers.0.weight": torch.randn(8, 100), "sinr.nnet.layers.0.bias": torch.randn(8)}
    state |= {"sinr.nnet.last_layer.weight": torch.randn(256, 8), "sinr.nnet.last_layer.bias": torch.randn(256)}
    state["head.weight"] = torch.randn(256, 256)
    model = convert(resnet | {"sinr_state_dict": state}, tmp_path)
    assert model.config.location.kind == "satclip"
    assert model.embed_places([[12.0, 90.0]])["location"].shape == (1, 256)


def test_nine_bands_go_through_the_mixing_layer(resnet, tmp_path):
    mixer = {"first_layer.weight": torch.randn(3, 9, 1, 1), "first_layer.bias": torch.randn(3)}
    saved = resnet | {"satellite_state_dict": resnet["satellite_state_dict"] | mixer}
    convert(saved, tmp_path)
    model = load_model(tmp_path / "model")
    pixels = torch.randint(0, 256, (2, 9, 40, 40), dtype=torch.uint8)
    x = pixels.float() / 255
    x = x - x.amin((1, 2, 3), keepdim=True)
    mixed = torch.einsum("oi,bihw->bohw", mixer["first_layer.weight"][:, :, 0, 0], x)
    mixed = mixed + mixer["first_layer.bias"].view(1, 3, 1, 1)
    head = resnet["satellite_state_dict"]["decoder.backbone1.0.weight"]
    with torch.inference_mode():
        expected = (build_row("resnet50-random").features(mixed) @ head.T).numpy()
    # The weights of the shared checkpoint and of the cached network are the same tensors.
    np.testing.assert_allclose(model.embed_pixels(pixels)["text"], expected, rtol=1e-4, atol=1e-4)


def test_the_mean_over_all_orders_is_exact():
    tokens, head = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 12, dtype=torch.float64)
    from itertools import permutations

    orders = [tokens[list(order)].flatten() @ head.T for order in permutations(range(4))]
    torch.testing.assert_close(tokens.mean(0) @ mean_order_head(head, 3).T, torch.stack(orders).mean(0))
    with pytest.raises(CheckpointError, match="is not made of tokens of 5"):
        mean_order_head(head, 5)


@pytest.mark.parametrize("magnitude", ["lora_magnitude_vector.default.weight", "lora_magnitude_vector.default", None])
def test_adapters_fold_into_the_weight(magnitude):
    w, a, b, m = torch.randn(4, 6), torch.randn(2, 6), torch.randn(4, 2), torch.rand(4)
    at = "base_model.model.layer"
    state = {
        f"{at}.base_layer.weight": w,
        f"{at}.base_layer.bias": torch.ones(4),
        "base_model.model.other": torch.zeros(1),
    }
    state |= {f"{at}.lora_A.default.weight": a, f"{at}.lora_B.default.weight": b}
    expected = w + b @ a
    if magnitude:
        state[f"{at}.{magnitude}"] = m
        expected = m[:, None] * expected / expected.norm(dim=1, keepdim=True)
    folded = fold_adapters(state)
    assert sorted(folded) == ["layer.bias", "layer.weight", "other"]
    torch.testing.assert_close(folded["layer.weight"], expected)


def test_an_incomplete_adapter_is_refused():
    at = "base_model.model.layer"
    with pytest.raises(CheckpointError, match="layer has no complete LoRA adapter"):
        fold_adapters({f"{at}.base_layer.weight": torch.zeros(2, 2), f"{at}.lora_A.default.weight": torch.zeros(1, 2)})
    with pytest.raises(CheckpointError, match=r"can't be folded: layer\.lora_A"):
        fold_adapters({f"{at}.lora_A.default.weight": torch.zeros(1, 2)})
