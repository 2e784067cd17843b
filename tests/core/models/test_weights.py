"""Loading is exact: every key and shape fits, or nothing is loaded and each misfit is named."""

import pytest
import torch
from torch import nn

from wildsat_core.errors import CheckpointError
from wildsat_core.models.weights import load_exactly

FITS = {"weight": torch.ones(2, 2), "bias": torch.ones(2)}


@pytest.mark.parametrize("may_miss", [frozenset(), frozenset({"bias"}), frozenset({"extra"})])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra": torch.ones(1)}, r"unknown 1 \(extra\)"),
        ({"weight": torch.ones(2, 3)}, r"of another shape 1 \(weight \(2, 3\) instead of \(2, 2\)\)"),
        ({"weight": None}, r"missing 1 \(weight\)"),
        ({"weight": None, "w": torch.ones(2, 2)}, r"missing 1 \(weight\); unknown 1 \(w\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_loads_nothing(changes, said, may_miss):
    layer = nn.Linear(2, 2)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    weights = {key: value for key, value in (FITS | changes).items() if value is not None}
    with pytest.raises(CheckpointError, match=f"^a file does not fit Linear: {said}"):
        load_exactly(layer, weights, "a file", may_miss)
    torch.testing.assert_close(layer.state_dict(), before, atol=0, rtol=0)


def test_a_key_that_may_be_absent_keeps_the_modules_own_value():
    layer = nn.Linear(2, 2)
    bias = layer.bias.detach().clone()
    load_exactly(layer, {"weight": FITS["weight"]}, "a file", frozenset({"bias"}))
    torch.testing.assert_close(layer.bias.detach(), bias)
    torch.testing.assert_close(layer.weight.detach(), FITS["weight"])
    load_exactly(layer, FITS, "a file", frozenset({"bias"}))
    torch.testing.assert_close(layer.bias.detach(), FITS["bias"])
