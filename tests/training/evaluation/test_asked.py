"""Tests of training/evaluation/asked.py and the tables it asks from."""

import numpy as np
import pytest

from training.evaluation.asked import hubness, precision_of
from training.evaluation.queries import read_asked, read_queries


def test_short_queries_are_many_of_every_kind_and_both_halves():
    queries = read_queries("short.yaml")
    assert len(queries) >= 200
    assert all(len(query.text.split()) <= 3 for query in queries)
    assert {"habitat", "landform", "climate", "species", "region", "protected", "water", "island", "city"} <= {
        query.kind for query in queries
    }
    assert {query.held for query in queries} == {True, False}


def test_fresh_short_queries_are_new():
    old = {query.text.casefold() for table in ("short.yaml", "queries.yaml") for query in read_queries(table)}
    fresh = {query.text.casefold() for query in read_queries("fresh_short.yaml")}
    later, last = (
        {query.text.casefold() for query in read_queries(table)} for table in ("fresh2_short.yaml", "fresh3_short.yaml")
    )
    assert len(later) >= 60 <= len(last)
    assert not fresh & old
    assert not later & (old | fresh)
    assert not last & (old | fresh | later)


def test_questions_have_each_what_they_are_judged_by():
    asked = read_asked()
    assert set(asked) == {"place", "not", "typo", "language", "foreign"}
    assert all(isinstance(claim, str) for claim in asked["place"].values())


def test_precision_counts_what_could_be_found():
    truth = np.zeros(100, bool)
    truth[:4] = True
    assert precision_of(np.asarray([0, 1, 50, 51]), truth) == 0.5
    assert precision_of(np.asarray([0]), truth, 1) == 1.0
    assert precision_of(np.arange(20), np.ones(100, bool)) == 1.0


def test_hubness_is_the_skew_of_how_often_tiles_come_first():
    even = hubness([np.arange(i, i + 10) % 100 for i in range(0, 100, 10)], 100)
    hub = hubness([np.r_[0, np.arange(i + 1, i + 10)] for i in range(0, 90, 10)], 100)
    assert even["most"] == 1
    assert hub["most"] == 9
    assert hub["skew"] > 5 > even["skew"]
    times = np.asarray([9.0] + [1.0] * 81 + [0.0] * 18)
    expected = ((times - times.mean()) ** 3).mean() / times.std() ** 3
    assert hub["skew"] == pytest.approx(expected, abs=0.01)
