"""GET /export: a long ranking as a file."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import Annotated

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified
from app.answers.exporting import BYTE_ORDER_MARK, FORMATS, ExportFormat
from app.answers.ranges import Store, Written, answer_with, media_types
from app.catalog import Served
from app.context import base_url, catalog_of, metrics_of, settings_of, species_of
from app.failures import OverloadedError
from app.requests.parameters import SearchParameters
from app.requests.reader import in_url
from app.routes.route import new_router
from wildsat_core.errors import InvalidInputError, LimitExceededError
from wildsat_core.search.query import MAX_K, Query
from wildsat_core.text.folding import plain

router = new_router(tags=["search"])

DEFAULT_ROWS = 10_000
MOST_NAME_CHARACTERS = 60


class ExportParameters(SearchParameters):
    """A search, how many rows of it, and in which format."""

    format: ExportFormat = Field(default=ExportFormat.GEOJSON, description="geojson, csv, geoparquet or stac")
    limit: int | None = Field(
        default=None, ge=1, description="how many rows at most; 10,000, or 1,000 with spacing_km or max_per_country"
    )
    bom: bool = Field(default=False, description="begin a CSV with the mark by which Excel knows UTF-8")


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses=media_types(*dict.fromkeys(chosen.media_type for chosen in FORMATS.values())),
)
def export(request: Request, parameters: Annotated[ExportParameters, in_url(ExportParameters)]) -> Response:
    """The best tiles as a file; `limit` takes the place of k and offset, and shares are not explained."""
    most = settings_of(request).max_export_rows
    apart = bool(parameters.spacing_km or parameters.max_per_country)
    limit = parameters.limit or min(MAX_K if apart else DEFAULT_ROWS, most)
    if limit > most:
        raise LimitExceededError(f"limit must be at most {most}, got {limit}", "limit")
    if apart and limit > MAX_K:
        raise LimitExceededError(
            f"with spacing_km or max_per_country limit must be at most {MAX_K}, got {limit}", "limit"
        )
    if parameters.bom and parameters.format is not ExportFormat.CSV:
        raise InvalidInputError("bom belongs to format=csv", "bom")
    served = catalog_of(request).get(parameters.collection)
    # A file is for working on: it has every tile, and nobody scrolls past what overlaps.
    query = replace(parameters.to_query(species_of(request)), overlapping=True)
    tag = etag_of_query(served, "export", query, parameters.model_dump(), base_url(request))
    headers = {"ETag": tag.removeprefix("W/")}  # byte for byte: it may be read in parts
    if unchanged := not_modified(request, headers["ETag"]):
        return unchanged
    chosen = FORMATS[parameters.format]
    name = f"{_words(parameters)}{served.name}-{served.manifest.generation}.{chosen.suffix}"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    store: Store = request.app.state.exports
    file = store.get(headers["ETag"])
    if file is None:
        file = _written(request, served, query, parameters, limit)
        store.put(headers["ETag"], file)
    return answer_with(request, file, chosen.media_type, headers)


def _written(request: Request, served: Served, query: Query, parameters: ExportParameters, limit: int) -> Written:
    """Rank and write; who reads slowly then reads a file, and keeps nobody from exporting.

    Raises:
        OverloadedError: there is no room for the file.
    """
    metrics = metrics_of(request)
    ranking = served.engine.rank(query, limit)
    metrics.observe_stages({stage: ms / 1000.0 for stage, ms in ranking.timings_ms.items()})
    played_no_part = ("k", "offset", "explain", "overlapping", "format", "bom")
    asked = {name: value for name, value in parameters.normalised().items() if name not in played_no_part}
    pieces = FORMATS[parameters.format].write(served, ranking, asked, base_url(request))
    try:
        with metrics.timed("write"):
            return Written(chain([BYTE_ORDER_MARK], pieces) if parameters.bom else pieces)
    except OSError as err:
        raise OverloadedError("there is no room to write the export just now; ask for fewer rows") from err


def _words(parameters: SearchParameters) -> str:
    """The question as the beginning of a file's name, in letters that every system takes; empty where it has none."""
    asked = parameters.q or parameters.species or (f"like {parameters.like}" if parameters.like else "")
    words = re.sub(r"[^a-z0-9]+", "-", plain(asked)[:MOST_NAME_CHARACTERS]).strip("-")
    return f"{words}-" if words else ""
