"""The commands as they are typed."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from indexer.commands.index import index
from tests.core.collection.version_one import make_version_one
from tests.core.search.fakes import random_collection
from tests.indexer.conftest import write_raster
from wildsat_core.collection import open_collection
from wildsat_core.collection.lock import writer_lock
from wildsat_core.errors import (
    CollectionLockedError,
    CollectionNotFoundError,
    InvalidInputError,
    SourceError,
    WildsatError,
)
from wildsat_core.models.registry import load_model
from wildsat_core.search.engine import SearchEngine
from wildsat_core.search.query import Query, TextTerm

DATA = os.environ.get("WILDSAT_DATA")


@pytest.fixture
def raster(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 64, 96)).astype(np.uint8)
    values[:, ::32, ::32] = 9
    return write_raster(tmp_path / "field.tif", values, "EPSG:32614", 592_000, 3_707_000, 10)


@pytest.fixture
def built(type_in, raster, model_folder):
    """The collection `field`: six tiles of 320 m."""
    type_in(
        "build", "field", "-i", raster, "--tile-px", 32, "--model", model_folder, "--workers", 0, "--date", "2023-07-01"
    )
    return type_in


def info(run, name="field"):
    return json.loads(run("info", name, "--json"))


def test_build_then_info_and_verify(built):
    facts = info(built)
    assert (facts["tiles"], facts["generation"], facts["model"]["name"]) == (6, 1, "tiny")
    assert set(facts["spaces"]) == {"text", "image", "place"}
    assert "6 in 1 segments" in built("info", "field")
    assert "as they were written" in built("verify", "field")


def test_map_tiles_are_painted_where_asked_for_and_again_when_there_are_more_tiles(
    type_in, raster, model_folder, tmp_path
):
    files = tmp_path / "collections" / "field" / "imagery.mbtiles"
    typed = ("field", "-i", raster, "--tile-px", 32, "--model", model_folder, "--workers", 0)
    type_in("build", *typed)
    assert not files.exists()
    type_in("build", *typed, "--map-tiles")
    first = info(type_in)["generation"], files.stat().st_mtime_ns
    assert first[0] == 2
    type_in("build", *typed, "--map-tiles")
    assert (info(type_in)["generation"], files.stat().st_mtime_ns) == first
    type_in("add", *typed, "--scene", "other", "--map-tiles")
    assert (info(type_in)["generation"], info(type_in)["tiles"]) == (4, 12)
    assert files.stat().st_mtime_ns > first[1]
    assert "as they were written" in type_in("verify", "field")


def test_map_tiles_are_painted_when_a_planned_build_is_published(type_in, raster, model_folder, tmp_path):
    typed = ("field", "-i", raster, "--tile-px", 32, "--model", model_folder, "--workers", 0, "--map-tiles")
    type_in("plan", *typed)
    type_in("work", "field")
    type_in("commit", "field")
    assert (tmp_path / "collections" / "field" / "imagery.mbtiles").is_file()


def test_map_tiles_of_a_collection_in_a_store_are_kept_there(type_in, raster, model_folder, tmp_path, monkeypatch):
    pytest.importorskip("obstore")
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("WILDSAT_CACHE", str(tmp_path / "cache"))
    type_in("build", "field", "-i", raster, "--tile-px", 32, "--model", model_folder, "--workers", 0, "--map-tiles",
            "--store", f"file://{tmp_path / 'store'}")  # fmt: skip
    assert (tmp_path / "store" / "field" / "imagery.mbtiles").is_file()


def test_verify_names_a_damaged_file_and_exits_with_1(built, tmp_path):
    (path,) = (tmp_path / "collections" / "field").glob("segments/*/text.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "text.npy is damaged" in built("verify", "field", code=1)


def test_a_dry_run_writes_nothing(type_in, raster, model_folder, tmp_path):
    printed = type_in("build", "dry", "-i", raster, "--tile-px", 32, "--model", model_folder, "--dry-run")
    assert printed.startswith("6 tiles to index")
    assert not (tmp_path / "collections").exists()


def test_add_needs_a_collection_and_skips_or_replaces_what_it_holds(built, raster, model_folder):
    again = ("add", "field", "-i", raster, "--tile-px", 32, "--workers", 0, "--model", model_folder)
    with pytest.raises(CollectionNotFoundError, match="nowhere"):
        built("add", "nowhere", *again[2:])
    built(*again, "--date", "2023-07-01")
    assert info(built)["generation"] == 1
    built(*again, "--date", "2023-07-01", "--replace")
    facts = info(built)
    assert (facts["tiles"], facts["deleted"], facts["generation"]) == (6, 6, 2)


def test_delete_by_id_box_date_and_source(built, tmp_path):
    ids = open_collection(tmp_path / "collections" / "field").tiles.column("tile_id").to_pylist()
    assert built("delete", "field", "--source", "raster", "--dry-run").startswith("6 of 6 tiles would be")
    assert built("delete", "field", "--id", ids[0], "--id", "unknown").startswith("1 of 6")
    (tmp_path / "ids.txt").write_text("\n".join(ids[:2]))
    assert built("delete", "field", "--ids-file", tmp_path / "ids.txt").startswith(
        "1 of 5"
    )  # the first is gone already
    assert built("delete", "field", "--to", "2023-06-30").startswith("0 of 4")
    assert built("delete", "field", "--bbox", "10,10,11,11").startswith("0 of 4")
    assert built("delete", "field", "--from", "2023-07-01", "--source", "raster").startswith("4 of 4")
    assert info(built)["tiles"] == 0
    with pytest.raises(InvalidInputError, match="say which tiles"):
        built("delete", "field")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "2019"), "--to must look like 2023-07-31, got '2019'"),
        (("--from", "July"), "--from must look like"),
        (("--ids-file", "nowhere.txt"), "--ids-file nowhere.txt can't be read"),
    ],
)
def test_a_wrong_condition_of_delete_is_named(built, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        built("delete", "field", *arguments)
    assert info(built)["tiles"] == 6


def test_compact_then_gc_leaves_one_generation(built, tmp_path):
    ids = open_collection(tmp_path / "collections" / "field").tiles.column("tile_id").to_pylist()
    built("delete", "field", "--id", ids[3])
    assert "5 tiles in 1 segments" in built("compact", "field")
    assert "0 files" in built("gc", "field")  # all is young
    built("gc", "field", "--grace", "0")
    left = open_collection(tmp_path / "collections" / "field").tiles.column("tile_id").to_pylist()
    assert sorted(left) == sorted(set(ids) - {ids[3]})
    assert len(list((tmp_path / "collections" / "field" / "segments").iterdir())) == 1
    assert "as they were written" in built("verify", "field")


def test_stats_count_by_month_and_source(built):
    facts = json.loads(built("stats", "field", "--json"))
    assert facts["tiles"] == 6
    assert facts["months"] == {"7": 6}
    assert facts["sources"] == {"raster": 6}
    assert "2023 6" in built("stats", "field")


def test_export_and_import(built, tmp_path):
    built("export", "field", tmp_path / "field.parquet")
    assert "6 tiles" in built("import", "copy", tmp_path / "field.parquet")
    built("import", "copy", tmp_path / "field.parquet", "--wait", 1)
    assert info(built, "copy")["generation"] == 1
    assert "6 tiles, generation 2" in built("import", "copy", tmp_path / "field.parquet", "--replace")
    with writer_lock(tmp_path / "collections" / "copy"), pytest.raises(CollectionLockedError, match="longer --wait"):
        built("import", "copy", tmp_path / "field.parquet")
    vectors = ("--made-by", "elsewhere", "--column", "vector_image", "--space", "image")
    assert "model elsewhere" in built("import", "given", tmp_path / "field.parquet", *vectors)
    assert info(built, "given")["spaces"] == {"image": {"dim": 4, "metric": "cosine", "dtype": "float16"}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tile-px", "32", "--source", "magic"), "unknown source 'magic'"),
        ((), "--tile-km"),
        (("--tile-px", "32", "--stretch", "9,1"), "stretch"),
        (("--tile-px", "32", "--bbox", "1,2,3"), "four numbers"),
        (("--tile-px", "32", "--date", "July"), "--date must look like"),
        (("--tile-px", "32", "--band-indexes", "a"), "whole numbers"),
        (("--source", "sentinel2"), "give --bbox"),
        (("--tile-km", 3, "--step-px", 9), "--step-px belongs to --tile-px"),
        (("--tile-px", 32, "--step-km", 3), "--step-km belongs to --tile-km"),
        (("--tile-px", "32", "--area", "nowhere.json"), "area file nowhere.json can't be read"),
    ],
)
def test_a_wrong_option_is_named(type_in, raster, model_folder, arguments, message):
    with pytest.raises(WildsatError, match=message):
        type_in("build", "field", "-i", raster, "--model", model_folder, *arguments)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("xyz", ("--stretch", "0,9")),
        ("folder", ("--tile-km", "3")),
        ("parquet", ("--workers", "0")),
        ("raster", ("--column", "vec")),
        ("sentinel2", ("--nodata", "0")),
    ],
)
def test_an_option_of_another_kind_is_refused(kind, option):
    for command in ("build", "add"):
        answer = CliRunner().invoke(index, [command, kind, "field", "-i", "x", *option])
        assert (answer.exit_code, f"No such option: {option[0]}" in answer.output) == (2, True)


def test_imagery_must_be_named_but_for_sentinel2_there_is_a_public_catalogue(type_in, model_folder, monkeypatch):
    for kind in ("raster", "folder", "satlas", "xyz", "majortom", "parquet"):
        answer = CliRunner().invoke(index, ["build", kind, "field"])
        assert (answer.exit_code, "Missing option '--input'" in answer.output) == (2, True)
    asked = []
    monkeypatch.setattr("indexer.sources.sentinel2.search_scenes", lambda api, *_: asked.append(api) or [])
    order = ("--bbox", "10,10,10.1,10.1", "--from", "2023-01-01", "--to", "2023-02-01")
    with pytest.raises(SourceError, match="the source has no tile there"):
        type_in("build", "sentinel2", "field", "--model", model_folder, *order)
    assert (
        asked == ["https://earth-search.aws.element84.com/v1"] * 3
    )  # how its scenes were made, which to pin, which show tiles


def test_a_build_of_nothing_says_why_and_fails(type_in, raster, model_folder, tmp_path):
    pq.write_table(pa.table({"id": ["a"], "lon": [1.0], "lat": [1.0], "embedding": [[0.0]]}), tmp_path / "v.parquet")
    with pytest.raises(SourceError, match="no tile was indexed; left out: 6 no data"):
        type_in("build", "f", "-i", raster, "--tile-px", 32, "--model", model_folder, "--max-missing", 0, "--nodata", 9)
    with pytest.raises(SourceError, match="no tile was indexed; left out: 1 no vector"):
        type_in("build", "parquet", "f", "-i", tmp_path / "v.parquet", "--model", "m")
    assert not (tmp_path / "collections" / "f" / "CURRENT").exists()


def test_an_area_over_the_antimeridian_keeps_tiles_of_both_sides(type_in, globe, model_folder, tmp_path):
    ring = [[170, -20], [190, -20], [190, 20], [170, 20], [170, -20]]
    (tmp_path / "pacific.json").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    options = ("--tile-km", 800, "--area", tmp_path / "pacific.json", "--model", model_folder, "--workers", 0)
    type_in("build", "pacific", "-i", globe, *options)
    tiles = open_collection(tmp_path / "collections" / "pacific").tiles
    assert 4 <= len(tiles) <= 20
    assert {bool(lon > 0) for lon in tiles.lon} == {True, False}
    assert (np.abs(tiles.lon) >= 170).all()


def test_ready_made_vectors_are_a_source_of_build(type_in, tmp_path):
    ids, lon = [f"t{i}" for i in range(8)], [float(i) for i in range(8)]
    rows = {"id": ids, "lon": lon, "lat": [0.5] * 8, "vec": [[1.0, float(i), 2.0] for i in range(8)]}
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    order = ("parquet", "mine", "-i", tmp_path / "v.parquet", "--column", "vec", "--model", "my-encoder")
    planned = type_in("build", *order, "--bbox=2.5,0,9,1", "--dry-run")
    assert "vectors of my-encoder: image (3, cosine)" in planned
    assert "5 tiles to index; left out: 3 outside the area" in planned
    assert not (tmp_path / "collections").exists()
    type_in("build", *order, "--bbox=2.5,0,9,1")
    type_in("add", *order)
    collection = open_collection(tmp_path / "collections" / "mine")
    assert sorted(collection.tiles.column("tile_id").to_pylist()) == ids
    assert (collection.manifest.model.name, collection.manifest.spaces["image"].dim) == ("my-encoder", 3)
    with pytest.raises(SourceError, match="--model"):
        type_in("build", "parquet", "other", "-i", tmp_path / "v.parquet")
    with pytest.raises(InvalidInputError, match="unknown source 'parquet'; there are raster"):  # they are no pictures
        type_in("cut", "--source", "parquet", "-i", tmp_path / "v.parquet", "--out", tmp_path / "out")


@pytest.fixture
def best_chips(type_in, tmp_path, monkeypatch):
    """Builds a collection of the real chips; then gives the best of them for some words, by number."""
    if not DATA:
        pytest.skip("WILDSAT_DATA is not set: real Sentinel-2 chips")

    def built(bf16=False, stretch="0,3000"):
        monkeypatch.setattr("wildsat_core.models.model.supports_bf16", lambda _: bf16)
        bands = ("--band-indexes", "4,3,2", "--stretch", stretch)
        order = ("folder", "chips", "-i", Path(DATA) / "sentinel2", "--table", "none", *bands, "--workers", 0)
        assert "23 tiles to index" in type_in("build", *order, "--dry-run")
        type_in("build", *order)
        collection = open_collection(tmp_path / "collections" / "chips")
        assert collection.manifest.model.name == "wildsat-s2"  # nobody named it: the pixels did
        assert len(collection) >= 20  # one is nearly constant
        engine = SearchEngine(collection, load_model("wildsat-s2"))

        def best(text, count):
            hits = engine.search(Query((TextTerm(text),), k=count)).hits
            return {hit.tile.tile_id.removeprefix("patch_") for hit in hits}

        return best

    return built


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])  # whatever this processor multiplies
def test_real_sentinel2_chips_are_indexed_and_found_by_what_they_show(best_chips, bf16):
    best = best_chips(bf16)
    assert best("sand dunes in the desert", 2) == {"58000", "759128"}  # Kyzylkum, and Libya, never seen
    assert best("red outback", 3) == {"275979", "526850", "566084"}  # Australia twice, and Zimbabwe, never seen
    assert best("open sea", 2) == {"74721", "752389"}  # Great Bear Lake, and the Gulf of Sidra, never seen
    assert "770287" in best("snow and ice", 2)
    assert best("a boreal lake", 1) == {"8845"}
    assert best("clouds", 1) == {"511198"}
    assert best("farm fields", 2) == {"57755", "70975"}  # Brazil, never seen, and Tunisia


def test_fields_that_were_never_seen_are_found(best_chips):
    assert best_chips()("farm fields", 4) >= {"57755", "70975", "322265"}


def test_dunes_that_a_stretch_leaves_their_colour_are_no_snow(best_chips):
    """To 0.3 a chip of Libyan dunes is as white as snow is: 95 % of its pixels in all three bands, here 0.1 %."""
    best = best_chips(stretch="0,3550")
    assert best("sand dunes in the desert", 3) == {"58000", "759128", "70541"}  # Kyzylkum and Libya
    assert best("snow", 2) == {"286743", "770287"}


def test_an_index_that_misses_the_recall_asked_for_is_said_so(tmp_path, monkeypatch):
    random_collection(tmp_path / "random", 1000)
    order = ["ann", "random", "--kind", "ivfpq", "--space", "text", "--recall", "1.0", "--collections", str(tmp_path)]
    assert "the most" not in CliRunner().invoke(index, order).output
    monkeypatch.setattr("wildsat_core.search.ann.CANDIDATES", 10)  # too few for what quantising loses
    assert "the most that ivfpq reaches, less than the 1 asked for" in CliRunner().invoke(index, order).output


def test_indexes_are_listed_and_it_is_said_that_a_small_collection_does_without(type_in, tmp_path):
    random_collection(tmp_path / "collections" / "random", 1000)
    order = ["ann", "random", "--kind", "sq8", "--space", "text", "--collections", str(tmp_path / "collections")]
    told = CliRunner().invoke(index, order).output
    assert "from 20,000,000 tiles on and this collection has 1,000" in told
    assert "WILDSAT_ANN_ROWS" in told
    assert (info(type_in, "random")["ann"]["text"]["kind"]) == "sq8"
    assert "text sq8, 0.0 MiB, recall@10 " in type_in("info", "random")


def test_upgrade_rewrites_a_collection_of_version_1(built, tmp_path):
    root = tmp_path / "collections" / "field"
    make_version_one(root)
    assert info(built)["format_version"] == 1
    assert "6 tiles, format version 2" in built("upgrade", "field")
    assert info(built)["format_version"] == 2
    assert "as they were written" in built("verify", "field")
