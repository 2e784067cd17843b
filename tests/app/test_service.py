"""What surrounds a search: tiles, collections, health, headers, the page without scripts, static files."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from tests.app.conftest import ROWS, SPACES, ToyModel, picture, toy_settings, write_rows
from wildsat_core.collection import open_collection
from wildsat_core.search.ann import build_ann


def test_a_tile_has_a_feature_a_picture_and_tiles_like_it(client: TestClient) -> None:
    tile = client.get("/tiles/fiji").json()
    assert tile["properties"]["tile_id"] == "fiji"
    picture = client.get(tile["properties"]["thumbnail"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
    assert picture.content[8:12] == b"WEBP"
    similar = client.get(tile["properties"]["similar"], params={"k": 2}).json()
    assert len(similar["features"]) == 2
    assert similar["query"]["like"] == "fiji"


@pytest.mark.parametrize(
    "more", [{}, {"q": "desert"}, {"q": "desert", "not": "water"}, {"countries": "BRA,DZA"}, {"min_percentile": 40}]
)
def test_tiles_like_one_are_the_ranking_without_it(client: TestClient, more: dict) -> None:
    whole = client.get("/search", params={"like": "fiji", "k": 10, **more}).json()
    others = [feature["id"] for feature in whole["features"] if feature["id"] != "fiji"]
    pages = [client.get("/tiles/fiji/similar", params={"k": 1, "offset": i, **more}).json() for i in range(len(others))]
    assert [page["features"][0]["id"] for page in pages] == others
    assert [page["features"][0]["properties"]["rank"] for page in pages] == list(range(1, len(others) + 1))
    assert {page["matched"] for page in pages} == {len(others)}
    assert client.get("/tiles/fiji/similar", params={"k": 1, "offset": len(others), **more}).json()["features"] == []


def test_tiles_like_one_are_paged_by_its_own_links(client: TestClient) -> None:
    first = client.get("/tiles/fiji/similar", params={"k": 3}).json()
    (following,) = [link["href"] for link in first["links"] if link["rel"] == "next"]
    second = client.get(following).json()
    seen = [feature["id"] for page in (first, second) for feature in page["features"]]
    assert sorted(seen) == ["amazon", "arctic", "congo", "sahara", "texas"]
    assert [link["rel"] for link in second["links"]] == ["self", "prev"]


def test_tiles_like_one_are_like_that_one_only(client: TestClient) -> None:
    refused = client.get("/tiles/fiji/similar", params={"like": "congo"})
    assert (refused.status_code, refused.json()["parameter"]) == (422, "like")


@pytest.mark.parametrize(
    "path",
    [
        "/", "/search?q=forest", "/species?q=jaguar", "/places?q=peru", "/tiles/fiji", "/tiles/fiji/thumbnail.webp",
        "/tiles/fiji/similar", "/tiles/fiji/habitats", "/heatmap/0/0/0.png?q=ice", "/export?q=ice&format=csv",
        "/collections", "/conformance", "/collections/demo/items", "/collections/demo/items/fiji", "/stac/search",
        "/livez", "/readyz", "/openapi.json", "/docs", "/static/js/main.js", "/nothing", "/search?k=0", "/search/image",
    ],
)  # fmt: skip
def test_head_is_answered_like_get_without_a_body(client: TestClient, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("content-type", "etag", "cache-control", "vary", "content-disposition"):
        assert head.headers.get(name) == got.headers.get(name), name
    if "timings_ms" not in got.text:
        assert head.headers.get("content-length") == got.headers.get("content-length")


def test_head_is_counted_as_head(client: TestClient) -> None:
    client.head("/tiles/congo")
    assert re.search(r'count\{method="HEAD",route="/tiles/\{tile_id\}",status="200"\} \d', client.get("/metrics").text)


def test_a_tile_without_a_picture_and_an_unknown_one_are_404(client: TestClient) -> None:
    assert "no thumbnail" in client.get("/tiles/arctic/thumbnail.webp").json()["detail"]
    for path in ("/tiles/nobody", "/tiles/nobody/thumbnail.webp", "/tiles/nobody/similar"):
        assert client.get(path).status_code == 404


def test_a_kept_picture_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/tiles/fiji/thumbnail.webp").headers["etag"]
    assert client.get("/tiles/fiji/thumbnail.webp", headers={"If-None-Match": etag}).status_code == 304


def test_collections_tell_extent_generation_and_model(client: TestClient) -> None:
    (entry,) = client.get("/collections").json()["collections"]
    assert entry["id"] == "demo"
    assert entry["extent"]["spatial"]["bbox"] == [[-180.0, -18.0, 180.0, 90.0]]
    assert entry["extent"]["temporal"]["interval"][0][0] == "1970-01-01T00:00:00Z", "of unknown day is one"
    assert entry["wildsat"]["tiles"] == 6
    assert entry["wildsat"]["default_blend"] == 0.25
    assert client.get("/collections/demo").json()["id"] == "demo"


def test_health_tells_up_and_ready_apart(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "up"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["collections"] == [{"name": "demo", "generation": 1, "tiles": 6, "model": "toy"}]


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for path in ("/", "/search?q=forest", "/search", "/nothing", "/static/nothing.js", "/livez"):
        headers = client.get(path).headers
        assert "'unsafe" not in headers["content-security-policy"], path
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"]), path


def test_the_page_may_load_from_its_own_origin_only_and_runs_no_plug_in(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives == {
        "default-src": "'self'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "connect-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


def test_the_page_shows_hits_without_a_script(client: TestClient) -> None:
    page = client.get("/", params={"q": "forest", "k": 2, "not": "", "view": "1,2,3"})
    assert page.status_code == 200
    assert 'data-tile="congo"' in page.text or 'data-tile="amazon"' in page.text
    assert page.text.count('data-tile="') == 2


def test_a_browser_gets_a_page_for_a_problem_and_a_program_gets_json(client: TestClient) -> None:
    browser = client.get("/search", params={"q": "x", "k": "0"}, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "greater than or equal to 1" in browser.text
    program = client.get("/search", params={"q": "x", "k": "0"}, headers={"Accept": "application/json"})
    assert program.headers["content-type"] == "application/problem+json"


def test_the_page_escapes_what_was_asked(client: TestClient) -> None:
    hostile = "<script>alert(1)</script>"
    for params in ({"q": hostile}, {"q": "x", "k": hostile}):
        page = client.get("/", params=params, headers={"Accept": "text/html"})
        assert hostile not in page.text


def test_the_page_has_no_inline_script_style_or_handler(client: TestClient) -> None:
    for path in ("/", "/?q=forest", "/docs"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text), path
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style", text), path


def test_modules_are_served_as_scripts_and_revalidated(client: TestClient) -> None:
    response = client.get("/static/js/main.js")
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["cache-control"] == "no-cache"
    again = client.get("/static/js/main.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304


def test_an_approximate_answer_says_so_with_its_recall(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    write_rows(tmp_path, "demo", [(f"{id}-{i}", *rest) for i in range(200) for id, *rest in ROWS])
    for space in SPACES:
        build_ann(open_collection(tmp_path / "demo"), space, "hnsw", least_recall=0.01)
    for ann_rows, said in ((0, "approximate (hnsw, recall@10 "), (1201, "exact scan")):
        app = create_app(toy_settings(tmp_path, ann_rows=ann_rows), lambda name: ToyModel())
        with TestClient(app) as client:
            answer = client.get("/search", params={"q": "forest", "k": 3}).json()
            assert answer["backend"].startswith(said)


def test_metrics_count_requests_by_route_and_search_stages(client: TestClient) -> None:
    client.get("/search", params={"q": "water"})
    text = client.get("/metrics").text
    assert re.search(r'wildsat_request_seconds_count\{method="GET",route="/search",status="200"\} \d', text)
    client.get("/heatmap/0/0/0.png", params={"q": "water"})
    client.get("/suggest", params={"up": "congo"})
    client.get("/export", params={"q": "water"})
    client.post("/search/image", files={"image": ("a.png", picture((9, 9, 9), "PNG"))})
    text = client.get("/metrics").text
    for stage in ("wait", "plan", "filter", "scan", "hits", "heat", "paint", "suggest", "write", "decode", "embed"):
        assert f'wildsat_search_stage_seconds_count{{stage="{stage}"}}' in text, stage
        assert f"`{stage}`" in (Path(__file__).parents[2] / "docs" / "running.md").read_text(), stage
    assert 'wildsat_collection_tiles{collection="demo"} 6.0' in text
    assert "fiji" not in text


@pytest.mark.parametrize(
    ("words", "name", "country"),
    [
        ("Perú", "Peru", "PER"),
        ("ivory c", "Côte d'Ivoire", "CIV"),
        ("brasil", "Brazil", "BRA"),
        ("Sahel", "Sahel", None),
    ],
)
def test_places_are_found_by_any_name(client: TestClient, words: str, name: str, country: str | None) -> None:
    found = client.get("/places", params={"q": words}).json()["places"]
    assert (found[0]["name"], found[0]["country"]) == (name, country)
    assert bool(found[0]["boxes"]) == (country is None)
    assert len({place["name"] for place in found}) == len(found)


def test_signs_alone_begin_no_name(client: TestClient) -> None:
    for path, key in (("/places", "places"), ("/species", "species")):
        assert client.get(path, params={"q": "%"}).json()[key] == []


def test_a_collection_tells_what_can_be_filtered(client: TestClient) -> None:
    told = client.get("/collections/demo").json()["wildsat"]["filters"]
    tiles = [item["properties"] for item in client.get("/collections/demo/items").json()["features"]]
    days = sorted(tile["datetime"][:10] for tile in tiles if tile["datetime"])
    assert told["days"] == ([days[0], days[-1]] if days else None)
    assert told["months"] == sorted({int(day[5:7]) for day in days})
    assert told["cloud"] == any("eo:cloud_cover" in tile for tile in tiles)
    assert told["land"] is any(tile.get("wildsat:land_share") is not None for tile in tiles)
    assert told["countries"] == sorted({tile["wildsat:country"] for tile in tiles} - {None})


def test_the_page_shows_a_selected_tile_without_a_script(client: TestClient) -> None:
    html = client.get("/?q=forest&tile=amazon", headers={"accept": "text/html"}).text
    assert 'src="/tiles/amazon/thumbnail.webp' in html.split('<aside id="detail"')[1].split("</aside>")[0]
    assert re.search(r'<a class="hit-main" data-slot="open" href="/\?[^"]*tile=amazon"', html)
    assert 'href="/?like=amazon"' in html
    named = client.get("/?q=forest&tile=amazon&collection=demo", headers={"accept": "text/html"}).text
    assert named.count('href="/?collection=demo&amp;like=amazon"') == 2, "in the list and in the card"
    assert "3.5° S, 60.5° W" in html
    unknown = client.get("/?q=forest&tile=gone", headers={"accept": "text/html"})
    assert (unknown.status_code, '<aside id="detail" class="detail" hidden>' in unknown.text) == (200, True)
