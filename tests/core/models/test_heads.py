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
    with pytest.raises(ValueError, match="recalls nothing"):
        HeadConfig(kind="mlp", in_features=5, out_features=4, hidden=7, recall_share=2)


def test_texts_that_mean_the_same_recall_the_mean_of_their_vectors():
    head = build_head(
        HeadConfig(kind="memory", in_features=5, out_features=4, hidden=7, slots=4, recall_share=3, recall_sharpness=25)
    ).eval()
    keys = torch.nn.functional.normalize(torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), dim=1)
    head.remember(keys)
    own = head.values.clone()
    head.remember(keys, torch.tensor([1, -1, 1, -1]))
    shared = torch.nn.functional.normalize(own[0] + own[2], dim=0)
    torch.testing.assert_close(head.values, torch.stack([shared, own[1], shared, own[3]]))
    weights = (keys[:1] @ keys.T * 25).softmax(1)
    recalled = torch.nn.functional.normalize(weights @ head.values, dim=1)
    torch.testing.assert_close(head(keys[:1]), own[:1] + 3 * recalled)


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
