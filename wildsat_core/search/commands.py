"""`wildsat search`: a query from the command line."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wildsat_core.area import Area
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.search.query import Filters, Query, SearchResult, TextTerm

if TYPE_CHECKING:
    from wildsat_core.search.engine import SearchEngine


class OutputFormat(StrEnum):
    """How hits are printed."""

    TABLE = "table"
    GEOJSON = "geojson"


def search(
    text: Annotated[str, typer.Argument(help="A habitat in words, such as 'mangrove coast'.")],
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 20,
    collection: Annotated[str, typer.Option(help="Which collection to search.")] = "demo",
    folder: Annotated[Path, typer.Option(envvar="WILDSAT_COLLECTIONS", help="Where collections are.")] = Path(
        "collections"
    ),
    store: Annotated[
        str | None,
        typer.Option(envvar="WILDSAT_STORE", help="Object storage that holds them instead: s3://…, gs://…, az://…."),
    ] = None,
    bbox: Annotated[str | None, typer.Option(help="Only tiles that meet west,south,east,north.")] = None,
    area: Annotated[Path | None, typer.Option(help="Only tiles that meet the polygons of a GeoJSON file.")] = None,
    countries: Annotated[str | None, typer.Option(help="Only these countries: ISO alpha-3 codes, as BRA,PER.")] = None,
    date_from: Annotated[dt.datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")] = None,
    date_to: Annotated[dt.datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day.")] = None,
    months: Annotated[str | None, typer.Option(help="Only these months of the year, as 6,7,8.")] = None,
    max_cloud: Annotated[float | None, typer.Option(help="Greatest share of cloud, 0 to 1.")] = None,
    min_land: Annotated[
        float | None,
        typer.Option(help="Least share of land; not given, a quarter for words of land."),
    ] = None,
    spacing_km: Annotated[float, typer.Option(help="Least distance between two hits.")] = 0.0,
    overlapping: Annotated[bool, typer.Option(help="Show hits that overlap a better one, too.")] = False,
    blend: Annotated[float | None, typer.Option(help="0: looks like it; 1: such things live there.")] = None,
    understand: Annotated[
        bool, typer.Option(help="Read names of species and places, negations and other languages in the words.")
    ] = True,
    model: Annotated[
        str | None, typer.Option(help="Model directory, where the collection's model has no name.")
    ] = None,
    output: Annotated[OutputFormat, typer.Option("--format", help="A table, or GeoJSON.")] = OutputFormat.TABLE,
) -> None:
    """Find the places that look like a habitat."""
    filters = Filters(
        bbox=parse_bbox(bbox) if bbox else None,
        area=Area.from_file(area) if area else None,
        countries=frozenset(c.strip().upper() for c in countries.split(",")) if countries else frozenset(),
        date_from=date_from.date() if date_from else None,
        date_to=date_to.date() if date_to else None,
        months=_parse_months(months),
        max_cloud=max_cloud,
        min_land=min_land,
    )
    query = Query((), filters, blend=blend, k=k, spacing_km=spacing_km, overlapping=overlapping)
    query = _read(text, query) if understand else replace(query, terms=(TextTerm(text),))
    engine = _open_engine(_root(collection, folder, store), model)
    result = engine.search(query)
    if output is OutputFormat.GEOJSON:
        typer.echo(_to_geojson(result, engine))
    else:
        _print_table(result, engine.notice)


def _root(name: str, folder: Path, store: str | None) -> Path:
    """Folder of a collection; of one in a store that of its copy, brought up to date."""
    from wildsat_core.collection.mirror import mirrored

    if not store:
        return folder / name
    mirror = mirrored(store, name)
    mirror.pull()
    return mirror.root


def _read(text: str, query: Query) -> Query:
    from wildsat_core.search.species import load_species
    from wildsat_core.search.understanding import understand

    return understand(text, load_species()).apply(query)


def _open_engine(root: Path, model: str | None) -> SearchEngine:
    from wildsat_core.collection import open_collection
    from wildsat_core.models.registry import load_model
    from wildsat_core.search.engine import SearchEngine

    found = open_collection(root)
    return SearchEngine(found, load_model(model or found.manifest.model.name).optimise_for_inference())


def _parse_months(text: str | None) -> frozenset[int]:
    try:
        return frozenset(int(m) for m in text.split(",")) if text else frozenset()
    except ValueError as err:
        raise InvalidInputError(f"months must be numbers from 1 to 12, as 6,7,8; got {text!r}", "months") from err


def _to_geojson(result: SearchResult, engine: SearchEngine) -> str:
    from wildsat_core.search.geojson import hit_feature

    answer = {
        "type": "FeatureCollection",
        "collection": result.collection,
        "generation": result.generation,
        "model": result.model,
        "matched": result.matched,
        "total": result.total,
        "no_match": result.no_match,
        "backend": result.backend,
        "notice": engine.notice,
        "attribution": engine.manifest.provenance.get("attribution"),
        "features": [hit_feature(hit) for hit in result.hits],
    }
    return json.dumps(answer, ensure_ascii=False)


def _print_table(result: SearchResult, notice: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from wildsat_core.search.geojson import country_name

    table = Table(box=None)
    for heading in ("rank", "score", "percentile", "lon", "lat"):
        table.add_column(heading, justify="right")
    for heading in ("country", "captured on", "tile"):
        table.add_column(heading, no_wrap=True)
    for hit in result.hits:
        lon, lat = hit.tile.lon_lat
        where = country_name(hit.tile.country) or hit.tile.country or ""
        day = hit.tile.captured_on.isoformat() if hit.tile.captured_on else ""
        row = (f"{hit.rank}", f"{hit.score:.2f}", f"{hit.percentile:.2f}", f"{lon:.2f}", f"{lat:.2f}", where, day)
        table.add_row(*row, hit.tile.tile_id)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width to wrap for
    console.print(table)
    if result.understood:
        for found in result.understood.found:
            console.print(f"“{found.words}”: {found.say}", highlight=False)
        if result.understood.suggestion:
            console.print(f"Did you mean “{result.understood.suggestion}”?", highlight=False)
    if result.understood and result.understood.message:
        console.print(result.understood.message)
    elif result.no_match:
        console.print(
            "No match: these words are about nothing that the model knows of places, so the hits mean little."
        )
    if notice:
        console.print(notice, highlight=False, markup=False)
    console.print(
        f"{result.matched} of {result.total} tiles of {result.collection!r} passed the filters; {result.backend}."
    )
