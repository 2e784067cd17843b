"""GET /changes: the same places on two days, ranked by how much better or worse they fit a question."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field

from app.answers.etags import etag_of_query, not_modified
from app.answers.hits import change_collection
from app.answers.responses import GeoJSONResponse
from app.answers.schemas import ChangesAnswer
from app.context import catalog_of, count_answer, species_of
from app.requests.forms import CollectionName, Days, HitCount, HitOffset, period
from app.requests.parameters import QuestionParameters
from app.requests.reader import in_url
from app.routes.route import new_router
from wildsat_core.search.changes import Period
from wildsat_core.search.query import DEFAULT_K

router = new_router(tags=["search"])

BEFORE = "when the earlier picture was taken: 2019, 2019-06, 2019-06-15, or two of these with /; default: any time"
AFTER = "when the later picture was taken; default: any time"
DIRECTION = "first what gained most, what lost most, or what changed most either way"


class ChangesParameters(QuestionParameters):
    """A question, what narrows it, and which two times are compared."""

    before: Days | None = Field(default=None, description=BEFORE, examples=["2019"])
    after: Days | None = Field(default=None, description=AFTER, examples=["2023-06/2023-09"])
    direction: Literal["any", "gain", "loss"] = Field(default="any", description=DIRECTION)
    k: HitCount = Field(default=DEFAULT_K, description="how many places")
    offset: HitOffset = Field(default=0, description="places to skip")
    collection: CollectionName | None = Field(default=None, description="collection to search; default: the service's")

    def normalised(self) -> dict[str, object]:
        """What was asked, by the names of the URL, without what was left out but k."""
        return super().normalised() | {"k": self.k}


@router.get("/changes", response_class=GeoJSONResponse, response_model=ChangesAnswer)
def changes(request: Request, parameters: Annotated[ChangesParameters, in_url(ChangesParameters)]) -> Response:
    """Rank places that were visited more than once by what changed there, as one question sees it."""
    served = catalog_of(request).get(parameters.collection)
    query = parameters.question(species_of(request), k=parameters.k, offset=parameters.offset)
    asked = parameters.normalised()
    etag = etag_of_query(served, "changes", query, asked)
    if unchanged := not_modified(request, etag):
        return unchanged
    before, after = (period(text) if text else Period() for text in (parameters.before, parameters.after))
    result = served.engine.changes(query, before, after, parameters.direction)
    count_answer(request, result)
    return GeoJSONResponse(change_collection(served, result, asked), headers={"ETag": etag})
