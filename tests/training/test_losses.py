"""Losses against the same sums written out in NumPy, and two processes against one."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from training.distributed import end_process
from training.gather import gather_rows
from training.losses import REFERENCE_SCALE, LogitScale, symmetric_loss


def numpy_loss(left: np.ndarray, right: np.ndarray, scale: float, mask: np.ndarray | None = None) -> float:
    """Row by row, with plain loops."""
    count, total = len(left), 0.0
    for a, b in ((left, right), (right, left)):
        for i in range(count):
            scores = [scale * float(a[i] @ b[j]) for j in range(count) if mask is None or j == i or not mask[i, j]]
            highest = max(scores)
            total += highest + math.log(sum(math.exp(s - highest) for s in scores)) - scale * float(a[i] @ b[i])
    return total / (2 * count)


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(6, 5, generator=generator), torch.randn(6, 5, generator=generator)


def test_symmetric_loss_equals_numpy(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    left, right = pairs
    match = symmetric_loss(left, right, REFERENCE_SCALE)
    assert float(match.loss) == pytest.approx(numpy_loss(left.numpy(), right.numpy(), math.log(10)), rel=1e-5)


def test_false_negatives_leave_the_sum(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    left, right = pairs
    species, cell = torch.tensor([0, 1, 1, 2, 3, 4]), torch.tensor([7, 8, 9, 7, 5, 5])
    mask = np.zeros((6, 6), bool)
    for i, j in ((1, 2), (2, 1), (0, 3), (3, 0), (4, 5), (5, 4)):
        mask[i, j] = True
    match = symmetric_loss(left, right, 1.5, species, cell)
    assert float(match.loss) == pytest.approx(numpy_loss(left.numpy(), right.numpy(), 1.5, mask), rel=1e-5)
    assert float(match.loss) < float(symmetric_loss(left, right, 1.5).loss)


def test_a_batch_of_one_species_has_no_negatives_and_no_loss(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    match = symmetric_loss(*pairs, 1.0, torch.zeros(6, dtype=torch.long))
    assert float(match.loss) == 0.0
    assert float(match.accuracy) == 1.0


def test_accuracy_counts_both_directions() -> None:
    left = torch.eye(4)
    right = torch.eye(4)[[0, 1, 3, 2]]  # the last two partners are swapped
    assert float(symmetric_loss(left, right, 1.0).accuracy) == 0.5


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="alike"):
        symmetric_loss(torch.zeros(3, 2), torch.zeros(4, 2), 1.0)


def test_fixed_scale_is_ln_ten_and_has_no_parameter() -> None:
    scale = LogitScale()
    assert scale() == math.log(10)
    assert not list(scale.parameters())


def test_a_learned_scale_stops_at_its_own_highest() -> None:
    scale = LogitScale(14.0, learned=True, highest=60.0)
    with torch.no_grad():
        scale.log_scale += 3
    assert scale().item() == 60.0
    with pytest.raises(ValueError, match=r"\(0, 60\], got 61"):
        LogitScale(61.0, highest=60.0)


def test_learned_scale_has_a_gradient_and_a_ceiling(pairs: tuple[torch.Tensor, torch.Tensor]) -> None:
    scale = LogitScale(14.0, learned=True)
    symmetric_loss(*pairs, scale()).loss.backward()
    assert float(scale.log_scale.grad) != 0.0
    with torch.no_grad():
        scale.log_scale.fill_(50.0)
    assert float(torch.as_tensor(scale()).detach()) == 100.0
    with pytest.raises(ValueError, match="scale must lie"):
        LogitScale(0.0)


def two_rank_worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    inputs = {key: value[4 * rank : 4 * rank + 4] for key, value in load_file(Path(folder) / "inputs").items()}
    network = torch.nn.parallel.DistributedDataParallel(shared_network())
    left, right = network(torch.cat([inputs["left"], inputs["right"]])).split(4)
    match = symmetric_loss(left, right, 2.0, inputs["species"], inputs["cell"])
    match.loss.backward()
    save_file({"loss": match.loss.detach(), "grad": network.module.weight.grad}, Path(folder) / f"rank{rank}")
    dist.destroy_process_group()
    end_process()


def shared_network() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(6, 5, bias=False)


def test_two_gloo_ranks_equal_one_process_with_the_whole_batch() -> None:
    generator = torch.Generator().manual_seed(1)
    inputs = {
        "left": torch.randn(8, 6, generator=generator),
        "right": torch.randn(8, 6, generator=generator),
        "species": torch.tensor([0, 1, 2, 3, 1, 5, 6, 0]),
        "cell": torch.tensor([0, 1, 2, 3, 4, 2, 6, 7]),
    }
    network = shared_network()
    whole = symmetric_loss(network(inputs["left"]), network(inputs["right"]), 2.0, inputs["species"], inputs["cell"])
    whole.loss.backward()
    with tempfile.TemporaryDirectory() as folder:
        save_file(inputs, Path(folder) / "inputs")
        mp.spawn(two_rank_worker, args=(folder,), nprocs=2)
        ranks = [load_file(Path(folder) / f"rank{r}") for r in range(2)]
    assert float((ranks[0]["loss"] + ranks[1]["loss"]) / 2) == pytest.approx(float(whole.loss.detach()), rel=1e-6)
    for result in ranks:
        torch.testing.assert_close(result["grad"], network.weight.grad, rtol=1e-5, atol=1e-7)


def test_gathering_without_ranks_gives_the_rows_back() -> None:
    rows = torch.ones(2, 3)
    assert gather_rows(rows) is rows
