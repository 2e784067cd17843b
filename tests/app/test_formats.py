"""Other ways in and out: JSON bodies, pictures, exports, OGC and STAC, heat-map, species, habitats."""

import csv
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from tests.app.conftest import MODEL, SPACES, ToyModel, picture, toy_settings
from wildsat_core.collection import CollectionWriter
from wildsat_core.types import BBox, Tile


def deep_grey() -> bytes:
    """A PNG of 16 bits."""
    content = io.BytesIO()
    Image.fromarray(np.full((32, 32), 30_000, np.uint16)).save(content, "PNG")
    return content.getvalue()


def ids(answer: dict) -> list[str]:
    return [feature["id"] for feature in answer["features"]]


def test_a_json_query_with_weights_ranks_like_the_url(client: TestClient) -> None:
    by_url = client.get("/search", params={"q": "forest", "not": "water", "bbox": "-180,-30,180,40", "k": 4}).json()
    body = {
        "terms": [{"text": "forest"}, {"text": "water", "weight": -1}],
        "filters": {"bbox": [-180, -30, 180, 40]},
        "k": 4,
    }
    response = client.post("/search", json=body)
    assert response.status_code == 200
    assert ids(response.json()) == ids(by_url)
    assert response.json()["query"] == body | {
        "terms": [{"text": "forest"}, {"text": "water", "weight": -1.0}],
        "filters": {"bbox": [-180.0, -30.0, 180.0, 40.0]},
    }


@pytest.mark.parametrize(
    "term",
    [
        {"tile": "sahara"},
        {"place": [-98, 33.5]},
        {"species": "fennec fox"},
        {"species": "Vulpes zerda"},
        {"vector": [0.0, 1.0, 0.0, 0.0], "space": "text"},
    ],
)
def test_every_kind_of_term_is_taken(client: TestClient, term: dict) -> None:
    found = ids(client.post("/search", json={"terms": [term]}).json())
    assert len(found) == 6 - ("tile" in term)  # which is no hit of what is like it


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "terms, up or down"),
        ({"terms": [{"text": "x", "tile": "fiji"}]}, "exactly one"),
        ({"terms": [{"text": "x", "weight": 0}]}, "not be 0"),
        ({"terms": [{"text": "x"}] * 21}, "20"),
        ({"terms": [{"vector": [1.0], "space": "text"}]}, "4 numbers"),
        ({"terms": [{"vector": [0.0] * 4, "space": "text"}]}, "not all zero"),
        ({"terms": [{"text": "x"}], "filters": {"area": {"type": "Polygon"}}}, "well-formed"),
        ({"terms": [{"text": "x"}], "filters": {"months": [0]}}, "greater than or equal to 1"),
        ({"terms": [{"species": "unicorn"}]}, "no species 'unicorn'"),
        ({"term": []}, "no such field"),
    ],
)
def test_a_bad_body_is_refused_with_its_reason(client: TestClient, body: dict, said: str) -> None:
    response = client.post("/search", json=body)
    assert response.status_code in (404, 422)
    assert said in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"terms": [{"text": "ice"}, {"text": "  "}]}, "terms.1.text"),
        ({"terms": [{"text": "ice"}, {"place": [200, 0]}]}, "terms.1.place"),
        ({"terms": [{"text": "ice"}], "filters": {"countries": []}}, "filters.countries"),
        ({"terms": [{"text": "ice"}], "filters": {"months": []}}, "filters.months"),
        ({"terms": [{"text": "ice"}], "filters": {"tiles": []}}, "filters.tiles"),
    ],
)
def test_a_bad_body_is_refused_by_the_name_that_was_sent(client: TestClient, body: dict, parameter: str) -> None:
    response = client.post("/search", json=body)
    assert (response.status_code, response.json()["parameter"]) == (422, parameter)


@pytest.mark.parametrize("content", [b'{"terms":[{"text":"a"}', b"\xff\xfe", b""])
def test_a_body_that_is_no_json_is_said_to_be_none(client: TestClient, content: bytes) -> None:
    response = client.post("/search", content=content, headers={"Content-Type": "application/json"})
    if content:
        assert response.status_code == 400
        assert "must be JSON in UTF-8" in response.json()["detail"]
        assert "parameter" not in response.json()
    else:
        assert response.status_code == 422


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bbox", "0.30000000000000004,0,10,10"),
        ("near", "3.3333333333333335e-1,+10."),
        ("circle", "0,10,333.3333333333333"),
    ],
)
def test_numbers_may_be_written_as_any_program_writes_them(client: TestClient, name: str, value: str) -> None:
    assert client.get("/search", params={"q": "forest", name: value}).status_code == 200
    for wrong in (value.replace("0", "nan", 1), value + ",1", value.replace(",", ";"), "1" * 31 + value):
        assert client.get("/search", params={"q": "forest", name: wrong}).status_code == 422, wrong


@pytest.mark.parametrize("day", ["0", "1577836800", "2004", "20040101", "2020-13-01", "2020-01-01T00:00:00"])
def test_a_day_is_written_as_one(client: TestClient, day: str) -> None:
    answer = client.get("/search", params={"q": "forest", "from": day})
    assert (answer.status_code, answer.json()["parameter"]) == (422, "from")
    body = {"terms": [{"text": "forest"}], "filters": {"from": int(day) if day.isdigit() else day}}
    assert client.post("/search", json=body).status_code == 422
    assert client.get("/search", params={"q": "forest", "from": "2020-01-01"}).status_code == 200


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b'{"k": NaN}', b"\xff", b'{"k": 1e999}', b"null"])
def test_what_is_not_a_query_is_a_problem_and_never_a_crash(client: TestClient, content: bytes) -> None:
    response = client.post("/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_beyond_the_limit_is_refused_even_without_a_length(client: TestClient) -> None:
    big = b" " * (2 * 2**20 + 1)
    assert client.post("/search", content=big).status_code == 413
    unannounced = client.post("/search", content=iter([big]), headers={"Content-Type": "application/json"})
    assert unannounced.status_code == 413
    assert "2097152 bytes" in unannounced.json()["detail"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_picture_finds_tiles_of_its_colour(client: TestClient, kind: str) -> None:
    sand = picture((220, 10, 10), kind, size=16)  # the toy model takes red for desert
    response = client.post("/search/image", files={"image": ("a", sand)}, params={"k": 1})
    assert response.status_code == 200, response.text
    assert ids(response.json()) == ["sahara"]


def test_a_picture_is_painted_exported_and_paged_by_the_query_that_comes_back(client: TestClient) -> None:
    files = {"image": ("a.png", picture((220, 10, 10), "PNG", 16))}
    more = {"terms": '[{"text":"forest","weight":-0.5}]', "countries": "DZA,USA,BRA", "k": 2, "explain": "true"}
    answer = client.post("/search/image", files=files, params=more).json()
    asked = answer["query"]
    again = client.get("/search", params=asked).json()
    assert [hit["properties"] for hit in again["features"]] == [hit["properties"] for hit in answer["features"]]
    (following,) = [link["href"] for link in answer["links"] if link["rel"] == "next"]
    whole = ids(answer) + ids(client.get(following).json())
    assert sorted(whole) == ["amazon", "sahara", "texas"]
    asked = {name: value for name, value in asked.items() if name not in ("k", "explain")}
    assert ids(client.get("/export", params=asked).json()) == whole
    heat = client.get("/heatmap/0/0/0.png", params=asked)
    assert (heat.status_code, heat.headers["content-type"]) == (200, "image/png")


def test_a_picture_with_bad_terms_is_refused_like_a_search_with_them(client: TestClient) -> None:
    files = {"image": ("a.png", picture((220, 10, 10), "PNG", 16))}
    for bad in ("{", "[]", "{}", "[" * 5000, '[{"text":" "}]'):
        response = client.post("/search/image", files=files, params={"terms": bad})
        assert (response.status_code, response.json()["parameter"]) == (422, "terms"), bad


def test_a_picture_and_a_text_work_together(client: TestClient) -> None:
    files = {"image": ("a.png", picture((10, 220, 10), "PNG", 16))}
    response = client.post("/search/image", files=files, params={"not": "water", "k": 1, "blend": 0})
    assert ids(response.json()) == ["congo"]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"GIF89a" + b"\0" * 50, 415, "PNG, JPEG, WebP or GeoTIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "PNG, JPEG, WebP or GeoTIFF"),
        (b"", 415, "none of these"),
        (picture((1, 2, 3), "PNG", 64)[:90], 415, "damaged"),
        (b"II*\x00" + b"\0" * 40, 415, "GeoTIFF can't be read"),
        (deep_grey(), 422, "8 bits a band"),
        (picture((1, 2, 3), "PNG", 4), 422, "at least 8 pixels"),
        (picture((1, 2, 3), "PNG", 5001), 413, "25000000"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * (16 * 2**20), 413, "16777216 bytes"),
    ],
)
def test_a_bad_picture_is_refused_by_limit_or_kind(client: TestClient, content: bytes, status: int, said: str) -> None:
    response = client.post("/search/image", files={"image": ("a.png", content)})
    assert response.status_code == status, response.text
    assert said in response.json()["detail"]


def tiff(**profile: object) -> bytes:
    rasterio = pytest.importorskip("rasterio")
    shape = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8", "compress": "deflate"}
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(**shape | profile) as sink:
            sink.write(np.zeros((sink.count, sink.height, sink.width), sink.dtypes[0]))
        return memory.read()


@pytest.mark.parametrize(
    ("profile", "status", "said"),
    [
        ({"tiled": True, "blockxsize": 8192, "blockysize": 8192}, 413, "blocks of 8192 x 8192 = 67108864 pixels"),
        ({"dtype": "complex128"}, 422, "holds complex128"),
        ({"dtype": "uint16"}, 422, "8-bit"),
        ({"count": 2}, 422, "this one has 2"),
        ({"count": 1, "photometric": "palette"}, 422, "numbers of colours"),
    ],
)
def test_a_geotiff_is_refused_by_its_header_before_it_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, profile: dict, status: int, said: str
) -> None:
    content = tiff(**profile)
    monkeypatch.setattr("rasterio.io.DatasetReader.read", lambda *args, **kwargs: pytest.fail("it was read"))
    response = client.post("/search/image", files={"image": ("a.tif", content)})
    assert response.status_code == status, response.text
    assert said in response.json()["detail"]


def test_a_geotiff_in_reasonable_blocks_is_taken(client: TestClient) -> None:
    content = tiff(tiled=True, blockxsize=256, blockysize=256, count=4, photometric="RGB", alpha="no")
    assert client.post("/search/image", files={"image": ("a.tif", content)}).status_code == 200


def test_an_export_holds_the_whole_ranking_in_every_format(client: TestClient) -> None:
    params = {"q": "forest", "blend": "0", "limit": "5"}
    expected = ids(client.get("/search", params={"q": "forest", "blend": "0", "k": 5}).json())

    geojson = client.get("/export", params=params)
    assert ids(geojson.json()) == expected
    assert geojson.json()["matched"] == 6
    assert 'filename="forest-demo-1.geojson"' in geojson.headers["content-disposition"]

    rows = list(csv.DictReader(io.StringIO(client.get("/export", params=params | {"format": "csv"}).text)))
    assert [row["tile_id"] for row in rows] == expected
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]

    items = client.get("/export", params=params | {"format": "stac"}).json()
    assert ids(items) == expected
    assert items["features"][0]["properties"]["wildsat:rank"] == 1


@pytest.mark.parametrize("mark", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_a_csv_export_holds_nothing_that_a_spreadsheet_would_run(tmp_path: Path, mark: str) -> None:
    evil = f"{mark}HYPERLINK(1)"
    tile = Tile("t", BBox(-61, -4, -60, -3), 10.0, evil, country=evil)
    with CollectionWriter(tmp_path / "demo", "demo", MODEL, SPACES) as writer:
        writer.add([tile], {space: np.eye(1, 4, dtype=np.float32) for space in SPACES})
        writer.publish()
    with TestClient(create_app(toy_settings(tmp_path), lambda name: ToyModel())) as client:
        text = client.get("/export", params={"q": "forest", "format": "csv"}).text
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert [row[column] for column in ("source", "country")] == [f"'{evil}"] * 2
    assert (row["west"], row["lat"]) == ("-61.0", "-3.5")  # numbers stay numbers


def test_a_geoparquet_export_opens_as_geoparquet(client: TestClient) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    content = client.get("/export", params={"q": "forest", "blend": "0", "format": "geoparquet"}).content
    table = pq.read_table(io.BytesIO(content))
    assert table["tile_id"].to_pylist() == ids(client.get("/search", params={"q": "forest", "blend": "0"}).json())
    assert table["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["primary_column"] == "geometry"
    assert json.loads(table.schema.metadata[b"wildsat"])["generation"] == 1


def test_an_export_beyond_the_limit_is_refused_not_trimmed(client: TestClient) -> None:
    assert "100000" in client.get("/export", params={"q": "x", "limit": 100_001}).json()["detail"]
    spaced = client.get("/export", params={"q": "x", "limit": 1001, "spacing_km": 10})
    assert (spaced.status_code, spaced.json()["parameter"]) == (422, "limit")


def test_pystac_reads_and_validates_catalog_collection_and_items(client: TestClient) -> None:
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("pystac.validation")  # its schemas come with it: no network
    landing = client.get("/", headers={"Accept": "application/json"}).json()
    validation.validate_dict(landing)
    validation.validate_dict(client.get("/collections/demo").json())
    page = client.get("/collections/demo/items").json()
    assert (page["numberMatched"], page["numberReturned"]) == (6, 6)
    for item in page["features"]:
        # The schema of the extension eo is on the network only: a share in per cent.
        assert 0 <= item["properties"].get("eo:cloud_cover", 0) <= 100
        validation.validate_dict(item | {"stac_extensions": []})
        assert client.get(f"/collections/demo/items/{item['id']}").json()["id"] == item["id"]


def test_items_are_filtered_and_paged_as_ogc_says(client: TestClient) -> None:
    def items(**params: object) -> dict:
        return client.get("/collections/demo/items", params=params).json()

    assert set(ids(items(bbox="170,-30,-170,0"))) == {"fiji"}
    # The day of the arctic tile is not known: its Item says since 1970, and is found by what meets that.
    assert set(ids(items(datetime="2024-07-01T00:00:00Z/.."))) == {"amazon", "congo", "arctic"}
    assert set(ids(items(datetime="2024-03-03"))) == {"texas", "arctic"}
    assert set(ids(items(datetime="../1969-12-31"))) == set(ids(items(datetime="2999-01-01/.."))) == set()
    first = items(limit=4)
    following = client.get(next(link["href"] for link in first["links"] if link["rel"] == "next")).json()
    assert len(set(ids(first)) | set(ids(following))) == 6
    assert set(ids(items(datetime="2024-03-03T23:59:60Z"))) == {"texas", "arctic"}, "a leap second is of its day"
    for bad in ("yesterday", "../..", "2024-01-01/2024-02-01/2024-03-01", "2024-02-30", "2024-02-01/2024-01-01"):
        response = client.get("/collections/demo/items", params={"datetime": bad})
        assert (response.status_code, response.json()["parameter"]) == (400, "datetime")
    assert items(limit=10**6)["numberReturned"] == 6, "a limit beyond the greatest counts as that"
    assert set(ids(items(bbox="170,-30,-10,-170,0,9000"))) == {"fiji"}


def test_a_page_of_items_names_itself_as_it_was_asked(client: TestClient) -> None:
    for asked in (
        "/collections/demo/items",
        "/collections/demo/items?limit=2",
        "/collections/demo/items?limit=2&offset=2",
    ):
        links = client.get(asked).json()["links"]
        assert [link["href"] for link in links if link["rel"] == "self"] == [f"http://testserver{asked}"]


def test_the_heat_map_is_a_picture_with_colour_where_the_best_tiles_are(client: TestClient) -> None:
    response = client.get("/heatmap/0/0/0.png", params={"q": "desert", "floor": 50})
    assert response.headers["content-type"] == "image/png"
    heat = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))
    assert heat.shape == (256, 256, 4)
    again = client.get(
        "/heatmap/0/0/0.png", params={"q": "desert", "floor": 50}, headers={"If-None-Match": response.headers["etag"]}
    )
    assert again.status_code == 304
    for bad in (
        "/heatmap/0/1/0.png?q=x",
        "/heatmap/30/0/0.png?q=x",
        "/heatmap/0/0/0.png",
        "/heatmap/0/0/0.png?q=x&floor=100",
    ):
        assert client.get(bad).status_code == 422, bad


def test_the_legend_runs_from_the_floor_to_the_best(client: TestClient) -> None:
    legend = client.get("/heatmap/legend", params={"steps": 4}).json()
    assert len(legend["colours"]) == 4
    assert (legend["floor"], legend["top"]) == (75.0, 100.0)


def test_species_are_found_by_both_names(client: TestClient) -> None:
    (found,) = client.get("/species", params={"q": "panthera onca"}).json()["species"]
    assert found["common_name"] == "jaguar"
    assert any("jaguar" in text for text in found["texts"])
    assert len(client.get("/species", params={"limit": 5}).json()["species"]) == 5
    assert client.get("/search", params={"species": "jaguar"}).status_code == 200
    unknown = client.get("/search", params={"species": "jagaur"})
    assert (unknown.status_code, "jaguar" in unknown.json()["detail"]) == (404, True)


def test_a_tile_is_named_by_the_phrases_that_fit_it_best(client: TestClient) -> None:
    named = client.get("/tiles/sahara/habitats", params={"k": 3}).json()["habitats"]
    assert "desert" in named[0]["phrase"]
    assert [h["score"] for h in named] == sorted((h["score"] for h in named), reverse=True)


def test_pystac_client_walks_the_real_service(live_url: str) -> None:
    pystac_client = pytest.importorskip("pystac_client")
    catalog = pystac_client.Client.open(f"{live_url}/")
    (collection,) = catalog.get_collections()
    assert collection.id == "demo"
    assert {item.id for item in collection.get_items()} == {"amazon", "sahara", "fiji", "arctic", "congo", "texas"}
    assert collection.get_item("fiji").bbox == [179.5, -18.0, -179.5, -17.0]
    found = catalog.search(bbox=[170, -30, -170, 0], method="GET").item_collection()
    assert [item.id for item in found] == ["fiji"]
    some = catalog.search(collections=["demo"], datetime="2024-01-01/2024-07-31", limit=2)
    assert {item.id for item in some.items()} == {"amazon", "sahara", "texas", "arctic"}, "over more than one page"


def test_item_search_takes_areas_and_ids_and_refuses_what_it_does_not_know(client: TestClient) -> None:
    area = {"type": "Polygon", "coordinates": [[[0, -10], [30, -10], [30, 30], [0, 30], [0, -10]]]}
    by_body = client.post("/stac/search", json={"intersects": area}).json()
    by_url = client.get("/stac/search", params={"intersects": json.dumps(area)}).json()
    assert set(ids(by_body)) == set(ids(by_url)) == {"sahara", "congo"}
    assert ids(client.get("/stac/search", params={"ids": "fiji,nobody"}).json()) == ["fiji"]
    assert client.get("/stac/search", params={"collections": "nowhere"}).status_code == 404
    for body in (
        {"intersects": area, "bbox": [0, 0, 1, 1]},
        {"query": {}},
        {"bbox": [0, 1, 2]},
        {"bbox": [0, 1, 2, 3, 4]},
        {"limit": 0},
        {"datetime": "2024-01-01"},
        {"datetime": "2024-01-01/2024-02-01"},
    ):
        response = client.post("/stac/search", json=body)
        assert (response.status_code, response.json()["status"], response.json()["title"]) == (400, 400, "Bad Request")
    assert client.post("/stac/search", json={"limit": 10**6}).json()["numberReturned"] == 6


@pytest.mark.parametrize(
    ("geometry", "found"),
    [
        ({"type": "Point", "coordinates": [10.5, 24.5]}, {"sahara"}),
        ({"type": "Point", "coordinates": [-180, -17.5]}, {"fiji"}),
        ({"type": "MultiPoint", "coordinates": [[10.5, 24.5, 300], [20.5, -0.5, 0]]}, {"sahara", "congo"}),
        ({"type": "LineString", "coordinates": [[20.5, -5], [20.5, 5]]}, {"congo"}),
        (
            {"type": "MultiLineString", "coordinates": [[[20.5, -5], [20.5, 5]], [[-70, -3.5], [-50, -3.5]]]},
            {"congo", "amazon"},
        ),
        (
            {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Point", "coordinates": [-98, 33.5]},
                    {"type": "Polygon", "coordinates": [[[0, 20], [20, 20], [20, 30], [0, 20]]]},
                ],
            },
            {"texas", "sahara"},
        ),
        ({"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [-98, 33.5]}}, {"texas"}),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_item_search_takes_every_kind_of_geometry(client: TestClient, geometry: dict, found: set) -> None:
    assert set(ids(client.post("/stac/search", json={"intersects": geometry}).json())) == found
    assert set(ids(client.get("/stac/search", params={"intersects": json.dumps(geometry)}).json())) == found


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({"type": "Point"}, "well-formed"),
        ({"type": "Point", "coordinates": []}, "Point"),
        ({"type": "Point", "coordinates": [200, 0]}, "[-180, 180]"),
        ({"type": "LineString", "coordinates": [[0, 0]]}, "LineString"),
        ({"type": "GeometryCollection", "geometries": []}, "without geometries"),
        ({"type": "GeometryCollection", "geometries": [{"type": "GeometryCollection", "geometries": []}]}, "Polygon"),
        ({"type": "MultiPoint", "coordinates": [[i / 200, j / 200] for i in range(150) for j in range(150)]}, "20000"),
        ({"type": "Circle"}, "Circle"),
    ],
)
def test_item_search_refuses_a_geometry_with_the_reason(client: TestClient, geometry: dict, said: str) -> None:
    response = client.post("/stac/search", json={"intersects": geometry})
    assert (response.status_code, response.json()["parameter"]) == (400, "intersects")
    assert said in response.json()["detail"]
