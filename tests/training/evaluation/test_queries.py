"""Tests of training/evaluation/queries.py and its tables."""

import pytest

from training.earth.vocabulary import read_csv, read_yaml
from training.evaluation.queries import is_held, read_nonsense, read_paraphrases, read_queries
from training.familiar import unrelated_texts


def test_there_are_at_least_eighty_queries_of_six_kinds_with_both_halves_in_each():
    queries = read_queries()
    assert len(queries) >= 80
    kinds = {query.kind for query in queries}
    assert kinds == {"habitat", "landform", "climate", "species", "ecoregion", "land_use"}
    for kind in kinds:
        assert len({query.held for query in queries if query.kind == kind}) == 2, kind


def test_no_query_is_asked_twice():
    texts = [query.text for query in read_queries()]
    assert len(set(texts)) == len(texts)


def test_the_half_of_a_query_depends_on_its_text_alone():
    # first bytes of SHA-256: "lemurs" 0xb1 is odd
    import hashlib

    assert is_held("lemurs") == (hashlib.sha256(b"lemurs").digest()[0] % 2 == 1)
    assert {query.held for query in read_queries()} == {True, False}


LISTS = ["queries.yaml", "fresh.yaml", "fresh2.yaml", "fresh3.yaml"]


@pytest.mark.parametrize(("table", "before"), [(table, LISTS[:i]) for i, table in enumerate(LISTS) if i])
def test_fresh_queries_are_new(table, before):
    fresh, old = read_queries(table), [query for name in before for query in read_queries(name)]
    assert len(fresh) >= 40
    assert {query.kind for query in fresh} == {query.kind for query in old}
    assert not {query.text for query in fresh} & {query.text for query in old}


def test_paraphrases_are_twenty_groups_of_three():
    groups = read_paraphrases()
    assert [len(set(group)) for group in groups] == [3] * 20


def test_nonsense_is_thirty_texts_that_calibration_never_saw():
    nonsense = read_nonsense()
    assert len(set(nonsense)) == 30
    assert not set(nonsense) & set(unrelated_texts())


@pytest.mark.parametrize("table", ["flagships.csv"])
def test_queries_are_not_sentences_of_the_tables_word_for_word(table):
    said = {name.strip() for row in read_csv(table) for name in row["names"].split(",")}
    for entries in read_yaml("facets.yaml").values():
        said |= {text for entry in entries.values() for text in entry["say"]}
    habitats = [query.text for query in read_queries() if query.kind in {"habitat", "landform", "climate", "land_use"}]
    assert not said & set(habitats)
