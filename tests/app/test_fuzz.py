"""Hostile geometry, filters and uploads: a refusal with a reason, never a crash."""

import json
import math
import struct
import zlib

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.app.conftest import picture

EASY = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

coordinate = st.one_of(
    st.floats(-200, 200),
    st.sampled_from([180, -180, 90, -90, 0, 360, 540, 1e308, -0.0, 1e-320]),
    st.integers(-720, 720),
)
GEOJSON_KEYS = ["type", "coordinates", "geometry", "features", "geometries", "crs", "bbox"]
junk = st.recursive(
    st.none() | st.booleans() | coordinate | st.text(max_size=8) | st.sampled_from(["Polygon", "Feature", "NaN"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(GEOJSON_KEYS), inner, max_size=4),
    max_leaves=12,
)
position = st.tuples(coordinate, coordinate)
ring = st.lists(position, min_size=3, max_size=8).map(lambda points: [list(p) for p in [*points, points[0]]])
polygon = st.lists(ring, min_size=1, max_size=3).map(lambda rings: {"type": "Polygon", "coordinates": rings})
multipolygon = st.lists(st.lists(ring, min_size=1, max_size=2), max_size=3).map(
    lambda parts: {"type": "MultiPolygon", "coordinates": parts}
)
wrapped = polygon.map(lambda g: {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": g}]})
areas = st.one_of(
    polygon, multipolygon, wrapped, st.dictionaries(st.sampled_from(GEOJSON_KEYS), junk, max_size=5), junk
)


def check(response, allowed: tuple[int, ...] = (200, 400, 413, 415, 422)) -> None:
    assert response.status_code in allowed, response.text
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["detail"]
    else:
        answer = response.json()
        assert answer["returned"] == len(answer["features"]) <= answer["matched"] <= answer["total"]
        assert all(math.isfinite(f["properties"]["score"]) for f in answer["features"])


@EASY
@given(area=areas)
def test_no_area_crashes_the_search(client: TestClient, area: object) -> None:
    text = json.dumps(area)
    check(client.get("/search", params={"q": "forest", "area": text}))
    check(client.post("/search", json={"terms": [{"text": "forest"}], "filters": {"area": area}}))


thin = st.sampled_from(["Point", "MultiPoint", "LineString", "MultiLineString"]).flatmap(
    lambda kind: st.one_of(
        position, st.lists(position, max_size=4), st.lists(st.lists(position, max_size=3), max_size=3)
    ).map(lambda coordinates: {"type": kind, "coordinates": coordinates})
)
geometries = st.one_of(
    thin, areas, st.lists(thin | polygon, max_size=3).map(lambda g: {"type": "GeometryCollection", "geometries": g})
)


@EASY
@given(geometry=geometries)
def test_no_geometry_crashes_the_item_search(client: TestClient, geometry: object) -> None:
    by_body = client.post("/stac/search", json={"intersects": geometry})
    by_url = client.get("/stac/search", params={"intersects": json.dumps(geometry)})
    for response in (by_body, by_url):
        assert response.status_code in (200, 400), response.text
        assert response.status_code == 200 or response.json()["detail"]


@pytest.mark.parametrize("depth", [50, 500, 5_000, 50_000])
def test_no_depth_of_nesting_crashes_the_search(client: TestClient, depth: int) -> None:
    nested = '{"type":"FeatureCollection","features":[' * depth + "]}" * depth
    feature = '{"type":"Feature","geometry":' * depth + "null" + "}" * depth
    for area in (nested, feature, '{"type":"Polygon","coordinates":' + "[" * depth + "]" * depth + "}"):
        body = f'{{"terms":[{{"text":"x"}}],"filters":{{"area":{area}}}}}'
        check(client.post("/search", content=body, headers={"Content-Type": "application/json"}))
        if len(area) < 60_000:
            check(client.get("/search", params={"q": "x", "area": area}))


@EASY
@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "bbox": st.lists(coordinate, min_size=3, max_size=5).map(lambda v: ",".join(map(str, v))),
            "circle": st.tuples(coordinate, coordinate, coordinate).map(lambda v: ",".join(map(str, v))),
            "near": position.map(lambda v: f"{v[0]},{v[1]}"),
            "from": st.dates().map(str) | st.text(max_size=12),
            "to": st.dates().map(str),
            "months": st.lists(st.integers(-1, 14), max_size=4).map(lambda v: ",".join(map(str, v))),
            "countries": st.text(alphabet="ABRXÅ,", max_size=9),
            "max_cloud": st.floats() | st.text(max_size=3),
            "min_percentile": st.floats(),
            "spacing_km": st.floats(),
            "max_per_country": st.integers(-1, 5),
            "blend": st.floats(),
            "k": st.integers(-1, 1002),
            "offset": st.integers(),
            "not": st.text(max_size=20),
        },
    ),
    text=st.text(min_size=1, max_size=60),
)
def test_no_filter_crashes_the_search(client: TestClient, values: dict, text: str) -> None:
    # A lone surrogate can't be written in a URL at all.
    clean = {n: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for n, v in values.items()}
    check(client.get("/search", params={"q": text.encode("utf-8", "replace").decode(), **clean}))


SEEDS = [picture((90, 120, 30), kind, 16) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]


@EASY
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 10_000),
)
def test_no_damaged_picture_crashes_the_search(client: TestClient, seed: bytes, changes: list, cut: int) -> None:
    content = bytearray(seed)
    for place, value in changes:
        content[place % len(content)] = value
    kept = bytes(content[: max(1, cut % (2 * len(content)))])
    check(client.post("/search/image", files={"image": ("a", kept)}, params={"k": 3}))


@EASY
@given(content=st.binary(max_size=300), name=st.text(max_size=20))
def test_no_bytes_called_a_picture_crash_the_search(client: TestClient, content: bytes, name: str) -> None:
    files = {"image": (name.encode("utf-8", "replace").decode() or "a", content)}
    check(client.post("/search/image", files=files), (400, 415, 422))


@pytest.mark.parametrize("side", [6_000, 60_000])
def test_a_picture_that_claims_to_be_huge_is_refused_unread(client: TestClient, side: int) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"
    response = client.post("/search/image", files={"image": ("bomb.png", b"\x89PNG\r\n\x1a\n" + chunks)})
    assert response.status_code == 413, response.text
    assert "at most 25000000" in response.json()["detail"]
