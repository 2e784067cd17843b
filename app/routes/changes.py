"""GET and POST /changes: the same places on two days, ranked by how much better or worse they fit a question."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified
from app.answers.exporting import changes_csv
from app.answers.hits import change_collection
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import ChangesAnswer
from app.catalog import Served
from app.context import base_url, catalog_of, count_answer, species_of
from app.requests.bodies import QuestionBody
from app.requests.forms import CollectionName, Days, HitCount, HitOffset, period
from app.requests.parameters import QuestionParameters
from app.requests.reader import in_url
from app.routes.route import new_router
from wildsat_core.search.changes import Direction, Period
from wildsat_core.search.query import DEFAULT_K, Query

router = new_router(tags=["search"])

BEFORE = "when the earlier picture was taken: 2019, 2019-06, 2019-06-15, or two of these with /; default: any time"
AFTER = "when the later picture was taken; default: any time"
DIRECTION = "first what gained most, what lost most, or what changed most either way"
FORMAT = "geojson, or csv: a table of both tiles of each place"
Format = Literal["geojson", "csv"]


class ChangesParameters(QuestionParameters):
    """A question, what narrows it, and which two times are compared."""

    before: Days | None = Field(default=None, description=BEFORE, examples=["2019"])
    after: Days | None = Field(default=None, description=AFTER, examples=["2023-06/2023-09"])
    direction: Direction = Field(default="any", description=DIRECTION)
    format: Format = Field(default="geojson", description=FORMAT)
    k: HitCount = Field(default=DEFAULT_K, description="how many places")
    offset: HitOffset = Field(default=0, description="places to skip")
    collection: CollectionName | None = Field(default=None, description="collection to search; default: the service's")

    def normalised(self) -> dict[str, object]:
        """What was asked, by the names of the URL, without what was left out but k."""
        return super().normalised() | {"k": self.k}


class ChangesBody(QuestionBody):
    """The same as JSON."""

    before: Days | None = Field(default=None, description=BEFORE)
    after: Days | None = Field(default=None, description=AFTER)
    direction: Direction = Field(default="any", description=DIRECTION)
    format: Format = Field(default="geojson", description=FORMAT)


AS_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("/changes", response_class=GeoJSONResponse, response_model=ChangesAnswer, responses=AS_CSV)
def changes(request: Request, parameters: Annotated[ChangesParameters, in_url(ChangesParameters)]) -> Response:
    """Rank places that were visited more than once by what changed there, as one question sees it."""
    served = catalog_of(request).get(parameters.collection)
    query = parameters.question(species_of(request), k=parameters.k, offset=parameters.offset)
    asked = parameters.normalised()
    etag = etag_of_query(served, "changes", query, asked, base_url(request) if parameters.format == "csv" else None)
    if unchanged := not_modified(request, etag):
        return unchanged
    answer = _answer(request, served, query, parameters, asked, "/changes")
    answer.headers["ETag"] = etag
    return answer


@router.post(
    "/changes", name="changes_json", response_class=GeoJSONResponse, response_model=ChangesAnswer, responses=AS_CSV
)
def changes_json(request: Request, body: ChangesBody) -> Response:
    """The same for what does not fit a URL: weighted terms, the vector of a picture, any area."""
    served = catalog_of(request).get(body.collection)
    return _answer(request, served, body.to_query(species_of(request).term), body, body.normalised(), None)


def _answer(
    request: Request,
    served: Served,
    query: Query,
    asked: ChangesParameters | ChangesBody,
    told: dict[str, Any],
    path: str | None,
) -> Response:
    """Compare, and tell in the format that was asked for."""
    before, after = (period(text) if text else Period() for text in (asked.before, asked.after))
    result = served.engine.changes(query, before, after, asked.direction)
    count_answer(request, result)
    if asked.format == "geojson":
        return GeoJSONResponse(change_collection(served, result, told, path=path))
    name = f"changes-{served.name}-{served.manifest.generation}.csv"
    return Response(
        changes_csv(served, result, told, base_url(request)),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
