"""Configs: every row's own is valid and trains, unknown keys are refused, a dry run counts what a run would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.training.conftest import TEXT_DIM, make_dataset, tiny_config
from training.assembly import read_location
from training.commands import train as train_command
from training.config import CONFIGS, read_train_config
from training.estimate import estimate
from training.loop import train
from wildsat_core.errors import CheckpointError, InvalidInputError, MissingDataError
from wildsat_core.location import build_location
from wildsat_core.location.satclip import SatCLIPEncoder
from wildsat_core.location.sinr import SinrEncoder
from wildsat_core.models.location_files import save_location
from wildsat_core.models.registry import MODELS as ALL_MODELS
from wildsat_core.preprocess import Preprocessing

MODELS = {name: spec for name, spec in ALL_MODELS.items() if spec.published_id}

# Small enough for two steps in a few seconds on one core. The libraries' ViT-B/16, Swin-T and ResNet-50 of fixed depth
# keep their size and get small pictures; the others shrink.
SMALL: dict[str, dict[str, Any]] = {
    "vitb16-imagenet": {"architecture_args": {"image_size": 32}},
    "vitb16-random": {"architecture_args": {"image_size": 32}},
    "vitb16-clip": {
        "architecture_args": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "projection_dim": 16,
        },
        "feature_size": 16,
    },
    "vitb16-prithvi": {
        "architecture_args": {"image_px": 32, "width": 32, "depth": 2, "heads": 2},
        "feature_size": 32,
    },
    "vitb16-satclip": {"architecture_args": {"img_size": 32, "depth": 2}},
}


def location_weights(folder: Path) -> Path:
    """A SINR encoder of random weights, position only."""
    arguments: dict[str, Any] = {"inputs": "sin_cos", "width": 16, "depth": 1, "species": 3}
    torch.manual_seed(0)
    source = folder / "sightings.csv"
    source.write_text("species,lon,lat\n")
    save_location(SinrEncoder(**arguments), "sinr", arguments, folder / "sinr", source)
    return folder / "sinr"


def row_changes(row: str, data: Path, run: Path, location: Path) -> list[str]:
    model = {"start": "none", "input_px": 32, "dim": 8} | SMALL.get(row, {})
    settings = {f"model.{key}": value for key, value in model.items()} | {
        "data.folder": str(data),
        "data.tile_px": 32,
        "data.workers": 0,
        "location.weights": str(location),
        "run.folder": str(run),
        "run.batch": 2,
        "run.steps": 2,
        "run.log_every": 1,
        "run.checkpoint_every": 1000,
        "run.validation_pairs": 2,
    }
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def test_every_registry_row_has_a_config_and_none_is_over() -> None:
    assert {p.stem for p in CONFIGS.glob("*.yaml")} == set(MODELS)
    assert len(MODELS) == 14


@pytest.mark.parametrize("row", sorted(MODELS))
def test_each_config_does_two_steps(row: str, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("training.loop.save_checkpoint", lambda *_: None)  # hundreds of megabytes, tested elsewhere
    monkeypatch.setattr("wildsat_core.models.model.WildSATModel.save", lambda *_: "")
    monkeypatch.setattr("training.report.draw_losses", lambda *_: None)
    monkeypatch.setattr("training.report._tensorboard", lambda *_: None)
    location = location_weights(tmp_path)
    config = read_train_config(row, row_changes(row, painted, tmp_path / "run", location))
    outcome = train(config)
    assert outcome.steps == 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [r for r in rows if "loss" in r]
    assert len(losses) == 2
    for r in losses:
        parts = 2 * r["loss_text"] + r["loss_location"] + 4 * r["loss_image"]
        assert r["loss"] == pytest.approx(parts, rel=1e-5), "the reference's weights"


def test_reference_recipe_is_in_every_config(tmp_path: Path) -> None:
    for row, spec in MODELS.items():
        config = read_train_config(row, [f"location.weights={tmp_path}"])
        assert config.model.row == row
        assert (config.losses.text, config.losses.location, config.losses.image) == (2, 1, 4)
        assert config.losses.scale == pytest.approx(2.302585092994046)
        assert (config.optimiser.lr, config.run.batch, config.run.epochs, config.run.seed) == (1e-4, 64, 50, 123)
        mode = {"norms and classifier": "bnft", "all": "full"}.get(spec.tuning, "dora")
        assert config.tuning.mode == mode


def test_unknown_keys_and_wrong_values_are_named(tmp_path: Path) -> None:
    base = ["losses.location=0"]
    for change, words in (
        ("run.bach=3", "run.bach"),
        ("colour=3", "colour"),
        ("run.batch=0", "run.batch"),
        ("run.batch=many", "run.batch"),
        ("tuning.mode=some", "tuning.mode"),
        ("run.batch", "section.key=value"),
        ("run.batch.x=1", "not a section"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            read_train_config("resnet50-random", [*base, "run.batch=4", change])
    with pytest.raises(MissingDataError, match="resnet50-random"):
        read_train_config("resnet51")
    (tmp_path / "x.yaml").write_text("- a\n")
    with pytest.raises(InvalidInputError, match="must hold sections"):
        read_train_config(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("a: [\n")
    with pytest.raises(InvalidInputError, match="not YAML"):
        read_train_config(tmp_path / "x.yaml")


def test_a_location_term_without_location_weights_is_refused() -> None:
    for term in ("losses.location=1", "losses.place=1"):
        with pytest.raises(InvalidInputError, match="without location weights teaches nothing"):
            read_train_config("resnet50-random", ["losses.location=0", term])
    with pytest.raises(InvalidInputError, match="nothing to train"):
        read_train_config("resnet50-random", [f"losses.{t}=0" for t in ("text", "location", "image")])


def test_place_term_gives_the_model_a_place_space(painted: Path, tmp_path: Path) -> None:
    from wildsat_core.models.model import WildSATModel

    changes = row_changes("vitb16-satclip", painted, tmp_path / "run", location_weights(tmp_path))
    train(read_train_config("vitb16-satclip", [*changes, "losses.place=1"]))
    model = WildSATModel.open(tmp_path / "run" / "model")
    assert set(model.spaces) == {"text", "location", "image", "place"}
    assert model.embed_places([[10.0, 50.0]])["place"].shape == (1, 8)


def test_embeddings_of_an_unknown_encoder_are_refused(tmp_path: Path) -> None:
    from training.assembly import build_model
    from training.data.tables import open_dataset, write_about

    folder = make_dataset(tmp_path / "set")
    about = open_dataset(folder).about
    write_about(folder, about.model_copy(update={"text_encoder": ""}))
    with pytest.raises(InvalidInputError, match=r"does not say which encoder.*embed-texts"):
        build_model(tiny_config(folder, tmp_path / "run"), open_dataset(folder))


def test_other_bands_need_their_channels(painted: Path, tmp_path: Path) -> None:
    from training.assembly import build_model
    from training.data.tables import open_dataset

    changes = row_changes("vitb16-satclip", painted, tmp_path / "run", location_weights(tmp_path))
    nine = '["red","green","blue","b05","b06","b07","b08","b11","b12"]'
    model = build_model(read_train_config("vitb16-satclip", [*changes, f"model.bands={nine}"]), open_dataset(painted))
    assert model.config.preprocessing == Preprocessing(32, tuple(json.loads(nine)), 13, (3, 2, 1, 4, 5, 6, 7, 11, 12))
    changes = row_changes("resnet50-random", painted, tmp_path / "run", tmp_path / "sinr")
    mixed = build_model(read_train_config("resnet50-random", [*changes, f"model.bands={nine}"]), open_dataset(painted))
    assert mixed.backbone.first_layer.weight.shape == (3, 9, 1, 1)
    with pytest.raises(InvalidInputError, match="takes 3 bands"):
        build_model(
            read_train_config("resnet50-random", [*changes, 'model.bands=["red","b08"]']), open_dataset(painted)
        )


def test_published_location_files_are_read_without_their_species_layer(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sinr = SinrEncoder(inputs="sin_cos", width=16, depth=2, species=5)
    torch.save({"params": {"input_enc": "sin_cos"}, "state_dict": sinr.state_dict()}, tmp_path / "model.pt")
    kind, arguments, weights = read_location(tmp_path / "model.pt")
    assert (kind, arguments["depth"], arguments["species"]) == ("sinr", 2, 0)
    assert "class_emb.weight" not in weights
    assert torch.equal(weights["feats.0.weight"], sinr.feats[0].weight)
    satclip = SatCLIPEncoder(degree=4, width=16, depth=1, dim=6, double=True)
    state = {f"model.location.{name}": value for name, value in satclip.state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": {}}, tmp_path / "satclip.ckpt")
    kind, arguments, weights = read_location(tmp_path / "satclip.ckpt")
    assert (kind, arguments["degree"], arguments["dim"]) == ("satclip", 4, 6)
    encoder = build_location(kind, arguments)
    encoder.load_state_dict(weights)
    degrees = torch.tensor([[-98.0, 33.5]])
    torch.testing.assert_close(encoder(degrees), satclip(degrees))


def test_starting_weights_that_are_not_there_are_refused(painted: Path, tmp_path: Path) -> None:
    changes = row_changes("resnet50-seco", painted, tmp_path / "run", location_weights(tmp_path))
    with pytest.raises(CheckpointError, match=r"seco_resnet50_100k\.ckpt"):
        train(read_train_config("resnet50-seco", [*changes, "model.start=null"]))
    with pytest.raises(CheckpointError):
        train(
            read_train_config("resnet50-seco", [*changes, f"location.weights={tmp_path / 'none'}", "model.start=none"])
        )


def test_another_text_encoder_than_the_datas_is_refused(painted: Path, tmp_path: Path) -> None:
    changes = row_changes("vitb16-satclip", painted, tmp_path / "run", location_weights(tmp_path))
    with pytest.raises(InvalidInputError, match="made by 'minilm'"):
        train(read_train_config("vitb16-satclip", [*changes, "model.text_encoder=gritlm"]))


def test_dry_run_counts_parameters_and_steps_and_writes_nothing(painted: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = row_changes("vitb16-satclip", painted, tmp_path / "run", location_weights(tmp_path))
    changes += ["run.steps=null", "run.epochs=5", "tuning.mode=frozen"]
    found = estimate(read_train_config("vitb16-satclip", changes))
    assert found.trained == {"tile_heads": 3 * 256 * 8, "text_head": TEXT_DIM * 8, "location": 16 * 8}
    assert (found.steps_per_epoch, found.steps) == (9, 45)
    assert found.pairs == {"train": 18, "val": 6, "test": 0}
    assert found.memory_bytes > 0
    assert found.seconds_per_step > 0
    options = [part for change in changes for part in ("--set", change)]
    result = CliRunner().invoke(train_command, ["--config", "vitb16-satclip", *options, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "45, 9 an epoch" in result.output
    assert not (tmp_path / "run").exists()


def test_train_without_a_config_says_how(painted: Path) -> None:
    result = CliRunner().invoke(train_command, ["--dry-run"])
    assert isinstance(result.exception, InvalidInputError)
