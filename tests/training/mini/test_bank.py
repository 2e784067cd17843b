"""Tests of training/mini/bank.py, sampling.py and the sentence makers."""

import random

import numpy as np
import pytest

from training.earth.squares import TileTable, land_shares
from training.earth.vocabulary import Vocabulary
from training.mini import habitat_sentences
from training.mini.bank import FULL, Bank, BankBuilder
from training.mini.climate_sentences import add_climate_sentences
from training.mini.habitat_sentences import add_pairs
from training.mini.sampling import SentenceSampler
from training.mini.species_sentences import plural


@pytest.fixture
def tiles(six_cells):
    return TileTable(six_cells.lon.astype(float), six_cells.lat.astype(float), np.full(6, 20.0))


@pytest.fixture
def builder(six_cells, tiles):
    return BankBuilder(land_shares(six_cells, tiles), np.ones(6, np.float32))


def test_a_picture_of_the_sea_shows_little_of_its_land(six_cells, tiles):
    land = np.asarray([1, 1, 1, 0.2, 0.1, 0.05], np.float32)
    builder = BankBuilder(land_shares(six_cells, tiles), land)
    everywhere, islands = np.ones(6, bool), np.arange(6) > 2
    builder.add(everywhere, ["land"], "atom")
    builder.add(islands, ["islands"], "atom")
    builder.add_sea(["sea"])
    shares = builder.build().shares / FULL
    np.testing.assert_allclose(shares[0], [1, 1, 1, 0.4, 0.2, 0.1], atol=1 / FULL)
    np.testing.assert_allclose(shares[1], [0, 0, 0, 1, 0.5, 0.25], atol=1 / FULL)  # what is true of no other keeps all
    np.testing.assert_allclose(shares[2], 1 - land, atol=1 / FULL)


def test_shares_are_exact(builder, six_cells):
    shares = builder.shares_of((six_cells.lat > 0)[None])
    np.testing.assert_allclose(shares[0], six_cells.lat > 0)


def test_a_bank_keeps_sentences_with_their_predicates(builder, six_cells, tmp_path):
    builder.add(six_cells.lat > 0, ["the  north", "up north", "up north"], "atom")
    builder.add(np.zeros(6, bool), ["nowhere"], "atom")
    builder.add_shares(np.linspace(0, 1, 6, dtype=np.float32), ["more and more"], "family")
    builder.build().save(tmp_path)
    bank = Bank.load(tmp_path)
    assert bank.sentences == ["the north", "up north", "more and more"]
    assert bank.predicate.tolist() == [0, 0, 1]
    assert bank.kinds == ["atom", "atom", "family"]
    np.testing.assert_array_equal(bank.shares[0], (six_cells.lat > 0) * FULL)
    np.testing.assert_array_equal(bank.shares[1], np.round(np.linspace(0, 1, 6) * FULL))


def test_a_bank_that_was_not_written_whole_is_not_there(builder, tmp_path, monkeypatch):
    builder.add(np.ones(6, bool), ["land"], "atom")

    def half_written(file, _):
        file.write(b"\x93NUMPY")
        raise OSError("full")

    monkeypatch.setattr("numpy.save", half_written)
    with pytest.raises(OSError, match="full"):
        builder.build().save(tmp_path)
    assert not (tmp_path / "shares.npy").exists()


def test_the_sampler_draws_only_what_is_true_of_training_tiles(builder, six_cells):
    builder.add(six_cells.lat > 0, ["north"], "atom")
    builder.add(six_cells.lat < 0, ["south"], "atom")
    bank = builder.build()
    sampler = SentenceSampler(bank, np.flatnonzero(six_cells.lat > 0))
    assert {bank.sentences[row] for row in sampler.sentences(50, np.random.default_rng(0))} == {"north"}


def test_truth_is_the_share_for_each_sentence_and_tile(builder, six_cells):
    builder.add(six_cells.lat > 0, ["north"], "atom")
    builder.add(six_cells.lat < 0, ["south"], "atom")
    sampler = SentenceSampler(builder.build(), np.arange(6))
    north = (six_cells.lat > 0).astype(np.float32)
    np.testing.assert_allclose(
        sampler.truth(np.asarray([1, 0]), np.asarray([0, 5])), [1 - north[[0, 5]], north[[0, 5]]]
    )


def test_truth_of_a_part_of_a_tile_is_that_part(builder):
    builder.add_shares(np.asarray([0, 0.2, 0.4, 0.6, 0.8, 1], np.float32), ["more and more"], "family")
    sampler = SentenceSampler(builder.build(), np.arange(6))
    truth = sampler.truth(np.zeros(1, int), np.asarray([5, 1, 3]))
    np.testing.assert_allclose(truth, [[1, 0.2, 0.6]], atol=0.5 / FULL)


def test_a_pair_is_true_where_both_of_its_words_are(builder, six_cells, monkeypatch):
    monkeypatch.setattr(habitat_sentences, "FEWEST_PAIRED", 0)
    monkeypatch.setattr(habitat_sentences, "PAIRS", 100)
    add_pairs(builder, Vocabulary(six_cells), random.Random(0))
    bank = builder.build()
    said = dict(zip(bank.sentences, bank.predicate, strict=True))
    np.testing.assert_array_equal(bank.shares[said["lowland rainforest"]] == FULL, np.round(six_cells.lat) == -3)
    # All rainforest here is hot and wet, so those words would say nothing; none of it is arid.
    assert not {"hot rainforest", "wet rainforest", "arid rainforest"} & set(said)
    assert set(bank.kinds) == {"pair"}


def test_climate_sentences_are_true_where_they_are_said_to_be(builder, six_cells):
    add_climate_sentences(builder, Vocabulary(six_cells), combinations=20)
    bank = builder.build()
    said = dict(zip(bank.sentences, bank.predicate, strict=True))
    deep_frozen = bank.shares[said["rivers freeze to the bottom in winter"]] == FULL
    np.testing.assert_array_equal(deep_frozen, six_cells.temp_c.min(0) < -25)
    koeppen = bank.shares[said["K\u00f6ppen climate BWh"]] == FULL
    np.testing.assert_array_equal(koeppen, np.round(six_cells.lat) == 24)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("wolf", "wolves"),
        ("wild goose", "wild geese"),
        ("fox", "foxes"),
        ("pony", "ponies"),
        ("kangaroo", "kangaroos"),
        ("monkey", "monkeys"),
        ("finch", "finches"),
        ("sheep", "sheep"),
        ("grass", "grass"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


def test_a_paraphrase_is_another_sentence_of_the_same_predicate(builder, six_cells):
    builder.add(six_cells.lat > 0, ["north", "up north", "boreal"], "atom")
    builder.add(six_cells.lat < 0, ["south"], "atom")
    bank = builder.build()
    sampler = SentenceSampler(bank, np.arange(6))
    said = sampler.paraphrases(np.asarray([0] * 40 + [3]), np.random.default_rng(0))
    assert {bank.sentences[row] for row in said[:-1]} == {"north", "up north", "boreal"}
    assert bank.sentences[said[-1]] == "south"
