"""Programs of the field on the real service, and what they are strict about: both roots, CQL2, pages, ranked layers."""

import asyncio
import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from fastapi.testclient import TestClient

from app.main import create_app
from tests.app.conftest import MODEL, ROWS, SPACES, ToyModel, running, toy_settings, write_rows
from tests.app.test_clients_md import program
from tests.app.test_swap import service, wait_for
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import compact, delete_tiles
from wildsat_core.types import BBox, Tile

ALL = {row[0] for row in ROWS}


@pytest.fixture(scope="module")
def two_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real service with two collections, the default one not the first by name."""
    folder = tmp_path_factory.mktemp("collections")
    write_rows(folder, "demo", ROWS)
    write_rows(folder, "alps", ROWS[:3])
    with running(create_app(toy_settings(folder), lambda name: ToyModel())) as url:
        yield url


def ids(answer: dict) -> list[str]:
    return [feature["id"] for feature in answer["features"]]


@pytest.mark.parametrize("root", ["/", "/stac", "/stac/"])
def test_pystac_client_reads_both_roots(two_url: str, root: str) -> None:
    pystac_client = pytest.importorskip("pystac_client")
    catalog = pystac_client.Client.open(f"{two_url}{root}")
    assert [collection.id for collection in catalog.get_collections()] == ["demo", "alps"]
    collection = catalog.get_collection("demo")
    assert {item.id for item in collection.get_items()} == ALL
    assert collection.get_item("fiji").properties["eo:cloud_cover"] == 40
    assert collection.get_item("fiji").get_parent().id == "demo"
    for method in ("GET", "POST"):
        found = list(catalog.search(limit=2, method=method).items())
        assert len(found) == 9, "over several pages and both collections"
        low = catalog.search(
            collections=["demo"], filter='"eo:cloud_cover" < 15', filter_lang="cql2-text", method=method
        )
        assert {item.id for item in low.items()} == {"amazon", "sahara"}
    by_json = catalog.search(filter={"op": "=", "args": [{"property": "wildsat:country"}, "BRA"]})
    assert {item.id for item in by_json.items()} == {"amazon"}
    assert set(catalog.get_merged_queryables(["demo", "alps"])["properties"]) >= {"gsd", "eo:cloud_cover"}


@pytest.mark.parametrize("root", ["/", "/stac"])
def test_rustac_appends_search_to_the_root(two_url: str, root: str) -> None:
    rustac = pytest.importorskip("rustac")

    def search(**asked: object) -> list[str]:
        async def run() -> list[dict]:
            return await rustac.search(f"{two_url}{root}", **asked)

        return [item["id"] for item in asyncio.run(run())]

    assert len(search(limit=2)) == 9
    assert set(search(collections=["alps"])) == {"amazon", "sahara", "fiji"}
    assert search(collections=["demo"], bbox=[170, -30, 180, 0]) == ["fiji"]
    assert search(collections=["demo"], filter="gsd > 1 AND \"wildsat:country\" = 'USA'") == ["texas"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"limit": 5}, 307),
        ({"collections": ["demo"], "offset": 1}, 307),
        ({"terms": [{"text": "ice"}]}, 200),
        ({"terms": [{"text": "ice"}], "limit": 5}, 422),
        ({"limit": 5, "nonsense": 1}, 422),
        ({"offset": 1}, 422),
        ({}, 422),
        ([], 422),
    ],
)
def test_a_search_of_stac_is_led_on_and_no_other(client: TestClient, body: object, status: int) -> None:
    answer = client.post("/search", json=body, follow_redirects=False)
    assert answer.status_code == status
    assert answer.headers.get("Location") == ("/stac/search" if status == 307 else None)


def test_a_document_has_the_type_of_the_link_to_it(client: TestClient) -> None:
    links = [link for link in client.get("/stac").json()["links"] if link["rel"] == "service-desc"]
    assert len(links) == 2
    for link in links:
        assert client.get(link["href"], headers={"Accept": link["type"]}).headers["Content-Type"] == link["type"]
    assert client.get("/openapi.json").headers["Content-Type"] == "application/json"


def test_stac_api_validator_finds_no_error_of_ours(two_url: str) -> None:
    name = "stac-api-validator"
    square = {"type": "Polygon", "coordinates": [[[-100, 30], [-90, 30], [-90, 40], [-100, 40], [-100, 30]]]}
    classes = [f"--conformance={one}" for one in ("core", "collections", "features", "item-search")]
    asked = ["--root-url", f"{two_url}/stac", "--collection", "demo", "--geometry", json.dumps(square), *classes]
    done = subprocess.run([program(name), *asked], capture_output=True, text=True, timeout=250)
    told = done.stdout + done.stderr
    assert "Validating STAC API - Item Search" in told
    errors = [line for line in told.partition("Errors:")[2].splitlines() if line.startswith("- ")]
    # It would check against schemas on a server of the world's; pystac does that here, with its own copies.
    assert [line for line in errors if "schemas.stacspec.org" not in line] == []


def test_owslib_finds_document_queryables_and_items(two_url: str) -> None:
    features = pytest.importorskip("owslib.ogcapi.features")
    service = features.Features(f"{two_url}/")
    assert service.api()["openapi"].startswith("3.")
    assert service.feature_collections() == ["demo", "alps"]
    assert "gsd" in service.collection_queryables("demo")["properties"]
    assert ids(service.collection_items("demo", filter="\"wildsat:country\" = 'FJI'")) == ["fiji"]
    assert ids(service.collection_items("demo", q="desert", limit=1)) == ["sahara"]


def test_stac_geoparquet_reads_any_export(client: TestClient, tmp_path: Path) -> None:
    arrow = pytest.importorskip("stac_geoparquet.arrow")
    items = client.get("/export", params={"q": "ice", "format": "stac"}).json()["features"]
    table = arrow.parse_stac_items_to_arrow(items).read_all()
    assert set(table["id"].to_pylist()) == ALL
    assert table["datetime"].null_count == 1  # the tile of unknown day
    assert table["start_datetime"].null_count == table["end_datetime"].null_count == 0


def test_links_stay_below_the_root_that_the_client_came_by(client: TestClient) -> None:
    for below in ("", "/stac"):
        root = f"http://testserver{below or '/'}"
        for path in ("/collections", "/collections/demo", "/collections/demo/items", "/collections/demo/items/fiji"):
            answer = client.get(f"{below}{path}").json()
            found = {link["rel"]: link["href"] for link in answer["links"]}
            assert found["root"] == root
            assert found["self"] == f"http://testserver{below}{path}"
            assert found.get("collection", found["root"]).startswith(root)


def test_what_may_be_asked_is_described_where_it_is_looked_for(client: TestClient) -> None:
    for path in ("/stac/queryables", "/collections/demo/queryables", "/stac/collections/demo/queryables"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json()["$id"] == f"http://testserver{path}"
        assert answer.json()["properties"]["eo:cloud_cover"]["maximum"] == 100
    assert client.get("/collections/nowhere/queryables").status_code == 404
    linked = [link["href"] for link in client.get("/collections/demo").json()["links"] if "queryables" in link["rel"]]
    assert linked == ["http://testserver/collections/demo/queryables"]


LOW = "cloud_cover < 0.15"
LOW_JSON = {"op": "<", "args": [{"property": "cloud_cover"}, 0.15]}


def test_a_property_filter_means_the_same_everywhere(client: TestClient) -> None:
    for written in (LOW, json.dumps(LOW_JSON)):
        asked = {"filter": written}
        for path in ("/collections/demo/items", "/stac/search", "/stac/collections/demo/items"):
            assert set(ids(client.get(path, params=asked).json())) == {"amazon", "sahara"}
        for path in ("/search", "/export", "/collections/demo/items"):
            found = client.get(path, params=asked | {"q": "desert"}).json()
            assert ids(found) == ["sahara", "amazon"]
        assert client.get("/heatmap/0/0/0.png", params=asked | {"q": "desert"}).status_code == 200
    for written in (LOW, LOW_JSON):
        assert set(ids(client.post("/stac/search", json={"filter": written}).json())) == {"amazon", "sahara"}
        body = {"terms": [{"text": "desert"}], "filters": {"filter": written}}
        assert ids(client.post("/search", json=body).json()) == ["sahara", "amazon"]


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ({"filter": "colour = 'red'"}, "filter"),
        ({"filter": "gsd <"}, "filter"),
        ({"filter": LOW, "filter-lang": "ecql"}, "filter-lang"),
        ({"filter": LOW, "filter-crs": "http://www.opengis.net/def/crs/EPSG/0/3857"}, "filter-crs"),
        ({"filter": "NOT " * 3000 + "TRUE"}, "filter"),
        ({"sortby": "colour"}, "sortby"),
        ({"sortby": "gsd,-gsd_m"}, "sortby"),
        ({"sortby": ","}, "sortby"),
    ],
)
def test_a_property_filter_that_can_not_be_kept_is_refused(client: TestClient, asked: dict, parameter: str) -> None:
    for path in ("/collections/demo/items", "/stac/search", "/search?q=ice"):
        answer = client.get(path, params=asked | ({"q": "ice"} if path.startswith("/search") else {}))
        assert (answer.status_code, answer.json()["parameter"]) == (422 if "q=" in path else 400, parameter)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_items_of_two_collections_are_sorted_as_one_list(two_url: str, method: str) -> None:
    pystac_client = pytest.importorskip("pystac_client")
    catalog = pystac_client.Client.open(f"{two_url}/stac")
    by_cloud = catalog.search(sortby="-properties.eo:cloud_cover,id", limit=2, method=method)
    found = [(item.collection_id, item.id) for item in by_cloud.items()]
    clouds = [("demo", "congo"), ("demo", "fiji"), ("alps", "fiji"), ("demo", "texas"), ("demo", "amazon"),
              ("alps", "amazon"), ("demo", "sahara"), ("alps", "sahara"), ("demo", "arctic")]  # fmt: skip
    assert found == clouds
    whole = catalog.search(sortby="-eo:cloud_cover,id", limit=100, method=method)
    assert [(item.collection_id, item.id) for item in whole.items()] == clouds
    by_name = catalog.search(sortby="+collection,-datetime", limit=4, method=method)
    assert [item.id for item in by_name.items()][:4] == ["amazon", "sahara", "fiji", "congo"]


def test_items_of_a_collection_are_sorted_and_a_ranking_is_not(client: TestClient) -> None:
    seen, url = [], "/collections/demo/items?sortby=-datetime&limit=4&filter=gsd>1"
    while url:
        page = client.get(url).json()
        seen += ids(page)
        url = next((link["href"] for link in page["links"] if link["rel"] == "next"), "")
    assert seen == ["congo", "amazon", "texas", "sahara", "fiji", "arctic"], "what is unknown comes last"
    answer = client.get("/collections/demo/items?q=ice&sortby=gsd")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "sortby")
    for path in ("/collections/demo/items", "/stac/search"):
        answer = client.get(f"{path}?sortby=gsd&after=00000000-amazon")
        assert (answer.status_code, answer.json()["parameter"]) == (400, "after"), "of another order"
    body = {"sortby": [{"field": "datetime", "direction": "up"}]}
    assert client.post("/stac/search", json=body).status_code == 400


def test_every_item_tells_its_time_in_the_same_fields(client: TestClient) -> None:
    for item in client.get("/collections/demo/items").json()["features"]:
        told = item["properties"]
        assert {"datetime", "start_datetime", "end_datetime"} <= told.keys()
        assert item["geometry"]["type"] == "MultiPolygon", "one kind of geometry a layer"
        if item["id"] == "fiji":
            assert (told["datetime"], told["end_datetime"]) == ("2023-07-09T00:00:00Z", "2023-07-09T23:59:59Z")
        if item["id"] == "arctic":
            assert (told["datetime"], told["start_datetime"]) == (None, "1970-01-01T00:00:00Z")
            assert "eo:cloud_cover" not in told


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([BBox(179.5, -18, -179.5, -17)], [179.5, -18, -179.5, -17]),
        ([BBox(176, -18, 177, -17), BBox(179.5, -18, -179.5, -17), BBox(-179, -20, -178, -19)], [176, -20, -178, -17]),
        ([BBox(10, 0, 20, 1), BBox(179.5, -18, -179.5, -17)], [10, -18, -179.5, 1]),
        ([BBox(-180, 88, 180, 90), BBox(179.5, -18, -179.5, -17)], [-180, -18, 180, 90]),
        ([BBox(-150, 60, -149, 61), BBox(170, 60, 171, 61)], [-150, 60, 171, 61]),
        ([BBox(-180, -90, 180, 90)], [-180, -90, 180, 90]),
    ],
)
def test_a_collection_says_where_it_lies(tmp_path: Path, boxes: list[BBox], expected: list[float]) -> None:
    with CollectionWriter(tmp_path / "demo", "demo", MODEL, SPACES) as writer:
        tiles = [Tile(f"t{i}", box, 10.0, "toy") for i, box in enumerate(boxes)]
        writer.add(tiles, {space: np.eye(len(tiles), 4, dtype=np.float32) + 0.1 for space in SPACES})
        writer.publish()
    with service(tmp_path) as client:
        assert client.get("/collections/demo").json()["extent"]["spatial"]["bbox"] == [expected]


def test_a_collection_says_when_its_tiles_were_seen(client: TestClient, tmp_path: Path) -> None:
    ((first, last),) = client.get("/collections/demo").json()["extent"]["temporal"]["interval"]
    found = client.get("/collections/demo/items", params={"datetime": f"{first}/{last}"}).json()
    assert set(ids(found)) == ALL, "the tile of unknown day is within, too"
    write_rows(tmp_path, "demo", [row for row in ROWS if row[2]])
    with service(tmp_path) as dated:
        interval = dated.get("/collections/demo").json()["extent"]["temporal"]["interval"]
        assert interval == [["2023-07-09T00:00:00Z", "2024-08-02T23:59:59Z"]]


def many(start: int, count: int) -> list:
    random = np.random.default_rng(start)
    places = random.uniform(-80, 80, (max(1, count // 3), 2)).round(3)  # several tiles a place
    chosen = places[random.integers(0, len(places), count)]
    return [
        (f"t{start + i:05}", BBox(lon, lat, lon + 0.5, lat + 0.5), None, None, None, (0.1 + i % 7, 0.2, 0.1, 0.5))
        for i, (lon, lat) in enumerate(chosen.tolist())
    ]


@pytest.mark.parametrize("path", ["/collections/demo/items", "/stac/search"])
def test_pages_hold_every_tile_that_stays_once_while_others_come_and_go(tmp_path: Path, path: str) -> None:
    write_rows(tmp_path, "demo", many(0, 200))
    root = tmp_path / "demo"
    with service(tmp_path) as client:

        def generation() -> int:
            return client.get("/readyz").json()["collections"][0]["generation"]

        seen, address, step = [], f"{path}?limit=20", 0
        while address:
            page = client.get(address).json()
            seen += ids(page)
            address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
            changes = (
                lambda: delete_tiles(root, np.arange(0, 60, 2), generation=generation()),
                lambda: write_rows(tmp_path, "demo", many(1000, 50)),
                lambda: compact(root),
            )
            if step < len(changes):
                changes[step]()
                live = open_collection(root).generation
                wait_for(lambda live=live: generation() == live)
            step += 1
        collection = open_collection(root)
        live = {collection.tile(int(row)).tile_id for row in np.flatnonzero(collection.tiles.live)}
    assert len(seen) == len(set(seen)), "none twice"
    assert {tile_id for tile_id in live if tile_id < "t01000"} <= set(seen), "none of those that stayed was lost"


def test_a_ranking_is_a_layer_over_several_pages(client: TestClient) -> None:
    expected = ids(client.get("/search", params={"q": "forest", "blend": 0}).json())
    first = client.get("/collections/demo/items", params={"q": "forest", "blend": 0, "limit": 4}).json()
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    assert "generation=1" in following
    second = client.get(following).json()
    assert ids(first) + ids(second) == expected
    assert [f["properties"]["wildsat:rank"] for f in first["features"] + second["features"]] == [1, 2, 3, 4, 5, 6]
    assert first["numberMatched"] == 6
    assert not [link for link in second["links"] if link["rel"] == "next"]
    box = client.get("/collections/demo/items", params={"q": "forest", "bbox": "170,-30,-170,0"}).json()
    assert ids(box) == ["fiji"]
    gone = client.get("/collections/demo/items", params={"q": "forest", "generation": 7})
    assert (gone.status_code, "first page" in gone.json()["detail"]) == (409, True)
    assert client.get("/collections/demo/items", params={"q": "forest", "after": "00000000-x"}).status_code == 400
    assert client.get("/collections/demo/items", params={"q": "forest", "offset": 10**6}).status_code == 400


def test_map_programs_find_the_greatest_page(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    parameters = document["paths"]["/collections/{name}/items"]["get"]["parameters"]
    limit = next(parameter for parameter in parameters if parameter["name"] == "limit")
    assert (limit["schema"]["maximum"], limit["schema"]["default"]) == (10_000, 100)
    assert document["components"]["parameters"]["limit"]["schema"]["maximum"] == 10_000


def test_a_picture_of_the_present_generation_may_be_kept_for_long(client: TestClient) -> None:
    (item,) = [i for i in client.get("/collections/demo/items").json()["features"] if i["id"] == "fiji"]
    address = item["assets"]["thumbnail"]["href"]
    assert address.endswith("?collection=demo&generation=1")
    assert client.get(address).headers["cache-control"] == "public, max-age=86400, immutable"
    assert client.get(address[:-1] + "9").headers["cache-control"] == "public, max-age=3600"
    hit = client.get("/search", params={"q": "water", "k": 1}).json()["features"][0]
    assert hit["properties"]["thumbnail"].endswith("&generation=1")


def test_pictures_behind_a_key_are_kept_by_nobody_on_the_way(toy_folder: Path) -> None:
    key = "k" * 16
    app = create_app(toy_settings(toy_folder, api_keys=(key,), require_key=True), lambda name: ToyModel())
    with TestClient(app) as client:
        for generation in ("", "&generation=1"):
            answer = client.get(f"/tiles/fiji/thumbnail.webp?collection=demo{generation}", headers={"X-API-Key": key})
            assert answer.headers["cache-control"].startswith("private")


def test_tables_have_the_same_columns_in_every_format(client: TestClient) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    asked = {"q": "forest", "blend": 0}
    text = client.get("/export", params=asked | {"format": "csv"}).text
    by_csv = list(csv.DictReader(io.StringIO(text, newline="")))
    head = client.get("/export", params=asked).json()
    for row in by_csv:  # what the others say once in their head
        about = [row.pop(name) for name in ("question", "collection", "generation", "model", "notice")]
        assert about == [
            "q=forest&blend=0.0",
            *(str(head[name]) for name in ("collection", "generation", "model", "notice")),
        ]
    by_json = [f["properties"] for f in client.get("/export", params=asked).json()["features"]]
    content = client.get("/export", params=asked | {"format": "geoparquet"}).content
    table = pq.read_table(io.BytesIO(content))
    by_parquet = table.drop_columns(["bbox", "geometry"]).to_pylist()
    for row in by_parquet:
        row["captured_on"] = row["captured_on"].isoformat() if row["captured_on"] else None
    assert by_json == by_parquet
    assert [{name: "" if v is None else str(v) for name, v in row.items()} for row in by_json] == by_csv
    assert by_json[0]["thumbnail"].startswith("http://testserver/tiles/")
    long = client.get("/export", params={"q": "forest", "not": "desert " * 70, "format": "csv"}).text
    questions = {row["question"] for row in csv.DictReader(io.StringIO(long, newline=""))}
    assert [(len(question), question[-1]) for question in questions] == [(500, "…")]
    outlines = shapely.from_wkb(table["geometry"].to_pylist())
    assert {outline.geom_type for outline in outlines} == {"MultiPolygon"}
    geojson = client.get("/export", params=asked).json()["features"]
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in geojson]
    assert shapely.equals(outlines, shapes).all()
    assert "href" not in table.column_names, "where the pixels came from may be a path of the machine"


def test_excel_is_told_that_a_file_is_utf_8(client: TestClient) -> None:
    asked = {"q": "forest", "format": "csv"}
    assert client.get("/export", params=asked | {"bom": "true"}).content.startswith(b"\xef\xbb\xbfrank,")
    assert client.get("/export", params=asked).content.startswith(b"rank,")
    assert client.get("/export", params={"q": "forest", "bom": "true"}).status_code == 422


def test_fields_are_left_out_and_items_stay_what_they_are(client: TestClient) -> None:
    whole = client.get("/stac/search?ids=fiji").json()["features"][0]
    required = {"type", "stac_version", "stac_extensions", "id", "collection", "geometry", "bbox", "links", "assets"}
    times = {"datetime", "start_datetime", "end_datetime"}

    def one(fields: str) -> dict:
        of_items = client.get("/collections/demo/items", params={"tiles": "fiji", "fields": fields}).json()["features"]
        of_search = client.get("/stac/search", params={"ids": "fiji", "fields": fields}).json()["features"]
        assert of_items[0].keys() == of_search[0].keys()
        return of_search[0]

    slim = one("id,properties.gsd")
    assert slim.keys() == required | {"properties"}
    assert slim["properties"] == {name: whole["properties"][name] for name in (*times, "gsd")}
    assert one("properties")["properties"] == whole["properties"]
    assert one("properties,properties.gsd")["properties"] == whole["properties"]
    without = one("-geometry,-properties.eo:cloud_cover,-links,-id,-nothing,-type.x")
    assert (without["geometry"], without["id"]) == (None, "fiji")
    assert without.keys() == whole.keys() - {"links"}
    assert without["properties"].keys() == whole["properties"].keys() - {"eo:cloud_cover"}
    assert one("+properties.gsd,-properties.gsd")["properties"].keys() == times
    assert one("-properties")["properties"] == {}
    assert one("") == whole


def test_fields_of_a_body_mean_the_same_on_every_page(client: TestClient) -> None:
    asked = {"fields": {"include": ["id", "properties.gsd"], "exclude": ["geometry", "assets"]}, "limit": 4}
    first = client.post("/stac/search", json=asked).json()
    following = next(link for link in first["links"] if link["rel"] == "next")
    second = client.post("/stac/search", json=following["body"]).json()
    assert len(first["features"] + second["features"]) == 6
    for item in first["features"] + second["features"]:
        assert "assets" not in item
        assert item["geometry"] is None
        assert "wildsat:source" not in item["properties"]
    assert client.post("/stac/search", json={"fields": {}}).json()["features"][0]["assets"]
    assert client.post("/stac/search", json={"fields": {"only": ["id"]}}).status_code == 400
    page = client.get("/stac/search?fields=id,-assets&limit=2").json()
    following = next(link["href"] for link in page["links"] if link["rel"] == "next")
    assert "assets" not in client.get(following).json()["features"][0]


def test_rustac_asks_for_some_fields(two_url: str) -> None:
    rustac = pytest.importorskip("rustac")

    async def run() -> list[dict]:
        return await rustac.search(f"{two_url}/stac", collections=["demo"], include="properties.gsd", exclude="assets")

    found = asyncio.run(run())
    assert len(found) == 6
    assert all("wildsat:source" not in item["properties"] for item in found)


def test_the_schema_of_items_is_where_it_is_looked_for(client: TestClient) -> None:
    linked = {link["rel"]: link["href"] for link in client.get("/collections/demo").json()["links"]}
    answer = client.get(linked["http://www.opengis.net/def/rel/ogc/1.0/schema"])
    assert answer.headers["content-type"] == "application/schema+json"
    told = answer.json()
    assert told["$id"].endswith("/collections/demo/schema")
    ranked = client.get("/collections/demo/items?q=ice").json()["features"]
    found = {name for item in ranked for name in item["properties"]}
    assert found - told["properties"].keys() <= {"wildsat:fit"}
    assert told["properties"]["geometry"]["x-ogc-role"] == "primary-geometry"
    assert client.get("/collections/nowhere/schema").status_code == 404
