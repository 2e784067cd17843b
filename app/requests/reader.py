"""The one reader of what a URL asks: into a model, in one step, refusing by name what the model does not describe.

FastAPI can do this by itself, but it drops unknown parameters, takes the last of repeated ones, and looks at every
field's annotation anew for every request: with the thirty parameters of a search that was three fifths of the event
loop's work in a profile of /search.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from wildsat_core.errors import InvalidInputError

KEPT_AS = "wildsat.parameters"  # in the request's scope


class Parameters(BaseModel):
    """Base of what URLs ask; by itself, no parameters at all."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False, allow_inf_nan=False)


class Asked:
    """Marks an endpoint's argument that holds the parameters of the URL: `Annotated[Model, in_url(Model)]`."""

    def __init__(self, model: type[Parameters]) -> None:
        """Remember what to read into."""
        self.model = model

    async def __call__(self, request: Request) -> Parameters:  # a coroutine: plain functions are sent to a thread
        """What `read_parameters` has read."""
        parameters: Parameters = request.scope[KEPT_AS]
        return parameters


def in_url(model: type[Parameters]) -> Any:  # noqa: ANN401 - what FastAPI's Depends gives
    """The dependency that gives an endpoint its parameters."""
    return Depends(Asked(model))


def model_of(endpoint: Callable[..., Any]) -> type[Parameters]:
    """The model that an endpoint's parameters are read into; the empty one where it has none."""
    for hint in get_type_hints(endpoint, include_extras=True).values():
        for mark in get_args(hint) if get_origin(hint) is Annotated else ():
            if isinstance(wanted := getattr(mark, "dependency", None), Asked):
                return wanted.model
    return Parameters


@cache
def names_of(model: type[BaseModel]) -> frozenset[str]:
    """Names of a model's fields as they are written in a URL."""
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def read_parameters(request: Request, model: type[Parameters]) -> None:
    """Read the URL's parameters once, for the endpoint's argument that `in_url` marks.

    Raises:
        InvalidInputError: a parameter is given twice, or is none of the model's where the model forbids others.
        RequestValidationError: a value is malformed.
    """
    given = request.query_params.multi_items()
    values = dict(given)
    if len(values) < len(given):
        names = [name for name, _ in given]
        refuse(next(name for name in names if names.count(name) > 1), "must be given only once")
    if model.model_config.get("extra") == "forbid":
        refuse_strangers(values, names_of(model), in_body=request.method == "POST")
    try:
        request.scope[KEPT_AS] = model.model_validate(values)
    except ValidationError as err:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in err.errors()]) from err


def refuse_strangers(given: Collection[str], known: Collection[str], *, in_body: bool = False) -> None:
    """Refuse the first name that is not known.

    Args:
        given: names as they were sent.
        known: names that the address takes in its URL.
        in_body: whether the address takes a body, so that a name may have been meant for it.

    Raises:
        InvalidInputError: naming the parameter, the likeliest one that was meant, and all there are.
    """
    stranger = next((name for name in given if name not in known), None)
    if stranger is None:
        return
    if not known:
        refuse(
            stranger, "belongs into the body here, not into the URL" if in_body else "this address takes no parameters"
        )
    meant = get_close_matches(stranger, known, 1)
    question = f"; did you mean {meant[0]}?" if meant else "."
    refuse(stranger, f"there is no such parameter here{question} This address takes {', '.join(sorted(known))}")


def refuse_fields(form: FormData, known: str) -> None:
    """Refuse what a form has beside its one field, which is given once.

    Raises:
        InvalidInputError: naming the field.
    """
    names = [name for name, _ in form.multi_items()]
    for name in names:
        if name != known:
            refuse(name, f"belongs into the URL; the form holds {known} alone")
    if len(names) > 1:
        refuse(known, "must be given only once")


def refuse(name: str, why: str) -> None:
    """Refuse a parameter by name.

    Raises:
        InvalidInputError: always.
    """
    shown = name if len(name) <= 80 else f"{name[:79]}…"
    raise InvalidInputError(f"{shown}: {why}", shown)


class RepeatedNameError(HTTPException):
    """A JSON object has a name twice. The framework turns every other kind of error in a body into a plain 400."""

    def __init__(self, name: str) -> None:
        """Name it."""
        super().__init__(422, f"{name[:80]}: must be given only once")
        self.parameter = name[:80]


class StrictRequest(Request):
    """A request whose JSON body may hold each name only once; Python would take the last of several."""

    async def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The body, read once."""
        if not hasattr(self, "_json"):
            self._json = json.loads(await self.body(), object_pairs_hook=_each_once)
        return self._json


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        raise RepeatedNameError(next(name for name in names if names.count(name) > 1))
    return read


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The parameters for the OpenAPI document, as `openapi_extra` of a route."""
    schema = model.model_json_schema(by_alias=True)
    parameters = []
    for name, field in schema.get("properties", {}).items():
        named = field.pop("$ref", "").removeprefix("#/$defs/")  # an enumeration; the document has no such place
        whole = schema["$defs"][named] | field if named else field
        told = {"description": whole["description"]} if "description" in whole else {}
        parameters.append({"name": name, "in": "query", "required": False, "schema": whole} | told)
    return {"parameters": parameters} if parameters else {}
