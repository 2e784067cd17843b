"""The engine against scores worked out tile by tile."""

from collections import Counter

import numpy as np
import pytest

from tests.core.search.fakes import REF, SPACES, FakeModel, random_collection, unit
from wildsat_core.collection import CollectionWriter
from wildsat_core.collection.maintain import delete_tiles
from wildsat_core.collection.reader import open_collection
from wildsat_core.errors import (
    InvalidInputError,
    LimitExceededError,
    ModelMismatchError,
    SpaceUnavailableError,
    TileNotFoundError,
)
from wildsat_core.geo import great_circle_km
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.phrases import read_phrases
from wildsat_core.search.query import (
    MAX_APART,
    Filters,
    ImageTerm,
    PlaceTerm,
    Query,
    SpeciesTerm,
    TextTerm,
    TileTerm,
    VectorTerm,
)
from wildsat_core.types import BBox, ModelRef, Tile

N = 500


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return random_collection(tmp_path_factory.mktemp("engine") / "random", N, seed=1, segment_rows=120)


@pytest.fixture(scope="module")
def engine(collection):
    return SearchEngine(collection, FakeModel())


def standardised(collection, space, query):
    scores = collection.vectors(space, np.arange(N)).astype(np.float64) @ query
    return (scores - scores.mean()) / scores.std()


def said(collection, space, text):
    """What a text's vector scores, less the mean of what the background's texts score, standardised."""
    phrases = FakeModel().embed_texts(list(read_phrases()))
    scores = standardised(collection, space, text)
    scores = scores - np.mean([standardised(collection, space, phrase) for phrase in phrases], axis=0)
    return scores / scores.std()


def ranking(scores, k, rows=None):
    rows = np.arange(N) if rows is None else np.asarray(rows)
    return list(rows[np.lexsort((rows, -scores[rows]))][:k])


@pytest.mark.parametrize("blend", [0.0, 0.25, 1.0, None])
def test_text_ranks_by_the_blend_of_two_standardised_spaces(engine, collection, blend):
    q = FakeModel().embed_texts(["mangrove coast"])[0]
    share = 0.25 if blend is None else blend
    scores = (1 - share) * said(collection, "text", q) + share * said(collection, "place", q)
    result = engine.search(Query((TextTerm("mangrove  coast"),), blend=blend, k=30))
    assert [h.row for h in result.hits] == ranking(scores, 30)
    np.testing.assert_allclose([h.score for h in result.hits], scores[[h.row for h in result.hits]], atol=1e-4)
    assert [h.rank for h in result.hits] == list(range(1, 31))
    assert (result.matched, result.total, result.blend) == (N, N, share)


def test_percentile_is_the_share_of_all_tiles_that_score_lower_whatever_the_filter(engine):
    text = (TextTerm("dunes"),)
    everything = {h.row: h for h in engine.search(Query(text, k=N)).hits}
    percentiles = [hit.percentile for hit in everything.values()]
    assert percentiles == pytest.approx([100 * (N - 1 - place) / N for place in range(N)])
    some = engine.search(Query(text, Filters(bbox=BBox(0, -90, 90, 90)), k=N)).hits
    assert 0 < len(some) < N
    for hit in some:
        assert hit.percentile == pytest.approx(everything[hit.row].percentile)


def test_terms_add_up_with_their_weights_and_signs(engine, collection):
    a, b = FakeModel().embed_texts(["a"])[0], FakeModel().embed_texts(["b"])[0]
    scores = (2 * said(collection, "text", a) - said(collection, "text", b)) / 3
    query = Query((TextTerm("a", weight=2.0), TextTerm("b", weight=-1.0)), blend=0.0, k=10)
    assert [h.row for h in engine.search(query).hits] == ranking(scores, 10)


def test_shares_add_up_to_the_score(engine):
    terms = (TextTerm("a"), TextTerm("b", weight=-0.5), PlaceTerm(10.0, 50.0), TileTerm("tile-3"))
    query = Query(terms, k=5, explain=True, liked=("tile-7",), disliked=("tile-9",))
    for hit in engine.search(query).hits:
        assert sum(share.value for share in hit.shares) == pytest.approx(hit.score, abs=1e-4)
        assert {share.term for share in hit.shares} == {"a", "b", "near 10, 50", "like tile-3", "liked", "disliked"}


def test_more_like_a_tile_is_without_the_tile(engine, collection):
    row = collection.row_of("tile-42")
    scores = standardised(collection, "image", collection.vectors("image", np.array([row]))[0])
    others = np.setdiff1d(np.arange(N), [row])
    result = engine.search(Query((TileTerm("tile-42"),), k=9))
    assert [hit.row for hit in result.hits] == ranking(scores, 9, others)
    assert [hit.rank for hit in result.hits] == list(range(1, 10))
    assert result.matched == N - 1
    unlike = engine.search(Query((TextTerm("a"), TileTerm("tile-42", weight=-1.0)), k=N))
    assert row in [hit.row for hit in unlike.hits]


def test_a_tile_that_was_voted_down_is_no_hit(engine):
    first, second = (hit.tile.tile_id for hit in engine.search(Query((TextTerm("a"),), k=2)).hits)
    judged = engine.search(Query((TextTerm("a"),), k=N, liked=(first,), disliked=(second,)))
    assert second not in [hit.tile.tile_id for hit in judged.hits]
    assert (len(judged.hits), judged.matched) == (N - 1, N - 1)
    pages = [
        hit.row
        for offset in range(0, 40, 10)
        for hit in engine.search(Query((TextTerm("a"),), k=10, offset=offset, disliked=(second,))).hits
    ]
    assert pages == [hit.row for hit in engine.search(Query((TextTerm("a"),), k=40, disliked=(second,))).hits]


def test_hits_do_not_overlap_unless_that_is_asked_for(engine):
    apart = engine.search(Query((TextTerm("a"),), k=40, overlapping=False)).hits
    side_km = engine.tile_side_km
    assert side_km > 0
    for i, hit in enumerate(apart):
        for better in apart[:i]:
            assert great_circle_km(*hit.tile.lon_lat, *better.tile.lon_lat) >= 0.97 * side_km
    assert [hit.row for hit in apart] != [hit.row for hit in engine.search(Query((TextTerm("a"),), k=40)).hits]


def test_fit_says_in_words_what_a_score_is_worth(engine):
    hits = engine.search(Query((TextTerm("a"),), k=N)).hits
    words = [hit.fit for hit in hits]
    assert list(dict.fromkeys(words)) == ["strong", "fair", "weak", "none"]  # they fall with the score
    assert 0.5 < words.count("none") / N < 0.95
    assert words.count("strong") / N < 0.05


def test_a_filter_does_not_make_a_fit_better(engine):
    hits = engine.search(Query((TextTerm("a"),), k=N)).hits
    worst = Filters(tile_ids=frozenset(hit.tile.tile_id for hit in hits[-50:]))
    assert {hit.fit for hit in engine.search(Query((TextTerm("a"),), worst, k=50)).hits} == {"none"}


def test_other_terms_rank_by_their_spaces(engine, collection):
    model = FakeModel()
    pixels = np.full((3, 4, 4), 9, np.uint8)
    cases = [
        (ImageTerm(pixels), "image", model.embed_pixels(pixels[None])["image"][0]),
        (PlaceTerm(10.0, 50.0), "place", model.embed_places(np.array([[10.0, 50.0]]))["place"][0]),
        (VectorTerm("text", np.arange(8, dtype=np.float32)), "text", np.arange(8)),
    ]
    for term, space, vector in cases:
        got = [h.row for h in engine.search(Query((term,), k=20)).hits]
        assert got == ranking(standardised(collection, space, vector), 20)


def test_without_location_vectors_a_place_is_its_nearest_tiles(collection, monkeypatch):
    class Unlocated(FakeModel):
        def embed_places(self, lon_lat):
            return {}

    engine, tiles = SearchEngine(collection, Unlocated()), collection.tiles
    lon, lat = tiles.lon[3], tiles.lat[3]
    nearest = np.argsort(great_circle_km(lon, lat, tiles.lon, tiles.lat), kind="stable")[:4]
    vector = collection.vectors("image", np.sort(nearest)).mean(axis=0)
    monkeypatch.setattr("wildsat_core.search.plan.NEAR_KM", 20_000)
    got = [h.row for h in engine.search(Query((PlaceTerm(float(lon), float(lat)),), k=9)).hits]
    assert got == ranking(standardised(collection, "image", vector), 9)
    monkeypatch.setattr("wildsat_core.search.plan.NEAR_KM", 0.001)
    with pytest.raises(SpaceUnavailableError, match=r"within 0.001 km of 1,2: the nearest is [\d,]+ km away") as caught:
        engine.search(Query((PlaceTerm(1.0, 2.0),)))
    assert caught.value.parameter == "near"


@pytest.mark.parametrize(
    ("space", "query", "parameter"),
    [
        ("image", Query((TextTerm("a"),)), "q"),
        ("text", Query((TextTerm("a"),), blend=0.5), "blend"),
        ("text", Query((VectorTerm("text", np.ones(3, np.float32)),)), "vector"),
        ("text", Query((TextTerm("a"),), k=1000, offset=MAX_APART, spacing_km=1.0), "k"),
    ],
)
def test_what_a_collection_can_not_answer_is_refused_naming_the_parameter(tmp_path, space, query, parameter):
    rng = np.random.default_rng(0)
    with CollectionWriter(tmp_path / "one", "one", REF, {space: SPACES[space]}) as out:
        out.add([Tile("a", BBox(0, 0, 1, 1), 10.0, "test")], {space: unit(rng, 1)})
        out.publish()
    with pytest.raises(InvalidInputError) as caught:
        SearchEngine(open_collection(tmp_path / "one"), FakeModel()).search(query)
    assert caught.value.parameter == parameter


def test_a_species_ranks_by_the_mean_of_its_texts(engine, collection):
    vector = FakeModel().embed_texts(["cloud forest", "wet ridge"]).mean(axis=0)
    query = Query((SpeciesTerm("quetzal", ("cloud forest", "wet ridge")),), blend=0.0, k=9)
    assert [h.row for h in engine.search(query).hits] == ranking(said(collection, "text", vector), 9)


def test_liked_tiles_pull_and_disliked_tiles_push(engine):
    base = {h.tile.tile_id: h.score for h in engine.search(Query((TextTerm("a"),), k=N)).hits}
    for labels, tile, sign in (({"liked": ("tile-1",)}, "tile-1", 1), ({"disliked": ("tile-2",)}, "tile-2", -1)):
        judged = Query((TextTerm("a"),), k=N, **labels)
        moved = engine.scores(engine.plan(judged))[engine.collection.row_of(tile)]
        assert sign * (moved - base[tile]) > 0


def test_paging_cuts_one_ranking(engine):
    whole = [h.row for h in engine.search(Query((TextTerm("a"),), k=60)).hits]
    pages = [h.row for o in (0, 20, 40) for h in engine.search(Query((TextTerm("a"),), k=20, offset=o)).hits]
    assert pages == whole
    assert engine.search(Query((TextTerm("a"),), k=20, offset=N)).hits == ()


def test_k_beyond_n_gives_every_tile_once(engine):
    hits = engine.search(Query((TextTerm("a"),), k=1000)).hits
    assert sorted(h.row for h in hits) == list(range(N))


@pytest.mark.parametrize("spacing_km", [300.0, 3000.0, 20000.0])
def test_spacing_is_kept_and_refilled_as_greedy_selection_would(engine, collection, spacing_km):
    tiles = collection.tiles
    kept = []
    for hit in engine.search(Query((TextTerm("a"),), k=1000)).hits:
        far = [
            great_circle_km(tiles.lon[hit.row], tiles.lat[hit.row], tiles.lon[r], tiles.lat[r]) >= spacing_km - 1e-6
            for r in kept
        ]
        if all(far):
            kept.append(hit.row)
    spaced = engine.search(Query((TextTerm("a"),), k=20, spacing_km=spacing_km))
    assert [h.row for h in spaced.hits] == kept[:20]


def test_a_country_is_capped_and_the_unknown_is_not(engine):
    hits = engine.search(Query((TextTerm("a"),), k=100, max_per_country=3)).hits
    counts = {c: [h.tile.country for h in hits].count(c) for c in ("BRA", "FJI", "NOR", None)}
    assert (counts["BRA"], counts["FJI"], counts["NOR"]) == (3, 3, 3)
    assert counts[None] == len(hits) - 9 > 3


def test_spacing_and_cap_together_are_what_greedy_selection_gives(engine, collection):
    tiles, kept, counts = collection.tiles, [], Counter()
    for hit in engine.search(Query((TextTerm("a"),), k=1000)).hits:
        row, country = hit.row, hit.tile.country
        far = all(great_circle_km(tiles.lon[row], tiles.lat[row], tiles.lon[r], tiles.lat[r]) >= 500 for r in kept)
        if far and (country is None or counts[country] < 4):
            kept.append(row)
            counts[country] += 1
    hits = engine.search(Query((TextTerm("a"),), k=1000, spacing_km=500.0, max_per_country=4)).hits
    assert [h.row for h in hits] == kept


def test_a_spacing_that_few_tiles_keep_does_not_rank_them_all_one_by_one(engine, monkeypatch):
    [shard] = engine.shards.shards
    ranked, best = [], shard._scorer.best
    monkeypatch.setattr(shard._scorer, "best", lambda *given: ranked.append(best(*given)) or ranked[-1])
    hits = engine.search(Query((TextTerm("a"),), k=20, spacing_km=9000.0)).hits
    assert 2 <= len(hits) < 20
    assert sum(len(rows) for rows, _ in ranked) < N


def test_min_percentile_cuts_the_ranking(engine):
    result = engine.search(Query((TextTerm("a"),), Filters(min_percentile=90.0), k=1000))
    assert result.matched == len(result.hits) == N // 10


def test_nothing_to_rank_by_gives_tiles_in_stored_order(engine):
    result = engine.search(Query(k=5))
    assert [h.row for h in result.hits] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query((TextTerm("a bowl of ramen"),)), True),
        (Query((TextTerm("dunes"),)), False),
        (Query((TextTerm("ramen"), TextTerm("dunes"))), False),
        (Query((TextTerm("ramen"), TextTerm("dunes", weight=-1.0))), True),
        (Query((TextTerm("ramen"), PlaceTerm(0.0, 0.0))), False),
        (Query((TextTerm("ramen"),), liked=("tile-1",)), False),
        (Query(), False),
    ],
)
def test_no_match_when_all_that_is_wanted_is_words_about_no_place(engine, query, expected):
    assert engine.search(query).no_match is expected


def test_a_deleted_tile_is_never_found(tmp_path):
    first = random_collection(tmp_path / "random", 50)
    best = SearchEngine(first, FakeModel()).search(Query((TextTerm("a"),), k=1)).hits[0]
    delete_tiles(tmp_path / "random", np.array([best.row]), generation=1)
    engine = SearchEngine(open_collection(tmp_path / "random"), FakeModel())
    result = engine.search(Query((TextTerm("a"),), k=50))
    assert best.tile.tile_id not in {h.tile.tile_id for h in result.hits}
    assert (len(result.hits), result.matched, result.total) == (49, 49, 49)
    assert engine.search(Query((TextTerm("a"),), Filters(bbox=BBox(-180, -90, 180, 90)), k=50)).matched == 49
    with pytest.raises(TileNotFoundError):
        engine.search(Query((TileTerm(best.tile.tile_id),)))


def test_an_empty_collection_answers_with_no_hits(tmp_path):
    engine = SearchEngine(random_collection(tmp_path / "random", 0), FakeModel())
    result = engine.search(Query((TextTerm("a"),)))
    assert (result.hits, result.matched, result.total) == ((), 0, 0)


def test_a_collection_of_another_model_is_refused_naming_both(collection):
    model = FakeModel()
    model.ref = ModelRef("other", REF.weights_sha256, "fake", "rgb")
    with pytest.raises(ModelMismatchError, match="was made by fake, the model in use is other"):
        SearchEngine(collection, model)


@pytest.mark.parametrize(
    ("make", "parameter", "error"),
    [
        (lambda: TextTerm("  "), "q", InvalidInputError),
        (lambda: TextTerm("a\x00b"), "q", InvalidInputError),
        (lambda: TextTerm("a" * 501), "q", LimitExceededError),
        (lambda: TextTerm("a", weight=0.0), "weight", InvalidInputError),
        (lambda: TextTerm("a", weight=float("nan")), "weight", InvalidInputError),
        (lambda: Query(k=0), "k", InvalidInputError),
        (lambda: Query(k=1001), "k", InvalidInputError),
        (lambda: Query(offset=-1), "offset", InvalidInputError),
        (lambda: Query(blend=1.5), "blend", InvalidInputError),
        (lambda: Query(spacing_km=float("inf")), "spacing_km", InvalidInputError),
        (lambda: Query(tuple(TextTerm("a") for _ in range(21))), "terms", LimitExceededError),
        (lambda: Query(liked=("a",), disliked=("a",)), "up", InvalidInputError),
        (lambda: Filters(months=frozenset({13})), "months", InvalidInputError),
        (lambda: Filters(max_cloud=float("nan")), "max_cloud", InvalidInputError),
        (lambda: Filters(min_percentile=100.0), "min_percentile", InvalidInputError),
        (lambda: BBox(0, 10, 1, 5), "bbox", InvalidInputError),
        (lambda: BBox(0, float("nan"), 1, 5), "bbox", InvalidInputError),
        (lambda: PlaceTerm(181.0, 0.0), "lon", InvalidInputError),
    ],
)
def test_values_out_of_range_are_refused_naming_the_parameter(make, parameter, error):
    with pytest.raises(error) as caught:
        make()
    assert caught.value.parameter == parameter


def test_tiles_are_compared_by_what_is_left_where_they_have_place_vectors_alone(tmp_path):
    vectors = unit(np.random.default_rng(4), 30)
    tiles = [Tile(f"t{i}", BBox(i, 0, i + 0.5, 0.5), 10.0, "t") for i in range(30)]
    with CollectionWriter(tmp_path / "places", "places", REF, {"place": SPACES["place"]}) as out:
        out.add(tiles, {"place": vectors})
        out.publish()
    found = SearchEngine(open_collection(tmp_path / "places"), FakeModel()).search(Query((TileTerm("t3"),), k=5))
    rows = [row for row in np.argsort(-(vectors @ vectors[3])) if row != 3]
    assert [hit.row for hit in found.hits] == rows[:5]
