"""Names by which people ask: places of the search's own gazetteer, countries, scientific names of well-known species.

The search reads most of them before it asks the model (`wildsat_core/search/understanding`). Here the model learns
them, too, for questions that are searched by their words alone.
"""

from __future__ import annotations

import numpy as np

from training.earth.squares import TileTable
from training.earth.vocabulary import Vocabulary, read_csv
from training.mini.bank import BankBuilder, Shares
from training.mini.species_sentences import flagship_mask
from wildsat_core.region import Region
from wildsat_core.search.species import SpeciesTable, load_species
from wildsat_core.search.understanding.names import Gazetteer, load_gazetteer

FEWEST_CELLS = 8  # a country smaller than that fills no tile


def add_name_sentences(
    builder: BankBuilder,
    vocabulary: Vocabulary,
    tiles: TileTable,
    gazetteer: Gazetteer | None = None,
    species: SpeciesTable | None = None,
) -> None:
    """All sentences of this module, in a fixed order.

    Args:
        builder: collects them.
        vocabulary: over the builder's land cells.
        tiles: those of the builder.
        gazetteer: knows places by name; None for the one that comes with the program.
        species: knows scientific names; None for the table that comes with the program.
    """
    for place, names in (gazetteer or load_gazetteer()).names().items():
        if place.region is not None:
            builder.add_shares(_tiles_in(place.region, tiles), list(names), "name")
    _add_countries(builder, vocabulary, gazetteer or load_gazetteer())
    _add_scientific_names(builder, vocabulary, species or load_species())


def _tiles_in(region: Region, tiles: TileTable) -> Shares:
    """(N,) 1 for the tiles that a search for the place shows."""
    half_width, half_height = tiles.width_deg / 2, tiles.height_deg / 2
    edges = (tiles.lon - half_width, tiles.lat - half_height, tiles.lon + half_width, tiles.lat + half_height)
    return np.asarray(region.holds(*edges), dtype=np.float32)


def _add_countries(builder: BankBuilder, vocabulary: Vocabulary, gazetteer: Gazetteer) -> None:
    for place in gazetteer.names():
        if (
            place.code is not None
            and (mask := vocabulary.predicates.mask(f"country({place.code!r})")).sum() >= FEWEST_CELLS
        ):
            builder.add(mask, [place.name], "name")


def _add_scientific_names(builder: BankBuilder, vocabulary: Vocabulary, species: SpeciesTable) -> None:
    for row in read_csv("flagships.csv"):
        known = [species.get(name) for name in row["names"].split(", ")]
        said = dict.fromkeys(one.scientific_name for one in known if one is not None and one.scientific_name)
        if said:
            builder.add(flagship_mask(vocabulary, row), list(said), "name")
