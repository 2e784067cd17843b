"""A service of canned answers, for states that a healthy service rarely shows: slow, failing, no match, no imagery.

It serves the real page, the real static files and answers of the real shape, with the real security policy; only the
ranking is invented: a seeded shuffle of tiles on a grid. Words in the query choose the state: "slow", "broken",
"nothing", "refused".
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.requests.contract import page_contract
from app.requests.parameters import RANKING
from app.routes.places import PlacesParameters
from app.routes.places import places as real_places
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
CSP = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self'; connect-src 'self'; style-src 'self'; "
    "script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
COLLECTION = {
    "name": "demo",
    "title": "Blue Marble demo",
    "notice": "Imagery: NASA Blue Marble, about 7 km a pixel. It shows land cover from afar and is not Sentinel-2.",
    "attribution": "NASA Earth Observatory",
    "imagery": False,
    "imagery_max_zoom": None,
    "wildsat": {
        "tiles": 612,
        "generation": 1,
        "model": "wildsat-mini",
        "default_blend": 0.2,
        "gsd_m": [7400, 7400],
        "filters": {
            "days": ["2000-01-01", "2024-12-31"],
            "months": list(range(1, 13)),
            "cloud": True,
            "land": True,
            "countries": ["BRA", "PER"],
        },
        "spaces": {"text": {}, "place": {}},
    },
}

OTHER = COLLECTION | {"name": "other", "title": "Another model"}


@cache
def tiles() -> list[dict[str, Any]]:
    """One tile every ten degrees, the last column across the antimeridian."""
    found = []
    for lat in range(-80, 81, 10):
        for lon in range(-180, 180, 10):
            found.append({"tile_id": f"t{lon}_{lat}", "lon": float(lon), "lat": float(lat)})
    return found


def feature(tile: dict[str, Any], rank: int) -> dict[str, Any]:
    lon, lat, half = tile["lon"], tile["lat"], 1.0
    ring = [
        [lon - half, lat - half],
        [lon + half, lat - half],
        [lon + half, lat + half],
        [lon - half, lat + half],
        [lon - half, lat - half],
    ]
    tile_id = tile["tile_id"]
    return {
        "type": "Feature",
        "id": tile_id,
        "bbox": [lon - half, lat - half, lon + half, lat + half],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "tile_id": tile_id,
            "rank": rank,
            "score": round(0.5 - rank / 1000, 4),
            "percentile": round(100 - rank / 10, 2),
            "fit": "strong" if rank <= 3 else "fair",
            "lon": lon,
            "lat": lat,
            "captured_on": "2004-07-01",
            "cloud_cover": None,
            "gsd_m": 7400,
            "source": "canned",
            "country": "BRA",
            "country_name": "Brazil",
            "land_share": 1.0,
            "place": "Northern Brazil",
            "thumbnail": f"/tiles/{tile_id}/thumbnail.webp?collection=demo",
            "similar": f"/tiles/{tile_id}/similar?collection=demo",
        },
    }


def inside(tile: dict[str, Any], bbox: str | None) -> bool:
    if not bbox:
        return True
    west, south, east, north = (float(part) for part in bbox.split(","))
    lon = tile["lon"]
    in_lon = west <= lon <= east if west <= east else lon >= west or lon <= east
    return in_lon and south <= tile["lat"] <= north


PICTURE_TERM = '[{"vector":[0.5,-0.5],"space":"image"}]'


def answer(params: dict[str, str]) -> dict[str, Any]:
    """Hits in the contract's shape, in an order that depends on the question alone."""
    question = "|".join(f"{key}={params[key]}" for key in ("q", "not", "terms", "like", "up", "down") if key in params)
    passed = [tile for tile in tiles() if inside(tile, params.get("bbox"))]
    if "tiles" in params:
        passed = [{"tile_id": one, "lon": 0.0, "lat": 0.0} for one in params["tiles"].split(",")]
    random.Random(question).shuffle(passed)
    k, offset = int(params.get("k", "20")), int(params.get("offset", "0"))
    chosen = passed[offset : offset + k]
    return {
        "type": "FeatureCollection",
        "query": {"k": k, **params},
        "collection": "demo",
        "generation": 1,
        "model": "wildsat-mini",
        "notice": COLLECTION["notice"],
        "attribution": COLLECTION["attribution"],
        "matched": len(passed),
        "total": len(tiles()),
        "returned": len(chosen),
        "backend": "exact scan",
        "no_match": "nothing" in params.get("q", ""),
        "timings_ms": {"plan": 8.6, "filter": 0.4, "scan": 2.0},
        "links": [],
        "features": [feature(tile, offset + i + 1) for i, tile in enumerate(chosen)],
    }


def problem_of(params: dict[str, str]) -> dict[str, Any] | None:
    q = params.get("q", "")
    if "broken" in q:
        return {
            "type": "about:blank",
            "title": "Internal error",
            "status": 500,
            "detail": "The search failed.",
            "request_id": "req-1",
        }
    if "refused" in q:
        return {
            "type": "about:blank",
            "title": "Invalid input",
            "status": 422,
            "detail": "q must not be refused",
            "parameter": "q",
        }
    return None


async def search(request: Request) -> Response:
    params = dict(request.query_params)
    if "slow" in params.get("q", ""):
        await asyncio.sleep(1.5)
    problem = problem_of(params)
    if problem:
        return JSONResponse(problem, status_code=problem["status"], media_type="application/problem+json")
    return JSONResponse(answer(params), media_type="application/geo+json")


async def changes(request: Request) -> Response:
    """The tiles of a search, each with what it was five years before; none between two days of one year."""
    params = dict(request.query_params)
    found = answer(params)
    if params.get("before") == params.get("after", "any time"):
        found |= {"matched": 0, "returned": 0, "features": []}
    for one in found["features"]:
        after = one["properties"]
        rank, difference = after.pop("rank"), {"loss": -0.7}.get(params["direction"], 0.7)
        before = after | {
            "tile_id": f"{one['id']}_early",
            "captured_on": "1999-07-01",
            "score": after["score"] - difference,
        }
        one["properties"] = {"rank": rank, "difference": difference, "before": before, "after": after}
    return JSONResponse(found)


async def index(request: Request) -> Response:
    params = {key: value for key, value in request.query_params.items() if value}
    asked = any(params.get(key) for key in RANKING)
    problem = problem_of(params) if asked else None
    result = answer(params) if asked and not problem else None
    environment = Environment(
        loader=FileSystemLoader(ROOT / "app" / "templates"), autoescape=select_autoescape(["html"])
    )
    html = environment.get_template("index.html").render(
        root=request.scope.get("root_path", ""),
        collections=[COLLECTION, OTHER] if "two collections" in params.get("q", "") else [COLLECTION],
        collection=COLLECTION,
        query=params,
        result=result,
        problem=problem,
        tile=next((feature(one, 1) for one in tiles() if one["tile_id"] == params.get("tile")), None),
        contract=page_contract(Settings()),
    )
    return HTMLResponse(html)


async def thumbnail(request: Request) -> Response:
    colour = random.Random(request.path_params["tile_id"]).choices(range(40, 180), k=3)
    out = io.BytesIO()
    Image.new("RGB", (32, 32), tuple(colour)).save(out, "WEBP")
    return Response(out.getvalue(), media_type="image/webp")


async def tile(request: Request) -> Response:
    found = next((one for one in tiles() if one["tile_id"] == request.path_params["tile_id"]), None)
    if found is None:
        return JSONResponse({"title": "Not found", "status": 404, "detail": "no such tile"}, status_code=404)
    alone = feature(found, 1)
    for name in ("rank", "score", "percentile", "fit"):
        del alone["properties"][name]
    return JSONResponse(alone)


async def similar(request: Request) -> Response:
    return JSONResponse(answer({"like": request.path_params["tile_id"], **request.query_params}))


async def items(request: Request) -> Response:
    """Tiles in a box as STAC Items; each place was visited on two days."""
    found = [tile for tile in tiles() if inside(tile, request.query_params["bbox"])]
    visits = [(tile, "2004-07-01", "") for tile in found] + [(tile, "2004-12-01", "_later") for tile in found]
    items = [
        feature(tile, 1) | {"id": tile["tile_id"] + suffix, "properties": {"datetime": f"{day}T00:00:00Z"}}
        for tile, day, suffix in visits
    ]
    return JSONResponse({"type": "FeatureCollection", "features": items})


async def habitats(request: Request) -> Response:
    return JSONResponse(
        {"habitats": [{"phrase": "tidal mud flats", "score": 2.1}, {"phrase": "salt marsh", "score": 1.7}]}
    )


async def suggest(request: Request) -> Response:
    return JSONResponse({"features": answer({"q": "unsure"})["features"][: int(request.query_params["count"])]})


async def species(request: Request) -> Response:
    known = [
        {"common_name": "Jaguar", "scientific_name": "Panthera onca", "habitat": "forest", "texts": ["rainforest"]}
    ]
    wanted = request.query_params.get("q", "").lower()
    return JSONResponse({"species": [one for one in known if wanted in one["common_name"].lower()]})


async def places(request: Request) -> Response:
    asked = PlacesParameters.model_validate(dict(request.query_params))
    return JSONResponse(real_places(asked))


async def search_picture(request: Request) -> Response:
    async with request.form() as form:
        name = form["image"].filename
    found = answer({"q": f"picture {name}", **request.query_params})
    return JSONResponse(found | {"query": {"k": found["query"]["k"], "terms": PICTURE_TERM}})


async def heat(request: Request) -> Response:
    out = io.BytesIO()
    Image.new("RGBA", (256, 256), (24, 145, 148, 120)).save(out, "PNG")
    return Response(out.getvalue(), media_type="image/png")


class Policy:
    """Adds the security policy to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", CSP.encode()))
            await send(message)

        await self.app(scope, receive, with_policy)


def create_fake(prefix: str = "") -> Any:
    """The canned service, optionally under a path prefix."""
    routes = [
        Route("/", index),
        Route("/search", search),
        Route("/changes", changes),
        Route("/search/image", search_picture, methods=["POST"]),
        Route("/tiles/{tile_id}", tile),
        Route("/tiles/{tile_id}/similar", similar),
        Route("/tiles/{tile_id}/habitats", habitats),
        Route("/tiles/{tile_id}/thumbnail.webp", thumbnail),
        Route("/collections/demo/items", items),
        Route("/heatmap/{z}/{x}/{y}.png", heat),
        Route("/species", species),
        Route("/places", places),
        Route("/suggest", suggest),
        Mount("/static", StaticFiles(directory=ROOT / "static")),
    ]
    app = Starlette(routes=[Mount(prefix, routes=routes)] if prefix else routes)
    return Policy(app)


if __name__ == "__main__":
    import sys

    import uvicorn

    print(json.dumps({"tiles": len(tiles())}))
    uvicorn.run(create_fake(), port=int(sys.argv[1]) if len(sys.argv) > 1 else 8777, log_level="warning")
