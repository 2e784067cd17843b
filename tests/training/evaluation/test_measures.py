"""Tests of training/evaluation/measures.py: worked out by hand."""

import numpy as np
import pytest

from training.evaluation.measures import (
    average_precision,
    bootstrap_interval,
    ndcg_at,
    precision_at,
)

SCORES = np.asarray([[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]])
TRUTH = np.asarray([[True, False, True, False], [True, False, False, False]])


def test_precision_counts_the_best_k():
    np.testing.assert_allclose(precision_at(SCORES, TRUTH, 1), [1.0, 0.0])
    np.testing.assert_allclose(precision_at(SCORES, TRUTH, 3), [2 / 2, 0.0])


def test_precision_asks_no_more_than_there_is_to_find():
    np.testing.assert_allclose(precision_at(SCORES, TRUTH, 4), [1.0, 1.0])


def test_precision_with_more_asked_than_tiles_and_with_nothing_relevant():
    np.testing.assert_allclose(precision_at(SCORES, np.zeros_like(TRUTH), 50), [0.0, 0.0])


def test_ndcg_discounts_by_rank():
    ideal = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg_at(SCORES, TRUTH, 4), [(1 + 1 / np.log2(4)) / ideal, 1 / np.log2(5)])


def test_average_precision_is_the_mean_over_relevant_ranks():
    np.testing.assert_allclose(average_precision(SCORES, TRUTH), [(1 + 2 / 3) / 2, 1 / 4])


def test_the_interval_holds_the_mean_and_is_repeatable():
    values = np.linspace(0, 1, 30)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.full(5, 0.4)) == (pytest.approx(0.4), pytest.approx(0.4))
