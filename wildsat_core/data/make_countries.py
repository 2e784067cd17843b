"""Makes countries.parquet: `python -m wildsat_core.data.make_countries COUNTRIES-50M.JSON COUNTRIES-10M.JSON`.

The borders are Natural Earth's (public domain) as the npm package world-atlas has them: at 1 : 50 million, and at
1 : 10 million those of countries that the coarser ones leave out. The codes are of the package iso3166, the names those
of the Unicode locale data in the package babel (the atlas shortens its own for print). The files are TopoJSON: borders
stored once as arcs of quantised steps, polygons as lists of arc numbers
(https://github.com/topojson/topojson-specification).
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import iso3166
import numpy as np
import numpy.typing as npt

from wildsat_core.countries import FILE, Country

if TYPE_CHECKING:
    import pyarrow as pa
    from shapely.geometry.base import BaseGeometry

ATLAS: Final = Path("static/vendor/world-atlas/countries-50m.json")

# Features without an ISO number in the file. XKX is the user-assigned code that is in general use for Kosovo; the
# others are given the code of the country that ISO counts them to. The Siachen Glacier stays without one.
_CODE_OF_NAME: Final = {"Kosovo": "XKX", "Somaliland": "SOM", "N. Cyprus": "CYP", "Indian Ocean Ter.": "AUS"}

# Where the Unicode data tells more than people say, or what few would type.
_SAID: Final = {
    "COD": "DR Congo",
    "COG": "Republic of the Congo",
    "HKG": "Hong Kong",
    "MAC": "Macao",
    "MMR": "Myanmar",
    "PSE": "Palestine",
    "TUR": "Turkey",
}


def countries_table(countries: Sequence[Country]) -> pa.Table:
    """GeoParquet: code, name and outline of each feature."""
    import pyarrow as pa
    import shapely

    outlines = [shapely.to_wkb(country.outline) for country in countries]
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"]}},
    }
    columns = {"code": [c.code for c in countries], "name": [c.name for c in countries], "geometry": outlines}
    return pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})


def read_topojson(path: Path) -> list[Country]:
    """Outlines with a code; a feature without one (disputed ground) is left out."""
    topology = json.loads(path.read_text(encoding="utf-8"))
    arcs = _decode_arcs(topology)
    countries = []
    for feature in topology["objects"]["countries"]["geometries"]:
        name = feature["properties"]["name"]
        number = feature.get("id")
        code = iso3166.countries_by_numeric[number].alpha3 if number else _CODE_OF_NAME.get(name)
        if code is not None:
            countries.append(Country(code, _name_of(code, name), _decode_polygons(feature, arcs)))
    return countries


def with_the_smallest(countries: Sequence[Country], finer: Sequence[Country]) -> list[Country]:
    """Countries, and those of a finer scale that are too small for theirs (Tuvalu, Gibraltar)."""
    known = {country.code for country in countries}
    return [*countries, *(country for country in finer if country.code not in known)]


def _name_of(code: str, otherwise: str) -> str:
    """English name as people say it."""
    from babel import Locale

    letters = iso3166.countries_by_alpha3[code].alpha2 if code in iso3166.countries_by_alpha3 else ""
    name = _SAID.get(code) or Locale.parse("en").territories.get(letters, otherwise)
    return name.replace(" & ", " and ").replace("’", "'").replace("St. ", "Saint ")


def _decode_arcs(topology: dict[str, Any]) -> list[npt.NDArray[np.float64]]:
    """Arcs as (n, 2) lon, lat. A quantised arc is a first position and then steps, in whole numbers."""
    scale = np.asarray(topology["transform"]["scale"], np.float64)
    offset = np.asarray(topology["transform"]["translate"], np.float64)
    return [np.cumsum(np.asarray(arc, np.int64), axis=0) * scale + offset for arc in topology["arcs"]]


def _decode_polygons(feature: dict[str, Any], arcs: list[npt.NDArray[np.float64]]) -> BaseGeometry:
    """Polygon or MultiPolygon of a feature, made valid (quantising may fold a border onto itself)."""
    import shapely

    polygons = [feature["arcs"]] if feature["type"] == "Polygon" else feature["arcs"]
    drawn = ([ring for ring in (_ring(r, arcs) for r in rings) if len(ring) > 3] for rings in polygons)
    shapes = [_flat_polygon(rings) for rings in drawn if rings]  # an islet that quantising left no area is a point
    return shapely.make_valid(shapely.union_all(shapes), method="structure", keep_collapsed=False)


def _flat_polygon(rings: Sequence[npt.NDArray[np.float64]]) -> BaseGeometry:
    """A polygon of the sphere laid on the plane, longitudes in [-180, 180].

    The file is stitched: its rings step across the antimeridian and around a pole, which as plain x and y would cut
    Russia in stripes and leave the South Pole out of Antarctica. Longitudes are made continuous, a ring around a pole
    is led down to it, and what sticks out beyond 180 degrees is cut off and moved to the other side. A ring that lies
    on a pole itself (Antarctica has one) is a point of the sphere and bounds nothing.
    """
    import shapely
    from shapely.affinity import translate

    outer, *holes = [_unroll(ring) for ring in rings if np.abs(ring[:, 1]).min() < 89.99]
    middle = (outer[:, 0].min() + outer[:, 0].max()) / 2
    for hole in holes:
        hole[:, 0] += 360.0 * np.round((middle - hole[:, 0].mean()) / 360.0)
    polygon = shapely.make_valid(shapely.Polygon(outer, holes), method="structure", keep_collapsed=False)
    pieces = []
    for turn in range(math.floor((outer[:, 0].min() + 180) / 360), math.ceil((outer[:, 0].max() + 180) / 360)):
        window = shapely.box(360.0 * turn - 180, -90, 360.0 * turn + 180, 90)
        pieces.append(translate(shapely.intersection(polygon, window), xoff=-360.0 * turn))
    return shapely.union_all(pieces)


def _unroll(ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 2) with longitudes that don't jump at 180 degrees; a ring around a pole is closed through it."""
    flat = np.column_stack([np.unwrap(ring[:, 0], period=360.0), ring[:, 1]])
    if abs(flat[-1, 0] - flat[0, 0]) < 180:
        return flat
    pole = math.copysign(90.0, float(ring[:, 1].mean()))
    return np.concatenate([flat, [[flat[-1, 0], pole], [flat[0, 0], pole], flat[0]]])


def _ring(numbers: Sequence[int], arcs: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Join arcs end to end; a number below zero is the arc ~number backwards. Shared ends are kept once."""
    pieces = [arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers]
    return np.concatenate([pieces[0], *(p[1:] for p in itertools.islice(pieces, 1, None))])


if __name__ == "__main__":
    import pyarrow.parquet

    coarse, fine = (read_topojson(Path(atlas)) for atlas in sys.argv[1:])
    table = countries_table(with_the_smallest(coarse, fine))
    pyarrow.parquet.write_table(table, FILE, compression="zstd", compression_level=19)
