"""Tests of training/earth/vocabulary.py and the tables that it reads."""

from collections import Counter

import numpy as np
import pytest

from training.earth.vocabulary import Vocabulary, read_csv, read_yaml, tables_digest
from training.evaluation.queries import read_queries
from training.mini.climate_sentences import read_attributes
from training.mini.habitat_sentences import FIELD_TABLES, WORD_TABLES
from wildsat_core.errors import InvalidInputError


@pytest.fixture(scope="module")
def vocabulary(six_cells):
    return Vocabulary(six_cells)


def named(vocabulary, mask):
    names = {-3: "Manaus", 24: "Sahara", 62: "Yakutia", 30: "Lhasa", -17: "Fiji"}
    return {names[round(float(lat))] for lat in vocabulary.cells.lat[mask]}


def test_facets_are_true_where_they_should_be(vocabulary):
    assert named(vocabulary, vocabulary.facets["rainforest"].mask) == {"Manaus", "Fiji"}
    assert named(vocabulary, vocabulary.facets["hyper"].mask) == {"Sahara"}
    assert named(vocabulary, vocabulary.facets["larch"].mask) == {"Yakutia"}
    assert named(vocabulary, vocabulary.facets["vhigh"].mask) == {"Lhasa"}
    assert named(vocabulary, vocabulary.facets["tropisl"].mask) == {"Fiji"}


def test_continents_and_regions_are_where_they_are(vocabulary):
    assert named(vocabulary, vocabulary.places["South America"].mask) == {"Manaus"}
    assert named(vocabulary, vocabulary.places["Africa"].mask) == {"Sahara"}
    assert named(vocabulary, vocabulary.places["Asia"].mask) == {"Lhasa", "Yakutia"}
    assert named(vocabulary, vocabulary.places["Tibetan Plateau"].mask) == {"Lhasa"}


def test_a_place_may_be_given_by_name_or_by_boxes(vocabulary):
    assert named(vocabulary, vocabulary.any_place("Siberia")) == {"Yakutia"}
    assert named(vocabulary, vocabulary.any_place("-62 -5 -58 -1;8 20 12 26")) == {"Manaus", "Sahara"}


def test_an_unknown_facet_or_place_is_named(vocabulary):
    with pytest.raises(InvalidInputError, match="rainfrost"):
        vocabulary.any_facet(["rainfrost"])
    with pytest.raises(InvalidInputError, match="Atlantis"):
        vocabulary.predicates.mask("place('Atlantis')")


def test_every_flagship_names_known_facets_and_places(vocabulary):
    for row in read_csv("flagships.csv"):
        assert vocabulary.any_facet(row["facets"].split()).shape == (6,), row["names"]
        assert vocabulary.any_place(row["where"]).shape == (6,), row["names"]


def test_every_attribute_use_and_query_can_be_evaluated(vocabulary):
    assert all(attribute.mask.shape == (6,) for attribute in read_attributes(vocabulary))
    said = [entry for table in ("uses.yaml", *WORD_TABLES, *FIELD_TABLES) for entry in read_yaml(table)]
    said += [entry for part in read_yaml("pairs.yaml").values() for entry in part]
    asked = [
        query for table in ("queries.yaml", "fresh.yaml", "fresh2.yaml", "fresh3.yaml") for query in read_queries(table)
    ]
    predicates = [entry["where"] for entry in said] + [query.predicate for query in asked]
    masks = np.stack([vocabulary.predicates.mask(predicate) for predicate in predicates])
    assert masks.any(1).sum() > 30


@pytest.mark.parametrize("table", ["terms.yaml", *FIELD_TABLES])
def test_a_table_of_words_says_each_thing_of_one_land_only(table):
    entries = read_yaml(table)
    said = [phrase.lower().replace("-", " ") for entry in entries for phrase in entry["say"]]
    assert [phrase for phrase, times in Counter(said).items() if times > 1] == []
    assert [entry["where"] for entry in entries if "ecoregion(" in entry["where"]] == []  # they judge, they don't teach


def test_biomes_and_realms_are_made_of_known_names(vocabulary):
    tables = read_yaml("ecology.yaml")
    assert {name for names in tables["biomes"].values() for name in names} <= set(vocabulary.facets)
    assert {name for names in tables["realms"].values() for name in names} <= set(vocabulary.places)


def test_what_is_kept_of_the_tables_is_named_anew_when_one_of_them_changes(tmp_path, monkeypatch):
    monkeypatch.setattr("training.earth.vocabulary.resources.files", lambda _: tmp_path)
    (tmp_path / "tables").mkdir()
    names = []
    for name, text in [("a.yaml", "x"), ("b.yaml", "y"), ("b.yaml", "z"), ("b.yaml", "y")]:
        (tmp_path / "tables" / name).write_text(text, encoding="utf-8")
        names.append(tables_digest())
    assert names[1] == names[3]
    assert len(set(names)) == 3
