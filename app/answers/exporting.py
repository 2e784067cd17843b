"""A ranking written out in the formats that other programs open, piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import numpy as np

from app.answers.addresses import Addresses
from app.answers.hits import notes, tile_links
from app.answers.responses import encode
from app.answers.stac import STAC_VERSION, stac_item
from app.catalog import Served
from wildsat_core.arrays import plain_numbers
from wildsat_core.collection.tile_files import for_pruning, geo_metadata, multi_polygons
from wildsat_core.geo import box_centres
from wildsat_core.search.geojson import DECIMALS, country_name, rounded, tile_geometry
from wildsat_core.search.query import ChangesResult
from wildsat_core.search.ranking import Ranking
from wildsat_core.types import Tile

PIECE_ROWS = 1000

# Takes what was served, the ranking, the query to echo, and the absolute address of the service.
Writer = Callable[[Served, Ranking, dict[str, Any], str], Iterator[bytes]]

# What a formula may begin with, the full-width forms of East Asian keyboards among them:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_MARKS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

# Of a table, in every format that is one.
COLUMNS = (
    "rank", "tile_id", "score", "percentile", "lon", "lat", "west", "south", "east", "north",
    "captured_on", "cloud_cover", "gsd_m", "source", "country", "country_name", "land_share", "thumbnail", "similar",
)  # fmt: skip
ABOUT = ("question", "collection", "generation", "model", "notice")  # in each row of a CSV, which has no head
QUESTION_CHARACTERS = 500  # of a picture's vector or a drawn area there would be thousands in every row
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # by which Excel knows UTF-8


def ranked_tiles(served: Served, ranking: Ranking, skip: int = 0) -> Iterator[tuple[dict[str, Any], Tile]]:
    """Rank, score and percentile with each tile, best first; without the first `skip`."""
    for start in range(skip, len(ranking.rows), PIECE_ROWS):
        tiles = served.engine.tiles_at(ranking.rows[start : start + PIECE_ROWS])
        for i, tile in enumerate(tiles, start):
            score, percentile = round(float(ranking.scores[i]), 6), round(float(ranking.percentiles[i]), 4)
            yield {"rank": i + 1, "score": score, "percentile": percentile}, tile


def row_of(served: Served, told: dict[str, Any], tile: Tile, base: str) -> dict[str, Any]:
    """The columns of a ranked tile."""
    (lon, lat), (west, south, east, north) = rounded(tile.lon_lat), rounded(tile.bbox.as_tuple())
    links = tile_links(served, tile.tile_id)
    values = (
        told["rank"], tile.tile_id, told["score"], told["percentile"], lon, lat, west, south, east, north,
        tile.captured_on.isoformat() if tile.captured_on else None, tile.cloud_cover, tile.gsd_m, tile.source,
        tile.country, country_name(tile.country), tile.land_share, base + links["thumbnail"], base + links["similar"],
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def ranked_feature(served: Served, told: dict[str, Any], tile: Tile, base: str) -> dict[str, Any]:
    """A ranked tile for a layer of a map program: its columns are its properties, its geometry a MultiPolygon."""
    return {
        "type": "Feature",
        "id": tile.tile_id,
        "bbox": rounded(tile.bbox.as_tuple()),
        "geometry": tile_geometry(tile, multi=True),
        "properties": row_of(served, told, tile, base),
    }


def write_geojson(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """A FeatureCollection."""
    head = {"type": "FeatureCollection", "query": query} | _provenance(served, ranking)
    features = (ranked_feature(served, told, tile, base) for told, tile in ranked_tiles(served, ranking))
    yield from _collection_of(head, features)


def write_csv(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """One line a tile, UTF-8, with a heading; what other formats say once in their head stands in the last columns."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow((*COLUMNS, *ABOUT))
    about = _about(served, query)
    for told, tile in ranked_tiles(served, ranking):
        row = row_of(served, told, tile, base).values()
        writer.writerow([*map(_cell, row), *about])
        if told["rank"] % PIECE_ROWS == 0:
            yield _drain(out)
    yield _drain(out)


def changes_csv(served: Served, result: ChangesResult, query: dict[str, Any], base: str) -> bytes:
    """One line a place: what changed, the columns of both tiles, and what every CSV tells of its question."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [f"{when}_{name}" for when in ("before", "after") for name in COLUMNS[1:]]
    writer.writerow(("rank", "difference", *columns, *ABOUT))
    about = _about(served, query)
    for change in result.changes:
        hits = (change.before, change.after)
        both = [
            row_of(
                served,
                {"rank": hit.rank, "score": round(hit.score, 6), "percentile": round(hit.percentile, 4)},
                hit.tile,
                base,
            )
            for hit in hits
        ]
        cells = [_cell(value) for row in both for name, value in row.items() if name != "rank"]
        writer.writerow([change.rank, round(change.difference, 6), *cells, *about])
    return _drain(out)


def _about(served: Served, query: dict[str, Any]) -> list[Any]:
    """Cells of `ABOUT`."""
    question = urlencode(query)
    question = question if len(question) <= QUESTION_CHARACTERS else f"{question[: QUESTION_CHARACTERS - 1]}…"
    told = {"question": question, **_source(served)}
    return [_cell(told[name]) for name in ABOUT]


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """A value as a cell; what a spreadsheet would run as a formula becomes text."""
    return f"'{value}" if isinstance(value, str) and value[:1] and value[0] in _FORMULA_MARKS else value


def _drain(out: io.StringIO) -> bytes:
    piece = out.getvalue().encode()
    out.seek(0)
    out.truncate()
    return piece


def write_geoparquet(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """GeoParquet 1.1: the same columns, with the outlines and the boxes by which readers prune."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    held = served.engine.table(ranking.rows)
    pruned = for_pruning(held)
    west, south, east, north = (
        pc.struct_field(held["bbox"], name).to_numpy() for name in ("xmin", "ymin", "xmax", "ymax")
    )
    lon, lat = box_centres(west, south, east, north)
    countries = held["country"].to_pylist()
    links = [tile_links(served, tile_id) for tile_id in held["tile_id"].to_pylist()]
    columns = {
        "rank": np.arange(1, len(held) + 1, dtype=np.int32),
        "tile_id": held["tile_id"],
        "score": np.round(ranking.scores.astype(np.float64), 6),
        "percentile": np.round(ranking.percentiles.astype(np.float64), 4),
        "lon": np.round(lon, DECIMALS),
        "lat": np.round(lat, DECIMALS),
        "west": np.round(west, DECIMALS),
        "south": np.round(south, DECIMALS),
        "east": np.round(east, DECIMALS),
        "north": np.round(north, DECIMALS),
        "captured_on": held["captured_on"],
        "cloud_cover": pa.array(plain_numbers(held["cloud_cover"].to_numpy().astype(np.float32)), from_pandas=True),
        "gsd_m": np.nan_to_num(plain_numbers(held["gsd_m"].to_numpy())),
        "source": held["source"],
        "country": held["country"],
        "country_name": pa.array([country_name(code) for code in countries], pa.string()),
        "land_share": pa.array(plain_numbers(held["land_share"].to_numpy().astype(np.float32)), from_pandas=True),
        "thumbnail": [base + one["thumbnail"] for one in links],
        "similar": [base + one["similar"] for one in links],
        "bbox": pruned["bbox"],
        "geometry": pa.array(multi_polygons(held), pa.binary()),
    }
    table = pa.table(columns)
    about = encode({"query": query} | _provenance(served, ranking))
    table = table.replace_schema_metadata({b"geo": geo_metadata(["MultiPolygon"]), b"wildsat": about})
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    view = out.getbuffer()
    for start in range(0, len(view), 1 << 18):
        yield bytes(view[start : start + (1 << 18)])


def write_stac(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """A STAC ItemCollection; the ranking is among the properties."""
    head = {"type": "FeatureCollection", "stac_version": STAC_VERSION, "query": query} | _provenance(served, ranking)

    def items() -> Iterator[dict[str, Any]]:
        for told, tile in ranked_tiles(served, ranking):
            item = stac_item(served, tile, Addresses(base))
            item["properties"] |= {f"wildsat:{name}": value for name, value in told.items()}
            yield item

    yield from _collection_of(head, items())


def _source(served: Served) -> dict[str, Any]:
    manifest = served.manifest
    return {
        "collection": served.name,
        "generation": manifest.generation,
        "model": manifest.model.name,
        **notes(served),
    }


def _provenance(served: Served, ranking: Ranking) -> dict[str, Any]:
    return {**_source(served), "matched": ranking.matched, "returned": len(ranking.rows)}


def _collection_of(head: dict[str, Any], features: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """JSON of an object with a long list at its end."""
    yield encode(head)[:-1] + b',"features":['
    piece: list[bytes] = []
    sent = False
    for feature in features:
        piece.append(encode(feature))
        if len(piece) == PIECE_ROWS:
            yield (b"," if sent else b"") + b",\n".join(piece)
            piece, sent = [], True
    if piece:
        yield (b"," if sent else b"") + b",\n".join(piece)
    yield b"]}"


class ExportFormat(StrEnum):
    """What a ranking can be written as."""

    GEOJSON = "geojson"
    CSV = "csv"
    GEOPARQUET = "geoparquet"
    STAC = "stac"


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written and named."""

    write: Writer
    media_type: str
    suffix: str


FORMATS = {
    ExportFormat.GEOJSON: Format(write_geojson, "application/geo+json", "geojson"),
    ExportFormat.CSV: Format(write_csv, "text/csv", "csv"),
    ExportFormat.GEOPARQUET: Format(write_geoparquet, "application/vnd.apache.parquet", "parquet"),
    ExportFormat.STAC: Format(write_stac, "application/geo+json", "stac.json"),
}
