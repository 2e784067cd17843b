"""netCDF files that name no coordinate system, since their rows and columns are latitudes and longitudes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from indexer.sources.library_errors import library_errors

# https://cfconventions.org/Data/cf-conventions/cf-conventions-1.11/cf-conventions.html#latitude-coordinate
_NORTH: Final = frozenset({"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"})
_EAST: Final = frozenset({"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"})


def is_of_degrees(header: Any) -> bool:  # noqa: ANN401 - rasterio has no types
    """Whether an open file's columns are at its own longitudes and its rows at its own latitudes, number by number.

    A file in a projection has longitudes and latitudes of its pixels beside, as CF asks; those are no axes.
    """
    if header.driver != "netCDF" or not header.files:
        return False
    tags = header.tags()
    t = header.transform
    across = t.c + t.a * (np.arange(header.width) + 0.5)
    down = t.f + t.e * (np.arange(header.height) + 0.5)
    return _is_axis(header, tags, _EAST, across) and _is_axis(header, tags, _NORTH, down)


def _is_axis(header: Any, tags: Mapping[str, str], units: frozenset[str], places: Any) -> bool:  # noqa: ANN401
    names = [key.removesuffix("#units") for key, value in tags.items() if key.endswith("#units")]
    return any(
        _same(_numbers(f'NETCDF:"{header.files[0]}":{name}'), places)
        for name in names
        if tags[f"{name}#units"].lower() in units
    )


def _same(numbers: Any, places: Any) -> bool:  # noqa: ANN401
    slack = 1e-3 * abs(places[1] - places[0]) if len(places) > 1 else 0.0
    return any(
        numbers.shape == places.shape and np.allclose(order, places, atol=slack) for order in (numbers, numbers[::-1])
    )


def _numbers(variable: str) -> Any:  # noqa: ANN401
    """Those of a variable of one dimension; none where it has more."""
    from indexer.sources.view import open_raster

    try:
        with open_raster(variable) as values:
            return values.read(1).ravel() if min(values.shape) == 1 else np.empty(0)
    except library_errors():
        return np.empty(0)
