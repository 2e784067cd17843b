"""Tests of wildsat_core/models/heads.py."""

import pytest
import torch

from wildsat_core.models.config import HeadConfig
from wildsat_core.models.heads import INPUT_GAIN, RECALL_SHARE, RECALL_SHARPNESS, LinearHead, build_head


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


@pytest.fixture
def memory_head():
    torch.manual_seed(0)
    head = build_head(HeadConfig(kind="memory", in_features=5, out_features=4, hidden=7, slots=3)).eval()
    head.remember(torch.eye(5)[:3])
    return head


def test_a_memory_head_adds_what_the_nearest_known_texts_mean(memory_head):
    text = torch.nn.functional.normalize(torch.tensor([[0.9, 0.3, 0.0, 0.1, 0.0]]), dim=1)
    plain = memory_head.line(INPUT_GAIN * text) + memory_head.bend(INPUT_GAIN * text)
    weights = (text @ memory_head.keys.T * RECALL_SHARPNESS).softmax(1)
    recalled = torch.nn.functional.normalize(weights @ memory_head.values, dim=1)
    expected = torch.nn.functional.normalize(plain, dim=1) + RECALL_SHARE * recalled
    torch.testing.assert_close(memory_head(text), expected)


def test_a_memory_holds_the_heads_own_vectors_and_travels_with_the_weights(memory_head):
    torch.testing.assert_close(memory_head.values.norm(dim=1), torch.ones(3))
    assert {"keys", "values"} <= set(memory_head.state_dict())


def test_slots_belong_to_memory_heads_alone():
    with pytest.raises(ValueError, match="needs slots"):
        HeadConfig(kind="memory", in_features=5, out_features=4, hidden=7)
    with pytest.raises(ValueError, match="has no slots"):
        HeadConfig(kind="mlp", in_features=5, out_features=4, hidden=7, slots=3)
    with pytest.raises(ValueError, match="knows no texts that share meanings"):
        HeadConfig(kind="mlp", in_features=5, out_features=4, hidden=7, meanings=3)
    with pytest.raises(ValueError, match="recalls nothing"):
        HeadConfig(kind="mlp", in_features=5, out_features=4, hidden=7, recall_share=2)


SHARED = HeadConfig(
    kind="memory", in_features=5, out_features=4, hidden=7, slots=4, meanings=2, recall_share=20, recall_voting=True
)


@pytest.fixture
def shared_head():
    """Four known texts of two meanings."""
    torch.manual_seed(0)
    head = build_head(SHARED).eval()
    keys = torch.nn.functional.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    head.fill(keys, torch.tensor([0, 1, 1, 0]), 3 * torch.eye(4)[:2])
    return head, keys


def test_texts_that_share_a_meaning_recall_its_vector(shared_head):
    head, keys = shared_head
    plain = torch.nn.functional.normalize(head.line(INPUT_GAIN * keys) + head.bend(INPUT_GAIN * keys), dim=1)
    votes = 20 * torch.exp(RECALL_SHARPNESS * (keys @ head.units.T - 1))
    expected = plain + votes @ torch.eye(4)[:2][[0, 1, 1, 0]]
    torch.testing.assert_close(head(keys), expected, atol=1e-4, rtol=1e-4)


def test_shared_memories_keep_keys_in_a_byte_a_number_and_travel_with_the_weights(shared_head):
    head, keys = shared_head
    state = head.state_dict()
    assert state["keys"].dtype == torch.int8
    assert "units" not in state
    torch.testing.assert_close(head.units, keys, atol=0.01, rtol=0)  # half a step of 127 of the largest
    other = build_head(SHARED).eval()
    other.load_state_dict(state)
    assert torch.equal(other(keys), head(keys))


def test_a_key_of_zeros_is_like_no_text(shared_head):
    head, keys = shared_head
    head.fill(torch.zeros_like(keys), torch.zeros(4, dtype=torch.int64), torch.eye(4)[:2])
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


@pytest.mark.parametrize("more", [{}, {"meanings": 2}, {"meanings": 2, "decision": 1, "recall_share": 3}])
def test_kernel_heads_are_told_what_they_need_and_nothing_else(more):
    with pytest.raises(ValueError, match="a kernel head needs meanings, recall_sharpness and decision"):
        HeadConfig(**SHAPE, **more)
    with pytest.raises(ValueError, match="decides nothing"):
        HeadConfig(kind="memory", in_features=5, out_features=4, hidden=7, slots=3, decision=2)


def test_known_texts_vote_by_how_near_they_are_with_vectors_that_were_told():
    config = HeadConfig(
        kind="memory", in_features=5, out_features=4, hidden=7, slots=3, recall_share=20, recall_sharpness=20
    )
    head = build_head(config.model_copy(update={"recall_voting": True})).eval()
    told = 3 * torch.eye(4)[:3]
    head.remember(torch.eye(5)[:3], values=told)
    torch.testing.assert_close(head.values, told / 3)
    text = torch.nn.functional.normalize(torch.tensor([[0.9, 0.3, 0.0, 0.1, 0.0]]), dim=1)
    own = torch.nn.functional.normalize(head.line(INPUT_GAIN * text) + head.bend(INPUT_GAIN * text), dim=1)
    votes = 20 * torch.exp(20 * (text[0, :3] - 1))
    torch.testing.assert_close(head(text)[0, :3], own[0, :3] + votes)
    # What is like no known text is what the perceptron makes of it.
    other = torch.eye(5)[4:]
    alone = torch.nn.functional.normalize(head.line(INPUT_GAIN * other) + head.bend(INPUT_GAIN * other), dim=1)
    torch.testing.assert_close(head(other), alone, atol=1e-6, rtol=1e-5)
