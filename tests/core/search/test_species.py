"""Species by name, and their habitat texts."""

from pathlib import Path

import numpy as np
import pytest

from wildsat_core.errors import CollectionFormatError, SpeciesNotFoundError
from wildsat_core.search.species import Species, SpeciesTable, load_species, one_edit_apart
from wildsat_core.types import BBox

TABLE = SpeciesTable(
    [
        Species("snow leopard", "Panthera uncia", "rocky cliffs"),
        Species("leopard seal", "Hydrurga leptonyx", "pack ice"),
    ]
)


def test_a_species_is_found_by_either_name_whatever_the_case() -> None:
    assert TABLE.find("Snow  Leopard") is TABLE.find("panthera UNCIA")


def test_an_unknown_species_gets_suggestions() -> None:
    with pytest.raises(SpeciesNotFoundError, match="is it snow leopard") as caught:
        TABLE.find("snow lepard")
    assert caught.value.parameter == "species"
    with pytest.raises(SpeciesNotFoundError, match="in words instead"):
        TABLE.find("qqq")


def test_words_match_beginnings_of_words_in_both_names() -> None:
    assert [s.common_name for s in TABLE.matching("leo", 10)] == ["leopard seal", "snow leopard"]
    assert [s.common_name for s in TABLE.matching("pan leop", 10)] == ["snow leopard"]
    assert TABLE.matching("eopard", 10) == []
    assert len(TABLE.matching("", 1)) == 1
    assert TABLE.matching("\\'%", 10) == []


def test_a_term_carries_the_texts_and_the_weight() -> None:
    term = TABLE.term("snow leopard", -2.0)
    assert (term.name, term.weight) == ("snow leopard", -2.0)
    assert "rocky cliffs" in term.texts


@pytest.mark.parametrize(
    "content", ["common_name,scientific_name\nfox,Vulpes vulpes\n", "common_name,habitat\n,wood\n"]
)
def test_a_table_with_a_hole_is_refused_by_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "species.csv"
    path.write_text(content)
    with pytest.raises(CollectionFormatError, match="line 2"):
        SpeciesTable.read(path)
    with pytest.raises(CollectionFormatError, match="can't be read"):
        SpeciesTable.read(tmp_path / "none.csv")


def test_the_shipped_table_has_no_name_twice_and_texts_for_all() -> None:
    species = load_species().species
    assert len(species) > 200
    names = [(s.common_name, s.scientific_name) for s in species]
    assert len(set(names)) == len(names)
    assert all(len(s.texts) == 3 for s in species)


@pytest.mark.parametrize(
    ("typed", "other", "one"),
    [
        ("ursus maritimis", "ursus maritimus", True),
        ("mangroove", "mangrove", True),
        ("dessert", "desert", True),
        ("savnana", "savanna", True),
        ("savanna", "savanna", True),
        ("lion", "lynx", False),
        ("", "a", True),
        ("abcd", "badc", False),
    ],
)
def test_one_edit_apart(typed: str, other: str, one: bool) -> None:
    assert one_edit_apart(typed, other) is one
    assert one_edit_apart(other, typed) is one


def test_the_shipped_table_knows_every_kind_of_name_and_where_they_live() -> None:
    table = load_species()
    assert len(table.species) > 25_000
    names = {"Panthera leo", "lion", "AFRICAN LION"}
    assert {table.find(name).scientific_name for name in names} == {"Panthera leo"}
    lion, dragon = table.find("lion").region, table.find("Komodo dragon").region
    assert lion is not None and dragon is not None  # noqa: PT018
    kenya, brazil = np.array([[36.0, -2.0, 38.0, 0.0]]).T, np.array([[-50.0, -10.0, -48.0, -8.0]]).T
    assert lion.holds(*kenya)[0] and not lion.holds(*brazil)[0]  # noqa: PT018
    komodo, java = np.array([[119.2, -8.8, 119.7, -8.4]]).T, np.array([[110.0, -8.0, 110.5, -7.5]]).T
    assert dragon.holds(*komodo)[0] and not dragon.holds(*java)[0]  # noqa: PT018
    assert table.near("Ursus maritimis")[0] == "ursus maritimus"


def test_a_later_row_lends_its_range_and_its_names() -> None:
    box = BBox(0.0, 0.0, 10.0, 10.0)
    table = SpeciesTable(
        [Species("my cat", "Felis mea", "sofas"), Species("house cat", "Felis mea", "towns", "moggy", box)]
    )
    (one,) = table.species
    assert (one.common_name, one.habitat, one.box) == ("my cat", "sofas", box)
    assert table.find("house cat") is one is table.find("Moggy")


def test_a_species_that_was_moved_to_another_genus_is_one_and_found_by_both_names():
    table = load_species()
    assert [one.scientific_name for one in table.matching("snow leopard", 9)] == ["Panthera uncia"]
    moved = table.find("Uncia uncia")
    assert (moved.scientific_name, moved.common_name) == ("Panthera uncia", "snow leopard")
    assert moved.region is not None
