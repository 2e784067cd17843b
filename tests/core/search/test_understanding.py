"""Tests of search/understanding: a table of questions and what is to be read from them, and the rules one by one."""

import numpy as np
import pytest

from tests.core.search.fakes import FakeModel, random_collection
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Filters, Query, TextTerm
from wildsat_core.search.species import load_species
from wildsat_core.search.understanding import understand
from wildsat_core.search.understanding.language import language_of
from wildsat_core.search.understanding.names import load_gazetteer
from wildsat_core.search.understanding.negation import split_negation


def read(text, undone=()):
    return understand(text, load_species(), undone=frozenset(undone))


def places(reading):
    return sorted(reading.countries) + [region.name for region in reading.regions]


@pytest.mark.parametrize(
    ("asked", "wanted", "where"),
    [
        ("rainforest in Gabon", "rainforest", ["GAB"]),
        ("lakes in Finland", "lakes", ["FIN"]),
        ("steppe in Mongolia and Kazakhstan", "steppe", ["KAZ", "MNG"]),
        ("cloud forest in the Andes of Peru", "cloud forest", ["PER", "Andes"]),
        ("forest in the United States", "forest", ["USA"]),
        ("UK moorland", "moorland", ["GBR"]),
        ("swamps of DR Congo", "swamps", ["COD"]),
        ("jungle in Ivory Coast", "jungle", ["CIV"]),
        ("Brazilian savanna", "savanna", ["BRA"]),
        ("sand dunes of the Namib", "sand dunes", ["Namib"]),
        ("desert in Turkey", "desert", ["TUR"]),
        ("rainforest on Java", "rainforest", ["Java"]),
        ("coral reef near Fiji", "coral reef", ["FJI"]),
        ("tropical island", "tropical island", []),  # not Iceland, whose German name it is
        ("forest on the island", "forest on the island", []),
        ("tundra in Iceland", "tundra", ["ISL"]),
        ("Death Valley", "Death Valley", ["Death Valley"]),
        ("the serengeti", "the serengeti", ["Serengeti"]),
        ("Kruger", "Kruger", ["Kruger National Park"]),
        ("Mt Kilimanjaro", "Mt Kilimanjaro", ["Kilimanjaro"]),
        ("New Zealand", "New Zealand", ["NZL"]),
        ("outback", "outback", []),
        ("a bear that hunts seals on sea ice", "a bear that hunts seals on sea ice", []),
        ("mild rain and green hills", "mild rain and green hills", []),
    ],
)
def test_places_become_filters_and_the_rest_is_searched(asked, wanted, where):
    reading = read(asked)
    assert (reading.wanted, places(reading)) == (wanted, where)


@pytest.mark.parametrize(
    ("asked", "scientific"),
    [
        ("lion", "Panthera leo"),
        ("Lions", "Panthera leo"),
        ("Ursus maritimus", "Ursus maritimus"),
        ("Ursus maritimis", "Ursus maritimus"),
        ("where do snow leopards live", "Panthera uncia"),
        ("habitat of the Komodo dragon", "Varanus komodoensis"),
        ("Crotalus atrox", "Crotalus atrox"),
        ("golden eagle", "Aquila chrysaetos"),
    ],
)
def test_species_by_any_name(asked, scientific):
    reading = read(asked)
    assert [one.meaning for one in reading.found if one.kind == "species"] == [scientific]
    assert (reading.wanted, len(reading.species)) == ("", 1)


def test_a_species_in_a_place_is_both():
    reading = read("tiger in Siberia")
    assert [term.name for term in reading.species] == ["Tiger"]
    assert places(reading) == ["Siberia"]


@pytest.mark.parametrize(
    ("asked", "wanted", "unwanted"),
    [
        ("not forest", "", ["forest"]),
        ("forest but not pine", "forest", ["pine"]),
        ("grassland without trees", "grassland", ["trees"]),
        ("savanna -farmland", "savanna", ["farmland"]),
        ("no trees", "", ["trees"]),
        ("desert except for sand dunes, with hills", "desert , with hills", ["sand dunes"]),
        ("not desert and not sea", "", ["desert", "sea"]),
        ("semi-desert", "semi-desert", []),
        (
            "a place where it never rains more than a few millimetres",
            "a place where it never rains more than a few millimetres",
            [],
        ),
        ("Norway", "Norway", []),
        ("", "", []),
    ],
)
def test_negation(asked, wanted, unwanted):
    assert split_negation(asked) == (wanted, unwanted)


@pytest.mark.parametrize(
    ("asked", "land"),
    [
        ("rainforest", True),
        ("vast flat plain barely above the sea", True),
        ("a sea of sand", True),
        ("oceanic climate", True),
        ("rainforest in Gabon", True),
        ("desert, not coast", True),
        ("not forest", True),
        ("no sea", True),
        ("island without palms", False),
        ("selva tropical", True),
        ("lion", True),
        ("mangroves", True),
        ("mangrove forest on a tropical coast", True),
        ("coral reef", False),
        ("tropical island", False),
        ("a bear that hunts seals on sea ice", False),
        ("fjords in Norway", True),
        ("emperor penguin", False),
        ("open sea", False),
        ("Fiji", False),
        ("like the Serengeti", False),
        ("où habite le renard des sables", False),
    ],
)
def test_questions_about_land_are_told_from_those_about_the_sea(asked, land):
    reading = read(asked)
    assert (reading.about_land, reading.understood.about_land) == (land, land)
    assert reading.narrow(Filters()).show_land == (0.0 if land else 0.5 if asked == "Fiji" else None)
    assert reading.narrow(Filters(min_land=0.0)).show_land is None


def test_what_is_not_wanted_weighs_against():
    terms = {term.label: term.weight for term in read("forest but not pine").terms}
    assert terms == {"forest": 1.0, "pine": -1.0}


def test_a_place_that_is_not_wanted_is_left_out():
    reading = read("wetlands of Africa but not in Egypt")
    assert (reading.wanted, places(reading), reading.not_countries) == ("wetlands", ["Africa"], {"EGY"})
    assert reading.unwanted == ()


def test_like_a_place_looks_like_it_and_is_anywhere():
    reading = read("places like the Serengeti")
    ((lon, lat),) = reading.likes
    assert 33 < lon < 36 and -4 < lat < -1  # noqa: PT018
    assert (reading.wanted, places(reading)) == ("", [])


@pytest.mark.parametrize(
    ("asked", "english", "language"),
    [
        ("forêt tropicale", "rainforest", "French"),
        ("Wüste", "desert", "German"),
        ("пустыня", "desert", "Russian"),
        ("雨林", "rainforest", "Chinese"),
        ("أشجار المانغروف", "mangroves", "Arabic"),
        ("manglares", "mangroves", "Spanish"),
    ],
)
def test_common_words_of_other_languages(asked, english, language):
    reading = read(asked)
    assert reading.wanted == english
    assert language in reading.found[0].say
    assert not reading.foreign


def test_other_words_of_other_languages_are_named_and_not_guessed():
    reading = read("où habite le renard des sables")
    assert reading.foreign
    assert "French" in (reading.message or "")
    assert read("東京タワーの写真").foreign
    assert language_of("jezioro w górach") == "another language than English"


@pytest.mark.parametrize(
    ("asked", "better"),
    [
        ("mangroove", "mangrove"),
        ("dessert", "desert"),
        ("rainforrest in Gabon", "rainforest in Gabon"),
        ("tundrra", "tundra"),
        ("volcanos in Icland", "volcanos in Iceland"),
        ("rainforest in Braxil", "rainforest in Brazil"),
        ("dunes in Nambia", "dunes in Namibia"),
        ("snow near the Kilimanjar", "snow near the Kilimanjaro"),
        ("deer in the forresst", "deer in the forest"),
        ("coast of islnd", "coast of island"),
        ("volcanos", None),
        ("toucan", None),
        ("forest", None),
        ("Serengeti", None),
        ("Ursus maritimus", None),
        ("fynbos", None),
    ],
)
def test_a_misspelt_word_is_only_suggested(asked, better):
    reading = read(asked)
    assert reading.suggestion == better
    if better and not reading.found:
        assert reading.wanted == asked


def test_what_was_understood_can_be_taken_back():
    reading = read("rainforest in Gabon")
    assert [one.id for one in reading.found] == ["country:gabon"]
    back = read("rainforest in Gabon", undone=["country:gabon"])
    assert (back.wanted, places(back), back.found) == ("rainforest in Gabon", [], ())
    assert read("lion", undone=["species:lion"]).wanted == "lion"
    assert read("forest but not pine", undone=["not:pine"]).wanted == "forest but not pine"
    assert read("Wüste", undone=["language:wüste"]).wanted == "Wüste"


def test_any_text_whatever_gives_a_reading_that_ranks():
    rng = np.random.default_rng(0)
    letters = [*"abc -,.'\"?!()éß雨ж\u200b\n\t0", "not ", " in ", "like ", "Gabon ", "lion ", "the "]
    for _ in range(300):
        text = "".join(rng.choice(letters, int(rng.integers(1, 14)))) + "x"
        reading = read(text)
        assert reading.terms, text
        assert understand(text, load_species()) == reading


def test_every_place_lies_on_the_globe_and_is_found_by_its_names():
    gazetteer = load_gazetteer()
    for name in (
        "Serengeti",
        "KRUGER",
        "the Alps",
        "galápagos",
        "Côte d’Ivoire",
        "Deutschland",
        "Россия",
        "中国",
        "Kosovo",
    ):
        assert gazetteer.find(name) is not None, name
    assert gazetteer.find("Atlantis") is None


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return SearchEngine(random_collection(tmp_path_factory.mktemp("named"), 400), FakeModel())


def test_a_country_of_the_question_and_one_of_the_filters_narrow_together(engine):
    query = read("forest in Brazil").apply(Query(k=400))
    assert {hit.tile.country for hit in engine.search(query).hits} == {"BRA"}
    both = read("forest in Brazil").apply(Query(filters=Filters(countries=frozenset({"BRA", "NOR"}))))
    assert both.filters.countries == {"BRA"}
    other = read("forest, not in Brazil").apply(Query(k=400))
    assert "BRA" not in {hit.tile.country for hit in engine.search(other).hits}


def test_a_region_keeps_what_lies_in_it(engine):
    result = engine.search(read("grass in Africa").apply(Query(k=400)))
    assert 0 < len(result.hits) < 100
    for hit in result.hits:
        lon, lat = hit.tile.lon_lat
        assert -18 <= lon <= 51.5 and -35 <= lat <= 37.2  # noqa: PT018


def test_a_range_without_tiles_filters_nothing(engine):
    query = read("Komodo dragon").apply(Query(k=400))
    assert query.filters.ranges
    few = engine.collection.tiles.lon
    assert engine.search(query).matched in range(1, len(few) + 1)
    nowhere = read("lion in Greenland")
    assert engine.search(nowhere.apply(Query(k=5))).matched <= 5


def test_names_match_and_foreign_texts_do_not(engine):
    class Strict(FakeModel):
        def are_unfamiliar(self, texts):
            return [True for _ in texts]

    strict = SearchEngine(engine.collection, Strict())
    for text, no_match in (
        ("Death Valley", False),
        ("lion", False),
        ("places like Death Valley", False),
        ("ramen in Gabon", True),
        ("où habite le renard des sables", True),
    ):
        assert strict.search(read(text).apply(Query(k=1))).no_match is no_match, text
    assert strict.search(Query((TextTerm("lion"),), k=1)).understood is None
