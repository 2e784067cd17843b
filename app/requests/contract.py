"""What the map page must know of the requests that it makes; it has no list of parameters and no limit of its own."""

from __future__ import annotations

from typing import Any

from app.requests.parameters import MAX_TERMS_CHARACTERS, PAGE_KEYS, RANKING, SearchParameters
from app.requests.pictures import MEDIA_TYPES
from app.settings import Settings
from wildsat_core.countries import load_countries
from wildsat_core.search.query import DEFAULT_K, MAX_DISTANCE_KM, MAX_K, MAX_TEXT_CHARACTERS, MAX_WEIGHT
from wildsat_core.search.understanding.names import two_letters


def page_contract(settings: Settings) -> dict[str, Any]:
    """Names of parameters in the order in which a link has them, limits, and countries by the codes of filters."""
    return {
        "search": [field.alias or name for name, field in SearchParameters.model_fields.items()],
        "ranking": list(RANKING),
        "page": [name for name in PAGE_KEYS if name != "f"],
        "countries": load_countries().names,
        "two_letters": two_letters(),
        "limits": {
            "k": MAX_K,
            "default_k": DEFAULT_K,
            "text_characters": MAX_TEXT_CHARACTERS,
            "terms_characters": MAX_TERMS_CHARACTERS,
            "weight": MAX_WEIGHT,
            "distance_km": MAX_DISTANCE_KM,
            "export_rows": settings.max_export_rows,
            "upload_bytes": settings.max_upload_bytes,
            "picture_types": list(MEDIA_TYPES),
            "embed": bool(settings.embed_origins),
        },
    }
