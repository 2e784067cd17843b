"""Collections as OGC API Features and STAC describe them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.answers.addresses import STAC_ROOT, Addresses
from app.catalog import Served
from wildsat_core.search.properties import queryables

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"


def collection_entry(served: Served) -> dict[str, Any]:
    """A collection with its extent and what this service adds under "wildsat"; without links."""
    manifest = served.manifest
    told = manifest.provenance
    imagery, scale = imagery_entry(served), served.engine.ground_scale
    return {
        "id": served.name,
        "name": served.name,
        "title": told.get("title") or served.name,
        "description": told.get("description") or f"Satellite tiles of the collection {served.name}.",
        "notice": served.notice,
        "attribution": told.get("attribution"),
        "imagery": imagery is not None,
        "imagery_max_zoom": imagery["maxzoom"] if imagery else None,
        "extent": {
            "spatial": {"bbox": [list(served.engine.spatial_extent)], "crs": CRS84},
            "temporal": {"interval": [list(served.engine.temporal_extent)]},
        },
        "itemType": "feature",
        "crs": [CRS84],
        "wildsat": {
            "tiles": served.manifest.tiles,
            "generation": manifest.generation,
            "model": manifest.model.name,
            "notice": served.notice,
            "default_blend": default_blend(served),
            "gsd_m": scale.gsd_m if scale else None,
            "tile_m": scale.side_m if scale else None,
            "spaces": {name: {"dim": spec.dim, "metric": spec.metric} for name, spec in manifest.spaces.items()},
            "imagery": imagery,
            "filters": served.engine.filterable,
            "created_at": manifest.created_at.isoformat(),
        },
    }


def default_blend(served: Served) -> float:
    return float(served.model.default_blend) if "place" in served.manifest.spaces else 0.0


def imagery_entry(served: Served) -> dict[str, Any] | None:
    """URL template and zooms of the collection's own imagery, None without any."""
    if served.imagery is None:
        return None
    least, greatest = served.imagery.zooms
    bounds = served.imagery.bounds
    return {
        "tiles": f"/collections/{served.name}/imagery/{{z}}/{{x}}/{{y}}",
        "minzoom": least,
        "maxzoom": greatest,
        "tile_px": served.imagery.tile_px,
        **({} if bounds is None else {"bounds": bounds}),
    }


FEATURES, FILTER = (f"http://www.opengis.net/spec/ogcapi-features-{part}/1.0/conf" for part in (1, 3))
CQL2 = "http://www.opengis.net/spec/cql2/1.0/conf"
STAC = "https://api.stacspec.org/v1.0.0"
CONFORMANCE = (
    f"{FEATURES}/core",
    f"{FEATURES}/geojson",
    f"{FILTER}/queryables",
    f"{FILTER}/queryables-query-parameters",
    f"{FILTER}/filter",
    f"{FILTER}/features-filter",
    *(
        f"{CQL2}/{part}"
        for part in (
            "cql2-text",
            "cql2-json",
            "basic-cql2",
            "advanced-comparison-operators",
            "case-insensitive-comparison",
            "accent-insensitive-comparison",
            "basic-spatial-functions",
            "basic-spatial-functions-plus",
            "spatial-functions",
            "temporal-functions",
            "property-property",
        )
    ),
    f"{STAC}/core",
    f"{STAC}/collections",
    f"{STAC}/ogcapi-features",
    f"{STAC}/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#fields",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#fields",
    "https://api.stacspec.org/v1.0.0/item-search#sort",
    "https://api.stacspec.org/v1.0.0/ogcapi-features#sort",
    "http://www.opengis.net/spec/ogcapi-features-5/1.0/conf/schemas",
    "https://api.stacspec.org/v1.0.0-rc.3/item-search#filter",
    "https://api.stacspec.org/v1.0.0-rc.3/ogcapi-features#features-filter",
)

# Clients of the first editions of the standards look for version 3.0, and read the document all the same.
OPENAPI_TYPES = tuple(f"application/vnd.oai.openapi+json;version={version}" for version in ("3.1", "3.0"))


def landing(served: Iterable[Served], at: Addresses) -> dict[str, Any]:
    """The service as an OGC landing page and a STAC Catalog in one."""
    site = at.site
    links = [
        {"rel": "self", "href": at.root, "type": "application/json"},
        {"rel": "root", "href": at.root, "type": "application/json"},
        *({"rel": "service-desc", "href": f"{site}/openapi.json", "type": kind} for kind in OPENAPI_TYPES),
        {"rel": "service-doc", "href": f"{site}/docs", "type": "text/html"},
        {"rel": "conformance", "href": f"{site}{at.below}/conformance", "type": "application/json"},
        {"rel": "search", "href": at.search, "type": "application/geo+json", "method": "GET"},
        {"rel": "search", "href": at.search, "type": "application/geo+json", "method": "POST"},
        {"rel": QUERYABLES, "href": f"{site}{STAC_ROOT}/queryables", "type": "application/schema+json"},
        {"rel": "data", "href": at.collections, "type": "application/json"},
    ]
    links += [
        {"rel": "child", "href": at.collection(s.name), "type": "application/json", "title": s.name} for s in served
    ]
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": "wildsat",
        "title": "WildSAT habitat search",
        "description": "Satellite tiles that can be searched by habitat text, place, picture or species.",
        "conformsTo": list(CONFORMANCE),
        "links": links,
    }


SCHEMA = "http://www.opengis.net/def/rel/ogc/1.0/schema"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def schema_document(address: str, title: str) -> dict[str, Any]:
    """What Items have, as JSON Schema, with the parts that some properties play (OGC API Features, part 5)."""
    roles = {"id": "id", "datetime": "primary-instant", "start_datetime": "primary-interval-start"}
    roles |= {"end_datetime": "primary-interval-end"}
    of_hits = {
        "wildsat:rank": {"type": "integer", "minimum": 1, "title": "Place in the ranking, where there is one"},
        "wildsat:score": {"type": "number", "title": "Ranks only; not a probability"},
        "wildsat:percentile": {"type": "number", "minimum": 0, "maximum": 100, "title": "Tiles that score lower, in %"},
    }
    properties = {
        name: told | {"x-ogc-role": roles[name]} if name in roles else told for name, told in queryables().items()
    }
    geometry = {"format": "geometry-multipolygon", "title": "Outline", "x-ogc-role": "primary-geometry"}
    return {
        "$schema": JSON_SCHEMA,
        "$id": address,
        "type": "object",
        "title": title,
        "properties": properties | of_hits | {"geometry": geometry},
    }


def queryables_document(address: str, title: str) -> dict[str, Any]:
    """What `filter` may ask, as JSON Schema. Other names, those that hits have, are understood, too."""
    return {
        "$schema": JSON_SCHEMA,
        "$id": address,
        "type": "object",
        "title": title,
        "properties": queryables(),
        "additionalProperties": True,
    }
