"""A route of this service: it reads its URL strictly, and is gated and cached as the table of policies says."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from app.failures import UnsupportedMediaError
from app.layers.gate import hold_export, hold_place
from app.policies import POLICIES, Body, Cost
from app.requests.reader import StrictRequest, described, model_of, read_parameters

# Scope "function": the place is free again once the answer is computed, before a slow client has read it.
PLACE = Depends(hold_place, scope="function")
# Exports have places of their own, since writing a long one takes seconds.
EXPORT_PLACE = Depends(hold_export, scope="function")
GATES = {Cost.PROBE: (), Cost.QUICK: (), Cost.SEARCH: (PLACE,), Cost.EXPORT: (EXPORT_PLACE, PLACE)}


class Route(APIRoute):
    """A route under its policy, found by the route's name."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - FastAPI's own
        """Add the policy's gates, and describe the parameters that the endpoint asks for."""
        policy = self.policy = POLICIES[options.get("name") or endpoint.__name__]
        model = self.model = model_of(endpoint)
        options["dependencies"] = [*(options.get("dependencies") or ()), *GATES[policy.cost]]
        options["openapi_extra"] = described(model) | (options.get("openapi_extra") or {})
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the URL before anything else is done, so that what is refused waits for no place."""
        handler, model, cache = super().get_route_handler(), self.model, self.policy.cache

        async def strict(request: Request) -> Response:
            read_parameters(request, model)
            check_media_type(request, self.policy.body)
            response = await handler(StrictRequest(request.scope, request.receive))
            kept = response.headers.get("Cache-Control", cache)
            # What only some may see is for nobody between them and the service to keep.
            private = request.app.state.settings.require_key
            response.headers["Cache-Control"] = kept.replace("public", "private") if private else kept
            return response

        return strict


def check_media_type(request: Request, body: Body) -> None:
    """Refuse a body that does not say what it is, or is something else.

    Raises:
        UnsupportedMediaError: telling what to send.
    """
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = repr(sent) if sent else "none"
    if body is Body.JSON and not (sent == "application/json" or sent.endswith("+json")):
        raise UnsupportedMediaError(f"send the query as JSON, with Content-Type: application/json, got {shown}")
    if body is Body.PICTURE and sent != "multipart/form-data":
        raise UnsupportedMediaError(
            f"send the picture as multipart/form-data in the field image (curl -F image=@here.png), got {shown}"
        )


def new_router(**options: Any) -> APIRouter:  # noqa: ANN401 - FastAPI's own
    """A router whose routes are of this kind."""
    return APIRouter(route_class=Route, **options)
