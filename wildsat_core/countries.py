"""Which country a place lies in, from Natural Earth as the package world-atlas carries it (public domain).

The file is TopoJSON: borders stored once as arcs of quantised steps, polygons as lists of arc numbers. Decoding it
takes a few lines (https://github.com/topojson/topojson-specification), so no library is needed for it.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from wildsat_core.errors import WildsatError
from wildsat_core.geo import KM_PER_DEGREE

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

logger = logging.getLogger(__name__)

FILE_NAME: Final = "countries-50m.json"

# ISO 3166-1: numeric code followed by alpha-3 code.
_ISO_3166: Final = (
    "004AFG 008ALB 010ATA 012DZA 016ASM 020AND 024AGO 028ATG 031AZE 032ARG 036AUS 040AUT 044BHS 048BHR 050BGD 051ARM "
    "052BRB 056BEL 060BMU 064BTN 068BOL 070BIH 072BWA 074BVT 076BRA 084BLZ 086IOT 090SLB 092VGB 096BRN 100BGR 104MMR "
    "108BDI 112BLR 116KHM 120CMR 124CAN 132CPV 136CYM 140CAF 144LKA 148TCD 152CHL 156CHN 158TWN 162CXR 166CCK 170COL "
    "174COM 175MYT 178COG 180COD 184COK 188CRI 191HRV 192CUB 196CYP 203CZE 204BEN 208DNK 212DMA 214DOM 218ECU 222SLV "
    "226GNQ 231ETH 232ERI 233EST 234FRO 238FLK 239SGS 242FJI 246FIN 248ALA 250FRA 254GUF 258PYF 260ATF 262DJI 266GAB "
    "268GEO 270GMB 275PSE 276DEU 288GHA 292GIB 296KIR 300GRC 304GRL 308GRD 312GLP 316GUM 320GTM 324GIN 328GUY 332HTI "
    "334HMD 336VAT 340HND 344HKG 348HUN 352ISL 356IND 360IDN 364IRN 368IRQ 372IRL 376ISR 380ITA 384CIV 388JAM 392JPN "
    "398KAZ 400JOR 404KEN 408PRK 410KOR 414KWT 417KGZ 418LAO 422LBN 426LSO 428LVA 430LBR 434LBY 438LIE 440LTU 442LUX "
    "446MAC 450MDG 454MWI 458MYS 462MDV 466MLI 470MLT 474MTQ 478MRT 480MUS 484MEX 492MCO 496MNG 498MDA 499MNE 500MSR "
    "504MAR 508MOZ 512OMN 516NAM 520NRU 524NPL 528NLD 531CUW 533ABW 534SXM 535BES 540NCL 548VUT 554NZL 558NIC 562NER "
    "566NGA 570NIU 574NFK 578NOR 580MNP 581UMI 583FSM 584MHL 585PLW 586PAK 591PAN 598PNG 600PRY 604PER 608PHL 612PCN "
    "616POL 620PRT 624GNB 626TLS 630PRI 634QAT 638REU 642ROU 643RUS 646RWA 652BLM 654SHN 659KNA 660AIA 662LCA 663MAF "
    "666SPM 670VCT 674SMR 678STP 682SAU 686SEN 688SRB 690SYC 694SLE 702SGP 703SVK 704VNM 705SVN 706SOM 710ZAF 716ZWE "
    "724ESP 728SSD 729SDN 732ESH 740SUR 744SJM 748SWZ 752SWE 756CHE 760SYR 762TJK 764THA 768TGO 772TKL 776TON 780TTO "
    "784ARE 788TUN 792TUR 795TKM 796TCA 798TUV 800UGA 804UKR 807MKD 818EGY 826GBR 831GGY 832JEY 833IMN 834TZA 840USA "
    "850VIR 854BFA 858URY 860UZB 862VEN 876WLF 882WSM 887YEM 894ZMB"
)
# Features without an ISO number in the file. XKX is the user-assigned code that is in general use for Kosovo; the
# others are given the code of the country that ISO counts them to. The Siachen Glacier stays without one.
_CODE_OF_NAME: Final = {"Kosovo": "XKX", "Somaliland": "SOM", "N. Cyprus": "CYP", "Indian Ocean Ter.": "AUS"}


@dataclass(frozen=True, slots=True)
class Country:
    """One country or territory: ISO 3166-1 alpha-3 code, short English name, outline in degrees."""

    code: str
    name: str
    outline: BaseGeometry


class Countries:
    """Answers which country places lie in.

    Args:
        countries: may hold a code more than once, for a country in several features; the first one's name is shown.
    """

    def __init__(self, countries: Sequence[Country]) -> None:
        """Build the spatial index once."""
        import shapely

        self.countries = tuple(countries)
        self._names: dict[str, str] = {}
        for country in countries:
            self._names.setdefault(country.code, country.name)
        # A tree over single polygons: the boxes of whole countries (Russia, France, the USA) span the globe.
        parts, owner = shapely.get_parts([c.outline for c in countries], return_index=True)
        self._parts, self._owner = parts, owner
        self._tree = shapely.STRtree(parts)

    def code_at(self, lon_lat: npt.ArrayLike, within_km: float = 0.0) -> list[str | None]:
        """Alpha-3 codes of places.

        Args:
            lon_lat: (N, 2) degrees.
            within_km: a place at sea takes the nearest country within this distance, so that coasts have one.

        Returns:
            N codes, None where no country is.
        """
        import shapely

        positions = np.asarray(lon_lat, np.float64).reshape(-1, 2)
        points = shapely.points(positions)
        codes: list[str | None] = [None] * len(positions)
        rows, parts = self._tree.query(points, predicate="intersects")
        for row, part in zip(rows[::-1], parts[::-1], strict=True):
            codes[row] = self.countries[self._owner[part]].code
        missing = [i for i, code in enumerate(codes) if code is None]
        if within_km > 0:
            for i in missing:
                codes[i] = self._nearest(positions[i], within_km)
        return codes

    def name_of(self, code: str) -> str | None:
        """Short English name of an alpha-3 code, None for an unknown one."""
        return self._names.get(code)

    def _nearest(self, lon_lat: npt.NDArray[np.float64], within_km: float) -> str | None:
        """Nearest outline in a plane stretched so that both axes are kilometres near the place."""
        import shapely
        from shapely.affinity import affine_transform

        lon, lat = float(lon_lat[0]), float(lon_lat[1])
        height = within_km / KM_PER_DEGREE
        shrink = max(math.cos(math.radians(lat)), 0.01)
        window = shapely.box(lon - height / shrink, lat - height, lon + height / shrink, lat + height)
        best: tuple[float, str | None] = (within_km, None)
        for part in self._tree.query(window, predicate="intersects"):
            near = shapely.clip_by_rect(self._parts[part], *window.bounds)
            flat = affine_transform(near, [shrink * KM_PER_DEGREE, 0, 0, KM_PER_DEGREE, 0, 0])
            distance = shapely.distance(flat, shapely.Point(lon * shrink * KM_PER_DEGREE, lat * KM_PER_DEGREE))
            if distance <= best[0]:
                best = (float(distance), self.countries[self._owner[part]].code)
        return best[1]


def countries_path() -> Path:
    """Where the outlines are looked for: $WILDSAT_VENDOR, or `static/vendor` beside the packages."""
    vendor = os.environ.get("WILDSAT_VENDOR")
    root = Path(vendor) if vendor else Path(__file__).parents[1] / "static" / "vendor"
    return root / "world-atlas" / FILE_NAME


def load_countries(path: Path | None = None) -> Countries | None:
    """The countries of world-atlas, decoded once a process; None, with one logged warning, where the file is absent.

    Raises:
        WildsatError: the file is there but can't be read as world-atlas.
    """
    return _load(path or countries_path())


def country_of(lon: float, lat: float) -> tuple[str, str] | None:
    """Alpha-3 code and name of the country at a place; None at sea or where the outlines are not installed."""
    countries = load_countries()
    code = countries.code_at([[lon, lat]])[0] if countries else None
    return (code, countries.name_of(code) or code) if countries and code else None


@functools.lru_cache(maxsize=4)
def _load(path: Path) -> Countries | None:
    if not path.is_file():
        logger.warning(
            "country outlines are not installed (%s is missing): tiles get no country. "
            "Install them with 'python -m app.assets', or set WILDSAT_VENDOR to a folder that holds world-atlas/%s",
            path,
            FILE_NAME,
        )
        return None
    try:
        return Countries(_read_topojson(json.loads(path.read_text(encoding="utf-8"))))
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise WildsatError(f"{path} is not the world-atlas TopoJSON of countries: {err!r}; install it again") from err


def _read_topojson(topology: dict[str, Any]) -> list[Country]:
    """Outlines with a code; a feature without one (disputed ground) is left out."""
    alpha_3 = {entry[:3]: entry[3:] for entry in _ISO_3166.split()}
    arcs = _decode_arcs(topology)
    countries = []
    for feature in topology["objects"]["countries"]["geometries"]:
        name = feature["properties"]["name"]
        code = alpha_3.get(feature.get("id", "")) or _CODE_OF_NAME.get(name)
        if code is not None:
            countries.append(Country(code, name, _decode_polygons(feature, arcs)))
    return countries


def _decode_arcs(topology: dict[str, Any]) -> list[npt.NDArray[np.float64]]:
    """Arcs as (n, 2) lon, lat. A quantised arc is a first position and then steps, in whole numbers."""
    scale = np.asarray(topology["transform"]["scale"], np.float64)
    offset = np.asarray(topology["transform"]["translate"], np.float64)
    return [np.cumsum(np.asarray(arc, np.int64), axis=0) * scale + offset for arc in topology["arcs"]]


def _decode_polygons(feature: dict[str, Any], arcs: list[npt.NDArray[np.float64]]) -> BaseGeometry:
    """Polygon or MultiPolygon of a feature, made valid (quantising may fold a border onto itself)."""
    import shapely

    polygons = [feature["arcs"]] if feature["type"] == "Polygon" else feature["arcs"]
    shapes = [_flat_polygon([_ring(r, arcs) for r in rings]) for rings in polygons]
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
