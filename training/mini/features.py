"""What the place teacher knows of a tile: position, climate, terrain, coast, cover. Inference needs none of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.earth.cells import ZONES, Cells
from training.earth.squares import TileTable, land_of, land_shares
from wildsat_core.geo import unit_vectors

Float = NDArray[np.float32]

ZONE_WEIGHT = 2.0
SPREAD_FROM = 24  # the monthly values vary together; only what follows them gets a within-tile deviation too


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and deviation of each feature over the training tiles."""

    mean: Float
    deviation: Float


def tile_facts(cells: Cells, tiles: TileTable) -> Float:
    """(N, F) climate, terrain and cover of tiles: means, deviations within the tile of the later ones, land, zones.

    Land is the share of the tile's area, a zone's that of its land.

    Amounts are brought to scales on which a step means about as much everywhere: square roots of rain, height and
    cover, logarithms of distance and area. A tile without land has zeros.
    """
    shares, land = land_shares(cells, tiles), land_of(cells, tiles)
    values = _cell_columns(cells)
    mean = np.asarray(shares @ values)
    spread = np.sqrt(np.maximum(np.asarray(shares @ values[:, SPREAD_FROM:] ** 2) - mean[:, SPREAD_FROM:] ** 2, 0))
    zones = np.zeros((len(cells), len(ZONES)), np.float32)
    zones[np.arange(len(cells)), cells.zone] = 1
    return np.concatenate([mean, spread, land[:, None], np.asarray(shares @ zones)], 1).astype(np.float32)


def position_waves(tiles: TileTable) -> Float:
    """(N, 15) coordinates on the unit sphere, and slow waves of longitude and latitude."""
    lat, lon = np.radians(tiles.lat), np.radians(tiles.lon)
    waves = [wave(k * angle) for k in (1, 2, 4) for angle in (lon, 2 * lat) for wave in (np.sin, np.cos)]
    return np.concatenate([unit_vectors(tiles.lon, tiles.lat), np.stack(waves, 1)], 1).astype(np.float32)


def fit_standard(facts: Float) -> Standard:
    """Mean and deviation of (N, F) facts; zone shares keep their own scale, a little raised."""
    mean, deviation = facts.mean(0), np.maximum(facts.std(0), 1e-3)
    mean[-len(ZONES) :], deviation[-len(ZONES) :] = 0, 1 / ZONE_WEIGHT
    return Standard(mean, deviation)


def teacher_input(tiles: TileTable, facts: Float, standard: Standard) -> Float:
    """(N, 15 + F) what the teacher reads."""
    return np.concatenate([position_waves(tiles), (facts - standard.mean) / standard.deviation], 1)


def _cell_columns(cells: Cells) -> Float:
    temp, rain = cells.temp_c, np.sqrt(cells.rain_mm)
    columns = [
        *temp,
        *rain,
        temp.mean(0),
        temp.min(0),
        temp.max(0),
        np.sqrt(cells.rain_mm.sum(0)),
        np.sqrt(np.maximum(cells.elev_m, 0)),
        np.sqrt(cells.relief_m),
        np.log1p(cells.coast_km / 20),
        np.log(cells.island_km2 + 100),
        cells.ndvi_low,
        cells.ndvi_high,
        *np.sqrt(cells.cover),
    ]
    return np.stack(columns, 1)
