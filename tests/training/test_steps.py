"""Tests of training/steps.py: the small models' loop."""

import pytest
import torch
from torch import nn

from training.checkpoint import LATEST
from training.config import OptimiserSection
from training.schedule import rate_at
from training.steps import Course, annealed, folder_for, take_steps
from wildsat_core.errors import TrainingError

OPTIMISER = OptimiserSection(lr=0.05, schedule="cosine", warmup_steps=3, clip=1.0)


class Line(nn.Module):
    """y = w x + b."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def loss_at(self, step, _rng):
        x = torch.randn(32, 1, generator=torch.Generator().manual_seed(step))
        return {"error": (self.layer(x) - (2 * x + 1)).square().mean()}


def line():
    torch.manual_seed(0)
    return Line()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_a_line_is_found():
    module = line()
    take_steps(module, module.loss_at, Course("line", 200, OPTIMISER))
    assert torch.allclose(weights(module), torch.tensor([2.0, 1.0]), atol=0.02)
    assert not module.training


def test_a_run_that_was_cut_off_ends_where_the_whole_run_ends(tmp_path):
    course = Course("line", 40, OPTIMISER.model_copy(update={"ema": 0.9}), checkpoint_every=10)
    whole = line()
    take_steps(whole, whole.loss_at, course)

    def stops(step, rng):
        if step == 25:
            raise KeyboardInterrupt
        return cut.loss_at(step, rng)

    cut = line()
    with pytest.raises(KeyboardInterrupt):
        take_steps(cut, stops, course, tmp_path)
    assert (tmp_path / LATEST).read_text().strip() == "step-00000020"
    again = line()
    take_steps(again, again.loss_at, course, tmp_path)
    assert torch.equal(weights(again), weights(whole))


def test_the_mean_of_the_weights_is_what_a_run_ends_with():
    plain, averaged = line(), line()
    take_steps(plain, plain.loss_at, Course("line", 20, OPTIMISER))
    take_steps(averaged, averaged.loss_at, Course("line", 20, OPTIMISER.model_copy(update={"ema": 0.99})))
    distance = torch.tensor([2.0, 1.0])
    assert (weights(averaged) - distance).norm() > (weights(plain) - distance).norm()  # it lags behind


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    module = line()
    before = weights(module).clone()
    with pytest.raises(TrainingError, match=r"the loss of line is not finite at step 0 \(error nan\); lower the rate"):
        take_steps(module, lambda *_: {"error": module.layer.weight.sum() * float("nan")}, Course("line", 5, OPTIMISER))
    assert torch.equal(weights(module), before)


def test_a_rate_rises_over_its_first_share_and_falls_to_zero():
    section = annealed(200, 0.5, 0.1, weight_decay=0.01, clip=None)
    rates = [rate_at(step, section, steps=200, steps_per_epoch=200) for step in range(200)]
    assert rates[19] == max(rates) == 0.5
    assert rates[9] == pytest.approx(0.25)
    assert rates[199] < 1e-3
    assert (section.weight_decay, section.clip, section.ema) == (0.01, None, None)


def test_an_option_that_no_optimiser_has_is_refused():
    with pytest.raises(ValueError, match="weight_decoy"):
        annealed(200, 0.5, weight_decoy=0.1)


def test_chance_depends_on_seed_and_step_alone():
    drawn = {}

    def draws(seed):
        module = line()

        def loss_at(step, rng):
            drawn.setdefault((seed, step), []).append((rng.random(), torch.rand(()).item()))
            return module.loss_at(step, rng)

        take_steps(module, loss_at, Course("line", 3, OPTIMISER, seed))

    draws(0), draws(0), draws(1)
    assert all(len(set(values)) == 1 for values in drawn.values())
    assert len({values[0] for values in drawn.values()}) == 6


def test_runs_of_other_settings_lie_apart(tmp_path):
    first = folder_for(tmp_path, "vision", OPTIMISER, None)
    assert first == folder_for(tmp_path, "vision", OPTIMISER, None)
    assert first != folder_for(tmp_path, "vision", OPTIMISER, 3)
    assert first.parent == tmp_path
