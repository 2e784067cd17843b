"""Weights of torchgeo as starts: its own enumerations and networks, with random weights in place of the download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.conftest import tiny_config
from training.assembly import build_model
from training.data.tables import open_dataset
from training.evaluation.features import open_subject
from training.loop import train
from wildsat_core.errors import CheckpointError, InvalidInputError, MissingExtraError, ModelNotFoundError
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_spec
from wildsat_core.models.starts import load_start
from wildsat_core.models.torchgeo_starts import torchgeo_preprocessing
from wildsat_core.preprocess import preprocess
from wildsat_core.torchvision_guard import guard_torchvision

RGB_MOCO = "torchgeo:ResNet18_Weights.SENTINEL2_RGB_MOCO"
VIT = "torchgeo:ViTSmall16_Weights.SENTINEL2_ALL_DINO"
STATS = "torchgeo:ResNet50_Weights.SENTINEL2_ALL_SOFTCON"
ALL_BANDS = ("b01", "blue", "green", "red", "b05", "b06", "b07", "b08", "b8a", "b09", "b10", "b11", "b12")


@pytest.fixture
def models() -> Any:
    """torchgeo.models, which takes seconds to import, so not while tests are collected."""
    guard_torchvision()
    return pytest.importorskip("torchgeo.models", reason="the extra torchgeo is not installed")


def published(models: Any, monkeypatch: pytest.MonkeyPatch, builder: str, weights: Any) -> nn.Module:
    """torchgeo's own network with random weights, which from now on are what is fetched."""
    torch.manual_seed(0)
    network: nn.Module = models.get_model(builder, in_chans=weights.meta["in_chans"])
    state = {key: value.clone() for key, value in network.state_dict().items() if key not in ("norm.weight",)}
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: dict(state))
    return network.eval()


def flat(levels: list[float]) -> torch.Tensor:
    """A picture (1, C, 224, 224) of one level a band."""
    return torch.tensor(levels)[None, :, None, None].expand(1, len(levels), 224, 224).contiguous()


@pytest.mark.parametrize("name", [RGB_MOCO, STATS, "torchgeo:ResNet50_Weights.FMOW_RGB_GASSL", VIT,
                                  "torchgeo:ResNet18_Weights.SENTINEL2_RGB_SECO",
                                  "torchgeo:Swin_V2_B_Weights.NAIP_RGB_SI_SATLAS"])  # fmt: skip
def test_pictures_are_normalised_as_torchgeo_does(models: Any, name: str) -> None:
    weights, spec = models.get_weight(name.removeprefix("torchgeo:")), find_spec(name)
    picture = flat([200.0, 120.0, 30.0])
    made = preprocess(picture.to(torch.uint8), spec.preprocessing)
    reflects = "FMOW" not in name and "SATLAS" not in name and "SECO" not in name
    shown = torch.zeros(1, spec.preprocessing.channels, 224, 224)
    shown[:, list(spec.preprocessing.positions)] = picture * (2750 / 255 if reflects else 1)
    wanted = weights.transforms(shown.clone())
    for position in spec.preprocessing.positions:
        middle = (0, position, 112, 112)  # torchgeo's crop to 256 px pads with black
        np.testing.assert_allclose(made[middle], wanted[middle], rtol=1e-4, err_msg=name)
    others = set(range(spec.preprocessing.channels)) - set(spec.preprocessing.positions)
    assert all(made[:, channel].abs().max() == 0 for channel in others)


def test_all_bands_of_reflectance_are_normalised_as_torchgeo_does(models: Any) -> None:
    counts = flat([float(100 * (1 + band)) for band in range(13)])
    for name in (STATS, VIT):
        spec = torchgeo_preprocessing(find_spec(name), ALL_BANDS, 10_000)
        assert spec.input_px == 224
        wanted = models.get_weight(name.removeprefix("torchgeo:")).transforms(counts.clone())
        np.testing.assert_allclose(preprocess(counts, spec), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidInputError, match="no channel for b10"):
        torchgeo_preprocessing(find_spec("torchgeo:ResNet50_Weights.SENTINEL2_ALL_SECO_ECO"), ALL_BANDS, 10_000)


def test_a_start_is_torchgeos_network_without_its_classifier(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for builder, name, classifier in (("resnet18", RGB_MOCO, "fc"), ("vit_small_patch16_224", VIT, "head")):
        weights = models.get_weight(name.removeprefix("torchgeo:"))
        network = published(models, monkeypatch, builder, weights)
        setattr(network, classifier, nn.Identity())
        side = 224 if builder.startswith("vit") else 64
        pixels = torch.randn(1, weights.meta["in_chans"], side, side)
        with torch.inference_mode():
            found, wanted = load_start(name).eval()(pixels), network(pixels)
        assert found.shape == (1, find_spec(name).feature_size)
        torch.testing.assert_close(found, wanted)


def test_a_start_can_be_measured(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = published(models, monkeypatch, "resnet18", models.get_weight(RGB_MOCO.removeprefix("torchgeo:")))
    network.fc = nn.Identity()
    found = open_subject(f"start:{RGB_MOCO}").features(np.full((1, 3, 30, 30), 255, np.uint8))
    with torch.inference_mode():
        wanted = network(torch.full((1, 3, 224, 224), 0.275))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4, err_msg="white is reflectance 0.275")
    as_it_is = open_subject(RGB_MOCO)
    assert as_it_is.maps is not None
    maps = as_it_is.maps(np.full((1, 3, 30, 30), 255, np.uint8))
    assert maps.shape == (1, 512, 8, 8)
    np.testing.assert_allclose(maps.mean((2, 3)), as_it_is.features(np.full((1, 3, 30, 30), 255, np.uint8)), rtol=1e-4)


def test_what_is_trained_from_a_start_needs_torchgeo_no_more(
    models: Any, monkeypatch: pytest.MonkeyPatch, painted: Path, tmp_path: Path
) -> None:
    weights = models.get_weight(RGB_MOCO.removeprefix("torchgeo:"))
    network = published(models, monkeypatch, "resnet18", weights)
    config = tiny_config(
        painted, tmp_path / "run", model={"row": RGB_MOCO, "start": None}, run={"steps": 1}, optimiser={"lr": 1e-9}
    )
    outcome = train(config)
    assert outcome.finished
    for module in [name for name in sys.modules if name.split(".")[0] == "torchgeo"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    model = WildSATModel.open(tmp_path / "run" / "model")
    torch.testing.assert_close(model.backbone.conv1.weight, network.conv1.weight, atol=1e-6, rtol=0)
    assert model.config.preprocessing.std == pytest.approx((1 / 0.275,) * 3)
    with pytest.raises(MissingExtraError, match="torchgeo"):
        find_spec(RGB_MOCO)


def test_other_bands_and_scales_are_set_as_of_any_row(models: Any, painted: Path, tmp_path: Path) -> None:
    section = {"row": VIT, "start": "none", "bands": ["red", "green", "blue", "b08"], "scale": 10_000}
    model = build_model(tiny_config(painted, tmp_path, model=section | {"input_px": 224}), open_dataset(painted))
    spec = model.config.preprocessing
    assert (spec.positions, spec.channels, spec.scale, spec.std) == ((3, 2, 1, 7), 13, 10_000, (1.0,) * 4)


def test_a_start_that_can_not_be_had_is_told(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(CheckpointError, match=r"SENTINEL2_RGB_MOCO\) could not be fetched: no route to host\. .*=none"):
        load_start(RGB_MOCO)
    for name, fault, words in (
        ("torchgeo:ResNet18_Weights.NONE", ModelNotFoundError, r"no weights 'ResNet18_Weights\.NONE'; an example is"),
        ("torchgeo:ResNet18_Weights.LANDSAT_TM_TOA_MOCO", InvalidInputError, "a start reads red, green and blue"),
        ("torchgeo:CROMABase_Weights.CROMA_VIT", InvalidInputError, "reads any bands; a start reads"),
        ("torchgeo:ScaleMAELarge16_Weights.FMOW_RGB", InvalidInputError, "torchgeo's own; it can be measured"),
    ):
        with pytest.raises(fault, match=words):
            find_spec(name)
