"""The loop: resumed runs, signals, faults, ranks, and that it learns."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.training.conftest import make_dataset, tiny_config
from training import checkpoint, loop
from training.commands import train
from training.config import OptimiserSection, TrainConfig
from training.data.pixels import PixelReader
from training.data.stream import PairDataset
from training.data.tables import PAIRS, PLACES, open_dataset, pairs_table, places_table
from training.ema import WeightMean
from training.losses import LogitScale
from training.schedule import rate_at
from training.validate import recall_at, validate
from wildsat_core.errors import CheckpointError, MissingDataError, TrainingError
from wildsat_core.models.model import WildSATModel

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def metrics(run: Path, name: str = "loss") -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row[name] for row in rows if name in row]


def last_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / (run / "LATEST").read_text().strip() / "module.safetensors")


# --- a run and what it leaves ---


def test_a_run_leaves_a_model_that_serves_metrics_a_curve_and_its_config(painted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = loop.train(tiny_config(painted, run))
    assert outcome.finished
    assert outcome.steps == 4
    assert len(metrics(run)) == 4
    assert {"loss_text", "accuracy_text", "loss_image", "learning_rate", "pairs_per_s", "memory_mb"} <= set(
        json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    )
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard").iterdir())
    assert TrainConfig.model_validate(json.loads((run / "config.json").read_text())).name == "tiny"
    model = WildSATModel.open(run / "model")
    vectors = model.embed_pixels(np.zeros((1, 3, 32, 32), np.uint8) + np.arange(32, dtype=np.uint8))
    assert set(vectors) == {"text", "image"}
    assert vectors["text"].shape == (1, 16)
    assert 0 <= outcome.best <= 1
    with pytest.raises(TrainingError, match="--resume"):
        loop.train(tiny_config(painted, run))
    before = (run / "model" / "config.json").read_bytes()
    with pytest.raises(TrainingError, match=r"is not of a training run, and would be lost; set another run\.folder"):
        loop.train(tiny_config(painted, run / "model"))
    assert (run / "model" / "config.json").read_bytes() == before


def test_a_resumed_run_goes_on_to_the_last_digit(painted: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "optimiser": {"lr": 1e-3, "schedule": "cosine", "warmup_steps": 2, "ema": 0.9, "clip": 1.0},
        "losses": {"location": 0, "learned_scale": True, "scale": 5.0},
        "model": {"architecture_args": {"drop_path_rate": 0.2}},
    }
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run = {"steps": 6, "checkpoint_every": 3, "accumulate": 1}
    loop.train(tiny_config(painted, whole, run=run, **options))
    loop.train(tiny_config(painted, cut, run=run, **options))
    first = (cut / "checkpoints" / "step-00000003").rename(tmp_path / "kept")
    checkpoint.shutil.rmtree(cut / "checkpoints")
    (cut / "checkpoints").mkdir()
    first.rename(cut / "checkpoints" / "step-00000003")
    (cut / "LATEST").write_text("step-00000003\n")
    loop.train(tiny_config(painted, cut, run=run, **options), resume=True)
    assert metrics(cut) == metrics(whole)
    assert metrics(cut, "val_score") == metrics(whole, "val_score")
    a, b = last_weights(whole), last_weights(cut)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_accumulation_takes_the_batches_apart_and_workers_change_nothing(painted: Path, tmp_path: Path) -> None:
    run = {"steps": 3, "batch": 3, "accumulate": 2}
    loop.train(tiny_config(painted, tmp_path / "a", run=run))
    loop.train(tiny_config(painted, tmp_path / "b", run=run, data={"workers": 2}))
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_to_all_processes_writes_a_checkpoint_and_exits_with_0(
    painted: Path, tmp_path: Path, workers: int
) -> None:
    run = {"steps": 100_000, "validate_every": 100_000}
    config = tiny_config(painted, tmp_path / "run", run=run, data={"workers": workers})
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "training", "--config", str(file)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("step 2/"):
                os.killpg(process.pid, signal.SIGTERM)  # as a service manager or torchrun does
                break
        rest = process.stderr.read()
        assert process.wait(60) == 0, rest
    assert f"go on with `wildsat train --config {tmp_path / 'run' / 'config.json'} --resume`" in rest
    state = json.loads(
        (
            tmp_path / "run" / "checkpoints" / (tmp_path / "run" / "LATEST").read_text().strip() / "state.json"
        ).read_text()
    )
    assert state["progress"]["step"] >= 2


def test_a_run_goes_on_by_its_own_config_and_only_as_what_it_was(painted: Path, tmp_path: Path) -> None:
    run = {"steps": 2, "checkpoint_every": 1}
    loop.train(tiny_config(painted, tmp_path / "run", run=run))
    own = str(tmp_path / "run" / "config.json")
    answer = CliRunner().invoke(train, ["--config", own, "--resume", "--set", "run.steps=3"])
    assert answer.exit_code == 0, answer.output
    assert "finished after 3 steps, loss" in answer.output
    answer = CliRunner().invoke(train, ["--config", own, "--resume", "--set", "run.steps=3"])
    assert "finished after 3 steps, none was left" in answer.output
    refused = CliRunner().invoke(
        train, ["--config", own, "--resume", "--set", "optimiser.lr=0.5", "--set", "run.seed=9"]
    )
    assert isinstance(refused.exception, TrainingError)
    assert "optimiser.lr was" in str(refused.exception)
    assert "and is 0.5; run.seed was" in str(refused.exception)


def test_bfloat16_gives_nearly_the_same_losses(painted: Path, tmp_path: Path) -> None:
    loop.train(tiny_config(painted, tmp_path / "a", run={"steps": 2}))
    loop.train(tiny_config(painted, tmp_path / "b", run={"steps": 2, "precision": "bf16"}))
    single, half = metrics(tmp_path / "a"), metrics(tmp_path / "b")
    assert half[0] != single[0]
    assert half[0] == pytest.approx(single[0], rel=0.1)


# --- faults ---


def test_gradients_that_are_not_finite_stop_before_the_weights_are_touched(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = loop.weighted_sum, []

    def steep(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        loss = real(*arguments)
        # At 0 the square root is 0 and its slope infinite: the loss stays as it is.
        return loss + (loss - loss).sqrt() if len(calls) == 3 else loss

    monkeypatch.setattr(loop, "weighted_sum", steep)
    config = tiny_config(painted, tmp_path / "run", run={"steps": 6, "checkpoint_every": 2})
    with pytest.raises(
        TrainingError, match=r"the norm of the gradients became (nan|inf) at step 3 .*nothing was changed"
    ):
        loop.train(config)
    assert (tmp_path / "run" / "LATEST").read_text().strip() == "step-00000002"


def test_moved_pictures_are_told_by_the_setting_that_finds_them(painted: Path, tmp_path: Path) -> None:
    config = tiny_config(painted, tmp_path / "run", data={"imagery": str(tmp_path / "gone")})
    with pytest.raises(MissingDataError, match=r"no folder of pictures at .*gone; set data\.imagery"):
        loop.train(config)


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = loop.weighted_sum, []

    def spoiled(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(loop, "weighted_sum", spoiled)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="loss became nan at step 4"):
        loop.train(tiny_config(painted, run, run={"steps": 6, "checkpoint_every": 2}))
    assert (run / "LATEST").read_text().strip() == "step-00000002"
    assert all(value.isfinite().all() for value in last_weights(run).values())


def test_a_full_disk_stops_and_leaves_the_last_checkpoint(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = checkpoint._save, []

    def full(tensors: Any, path: Path) -> None:
        calls.append(path)
        if len(calls) > 3:  # the first checkpoint took two files
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "_save", full)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"the disk is full.*last good one is intact"):
        loop.train(tiny_config(painted, run, run={"steps": 6, "checkpoint_every": 2}))
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000002"]
    monkeypatch.setattr(checkpoint, "_save", real)
    assert loop.train(tiny_config(painted, run, run={"steps": 6, "checkpoint_every": 2}), resume=True).steps == 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command mount")
    if made.returncode:
        pytest.skip(f"a small file system can't be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


# TensorBoard's writer thread dies of the same fault, which the main thread then tells.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("share_left", [0.5, 0.0], ids=["room for half a checkpoint", "no room at all"])
def test_a_disk_that_is_full_for_real_leaves_the_last_checkpoint(
    painted: Path, small_disk: Path, share_left: float
) -> None:
    run, every_two = small_disk / "run", {"checkpoint_every": 2, "validate_every": 100}
    loop.train(tiny_config(painted, run, run=every_two | {"steps": 2}))
    before = last_weights(run)
    size = sum(p.stat().st_size for p in (run / "checkpoints" / "step-00000002").iterdir())
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(ballast, ballast.stat().st_size - int(size * share_left) // 4096 * 4096)
    longer = tiny_config(painted, run, run=every_two | {"steps": 6})
    with pytest.raises(TrainingError, match=r"the disk is full.*last good .*is intact.*--resume"):
        loop.train(longer, resume=True)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000002"]
    for name, weight in last_weights(run).items():
        assert torch.equal(weight, before[name]), name
    ballast.unlink()
    assert loop.train(longer, resume=True).steps == 6


def test_too_many_damaged_pictures_stop_the_run(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    for picture in sorted((folder / "pictures").glob("*_1.png"))[:8]:
        picture.write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"data\.most_damaged"):
        loop.train(tiny_config(folder, tmp_path / "run", run={"steps": 20}))
    tolerant = loop.train(tiny_config(folder, tmp_path / "run2", data={"most_damaged": 0.9}))
    assert tolerant.finished
    with pytest.raises(TrainingError, match=r"data\.most_damaged"):  # shorter than an epoch of four steps
        loop.train(tiny_config(folder, tmp_path / "run3", run={"steps": 2}))


def test_a_damaged_checkpoint_is_named(painted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    loop.train(tiny_config(painted, run, run={"steps": 2}))
    file = run / "checkpoints" / "step-00000002" / "module.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"module\.safetensors"):
        loop.train(tiny_config(painted, run, run={"steps": 4}), resume=True)


def test_a_run_goes_on_with_the_data_set_that_it_was_begun_with_wherever_it_lies(tmp_path: Path) -> None:
    run, before = tmp_path / "run", make_dataset(tmp_path / "before")
    loop.train(tiny_config(before, run, run={"steps": 2}))
    moved = before.rename(tmp_path / "moved")
    assert loop.train(tiny_config(moved, run, run={"steps": 3}), resume=True).steps == 3
    other = make_dataset(tmp_path / "other", seed=1, places=25)
    with pytest.raises(TrainingError, match=r"other is not the data set that .*run was begun with"):
        loop.train(tiny_config(other, run, run={"steps": 4}), resume=True)


# --- several processes ---


@pytest.mark.parametrize(
    ("row", "arguments", "mode"),
    [("timm:test_resnet", {}, "frozen"), ("timm:test_vit", {"img_size": 32}, "full")],
)
def test_two_ranks_train_as_one_process_with_the_whole_batch(
    tmp_path: Path, row: str, arguments: dict[str, Any], mode: str
) -> None:
    folder = make_dataset(tmp_path / "set")
    for site in (2, 9):
        (folder / "pictures" / f"{site}_1.png").write_bytes(b"damaged")
    quiet: dict[str, Any] = {
        # Without random views and batch statistics two ranks of four must equal one of eight.
        "augment": {"flips": False, "mixing": 0, "noise_sigma": 0, "jitter_chance": 0, "grey_chance": 0,
                    "blur_chance": 0, "crop_area": (1.0, 1.0)},
        "tuning": {"mode": mode},
        "model": {"row": row, "architecture_args": arguments},
        "data": {"most_damaged": 0.5},
        "losses": {"location": 0, "mask_species": True, "learned_scale": True, "scale": 5.0},
    }  # fmt: skip
    loop.train(tiny_config(folder, tmp_path / "one", run={"batch": 8}, **quiet))
    config = tiny_config(folder, tmp_path / "two", run={"batch": 4}, **quiet)
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, "-m", "training", "--config", str(file)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(metrics(tmp_path / "two"), metrics(tmp_path / "one"), rtol=2e-5)
    one, two = last_weights(tmp_path / "one"), last_weights(tmp_path / "two")
    for name in one:
        mine, theirs = one[name], two[name]
        if name.endswith("qkv.bias"):
            # A key's bias changes no attention: its gradient is rounding, which Adam enlarges.
            mine, theirs = (torch.cat(x.chunk(3)[::2]) for x in (mine, theirs))
        torch.testing.assert_close(theirs, mine, rtol=2e-3, atol=2e-5)
    states = [
        json.loads((tmp_path / name / "checkpoints" / "step-00000004" / "state.json").read_text())["progress"]
        for name in ("one", "two")
    ]
    assert states[0]["reads"] == states[1]["reads"]
    assert states[0]["damaged"] == states[1]["damaged"]
    for site in (2, 9):
        assert result.stderr.count(f"{site}_1.png can't be read") == 1, "named once, whichever rank met it"


def test_ranks_and_steps_have_seeds_of_their_own() -> None:
    from training.distributed import step_seed

    seeds = {step_seed(seed, rank, step) for seed in (1, 2) for rank in range(8) for step in range(50)}
    assert len(seeds) == 2 * 8 * 50


# --- parts ---


def test_a_learned_scale_is_in_the_optimiser_and_moves(painted: Path, tmp_path: Path) -> None:
    module = torch.nn.ModuleList([LogitScale(5.0, learned=True)])
    optimiser = loop.make_optimiser(module, OptimiserSection(weight_decay=0.1), torch.device("cpu"))
    (group,) = optimiser.param_groups
    assert group["params"][0] is module[0].log_scale
    assert group["weight_decay"] == 0.0
    loop.train(tiny_config(painted, tmp_path / "run", losses={"learned_scale": True, "scale": 5.0}))
    moved = last_weights(tmp_path / "run")["scale.log_scale"]
    assert float(moved) != pytest.approx(np.log(5.0), abs=1e-9)


def test_schedules_follow_their_formulas() -> None:
    step = OptimiserSection(lr=1.0, schedule="step", step_epochs=10, step_factor=0.5)
    assert [rate_at(s, step, steps=300, steps_per_epoch=5) for s in (0, 49, 50, 100)] == [1.0, 1.0, 0.5, 0.25]
    cosine = OptimiserSection(lr=2.0, schedule="cosine", warmup_steps=4)
    rates = [rate_at(s, cosine, steps=104, steps_per_epoch=1) for s in (0, 3, 4, 54, 104)]
    np.testing.assert_allclose(rates, [0.5, 2.0, 2.0, 1.0, 0.0], atol=1e-12)
    assert rate_at(99, OptimiserSection(lr=3.0, schedule="none"), steps=100, steps_per_epoch=1) == 3.0


def test_the_running_mean_follows_its_formula_and_gives_weights_back() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 0.0)
    mean = WeightMean(module, 0.5)
    torch.nn.init.constant_(module.weight, 1.0)
    mean.update(module, 0)  # decay min(0.5, 1/10)
    assert float(mean.values["weight"]) == pytest.approx(0.9)
    mean.update(module, 100)
    assert float(mean.values["weight"]) == pytest.approx(0.95)
    with mean.in_place_of(module):
        assert float(module.weight.detach()) == pytest.approx(0.95)
    assert float(module.weight.detach()) == 1.0


def test_recall_counts_ties_against_and_several_relevant_for() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.5, 0.5, 0.5], [0.1, 0.2, 0.3]])
    relevant = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
    found = recall_at(scores, relevant)
    assert found[1] == pytest.approx(1 / 3)
    assert found[5] == 1.0


class KnowsItAll(torch.nn.Module):
    """Gives a tile and a text the same vector if they belong to the same of three species."""

    def forward(self, _anchor: Any, _positive: Any, text: torch.Tensor, lon_lat: torch.Tensor) -> dict[str, Any]:
        species = ((lon_lat[:, 0] + 100) / 3).round().long() % 3
        return {"text": torch.eye(3)[species], "words": torch.eye(3)[text.argmax(1) % 3]}


def test_a_perfect_model_scores_1_with_several_texts_and_dates_a_place(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", places=6, species=6, dates=2)
    save_file({"embeddings": torch.eye(6)}, folder / "text_embeddings.safetensors")
    data = open_dataset(folder)
    places = [place | {"split": "val"} for place in data.places.to_pylist()]
    # Texts k and k + 3 are of one species, seen at sites k and k + 3; each text belongs to another date.
    pairs = [
        pair | {"place": 2 * site + (text > 2), "text": text}
        for site, pair in enumerate(data.pairs.to_pylist())
        for text in (site % 3, site % 3 + 3)
    ]
    pq.write_table(places_table(places), folder / PLACES)
    pq.write_table(pairs_table(pairs), folder / PAIRS)
    data = open_dataset(folder)
    rows = data.pairs_of("val")
    held_out = PairDataset(data, rows, PixelReader(data.imagery_root), 0, other_date=False)
    for most in (100, 7):
        found = validate(KnowsItAll(), held_out, rows, most=most, batch=5, device=CPU, bf16=False, note=lambda _: None)  # type: ignore[arg-type]
        assert {found[f"{way}_r1"] for way in ("tile_to_text", "text_to_tile")} == {1.0}
        assert found["score"] == 1.0
