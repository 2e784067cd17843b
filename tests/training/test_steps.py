"""Tests of training/steps.py: the small models' loop."""

import pytest
import torch
from torch import nn

from training.checkpoint import LATEST
from training.config import OptimiserSection
from training.steps import Steps, take_steps
from wildsat_core.errors import TrainingError

OPTIMISER = OptimiserSection(lr=0.05, schedule="cosine", warmup_steps=3, clip=1.0)


class Line(nn.Module):
    """y = w x + b."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def loss_at(self, step):
        x = torch.randn(32, 1, generator=torch.Generator().manual_seed(step))
        return {"error": (self.layer(x) - (2 * x + 1)).square().mean()}


def line():
    torch.manual_seed(0)
    return Line()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_line_is_found():
    module = line()
    take_steps(module, module.loss_at, Steps("line", 200, OPTIMISER))
    assert torch.allclose(weights(module), torch.tensor([2.0, 1.0]), atol=0.02)
    assert not module.training


def test_a_run_that_was_cut_off_ends_where_the_whole_run_ends(tmp_path):
    plan = Steps("line", 40, OPTIMISER.model_copy(update={"ema": 0.9}), checkpoint_every=10)
    whole = line()
    take_steps(whole, whole.loss_at, plan)

    def stops(step):
        if step == 25:
            raise KeyboardInterrupt
        return cut.loss_at(step)

    cut = line()
    with pytest.raises(KeyboardInterrupt):
        take_steps(cut, stops, plan, tmp_path)
    assert (tmp_path / LATEST).read_text().strip() == "step-00000020"
    again = line()
    take_steps(again, again.loss_at, plan, tmp_path)
    assert torch.equal(weights(again), weights(whole))


def test_the_mean_of_the_weights_is_what_a_run_ends_with():
    plain, averaged = line(), line()
    take_steps(plain, plain.loss_at, Steps("line", 20, OPTIMISER))
    take_steps(averaged, averaged.loss_at, Steps("line", 20, OPTIMISER.model_copy(update={"ema": 0.99})))
    distance = torch.tensor([2.0, 1.0])
    assert (weights(averaged) - distance).norm() > (weights(plain) - distance).norm()  # it lags behind


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    module = line()
    before = weights(module).clone()
    with pytest.raises(TrainingError, match=r"the loss of line is not finite at step 0 \(error nan\); lower the rate"):
        take_steps(module, lambda _: {"error": module.layer.weight.sum() * float("nan")}, Steps("line", 5, OPTIMISER))
    assert torch.equal(weights(module), before)
