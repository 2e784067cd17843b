"""Tests of training/mini/name_sentences.py."""

import numpy as np

from training.earth.squares import TileTable, land_shares
from training.earth.vocabulary import Vocabulary
from training.mini.bank import FULL, BankBuilder
from training.mini.name_sentences import add_name_sentences
from wildsat_core.region import Region
from wildsat_core.search.species import Species, SpeciesTable
from wildsat_core.search.understanding.names import Gazetteer, Place
from wildsat_core.types import BBox


def test_names_are_true_of_the_tiles_that_a_search_for_them_shows(six_cells):
    tiles = TileTable(six_cells.lon.astype(float), six_cells.lat.astype(float), np.full(6, 20.0))
    builder = BankBuilder(land_shares(six_cells, tiles), np.ones(6, np.float32))
    tibet = Place("Tibet", "region", region=Region("Tibet", (BBox(80, 28, 100, 36),)))
    gazetteer = Gazetteer({"tibet": tibet, "the roof": tibet})
    species = SpeciesTable([Species("snow leopard", "Panthera uncia", "rocky slopes")])
    add_name_sentences(builder, Vocabulary(six_cells), tiles, gazetteer, species)
    bank = builder.build()
    said = dict(zip(bank.sentences, bank.predicate, strict=True))
    assert set(said) == {"tibet", "the roof", "Panthera uncia"}
    assert set(bank.kinds) == {"name"}
    lhasa = (np.round(six_cells.lat) == 30) * FULL
    np.testing.assert_array_equal(bank.shares[said["tibet"]], lhasa)
    assert said["tibet"] == said["the roof"]
    np.testing.assert_array_equal(bank.shares[said["Panthera uncia"]], lhasa)
