"""From exceptions to answers: one table of statuses, one JSON shape (RFC 9457), a page for browsers."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.answers.pages import render_problem
from app.answers.responses import JSONResponse
from app.failures import (
    BodyTooLargeError,
    ClientGoneError,
    GenerationChangedError,
    KeyRequiredError,
    NotServedError,
    OverloadedError,
    RateLimitedError,
    UnexpectedBodyError,
    UnsupportedMediaError,
)
from app.logs import Seldom
from wildsat_core.errors import (
    CollectionFormatError,
    CollectionNotFoundError,
    InvalidInputError,
    MissingExtraError,
    ModelMismatchError,
    ModelNotFoundError,
    ShardsMissingError,
    SpeciesNotFoundError,
    TileNotFoundError,
    UnreachableError,
    WildsatError,
)

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
# What the framework says in a bare phrase, in a sentence.
UNADORNED = {
    400: "the body can't be read: it must be JSON in UTF-8, or for pictures multipart/form-data, as /docs describes",
    404: "there is nothing at this address; /docs and /openapi.json tell what there is",
    405: "this address does not take this method; /docs tells which it takes",
}
# What pydantic says in the words of a programmer, by its types of errors.
PLAINLY = {
    "missing": "must be given",
    "extra_forbidden": "there is no such field here",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text in whole characters; half of a surrogate pair is none",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}
UNTOLD = "The collection or its model can't be read just now. The log of the service has the details."
UNEXPECTED = "Something went wrong on our side. The log of the service has the details under this request id."


# The most special class of an exception that is in this table decides.
STATUS_OF: dict[type[Exception], int] = {
    InvalidInputError: 422,
    BodyTooLargeError: 413,
    UnexpectedBodyError: 400,
    UnsupportedMediaError: 415,
    TileNotFoundError: 404,
    SpeciesNotFoundError: 404,
    CollectionNotFoundError: 404,
    GenerationChangedError: 409,
    KeyRequiredError: 401,
    RateLimitedError: 429,
    OverloadedError: 503,
    ClientGoneError: 408,
    NotServedError: 503,
    ShardsMissingError: 503,
    UnreachableError: 503,
    CollectionFormatError: 503,
    ModelMismatchError: 503,
    ModelNotFoundError: 503,
    MissingExtraError: 501,
}


# Their sentences name files of this machine.
FOR_OPERATORS = (CollectionFormatError, ModelMismatchError, ModelNotFoundError, UnreachableError)
_seldom = Seldom()


def status_of(error: Exception) -> int:
    """Status for an exception: its nearest class in the table, 500 for a stranger."""
    return next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), 500)


def problem(status: int, detail: str, request_id: str, parameter: str | None = None) -> dict[str, Any]:
    """Problem details as in RFC 9457, with the request's id and the parameter at fault."""
    phrase = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if parameter is not None:
        body["parameter"] = parameter
    return body


def problem_of(error: Exception, request_id: str) -> dict[str, Any]:
    """Problem details for any exception; what is not ours to tell stays in the log."""
    if isinstance(error, RequestValidationError):
        return _validation_problem(error, request_id)
    if isinstance(error, HTTPException):
        detail = str(error.detail)
        # A 400 is always of a parser of bodies, in words of its own.
        bare = error.status_code == 400 or detail == HTTPStatus(error.status_code).phrase
        said = UNADORNED.get(error.status_code) if bare else None
        return problem(error.status_code, said or detail, request_id, getattr(error, "parameter", None))
    status = status_of(error)
    if status == 500:
        log.error("request %s failed", request_id, exc_info=error)
        return problem(500, UNEXPECTED, request_id)
    if isinstance(error, MissingExtraError):  # its message has the command for the operator, with paths of the machine
        log.error("request %s: %s", request_id, error)
        return problem(status, f"{error.purpose} needs a package that this service was installed without", request_id)
    if status == 503 and _seldom.may_say(f"{type(error).__name__} {error}"):
        log.warning("request %s, and perhaps more of the kind: %s", request_id, error)
    said = UNTOLD if isinstance(error, FOR_OPERATORS) else str(error)
    return problem(status, said, request_id, getattr(error, "parameter", None))


def _validation_problem(error: RequestValidationError, request_id: str) -> dict[str, Any]:
    """Name the first parameter at fault, what was seen and what is allowed."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, UNADORNED[400], request_id)
    place = [str(part) for part in first["loc"] if part not in ("query", "body", "path", "header")]
    name = ".".join(place) or str(first["loc"][-1])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInputError):  # raised by the core while a parameter was read; its sentence is whole
        return problem(422, str(cause), request_id, name if place else cause.parameter)
    seen = first.get("input")
    said = PLAINLY.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ")
    shown = "" if seen is None or isinstance(seen, dict | bytes) or ", got " in said else f", got {_clip(repr(seen))}"
    return problem(422, f"{name}: {said}{shown}", request_id, name)


def _clip(text: str, length: int = 120) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def headers_of(error: Exception) -> dict[str, str]:
    """Headers that belong to an error: when to come back, how to identify oneself."""
    if isinstance(error, RateLimitedError):
        return {"Retry-After": str(max(1, round(error.retry_after_s + 0.5)))}
    if isinstance(error, KeyRequiredError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, HTTPException) and error.headers:
        return dict(error.headers)
    return {"Retry-After": "1"} if status_of(error) == 503 else {}


def wants_html(request: Request) -> bool:
    """Whether the client is a browser that shows a page: it names text/html before any JSON."""
    accept = request.headers.get("accept", "")
    kinds = [part.split(";")[0].strip() for part in accept.split(",")]
    if "text/html" not in kinds:
        return False
    return not any("json" in kind for kind in kinds[: kinds.index("text/html")])


def error_response(request: Request, error: Exception) -> Response:
    """Answer for an exception, as problem+json or as the page with the problem in it."""
    details = problem_of(error, request_id_of(request))
    if details["status"] == 422:
        status = request.app.state.directory.of(request.scope).malformed
        details |= {"status": status, "title": HTTPStatus(status).phrase}
    headers = headers_of(error) | {"Cache-Control": "no-store"}
    if details["status"] == 405:
        headers |= {"Allow": ", ".join(_allowed(request))}
    if wants_html(request):
        return render_problem(request, details, headers)
    return JSONResponse(details, details["status"], headers, PROBLEM_JSON)


def _allowed(request: Request) -> list[str]:
    """Methods that an address takes; the framework names those of the first route only."""

    def takes(method: str) -> bool:
        scope = dict(request.scope) | {"method": "GET" if method == "HEAD" else method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("GET", "HEAD", "POST") if takes(method)]


def request_id_of(request: Request) -> str:
    return str(request.scope.get("wildsat.request_id", "-"))


async def _answer(request: Request, error: Exception) -> Response:
    return error_response(request, error)


def install_handlers(app: FastAPI) -> None:
    """Every expected failure leaves by the same door; the unexpected ones are caught in app/layers/crashes.py."""
    for kind in (WildsatError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)
