"""The loop's options and faults, each seen in what a run leaves: accumulation, running mean, adapters, compiling."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.indexer.conftest import write_raster
from tests.training.conftest import make_dataset, tiny_config
from tests.training.test_configs import location_weights
from tests.training.test_loop import CPU, last_weights, metrics
from training import estimate, loop, setup
from training.config import TrainConfig
from training.distributed import choose_device
from training.report import Reporter
from training.resume import alone_in
from wildsat_core.errors import InvalidInputError, MissingDataError, TrainingError, WildsatError
from wildsat_core.models.model import WildSATModel


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def begun(config: TrainConfig) -> loop._Run:
    """A run before its first step; its folder is free again."""
    with ExitStack() as held:
        return loop._Run(config, CPU, False, held)


def test_a_step_takes_the_mean_of_its_batches_gradients(painted: Path, tmp_path: Path) -> None:
    config = tiny_config(painted, tmp_path / "run", run={"batch": 3, "accumulate": 2})
    run, by_hand = (begun(config) for _ in range(2))
    reporter = Reporter(tmp_path, steps=1, first=0, pairs_per_step=6, active=False)
    run.module.train()
    run._step(run.module, run._batches(), reporter)
    by_hand.module.train()
    trained = dict(by_hand.module.named_parameters())
    gradients = [
        torch.autograd.grad(by_hand._forward(by_hand.module, batch, number)[0], trained.values())
        for number, batch in zip(range(2), by_hand._batches(), strict=False)
    ]
    for (name, parameter), first, second in zip(run.module.named_parameters(), *gradients, strict=True):
        torch.testing.assert_close(parameter.grad, (first + second) / 2, msg=name)


def test_the_running_mean_is_what_is_served(painted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    loop.train(tiny_config(painted, run, optimiser={"ema": 0.5}, run={"validate_every": 4}))
    served = WildSATModel.open(run / "model").state_dict()
    mean = load_file(run / "checkpoints" / "step-00000004" / "mean.safetensors")
    moved = 0
    for name, value in last_weights(run).items():
        own = name.removeprefix("model.")
        if own in served and name in mean:
            torch.testing.assert_close(served[own], mean[name], rtol=0, atol=0)
            moved += not torch.equal(value, mean[name])
    assert moved > 20


def test_adapters_reach_the_model_that_is_served(painted: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = {"row": "timm:test_vit", "architecture_args": {"img_size": 32}}
    config = tiny_config(painted, run, model=model, tuning={"mode": "lora", "rank": 2}, optimiser={"lr": 0.05})
    loop.train(config)
    served = WildSATModel.open(run / "model")
    assert not any("lora" in name for name in served.state_dict())
    trained = begun(tiny_config(painted, tmp_path / "x", model=model, tuning=config.tuning.model_dump()))
    pixels = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    untrained = trained.module.model.embed_pixels(pixels)["text"]
    trained.module.load_state_dict(last_weights(run))
    expected = trained.module.model.embed_pixels(pixels)["text"]
    np.testing.assert_allclose(served.embed_pixels(pixels)["text"], expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected - untrained).max() > 0.01


def test_a_compiled_network_gives_the_same_losses(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    for name in ("plain", "compiled"):
        loop.train(tiny_config(painted, tmp_path / name, run={"steps": 2, "compile": name == "compiled"}))
    assert metrics(tmp_path / "compiled") == metrics(tmp_path / "plain")


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own, on making a DDP
def test_gradients_of_a_compiled_network_wait_for_the_last_batch(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tiny_config(painted, tmp_path / "run", run={"compile": True}))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        monkeypatch.setattr(loop, "world_size", lambda: 2)
        network = run._network()
        with loop._no_sync(network, wanted=True):
            assert not network.require_backward_grad_sync
        assert network.require_backward_grad_sync
    finally:
        torch.distributed.destroy_process_group()


def test_damaged_held_out_pictures_are_named_and_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_dataset(tmp_path / "set")
    (folder / "pictures" / "20_1.png").write_bytes(b"damaged")  # the last six of 24 sites are held out
    tolerant = {"most_damaged": 0.5}
    loop.train(tiny_config(folder, tmp_path / "run", data=tolerant, run={"steps": 2, "validate_every": 1}))
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "damaged held-out picture" in line)
    assert "20_1.png" in line
    with pytest.raises(TrainingError, match=r"1 of 7 pictures can't be read.*20_1\.png"):
        loop.train(tiny_config(folder, tmp_path / "other", run={"steps": 2}))


@pytest.mark.parametrize("workers", [0, 1])
def test_faults_of_reading_are_told_plainly(tmp_path: Path, workers: int) -> None:
    folder = make_dataset(tmp_path / "set", dates=1)
    (folder / "pictures").rename(folder / "moved")
    config = tiny_config(folder, tmp_path / "run", data={"workers": workers})
    with pytest.raises(MissingDataError, match=r"no folder of pictures at .*set/pictures; set data\.imagery"):
        loop.train(config)
    assert not (tmp_path / "run").exists()
    for site in range(0, 18, 2):
        Image.effect_noise((16, 16), 50).convert("RGB").save(folder / "moved" / f"{site}_0.png")
    here = {"workers": workers, "imagery": folder / "moved"}
    with pytest.raises(InvalidInputError, match=r"^pictures of one batch differ in shape.*set data\.tile_px[^\n]*$"):
        loop.train(tiny_config(folder, tmp_path / "run", data=here))


def test_more_processes_than_gpus_are_refused_saying_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InvalidInputError, match=r"process 3 .*there are 2: give torchrun --nproc-per-node 2"):
        choose_device("auto")
    assert choose_device("cpu") == CPU


def test_what_was_trained_is_kept_when_validation_fails(painted: Path, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    for path in (folder / "pictures").glob("2[0-3]_*.png"):  # held out
        path.write_bytes(b"damaged")
    with pytest.raises((TrainingError, WildsatError), match="can't be read"):
        loop.train(tiny_config(folder, tmp_path / "run", run={"steps": 2}))
    assert (tmp_path / "run" / "checkpoints" / "step-00000002").is_dir()


def test_deep_pictures_need_the_scale_that_they_are_stored_with(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    for path in (folder / "pictures").glob("*.png"):
        deep = np.asarray(Image.open(path)).astype(np.uint16) * 16
        write_raster(path.with_suffix(".tif"), deep.transpose(2, 0, 1), "EPSG:4326", 0, 40, 0.01)
        path.unlink()
    places = pq.read_table(folder / "places.parquet")
    names = [name.replace(".png", ".tif") for name in places["path"].to_pylist()]
    pq.write_table(places.set_column(places.column_names.index("path"), "path", [names]), folder / "places.parquet")
    with pytest.raises(InvalidInputError, match=r"values up to \d+ and .* eight bits: give --set model\.scale=10000"):
        loop.train(tiny_config(folder, tmp_path / "run", run={"steps": 1}))
    model = {"row": "timm:test_resnet", "scale": 4080}
    loop.train(tiny_config(folder, tmp_path / "deep", run={"steps": 1}, model=model))


def test_exported_weights_may_be_read_by_whom_the_umask_lets(painted: Path, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        loop.train(tiny_config(painted, tmp_path / "run", run={"steps": 1}))
    finally:
        os.umask(before)
    assert (tmp_path / "run" / "model" / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_two_runs_in_one_folder_are_one_too_many(painted: Path, tmp_path: Path) -> None:
    config = tiny_config(painted, tmp_path / "run")
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(TrainingError, match=r"another process is training in .*run\.folder"),
    ):
        loop.train(config)
    assert not (tmp_path / "run" / "config.json").exists()
    assert loop.train(config).finished, "when the other has ended"


def test_location_weights_may_move_before_a_run_goes_on_and_may_not_change(painted: Path, tmp_path: Path) -> None:
    def config(weights: Path, steps: int) -> TrainConfig:
        return tiny_config(
            painted, tmp_path / "run", losses={"location": 1}, location={"weights": weights}, run={"steps": steps}
        )

    here = location_weights(tmp_path)
    loop.train(config(here, 2))
    moved, other = tmp_path / "elsewhere" / "sinr", tmp_path / "other"
    moved.parent.mkdir()
    other.mkdir()
    shutil.move(here, moved)
    assert loop.train(config(moved, 3), resume=True).steps == 3
    changed = location_weights(other)
    weights = load_file(changed / "location.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, changed / "location.safetensors")
    with pytest.raises(TrainingError, match=r"other/sinr are not the location weights that .*run was begun with"):
        loop.train(config(changed, 4), resume=True)


def test_a_dry_run_plans_for_all_the_processes_that_were_started(
    painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torchrun's other process is played by its number alone: the estimate must join the group before it counts."""
    ranks = [1]

    @contextmanager
    def joined(_: torch.device) -> Iterator[None]:
        ranks[0] = 2
        yield
        ranks[0] = 1

    monkeypatch.setattr(estimate, "process_group", joined)
    for module in (estimate, setup):
        monkeypatch.setattr(module, "world_size", lambda: ranks[0])
    config = tiny_config(painted, tmp_path / "run", run={"steps": None, "epochs": 1, "batch": 2})
    found = estimate.estimate(config)
    assert found.steps_per_epoch == 18 // 4
    assert "2 ranks" in found.device
