"""Names and orders of satellite bands, and the check that none is missing.

A missing band is an error here; it is never replaced by zeros behind the caller's back.
"""

from __future__ import annotations

from collections.abc import Sequence

from wildsat_core.errors import InvalidInputError

RGB = ("red", "green", "blue")

# Sentinel-2 MSI, level 1C, in order of wavelength; red, green, blue are B04, B03, B02.
# https://sentinels.copernicus.eu/web/sentinel/user-guides/sentinel-2-msi/resolutions/spatial
SENTINEL2 = ("b01", "blue", "green", "red", "b05", "b06", "b07", "b08", "b8a", "b09", "b10", "b11", "b12")

# Harmonized Landsat Sentinel-2, the six bands that Prithvi-100M was trained on.
# https://huggingface.co/ibm-nasa-geospatial/Prithvi-EO-1.0-100M
PRITHVI = ("blue", "green", "red", "b8a", "b11", "b12")

# WildSAT's nine-band option: the true-colour picture, then the band files that lie beside it.
NINE_BANDS = (*RGB, "b05", "b06", "b07", "b08", "b11", "b12")


def band_positions(given: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Where each given band belongs among a model's channels.

    Raises:
        InvalidInputError: a given band is not among the model's channels, or is named twice.
    """
    if len(set(given)) != len(given):
        raise InvalidInputError(f"bands are named twice: {', '.join(given)}", "bands")
    unknown = [band for band in given if band not in wanted]
    if unknown:
        raise InvalidInputError(
            f"the model has no channel for {', '.join(unknown)}; its channels are {', '.join(wanted)}", "bands"
        )
    return tuple(list(wanted).index(band) for band in given)


def select_bands(available: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """Rows of `available` in the order of `wanted`, for picking a model's bands out of a file.

    Raises:
        InvalidInputError: a wanted band is not available; every missing one is named.
    """
    missing = [band for band in wanted if band not in available]
    if missing:
        raise InvalidInputError(
            f"the imagery lacks the bands {', '.join(missing)}; it has {', '.join(available) or 'none'}, "
            f"the model needs {', '.join(wanted)}",
            "bands",
        )
    return tuple(list(available).index(band) for band in wanted)
