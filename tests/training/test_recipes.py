"""The reference's recipe: what trains in each row, what a step and an epoch take, and its views.

What one step does stands in test_reference_steps.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.training.conftest import SIDE_PX, make_batch, make_dataset
from tests.training.test_configs import MODELS, location_weights, row_changes
from training import assembly
from training.augment import AugmentConfig, Chance
from training.config import TrainConfig, read_train_config
from training.data.tables import open_dataset
from training.losses import symmetric_loss
from training.objective import make_views
from training.recipes import recipe_settings
from training.reference_views import brighten, brightening_kernels, reference_anchor, reference_positive
from training.setup import batches_of
from training.tuning import TuningConfig, apply_tuning, over_mean_tokens, without_adapters
from wildsat_core.errors import CheckpointError, InvalidInputError
from wildsat_core.models import starts
from wildsat_core.models.config import HeadConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.registry import find_spec
from wildsat_core.preprocess import Preprocessing

CPU = torch.device("cpu")
PUBLISHED = ["location.weights=sinr"]

# Weights of the backbone that train: the reference's, ours.
TRAINED = {
    "vitb16-imagenet": (29_746_408, 807_400),
    "vitb16-satclip": (98_560, 22_747_264),
    "swint-imagenet": (2_954_536, 793_768),
    "resnet50-imagenet": (2_094_440, 2_102_120),
    "resnet50-moco": (2_094_440, 2_102_120),
    "resnet50-satclip": (524_544, 24_063_936),
    "vitb16-clip": (637_440, 637_440),  # of rank 8: in each of 12 layers four of 768 to 768, and one of 768 to 512
}


def config_of(row: str, *changes: str) -> TrainConfig:
    return read_train_config(row, [*PUBLISHED, *changes])


@pytest.mark.parametrize("row", sorted(MODELS))
def test_each_row_trains_the_weights_that_the_reference_trains(row: str) -> None:
    counts = []
    for recipe in ("reference", "ours"):
        with torch.device("meta"):
            model = WildSATModel(find_spec(row).config())
        apply_tuning(model, config_of(row, f"recipe={recipe}").tuning)
        counts.append(sum(p.numel() for p in model.backbone.parameters() if p.requires_grad))
        heads = {p.requires_grad for p in model.tile_heads.parameters()}
        norms_alone = recipe == "reference" and find_spec(row).tuning == "norms and classifier"
        assert heads == {not norms_alone}, "the reference's patterns miss the tile heads"
        assert model.text_head.weight.requires_grad
    whole = sum(p.numel() for p in model.backbone.parameters())
    assert tuple(counts) == TRAINED.get(row, (whole, whole))


def test_one_switch_says_all_that_differs_and_what_is_said_besides_is_named() -> None:
    for row in MODELS:
        ours, theirs = config_of(row), config_of(row, "recipe=reference")
        assert (ours.departures(), theirs.departures()) == ([], [])
        assert (theirs.data.order, theirs.losses.gather, theirs.augment.views) == ("groups", False, "reference")
        assert (theirs.run.batch, theirs.run.accumulate, theirs.run.precision) == (16, 4, "fp32")
        assert not theirs.tuning.settle_frozen
        assert (ours.run.batch, ours.data.order, ours.losses.gather) == (64, "pairs", True)
    own = config_of("resnet50-imagenet", "recipe=reference", "data.order=pairs", "run.batch=8")
    assert own.departures() == ["data.order is 'pairs', not 'groups'", "run.batch is 8, not 16"]
    again = TrainConfig.model_validate_json(json.dumps(own.model_dump(mode="json")))
    assert again == own, "a run's own config keeps what it says"
    with pytest.raises(InvalidInputError, match="recipe"):
        config_of("resnet50-imagenet", "recipe=theirs")


def test_four_processes_of_sixteen_make_a_step_however_they_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for ranks, batches in ((1, 4), (2, 2), (4, 1), (8, 1)):
        monkeypatch.setenv("WORLD_SIZE", str(ranks))
        assert recipe_settings("reference", "resnet50-random")["run.accumulate"] == batches


def test_an_epoch_of_the_reference_takes_one_pair_of_each_group(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", places=17 + 2, species=4, dates=1)
    data = open_dataset(folder)
    grouped = data.pairs.set_column(
        data.pairs.column_names.index("group"), "group", [np.minimum(np.arange(len(data.pairs)), 6)]
    )
    data = type(data)(data.folder, data.about, data.places, data.texts, grouped)
    for recipe, batches in (("reference", 7), ("ours", 17)):
        config = config_of("resnet50-random", f"recipe={recipe}", "run.batch=1", "run.accumulate=1")
        assert batches_of(config, data, 0).per_epoch == batches


def test_local_negatives_of_several_batches_are_the_mean_of_their_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = torch.randn(8, 5), torch.randn(8, 5)
    alone = [float(symmetric_loss(left[i : i + 4], right[i : i + 4], 2.0).loss) for i in (0, 4)]
    # A second process that trains beside this one; its rows must not be asked for.
    monkeypatch.setattr("training.losses.rank", lambda: 1)
    monkeypatch.setattr("training.losses.gather_rows", lambda rows: torch.cat([rows.flip(0), rows]))
    species = torch.tensor([0, 1, 2, 3])
    local = [float(symmetric_loss(left[i : i + 4], right[i : i + 4], 2.0, species, gather=False).loss) for i in (0, 4)]
    assert local == alone
    assert float(symmetric_loss(left[:4], right[:4], 2.0).loss) > alone[0], "gathered, there are more negatives"


# --- views ---


def test_the_mixing_kernel_brightens() -> None:
    kernels = brightening_kernels(20_000, 0.25, Chance(0, CPU))
    assert kernels.amin(0).tolist() == pytest.approx([0, 1, 0], abs=1e-3)
    assert kernels.amax(0).tolist() == pytest.approx([0.25, 1.25, 0.25], abs=1e-3)
    red, green, blue = 0.5, 0.4, 0.3
    pixels = torch.tensor([red, green, blue]).view(1, 3, 1, 1).expand(20_000, 3, 1, 1)
    mixed = brighten(pixels, kernels).mean((0, 2, 3)).tolist()
    own, beside = 1.125, 0.125  # the weights' means
    assert mixed == pytest.approx(
        [own * red + beside * green, own * green + beside * (red + blue), own * blue + beside * green], abs=2e-3
    )
    bright = brighten(torch.ones(1, 3, 1, 1), torch.tensor([[0.25, 1.25, 0.25]])).flatten()
    assert bright.tolist() == [1.5, 1.75, 1.5], "zeros beyond both ends, and nothing is cut off"


def test_views_of_the_reference_follow_their_seed_and_leave_the_others_numbers_alone() -> None:
    pixels, config = torch.rand(3, 3, SIDE_PX, SIDE_PX), AugmentConfig(views="reference", mixing=0.25)
    state = torch.get_rng_state()
    for view in (reference_anchor, reference_positive):
        first, again, other = (view(pixels, config, Chance(seed, CPU)) for seed in (7, 7, 8))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert first.shape == pixels.shape
    assert torch.equal(torch.get_rng_state(), state)
    quiet = AugmentConfig.none().model_copy(update={"views": "reference"})
    assert torch.equal(reference_anchor(pixels, quiet, Chance(0, CPU)), pixels)
    assert torch.equal(reference_positive(pixels, quiet, Chance(0, CPU)), pixels)


def test_views_of_the_reference_are_made_at_the_stored_size_and_of_true_colour(tmp_path: Path, painted: Path) -> None:
    changes = row_changes("vitb16-satclip", painted, tmp_path / "run", location_weights(tmp_path))
    config = read_train_config("vitb16-satclip", [*changes, "recipe=reference"])
    model = assembly.build_model(config, open_dataset(painted))
    batch = make_batch(2, 64)
    views = make_views(batch, model, config.augment, config.losses, seed=1)
    at_stored_size = reference_anchor(batch.anchor.float() / 255, config.augment, Chance(1, CPU))
    halved = F.interpolate(at_stored_size, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(views.anchor / 255, halved)
    batch.anchor = batch.anchor[:, :2]
    with pytest.raises(InvalidInputError, match=r"pictures have 2 bands; give --set augment\.views=ours"):
        make_views(batch, model, config.augment, config.losses, seed=1)


# --- single rows ---


def prithvi(pool: str) -> WildSATModel:
    arguments: dict[str, Any] = {"image_px": 32, "width": 32, "depth": 1, "heads": 2, "pool": pool}
    head = HeadConfig(in_features=4 * 32, out_features=5)
    torch.manual_seed(0)
    return WildSATModel(
        ModelConfig(
            name="p", architecture="prithvi:vit", architecture_args=arguments, feature_size=4 * 32,
            preprocessing=Preprocessing(32, ("blue", "green", "red"), 6, (0, 1, 2)), metric="inner_product",
            tile_heads={"text": head}, text_head=HeadConfig(in_features=3, out_features=5),
        )
    )  # fmt: skip


def test_tokens_of_prithvi_come_in_a_new_order_while_it_trains_and_it_serves_their_mean() -> None:
    model, pixels = prithvi("shuffled"), torch.rand(2, 3, 32, 32) * 255
    model.train()
    with torch.no_grad():
        draws = model(pixels.repeat(600, 1, 1, 1))["text"].view(600, 2, -1)  # each has an order of its own
    assert float((draws[0] - draws[1]).abs().max()) > 1e-3
    served = torch.from_numpy(model.embed_pixels(pixels)["text"])
    torch.testing.assert_close(draws.mean(0), served, rtol=0, atol=5 * float(draws.std()) / math.sqrt(600))
    small = without_adapters(model)
    assert small.config.feature_size == 32
    assert small.tile_heads["text"].weight.shape == (5, 32)
    np.testing.assert_allclose(small.embed_pixels(pixels)["text"], served, atol=1e-5)
    assert over_mean_tokens(model).config.architecture_args["pool"] == "mean"


def test_the_classifier_that_moco_lacks_is_imagenets(
    tmp_path: Path, painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(9)
    with torch.device("meta"):
        moco = starts.load_start("resnet50-random")
    tower = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in moco.state_dict().items()}
    published = {name: torch.ones_like(value) for name, value in tower.items()}
    kept = {f"module.base_encoder.{k}": v for k, v in tower.items() if not k.startswith("fc.")}
    torch.save({"state_dict": kept}, tmp_path / "moco.tar")
    monkeypatch.setattr(starts, "_fetched", lambda _: published)
    changes = row_changes("resnet50-moco", painted, tmp_path / "run", location_weights(tmp_path))
    changes += ["recipe=reference", f"model.start={tmp_path / 'moco.tar'}"]
    model = assembly.build_model(read_train_config("resnet50-moco", changes), open_dataset(painted))
    assert bool((model.backbone.fc.weight == 1).all())
    assert not model.backbone.conv1.weight.any()
    ours = assembly.build_model(read_train_config("resnet50-moco", [*changes, "recipe=ours"]), open_dataset(painted))
    assert 0 < float(ours.backbone.fc.weight.detach().std()) < 0.1


@pytest.mark.parametrize("row", ["resnet50-imagenet", "vitb16-clip", "timm:test_resnet"])
def test_starting_weights_that_cannot_be_fetched_are_told(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host\nand much more")

    monkeypatch.setattr("torchvision.models.get_weight", offline)
    monkeypatch.setattr("transformers.CLIPVisionModelWithProjection.from_pretrained", offline)
    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(CheckpointError, match=r"could not be fetched: no route to host\. .*model\.start=none"):
        starts._library_weights(find_spec(row) if "timm" not in row else starts.ModelSpec(
            row, "", row, "timm", 1, Preprocessing(), "all", "", row))  # fmt: skip


def test_a_backbone_without_a_classifier_has_none_to_train() -> None:
    with pytest.raises(InvalidInputError, match=r"has no classifier to train; set tuning\.mode"):
        apply_tuning(prithvi("mean"), TuningConfig(mode="classifier"))
