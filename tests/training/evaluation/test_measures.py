"""Tests of training/evaluation/measures.py: worked out by hand."""

import numpy as np
import pytest

from training.evaluation.measures import (
    average_precision,
    blended,
    bootstrap_interval,
    ndcg_at,
    precision_at,
    standardise,
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


def test_standardised_scores_have_mean_zero_and_deviation_one():
    standard = standardise(SCORES)
    np.testing.assert_allclose(standard.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(1), 1)


def test_constant_scores_do_not_divide_by_zero():
    assert (standardise(np.ones((1, 3))) == 0).all()


def test_the_ends_of_the_blend_are_the_two_spaces():
    other = SCORES[:, ::-1]
    np.testing.assert_allclose(blended(SCORES, other, 0.0), standardise(SCORES))
    np.testing.assert_allclose(blended(SCORES, other, 1.0), standardise(other))


def test_the_interval_holds_the_mean_and_is_repeatable():
    values = np.linspace(0, 1, 30)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(np.full(5, 0.4)) == (pytest.approx(0.4), pytest.approx(0.4))
