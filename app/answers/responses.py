"""JSON as it leaves the service: whatever is stored or was sent, it can be read."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
from fastapi import responses


def encode(value: Any) -> bytes:  # noqa: ANN401 - anything that JSON has a form for
    """JSON in UTF-8. A number that is none becomes null; half a surrogate pair, which UTF-8 can't hold, U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a pair, a whole number beyond 64 bits, a key that is no text
        return json.dumps(_harmless(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _harmless(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_harmless(name): _harmless(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JSONResponse(responses.JSONResponse):
    """A JSON document. The framework describes the shape of its own class and of what derives from it only."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - anything that JSON has a form for
        """Encode it."""
        return encode(content)


class GeoJSONResponse(JSONResponse):
    """JSON under GeoJSON's own type."""

    media_type = "application/geo+json"


class SchemaResponse(JSONResponse):
    """JSON Schema under its own type."""

    media_type = "application/schema+json"
