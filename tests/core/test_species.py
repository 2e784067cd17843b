"""Species by name, and their habitat texts."""

from pathlib import Path

import pytest

from wildsat_core.errors import CollectionFormatError, SpeciesNotFoundError
from wildsat_core.species import Species, SpeciesTable, load_species

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
    names = [s.common_name for s in species]
    assert len(set(names)) == len(names)
    assert all(len(s.texts) == 3 for s in species)
