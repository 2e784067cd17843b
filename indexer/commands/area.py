"""`wildsat area`: from the name of a place to a map of it that can be searched."""

from __future__ import annotations

import calendar
import datetime as dt
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from indexer.commands.roots import CollectionsFolder
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import default_workers
from indexer.sources.catalogues import DEFAULT, find_catalogue
from indexer.sources.grid import KilometreGrid
from indexer.sources.places import area_box
from indexer.sources.sentinel2 import Sentinel2Source
from wildsat_core.area import Area
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.land import load_land
from wildsat_core.types import BBox

TILE_KM = 1.28
SEGMENT_TILES = 2048  # some seconds of work: what a kill loses


@dataclass(frozen=True, slots=True)
class _Where:
    """An area by its box, its outline if there is one, and its name."""

    name: str
    box: BBox
    outline: Area | None = None


def area(
    since: Annotated[str, typer.Option("--from", metavar="YYYY-MM[-DD]", help="First month or day.")],
    until: Annotated[str, typer.Option("--to", metavar="YYYY-MM[-DD]", help="Last month or day.")],
    place: Annotated[str | None, typer.Argument(metavar="[PLACE]", help='A place by name: "Okavango Delta".')] = None,
    bbox: Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Instead, a box of degrees.")] = None,
    geojson: Annotated[Path | None, typer.Option(metavar="FILE", help="Instead, the polygons of a file.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the collection. [default: made from the place]")] = None,
    tile_km: Annotated[float, typer.Option(help="Side of a tile: 0.64 shows 64 pixels of 10 m, 1.28 twice that.")] = (
        TILE_KM
    ),
    max_cloud: Annotated[float, typer.Option(min=0, max=1, help="Most cloud of a scene, 0 to 1.")] = 0.3,
    catalogue: Annotated[str, typer.Option(help="Which catalogue of Sentinel-2: a name of the settings.")] = DEFAULT,
    catalogues: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings with addresses of catalogues, instead of the program's own."),
    ] = None,
    model: Annotated[str, typer.Option(help="A model for pixels of 10 m.")] = "wildsat-s2",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read; 0 for none.")] = None,
    collections: CollectionsFolder = Path("collections"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be read, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before reading.")] = False,
    serve: Annotated[bool, typer.Option(help="Serve the map when it is built.")] = True,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8000,
) -> None:
    """Find Sentinel-2 scenes of an area, index the least cloudy of them, and show the map.

    For example: wildsat area "Okavango Delta" --from 2024-06 --to 2024-09

    It tells first what it would read, and asks. The same command goes on after an interruption. No key is needed.
    """
    from indexer.area import build_area, check_size, look
    from indexer.commands.progress import progress_bar
    from indexer.commands.share import paint
    from indexer.pipeline.estimate import estimate_chosen
    from indexer.pipeline.left_out import LeftOutCounter
    from indexer.pipeline.listing import Chooser
    from wildsat_core.cli import run_command
    from wildsat_core.countries import load_countries
    from wildsat_core.models.registry import load_model

    console = Console(stderr=True)
    where, from_, to = _where(place, bbox, geojson), first_day(since), last_day(until)
    root = collections / check_collection_name(name or _collection_name(where.name))
    known = find_catalogue(catalogue, catalogues)
    source = Sentinel2Source(
        api=known.api, area=where.box, since=from_, until=to, grid=KilometreGrid(tile_km, tile_km),
        max_cloud=max_cloud, pick="least-cloudy", signer=known.signer, collection=known.collection,
    )  # fmt: skip
    options = BuildOptions(
        workers=default_workers() if workers is None else workers,
        segment_tiles=SEGMENT_TILES,
        land=load_land(),
        countries=load_countries(),
        area=where.outline,
    )
    check_size(source, where.name)
    console.print(f"Looking for scenes of {where.name} in {known.title or known.api} ...")
    scenes = look(source, known, Chooser(lambda _: set(), area=where.outline))
    console.print(scenes.text())
    loaded = load_model(model)
    counts = LeftOutCounter(scenes.left_out)  # without the names, which were told
    console.print(estimate_chosen(source, loaded, options, scenes.tiles, counts).text())
    if dry_run or not (yes or typer.confirm("Read and index them now?", default=True)):
        return
    told = {"title": f"{where.name}, {since} to {until}", "description": _description(where.name, from_, to, tile_km)}
    with progress_bar("tiles", source.count(), console) as advance:
        report = build_area(source, loaded, root, options, told, advance)
    typer.echo(report.text(), err=True)
    paint(root)
    if serve:
        console.print(f"Serving on http://{'localhost' if host == '127.0.0.1' else host}:{port} (Ctrl-C stops)")
        os.environ |= {
            "WILDSAT_COLLECTIONS": str(collections),
            "WILDSAT_STORE": "",  # what was just built, here
            "WILDSAT_DEFAULT_COLLECTION": root.name,
        }
        run_command("serve", ["--host", host, "--port", str(port)])


def first_day(text: str) -> dt.date:
    """The day, or the first of the month.

    Raises:
        InvalidInputError: neither.
    """
    return _month(text, "from")[0]


def last_day(text: str) -> dt.date:
    """The day, or the last of the month.

    Raises:
        InvalidInputError: neither.
    """
    return _month(text, "to")[1]


def _month(text: str, option: str) -> tuple[dt.date, dt.date]:
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text):
            first = dt.date.fromisoformat(f"{text}-01")
            return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])
        day = dt.date.fromisoformat(text)
    except ValueError as err:
        raise InvalidInputError(f"--{option} must look like 2024-06 or 2024-06-30, got {text!r}", option) from err
    return day, day


def _where(place: str | None, bbox: str | None, geojson: Path | None) -> _Where:
    """The one area that was named.

    Raises:
        InvalidInputError: none, several, or a place that is not known.
    """
    if sum(given is not None for given in (place, bbox, geojson)) != 1:
        raise InvalidInputError('name one area: a place, such as "Okavango Delta", or --bbox, or --geojson', "area")
    if bbox is not None:
        box = parse_bbox(bbox)
        lon, lat = box.centre
        return _Where(f"{abs(lat):.2f} {'S' if lat < 0 else 'N'}, {abs(lon):.2f} {'W' if lon < 0 else 'E'}", box)
    if geojson is not None:
        outline = Area.from_file(geojson)
        return _Where(geojson.stem, area_box(outline), outline)
    assert place is not None
    return _named(place)


def _named(place: str) -> _Where:
    from wildsat_core.search.understanding.names import load_gazetteer

    gazetteer = load_gazetteer()
    found = gazetteer.find(place)
    if found is None or found.region is None:
        near = None if found else gazetteer.nearest(place)
        why = "is a whole country" if found else "is not a place that is known here"
        why += f" (did you mean {near!r}?)" if near else ""
        raise InvalidInputError(f"{place!r} {why}; give a box with --bbox W,S,E,N or polygons with --geojson", "area")
    if len(found.region.boxes) > 1:
        raise InvalidInputError(f"{place!r} lies in several boxes; give one with --bbox W,S,E,N", "area")
    return _Where(found.name, found.region.boxes[0])


def _collection_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64] or "area"


def _description(name: str, since: dt.date, until: dt.date, tile_km: float) -> str:
    return f"The least cloudy Sentinel-2 scenes of {name} between {since} and {until}, in tiles of {tile_km:g} km."
