"""Tests of training/soft_losses.py, against NumPy."""

import numpy as np
import pytest
import torch

from training.soft_losses import alignment, follow_teacher, texts_to_tiles, tiles_to_texts, two_views

LOGITS = np.asarray([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
TRUTH = np.asarray([[1.0, 0.5, 0.0], [0.0, 0.0, 0.8]])
MIXED = np.asarray([[1.0, 0.5, 0.2], [0.25, 0.75, 0.9]])  # both sentences are true of a part of each tile


def log_softmax(values, axis):
    return values - np.log(np.exp(values).sum(axis, keepdims=True))


def test_texts_to_tiles_is_cross_entropy_with_soft_targets():
    target = TRUTH / TRUTH.sum(1, keepdims=True)
    expected = -(target * log_softmax(LOGITS, 1)).sum(1).mean()
    found = texts_to_tiles(torch.from_numpy(LOGITS), torch.from_numpy(TRUTH))
    assert found.item() == pytest.approx(expected)


def test_a_sentence_true_of_nothing_in_the_batch_is_left_out():
    truth = TRUTH.copy()
    truth[1] = 0.0
    expected = -(TRUTH[0] / 1.5 * log_softmax(LOGITS, 1)[0]).sum()
    assert texts_to_tiles(torch.from_numpy(LOGITS), torch.from_numpy(truth)).item() == pytest.approx(expected)


def test_nothing_true_at_all_gives_zero_and_a_gradient():
    logits = torch.from_numpy(LOGITS).requires_grad_()
    loss = texts_to_tiles(logits, torch.zeros(2, 3, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None


def test_telling_sentences_count_more_for_a_tile():
    truth = np.asarray([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    mass = np.asarray([99.0, 3.0])
    telling = truth / np.sqrt(mass + 1)[:, None]
    target = telling / telling.sum(0)
    expected = -(target * log_softmax(LOGITS, 0)).sum(0).mean()
    found = tiles_to_texts(torch.from_numpy(LOGITS), torch.from_numpy(truth), torch.from_numpy(mass))
    assert found.item() == pytest.approx(expected)
    assert target[1, 0] > target[0, 0]


def test_a_tile_counts_by_the_share_that_a_sentence_is_true_of():
    mass = np.asarray([8.0, 3.0])
    target = MIXED / np.sqrt(mass + 1)[:, None]
    target /= target.sum(0)
    expected = -(target * log_softmax(LOGITS, 0)).sum(0).mean()
    found = tiles_to_texts(torch.from_numpy(LOGITS), torch.from_numpy(MIXED), torch.from_numpy(mass))
    assert found.item() == pytest.approx(expected)


def test_alignment_is_both_directions_with_the_mass_of_the_batch():
    logits, truth = torch.from_numpy(LOGITS), torch.from_numpy(MIXED)
    there, back = texts_to_tiles(logits, truth), tiles_to_texts(logits, truth, torch.tensor([1.7, 1.9]))
    assert alignment(logits, truth).item() == pytest.approx(there.item() + 0.5 * back.item())


def test_two_views_leaves_neighbours_out():
    first = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=1)
    same = torch.eye(3, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    logits = (first @ first.T * 5).numpy()
    logits[0, 2] = logits[2, 0] = -np.inf
    expected = -np.diag(log_softmax(logits, 1)).mean()  # symmetric: both directions are equal
    assert two_views(first, first, torch.tensor(5.0), same).item() == pytest.approx(expected, rel=1e-5)


def test_following_the_teacher_is_cross_entropy_with_its_similarities():
    teacher = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    student = np.asarray([[0.8, 0.6], [0.6, 0.8]])
    target = np.exp(log_softmax(teacher @ teacher.T * 2, 1))
    expected = -(target * log_softmax(student @ teacher.T * 3, 1)).sum(1).mean()
    found = follow_teacher(*map(torch.from_numpy, (student, teacher, teacher)), torch.tensor(3.0), 2.0)
    assert found.item() == pytest.approx(expected)
