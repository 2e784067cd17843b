"""A ranking written out in the formats that other programs open, piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from app.answers.hits import notes, tile_links
from app.answers.responses import encode
from app.answers.stac import STAC_VERSION, stac_item
from app.catalog import Served
from wildsat_core.collection.tiles import for_pruning
from wildsat_core.search.geojson import country_name, tile_feature
from wildsat_core.search.ranking import Ranking
from wildsat_core.types import Tile

PIECE_ROWS = 1000

# Takes what was served, the ranking, the query to echo, and the absolute address of the service.
Writer = Callable[[Served, Ranking, dict[str, Any], str], Iterator[bytes]]

# What a formula may begin with, the full-width forms of East Asian keyboards among them:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_MARKS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"

CSV_COLUMNS = (
    "rank", "tile_id", "score", "percentile", "lon", "lat", "west", "south", "east", "north",
    "captured_on", "cloud_cover", "gsd_m", "source", "country", "country_name",
)  # fmt: skip


def ranked_tiles(served: Served, ranking: Ranking) -> Iterator[tuple[dict[str, Any], Tile]]:
    """Rank, score and percentile with each tile, best first."""
    for start in range(0, len(ranking.rows), PIECE_ROWS):
        tiles = served.collection.tiles.tiles_at(ranking.rows[start : start + PIECE_ROWS])
        for i, tile in enumerate(tiles, start):
            score, percentile = round(float(ranking.scores[i]), 6), round(float(ranking.percentiles[i]), 4)
            yield {"rank": i + 1, "score": score, "percentile": percentile}, tile


def write_geojson(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """A FeatureCollection like the answer to a search."""
    head = {"type": "FeatureCollection", "query": query} | _provenance(served, ranking)
    features = (
        tile_feature(tile, told, tile_links(served.name, tile.tile_id)) for told, tile in ranked_tiles(served, ranking)
    )
    yield from _collection_of(head, features)


def write_csv(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """One line a tile, UTF-8, with a heading."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for told, tile in ranked_tiles(served, ranking):
        lon, lat = tile.lon_lat
        row = [told["rank"], _harmless(tile.tile_id), told["score"], told["percentile"], round(lon, 6), round(lat, 6)]
        row += [*tile.bbox.as_tuple(), tile.captured_on, tile.cloud_cover, tile.gsd_m]
        writer.writerow([*row, *map(_harmless, (tile.source, tile.country, country_name(tile.country)))])
        if told["rank"] % PIECE_ROWS == 0:
            yield _drain(out)
    yield _drain(out)


def _harmless(text: str | None) -> str:
    """A cell that a spreadsheet would run as a formula becomes text."""
    return f"'{text}" if text and text[0] in _FORMULA_MARKS else text or ""


def _drain(out: io.StringIO) -> bytes:
    piece = out.getvalue().encode()
    out.seek(0)
    out.truncate()
    return piece


def write_geoparquet(served: Served, ranking: Ranking, query: dict[str, Any], base: str) -> Iterator[bytes]:
    """GeoParquet 1.1: the tile table's own columns, with rank, score and percentile before them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = for_pruning(served.collection.tiles.take(ranking.rows)).drop_columns(["is_box"])
    ranks = np.arange(1, len(ranking.rows) + 1, dtype=np.int32)
    ranked = (("percentile", ranking.percentiles), ("score", ranking.scores), ("rank", ranks))
    for name, values in ranked:
        table = table.add_column(0, name, pa.array(values))
    about = encode({"query": query} | _provenance(served, ranking))
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"wildsat": about})
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
            item = stac_item(served, tile, base)
            item["properties"] |= {f"wildsat:{name}": value for name, value in told.items()}
            yield item

    yield from _collection_of(head, items())


def _provenance(served: Served, ranking: Ranking) -> dict[str, Any]:
    manifest = served.collection.manifest
    return {
        "collection": served.name,
        "generation": manifest.generation,
        "model": manifest.model.name,
        **notes(served),
        "matched": ranking.matched,
        "returned": len(ranking.rows),
    }


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
