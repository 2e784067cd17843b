"""Tests of wildsat_core/models/heads.py."""

import pytest
import torch

from wildsat_core.models.config import HeadConfig
from wildsat_core.models.heads import INPUT_GAIN, LinearHead, build_head


def test_linear_head_is_a_matrix_without_bias():
    head = build_head(HeadConfig(in_features=3, out_features=2))
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]]))
    assert isinstance(head, LinearHead)
    assert list(head.state_dict()) == ["weight"]
    assert head(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [[7.0, -0.5]]


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_heads_with_a_hidden_layer_give_the_asked_size(kind):
    head = build_head(HeadConfig(kind=kind, in_features=5, out_features=4, hidden=7)).eval()
    assert head(torch.zeros(3, 5)).shape == (3, 4)


def test_residual_head_is_the_line_and_the_bend_of_the_raised_input_added():
    torch.manual_seed(0)
    head = build_head(HeadConfig(kind="residual", in_features=5, out_features=4, hidden=7)).eval()
    x = torch.nn.functional.normalize(torch.randn(3, 5), dim=1)
    expected = head.line(INPUT_GAIN * x) + head.bend(INPUT_GAIN * x)
    torch.testing.assert_close(head(x), expected)


MEMORY = {"kind": "memory", "in_features": 5, "out_features": 4, "hidden": 7, "slots": 4, "meanings": 2}
RECALL = {"recall_features": 4, "recall_share": 20, "recall_sharpness": 15}


@pytest.fixture
def memory_head():
    """Four known texts of two meanings."""
    torch.manual_seed(0)
    head = build_head(HeadConfig(**MEMORY, **RECALL)).eval()
    keys = torch.nn.functional.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    head.remember(keys, torch.tensor([0, 1, 1, 0]), 3 * torch.eye(4)[:2])
    return head, keys


def own(head, texts):
    return torch.nn.functional.normalize(head.line(INPUT_GAIN * texts) + head.bend(INPUT_GAIN * texts), dim=1)


def test_a_memory_adds_what_known_texts_mean_by_how_near_they_are(memory_head):
    head, keys = memory_head
    votes = 20 * torch.exp(15 * (keys @ keys.T - 1))  # four directions hold all of four texts
    expected = own(head, keys) + votes @ torch.eye(4)[:2][[0, 1, 1, 0]]
    torch.testing.assert_close(head(keys), expected, atol=0.05, rtol=0.02)  # a byte a number


def test_a_memory_compares_texts_in_the_directions_in_which_known_ones_differ_most():
    head = build_head(HeadConfig(**MEMORY, **RECALL | {"recall_features": 2})).eval()
    keys = torch.tensor([[0.8, 0.6, 0, 0, 0], [0.8, -0.6, 0, 0, 0], [0.6, 0.8, 0, 0, 0], [0.8, 0.6, 0.01, 0, 0]])
    head.remember(keys, torch.tensor([0, 1, 1, 0]), torch.eye(4)[:2])
    torch.testing.assert_close(head.basis[:2] @ head.basis[:2].T, torch.eye(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(head.basis.T @ head.basis, torch.eye(2), atol=1e-3, rtol=0)
    beside = torch.tensor([[0.8, 0.6, 0.0, 5.0, 0.0]])  # what no known text has is not looked at
    recalled = head(beside) - own(head, beside)
    assert recalled[0, 0] > 20
    assert recalled[0, 0] > 2 * recalled[0, 1]


def test_a_memory_leaves_what_is_like_no_known_text_to_the_perceptron(memory_head):
    head, _ = memory_head
    head.remember(torch.eye(5)[:4], torch.tensor([0, 1, 1, 0]), torch.eye(4)[:2])
    text = torch.eye(5)[4:]
    torch.testing.assert_close(head(text), own(head, text), atol=1e-4, rtol=1e-4)


def test_a_memory_keeps_keys_in_a_byte_a_number_and_travels_with_the_weights(memory_head):
    head, keys = memory_head
    state = head.state_dict()
    assert state["keys"].dtype == torch.int8
    assert state["values"].dtype == torch.int8
    assert not {"units", "vectors"} & state.keys()
    torch.testing.assert_close(head.units @ head.units.T, keys @ keys.T, atol=0.02, rtol=0)  # a byte a number
    torch.testing.assert_close(head.vectors, torch.eye(4)[:2])
    other = build_head(HeadConfig(**MEMORY, **RECALL)).eval()
    other.load_state_dict(state)
    assert torch.equal(other(keys), head(keys))


def test_a_key_of_zeros_is_like_no_text(memory_head):
    head, keys = memory_head
    head.remember(torch.zeros_like(keys), torch.zeros(4, dtype=torch.int64), torch.eye(4)[:2])
    assert torch.isfinite(head(keys)).all()
    assert not head.units.any()


SHAPE = {"kind": "kernel", "in_features": 5, "out_features": 3, "slots": 6, "recall_sharpness": 2}


@pytest.fixture
def kernel_head():
    """Six known texts in two groups that mean different things, the second with something beside."""
    head = build_head(HeadConfig(**SHAPE, meanings=2, decision=4)).eval()
    near_axes = torch.eye(5).repeat_interleave(3, 0)[:6]
    shaken = near_axes + 0.2 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    votes = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)
    values = torch.tensor([[0.0, 0.0, 0.0]] * 3 + [[0.0, 0.0, 1.0]] * 3)
    head.fit(torch.nn.functional.normalize(shaken, dim=1), votes, values, torch.eye(3)[:2], 0.1)
    return head, votes, values


def test_a_kernel_head_is_the_ridge_regression_of_what_known_texts_mean(kernel_head):
    """Against the solution as an explicit inverse, in double precision."""
    head, votes, values = kernel_head
    keys, targets = head.keys.double(), torch.cat([votes, values], 1).double()
    text = torch.nn.functional.normalize(torch.tensor([[0.9, 0.3, 0.0, 0.1, 0.0]]), dim=1)
    near = torch.exp(2 * (keys @ keys.T - 1)) + 0.1 * torch.eye(6)
    mean = targets.mean(0)
    told = torch.exp(2 * (text.double() @ keys.T - 1)) @ torch.inverse(near) @ (targets - mean) + mean
    expected = (4 * told[:, :2]).softmax(1) @ torch.eye(3)[:2].double() + told[:, 2:]
    torch.testing.assert_close(head(text).double(), expected, atol=2e-3, rtol=1e-3)  # learned is kept in float16


def test_a_kernel_head_gives_near_texts_what_known_ones_mean(kernel_head):
    head, *_ = kernel_head
    found = head(torch.eye(5)[:2])
    assert found[:, :2].argmax(1).tolist() == [0, 1]
    assert found[:, :2].max(1).values.min() > 0.85  # nearly pure
    assert found[1, 2] > 0.7
    assert found[0, 2] < 0.3
    for name in ("keys", "votes", "values"):
        kept = head.state_dict()[name]
        assert torch.equal(kept, kept.half().float())  # as the weight file will have it


@pytest.mark.parametrize(
    ("shape", "needs"),
    [
        (SHAPE, "kernel head needs slots, meanings, recall_sharpness, decision, got slots, recall_sharpness"),
        (SHAPE | {"meanings": 2, "decision": 1, "recall_share": 3}, "a kernel head needs"),
        (MEMORY, "needs slots, meanings, recall_features, recall_share, recall_sharpness, got slots, meanings"),
        (MEMORY | RECALL | {"decision": 2}, "a memory head needs"),
        (MEMORY | RECALL | {"recall_features": 6}, "at most in_features, 5, got 6"),
        ({"kind": "mlp", "in_features": 5, "out_features": 4, "hidden": 7, "slots": 3}, "no texts: leave out slots"),
    ],
)
def test_heads_are_told_what_they_need_of_known_texts_and_nothing_else(shape, needs):
    with pytest.raises(ValueError, match=needs):
        HeadConfig(**shape)
