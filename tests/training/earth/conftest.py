"""Six land cells, small enough to read, on which every predicate can be worked out by hand."""

import numpy as np
import pytest

from training.earth.cells import COLUMNS, ZONES, Cells


def cell_index(lon: float, lat: float) -> int:
    return int((90 - lat) * 4) * COLUMNS + int((lon + 180) * 4)


@pytest.fixture(scope="session")
def six_cells() -> Cells:
    """Manaus, the Sahara, Yakutia, Lhasa, Fiji (west of the antimeridian), and Taveuni (east of it)."""
    places = [(-60.1, -3.1), (10.1, 24.1), (129.6, 62.1), (91.1, 29.6), (179.9, -16.6), (-179.9, -16.9)]
    index = np.asarray([cell_index(lon, lat) for lon, lat in places])
    order = np.argsort(index)
    zone = np.asarray([ZONES.index(code) for code in ("Af", "BWh", "Dfd", "BSk", "Af", "Af")], np.uint8)
    temp = np.asarray([26.0, 24.0, -9.0, 4.0, 25.0, 25.0], np.float32)
    swing = np.asarray([1.0, 10.0, 28.0, 9.0, 2.0, 2.0], np.float32)
    months = np.cos((np.arange(12) - 6) / 12 * 2 * np.pi)[:, None]  # July is warmest; the southern cells barely swing
    rain = np.asarray([200.0, 1.0, 18.0, 35.0, 220.0, 230.0], np.float32)
    return Cells(
        index=index[order],
        land=np.asarray([1.0, 1.0, 1.0, 1.0, 0.5, 0.5], np.float32)[order],
        zone=zone[order],
        temp_c=(temp + months * swing)[:, order].astype(np.float32),
        rain_mm=np.repeat(rain[None], 12, 0)[:, order],
        elev_m=np.asarray([40.0, 400.0, 150.0, 3900.0, 100.0, 200.0], np.float32)[order],
        relief_m=np.asarray([50.0, 100.0, 200.0, 1400.0, 500.0, 800.0], np.float32)[order],
        coast_km=np.asarray([1000.0, 900.0, 800.0, 700.0, 5.0, 5.0], np.float32)[order],
        island_km2=np.asarray([2e7, 3e7, 8e7, 8e7, 5e3, 400.0], np.float32)[order],
        cover=np.eye(17, dtype=np.float32)[[2, 16, 3, 10, 2, 2]].T[:, order],
        ndvi_low=np.asarray([0.7, 0.05, 0.0, 0.1, 0.6, 0.6], np.float32)[order],
        ndvi_high=np.asarray([0.8, 0.1, 0.6, 0.4, 0.8, 0.8], np.float32)[order],
    )
