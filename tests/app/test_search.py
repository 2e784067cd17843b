"""GET /search: GeoJSON out, bad input named, nothing lost between parameter and core."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.answers import hits as answers
from app.main import create_app
from tests.app.conftest import ToyModel, toy_settings


def ids(answer: dict) -> list[str]:
    return [feature["id"] for feature in answer["features"]]


def test_the_best_tiles_come_first_with_rank_and_percentile(client: TestClient) -> None:
    answer = client.get("/search", params={"q": "forest", "k": 2, "blend": 0}).json()
    assert ids(answer) == ["amazon", "congo"]
    first = answer["features"][0]
    assert first["properties"]["rank"] == 1
    assert first["properties"]["percentile"] == pytest.approx(5 / 6 * 100, abs=1e-3)
    assert (answer["matched"], answer["total"], answer["returned"]) == (6, 6, 2)
    assert (answer["collection"], answer["generation"], answer["model"]) == ("demo", 1, "toy")
    assert answer["notice"] == "Six made-up tiles."
    assert answer["query"] == {"q": "forest", "k": 2, "blend": 0.0}


def test_the_answer_is_geojson_by_type_and_by_shape(client: TestClient) -> None:
    response = client.get("/search", params={"q": "water", "k": 1})
    assert response.headers["content-type"] == "application/geo+json"
    feature = response.json()["features"][0]
    assert feature["id"] == "fiji"
    assert feature["geometry"]["type"] == "MultiPolygon", "a tile across 180 degrees is cut in two"
    assert feature["bbox"] == [179.5, -18.0, -179.5, -17.0]
    assert feature["properties"]["captured_on"] == "2023-07-09"
    assert feature["properties"]["country"] == "FJI"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"bbox": "170,-30,-170,0"}, {"fiji"}),
        ({"circle": "-98,33.5,100"}, {"texas"}),
        ({"countries": "BRA,COD"}, {"amazon", "congo"}),
        ({"from": "2024-02-01", "to": "2024-07-31"}, {"amazon", "texas"}),
        ({"months": "7"}, {"amazon", "fiji"}),
        ({"max_cloud": "0.15"}, {"amazon", "sahara"}),
        ({"max_cloud": "0.4"}, {"amazon", "sahara", "fiji", "texas"}),  # of which fiji has just as much
        ({"max_cloud": "0"}, {"sahara"}),
        ({"min_percentile": "60"}, {"amazon", "congo"}),
        ({"tiles": "fiji,texas,nobody"}, {"fiji", "texas"}),
        ({"area": '{"type":"Polygon","coordinates":[[[0,-10],[30,-10],[30,30],[0,30],[0,-10]]]}'}, {"sahara", "congo"}),
    ],
)
def test_every_filter_reaches_the_core(client: TestClient, filters: dict, expected: set) -> None:
    answer = client.get("/search", params={"q": "forest", "blend": "0", **filters}).json()
    assert set(ids(answer)) == expected
    assert answer["matched"] == len(expected)


def test_terms_of_every_kind_reach_the_core(client: TestClient) -> None:
    def first(**params: str) -> str:
        return ids(client.get("/search", params=params).json())[0]

    assert first(q="desert") == "sahara"
    assert first(q="forest", **{"not": "water"}, blend="0") == "congo"
    assert first(like="congo") == "amazon"
    assert first(near="0,89") == "arctic"
    assert first(up="sahara", down="congo") == "sahara"


def test_pages_follow_on_without_gap_or_repeat(client: TestClient) -> None:
    whole = ids(client.get("/search", params={"q": "forest", "k": 6}).json())
    seen, url = [], "/search?q=forest&k=2"
    while url:
        answer = client.get(url).json()
        seen += ids(answer)
        url = next((link["href"] for link in answer["links"] if link["rel"] == "next"), None)
    assert seen == whole


def test_no_link_leads_beyond_what_is_answered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def following(**params: int) -> list[str]:
        shown = {"q": "forest", "k": 2, "overlapping": "true", **params}
        links = client.get("/search", params=shown).json()["links"]
        return [link["href"] for link in links if link["rel"] == "next"]

    monkeypatch.setattr(answers, "MAX_OFFSET", 2)
    assert len(following()) == 1
    assert following(offset=2) == []
    monkeypatch.setattr(answers, "MAX_APART", 3)
    assert following(spacing_km=1) == following(max_per_country=1) == []


def test_a_refused_method_is_told_every_one_that_is_taken(client: TestClient) -> None:
    refused = client.put("/search")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert client.get("/search/image").headers["allow"] == "POST"


def test_explain_gives_shares_that_add_up_to_the_score(client: TestClient) -> None:
    hit = client.get("/search", params={"q": "forest", "not": "water", "explain": "true", "k": 1}).json()["features"][0]
    shares = hit["properties"]["shares"]
    assert {share["space"] for share in shares} == {"text", "place"}
    assert sum(share["value"] for share in shares) == pytest.approx(hit["properties"]["score"], abs=1e-4)


@pytest.mark.parametrize(
    ("params", "parameter", "said"),
    [
        ({}, "q", "say what to search for"),
        ({"q": "   "}, "q", "blank"),
        ({"q": "a" * 501}, "q", "500"),
        ({"q": "a\x07b"}, "q", "control characters"),
        ({"q": "x", "k": "0"}, "k", "greater than or equal to 1"),
        ({"q": "x", "k": "1001"}, "k", "1000"),
        ({"q": "x", "k": "many"}, "k", "whole number"),
        ({"q": "x", "offset": "-1"}, "offset", "greater than or equal to 0"),
        ({"q": "x", "bbox": "1,2,3"}, "bbox", "four numbers"),
        ({"q": "x", "bbox": "1,nan,3,4"}, "bbox", "four numbers"),
        ({"q": "x", "bbox": "1,20,3,10"}, "bbox", "south 20.0 is greater than north 10.0"),
        ({"q": "x", "bbox": "1,2,300,4"}, "bbox", "[-180, 180]"),
        ({"q": "x", "area": "{"}, "area", "not JSON"),
        ({"q": "x", "area": '{"type":"Point","coordinates":[0,0]}'}, "area", "Point"),
        ({"q": "x", "circle": "1,2"}, "circle", "radius"),
        ({"q": "x", "circle": "1,2,0"}, "circle", "20100"),
        ({"q": "x", "countries": "Brazil"}, "countries", "alpha-3"),
        ({"q": "x", "months": "13"}, "months", "1 to 12"),
        ({"q": "x", "from": "2024-13-01"}, "from", "month"),
        ({"q": "x", "from": "2024-02-01", "to": "2024-01-01"}, "from", "after"),
        ({"q": "x", "max_cloud": "nan"}, "max_cloud", "finite"),
        ({"q": "x", "blend": "1.5"}, "blend", "less than or equal to 1"),
        ({"q": "x", "near": "200,0"}, "near", "[-180, 180]"),
        ({"q": "x", "circle": "0,91,5"}, "circle", "[-90, 90]"),
        ({"q": "x", "circle": "0,9,0"}, "circle", "20100"),
        ({"q": "x", "area": ""}, "area", "at least 1 character"),
        ({"q": "x", "terms": ""}, "terms", "at least 1 character"),
        ({"q": "x", "terms": "[]"}, "terms", "at least 1 item"),
        ({"q": "x", "terms": '[{"text":" "}]'}, "terms", "terms.0.text: text is blank"),
        ({"q": "x", "terms": '[{"place":[0,91]}]'}, "terms", "terms.0.place: latitude"),
        (
            {"q": "x", "area": '{"type":"Polygon","coordinates":[[[0,0],[9,9],[9,0],[0,9],[0,0]]]}'},
            "area",
            "Self-intersection[4.5 4.5]; draw it without crossings",
        ),
        ({"q": "x", "max_per_country": "5", "k": "1000", "offset": "9500"}, "k", "drop both"),
        ({"q": "x", "spacing_km": "-1"}, "spacing_km", "greater than or equal to 0"),
        ({"q": "x", "kk": "5"}, "kk", "did you mean k?"),
        ({"q": "x", "up": "fiji", "down": "fiji"}, "up", "both"),
    ],
)
def test_bad_input_is_refused_by_name(client: TestClient, params: dict, parameter: str, said: str) -> None:
    response = client.get("/search", params=params)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["parameter"] == parameter
    assert said in problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("params", [{"q": "x", "collection": "nowhere"}, {"like": "nobody"}, {"up": "nobody"}])
def test_what_is_not_there_is_a_404(client: TestClient, params: dict) -> None:
    response = client.get("/search", params=params)
    assert response.status_code == 404
    assert "nobody" in response.json()["detail"] or "nowhere" in response.json()["detail"]


def test_the_same_question_is_answered_by_304(client: TestClient) -> None:
    first = client.get("/search", params={"q": "forest"})
    again = client.get("/search", params={"q": " forest  "}, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    other = client.get("/search", params={"q": "ice"}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


def test_an_answer_from_another_species_table_is_another_answer(toy_folder: Path, tmp_path: Path) -> None:
    tags = []
    for habitat in ("desert", "desert", "ice"):
        table = tmp_path / f"{len(tags)}.csv"
        table.write_text(f"common_name,scientific_name,habitat\nsnark,,{habitat}\n")
        with TestClient(create_app(toy_settings(toy_folder, species_table=table), lambda name: ToyModel())) as client:
            tags.append(
                [
                    client.get(path, params={"species": "snark"}).headers["etag"]
                    for path in ("/search", "/tiles/fiji/similar", "/heatmap/0/0/0.png")
                ]
            )
    assert tags[0] == tags[1]
    assert not set(tags[0]) & set(tags[2])


def test_any_tag_at_all_is_answered_by_what_there_is(client: TestClient) -> None:
    anything = {"If-None-Match": "*"}
    assert client.get("/tiles/nobody/thumbnail.webp", headers=anything).status_code == 404
    assert client.get("/tiles/arctic/thumbnail.webp", headers=anything).status_code == 404
    assert client.get("/search", params={"like": "nobody"}, headers=anything).status_code == 404
    assert client.get("/tiles/fiji/thumbnail.webp", headers=anything).status_code == 200


def test_words_about_no_place_are_answered_with_no_match(client: TestClient) -> None:
    assert client.get("/search", params={"q": "motherboard"}).json()["no_match"] is True
    assert client.get("/search", params={"q": "forest"}).json()["no_match"] is False


def test_weighted_terms_fit_a_url_too(client: TestClient) -> None:
    terms = '[{"text":"forest","weight":2},{"text":"water","weight":-1}]'
    by_url = client.get("/search", params={"terms": terms, "k": 6}).json()
    by_body = client.post("/search", json={"terms": json.loads(terms), "k": 6}).json()
    assert ids(by_url) == ids(by_body)
    for bad, said in (("{", "JSON"), ('[{"txt":"x"}]', "terms.0"), ('[{"text":"x","weight":11}]', "terms.0.weight")):
        problem = client.get("/search", params={"terms": bad}).json()
        assert problem["parameter"] == "terms"
        assert said in problem["detail"]


def test_suggestions_are_tiles_not_judged_yet(client: TestClient) -> None:
    answer = client.get("/suggest", params={"up": "congo", "down": "sahara", "count": 3}).json()
    assert len(ids(answer)) == 3
    assert not {"congo", "sahara"} & set(ids(answer))
    assert client.get("/suggest", params={"q": "forest"}).json()["parameter"] == "up"


def test_a_parameter_given_twice_is_refused_and_not_guessed(client: TestClient) -> None:
    response = client.get("/search?q=forest&k=3&k=4")
    assert (response.status_code, response.json()["parameter"]) == (422, "k")
    assert "only once" in response.json()["detail"]


def test_what_was_understood_is_told_and_can_be_taken_back(client: TestClient) -> None:
    answer = client.get("/search", params={"q": "forest in Brazil"}).json()
    assert ids(answer) == ["amazon"]
    (found,) = answer["understood"]["found"]
    assert (found["id"], found["meaning"], found["say"]) == ("country:brazil", "Brazil", "Only in Brazil.")
    for more in ({"understand": "false"}, {"undo": "country:brazil"}):
        assert len(ids(client.get("/search", params={"q": "forest in Brazil", **more}).json())) == 6
    assert client.get("/search", params={"q": "forest in Brazil", "understand": "false"}).json()["understood"] is None
    assert client.get("/search", params={"q": "forrest"}).json()["understood"]["suggestion"] == "forest"
    foreign = client.get("/search", params={"q": "où habite le renard des sables"}).json()
    assert foreign["no_match"]
    assert "French" in foreign["understood"]["message"]


def test_the_heat_map_and_the_export_read_the_same_words(client: TestClient) -> None:
    exported = client.get("/export", params={"q": "forest in Brazil", "format": "geojson"}).json()
    assert [feature["id"] for feature in exported["features"]] == ["amazon"]
