"""Answers that a client may keep: an ETag of everything that decides an answer, checked before any work is done."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from app.catalog import Served
from wildsat_core import __version__
from wildsat_core.search.query import Query, SearchResult, SpeciesTerm


def etag_of(served: Served, *parts: Any) -> str:  # noqa: ANN401 - anything that JSON can write
    """Weak ETag of an answer: program, collection, generation and model, then what was asked.

    Weak, since the timings in two answers to the same question differ.
    """
    manifest = served.manifest
    decides = [
        __version__,
        manifest.name,
        served.identity,
        manifest.model.weights_sha256,
        *parts,
    ]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return f'W/"{digest[:32]}"'


def etag_of_query(served: Served, kind: str, query: Query, *asked: Any) -> str:  # noqa: ANN401
    """ETag of what a query decides; the texts of a species are part of it, since the operator's table may change."""
    texts = [term.texts for term in query.terms if isinstance(term, SpeciesTerm)]
    return etag_of(served, kind, *asked, texts)


def is_known(if_none_match: str, etag: str) -> bool:
    """Whether a client has the answer of an ETag, by the header in which it says what it has."""
    return etag.removeprefix("W/") in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}


def tag_headers(etag: str, result: SearchResult) -> dict[str, str]:
    """Headers of an answer: an incomplete one is nobody's to keep."""
    return {"Cache-Control": "no-store"} if result.missing else {"ETag": etag}


def not_modified(request: Request, etag: str, cache_control: str | None = None) -> Response | None:
    """304 when the client has this very answer, else None.

    "*" asks whether there is any answer at all, which only the work would tell: it gets the whole answer.
    """
    if is_known(request.headers.get("if-none-match", ""), etag):
        return Response(
            status_code=304, headers={"ETag": etag} | ({"Cache-Control": cache_control} if cache_control else {})
        )
    return None
