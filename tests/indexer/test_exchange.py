"""Collections as Parquet files, vectors made elsewhere, and Major TOM's files."""

import datetime as dt
import errno
from dataclasses import replace

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from indexer.cluster.build import build_collection
from indexer.pipeline.job import job_of
from indexer.pipeline.options import BuildOptions
from indexer.sources.majortom import MajorTomSource
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.vectors.build import build_from_vectors
from indexer.vectors.exchange import export_collection, import_collection
from indexer.vectors.files import GivenVectors, VectorFiles
from tests.indexer.conftest import png, write_raster
from wildsat_core.collection import CollectionWriter, open_collection
from wildsat_core.collection.maintain import delete_tiles, verify
from wildsat_core.errors import DiskFullError, ModelMismatchError, SourceError
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile


@pytest.fixture
def small(model, tmp_path):
    """Six tiles of a projected raster, one of them deleted."""
    values = np.random.default_rng(0).integers(1, 255, (3, 64, 96)).astype(np.uint8)
    path = write_raster(tmp_path / "utm.tif", values, "EPSG:32614", 592_000, 3_707_000, 10)
    source = RasterSource(str(path), PixelGrid(32, 32), captured_on=dt.date(2023, 7, 1), cloud_cover=0.25)
    build_collection(source, model, tmp_path / "small", BuildOptions(workers=0), {"title": "Small"})
    delete_tiles(tmp_path / "small", np.array([2]), generation=1)
    return open_collection(tmp_path / "small")


def by_id(collection):
    rows = np.flatnonzero(collection.tiles.live)
    return {
        collection.tile(row).tile_id: (
            collection.tile(row),
            collection.thumbnail(row),
            *(collection.vectors(space, np.array([row])).tolist() for space in sorted(collection.spaces)),
        )
        for row in rows
    }


def test_what_was_exported_is_imported_as_it_was(small, tmp_path):
    done = []
    assert export_collection(small, tmp_path / "small.parquet", done.append) == sum(done) == 5
    manifest = import_collection(tmp_path / "small.parquet", tmp_path / "again")
    again = open_collection(tmp_path / "again")
    assert by_id(again) == by_id(small)
    assert manifest.model == small.manifest.model
    assert manifest.spaces == small.manifest.spaces
    assert manifest.provenance["title"] == "Small"
    assert verify(tmp_path / "again") == []


def test_an_export_that_fails_leaves_nothing_behind(small, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        export_collection(small, tmp_path / "folder")

    def full(self, table):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DiskFullError, match="make room"):
        export_collection(small, tmp_path / "small.parquet")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".parquet" or path.name.startswith(".")]


def test_an_exported_file_is_geoparquet(small, tmp_path):
    export_collection(small, tmp_path / "small.parquet")
    file = pq.ParquetFile(tmp_path / "small.parquet")
    assert b'"primary_column": "geometry"' in file.schema_arrow.metadata[b"geo"]
    outline = shapely.from_wkb(file.read(["geometry"])["geometry"][0].as_py())
    assert outline.geom_type == "Polygon"


def test_importing_again_changes_nothing_and_another_model_is_refused(small, tmp_path):
    export_collection(small, tmp_path / "small.parquet")
    first = import_collection(tmp_path / "small.parquet", tmp_path / "again")
    assert import_collection(tmp_path / "small.parquet", tmp_path / "again") == first
    given = GivenVectors("vector_image", "image", SpaceSpec(4, "cosine"), ModelRef("other", "", "", ""))
    with pytest.raises(ModelMismatchError):
        import_collection(tmp_path / "small.parquet", tmp_path / "again", given)


def foreign(path, **columns):
    table = {"id": ["a", "b"], "embedding": [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], **columns}
    pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), path)
    return path


GIVEN = GivenVectors(
    "embedding", "image", SpaceSpec(3, "inner_product"), ModelRef("clay", "", "", "vectors made elsewhere")
)


def test_vectors_made_elsewhere_need_an_id_a_place_and_a_list(tmp_path):
    path = foreign(tmp_path / "v.parquet", lon=[-98.0, 179.999], lat=[33.5, -17.5], timestamp=["2021-06-01", None])
    import_collection(path, tmp_path / "given", GIVEN)
    collection = open_collection(tmp_path / "given")
    tile = collection.tile(collection.row_of("a"))
    assert tile.lon_lat == (pytest.approx(-98), pytest.approx(33.5))
    assert tile.captured_on == dt.date(2021, 6, 1)
    assert collection.tile(collection.row_of("b")).bbox.crosses_antimeridian
    assert collection.vectors("image", np.array([collection.row_of("b")])).tolist() == [[0.0, 2.0, 0.0]]
    assert collection.manifest.spaces == {"image": SpaceSpec(3, "inner_product")}


def test_a_geometry_column_is_the_outline(tmp_path):
    triangle = shapely.Polygon([(10, 40), (11, 40), (10, 41)])
    geometry = [shapely.to_wkb(triangle), shapely.to_wkb(shapely.Point(-98, 33.5))]
    import_collection(foreign(tmp_path / "v.parquet", geometry=geometry), tmp_path / "given", GIVEN)
    collection = open_collection(tmp_path / "given")
    tile = collection.tile(collection.row_of("a"))
    assert tile.bbox.as_tuple() == (10, 40, 11, 41)
    assert shapely.from_wkb(tile.footprint_wkb).equals(triangle)
    assert collection.tile(collection.row_of("b")).footprint_wkb is None


def test_an_outline_on_both_sides_of_180_degrees_has_a_narrow_box(tmp_path):
    both = shapely.MultiPolygon([shapely.box(179.5, -18, 180, -17), shapely.box(-180, -18, -179.75, -17)])
    geometry = [shapely.to_wkb(both), shapely.to_wkb(shapely.Point(1, 1))]
    import_collection(foreign(tmp_path / "v.parquet", geometry=geometry), tmp_path / "given", GIVEN)
    collection = open_collection(tmp_path / "given")
    assert collection.tile(collection.row_of("a")).bbox == BBox(179.5, -18, -179.75, -17)


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({"lon": [1.0, 2.0], "lat": [1.0, 2.0]}, None, "--made-by"),
        ({}, GIVEN, "does not say where its rows are"),
        ({"id": None, "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "no column of ids"),
        (
            {"embedding": [[1.0], [1.0, 2.0, 3.0]], "lon": [1.0, 2.0], "lat": [1.0, 2.0]},
            GIVEN,
            "its vector must be a list of 3 numbers",
        ),
        ({"embedding": None, "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "no column 'embedding'"),
        ({"embedding": [["x"], ["y"]], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "it holds list<.*string>"),
        ({"embedding": [1.0, 2.0], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "it holds double"),
        ({"id": ["a", None], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "it has no id"),
        (
            {"date": ["2020-01-01", "May"], "lon": [1.0, 2.0], "lat": [1.0, 2.0]},
            GIVEN,
            "row of id 'b': a day must look like",
        ),
        ({"cloud_cover": [0.1, 55.0], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}, GIVEN, "row of id 'b': .*got 55"),
        ({"lon": [1.0, 200.0], "lat": [1.0, 95.0]}, GIVEN, "row of id 'b': "),
        ({"geometry": [b"no wkb", b""]}, GIVEN, "row of id 'a': "),
    ],
)
def test_a_file_that_lacks_something_is_refused_by_name_and_nothing_is_made(columns, given, message, tmp_path):
    path = foreign(tmp_path / "v.parquet", **columns)
    with pytest.raises(SourceError, match=message):
        import_collection(path, tmp_path / "given", given, options=BuildOptions(max_bad=0))
    assert not (tmp_path / "given" / "CURRENT").exists()


def test_rows_without_a_vector_are_left_out_and_counted(tmp_path):
    zero, nan = [0.0, 0.0, 0.0], [float("nan"), 0.0, 1.0]
    columns = {"id": ["a", "b", "c"], "embedding": [zero, nan, [1.0, 0.0, 0.0]], "lon": [1.0] * 3, "lat": [1.0] * 3}
    files = VectorFiles(foreign(tmp_path / "v.parquet", **columns), GIVEN)
    report = build_from_vectors(files, tmp_path / "given", BuildOptions(), {})
    assert (report.added, report.left_out["no vector"]) == (1, 2)
    assert open_collection(tmp_path / "given").row_of("c") == 0


def test_vectors_compared_by_cosine_are_stored_with_length_1_and_ranked_by_it(tmp_path):
    long, near, zero, infinite = [30.0, 40.0, 0.0], [0.5, 0.01, 0.0], [0.0] * 3, [np.inf, 0.0, 0.0]
    columns = {"id": ["long", "near", "zero", "inf"], "embedding": [long, near, zero, infinite]}
    path = foreign(tmp_path / "v.parquet", **columns, lon=[1.0] * 4, lat=[1.0] * 4)
    given = replace(GIVEN, spec=SpaceSpec(3, "cosine"))
    report = build_from_vectors(VectorFiles(path, given), tmp_path / "given", BuildOptions(), {})
    assert (report.added, report.left_out["no vector"]) == (2, 2)
    collection = open_collection(tmp_path / "given")
    rows = [collection.row_of(name) for name in ("long", "near")]
    stored = collection.vectors("image", np.array(rows)).astype(np.float32)
    assert stored[0] == pytest.approx([0.6, 0.8, 0.0], abs=1e-3)
    query = np.array([1.0, 0.0, 0.0])  # searching takes inner products, whatever the metric is called
    assert (stored @ query).tolist() == pytest.approx([0.6, 0.9998], abs=1e-3)


def test_a_kill_loses_at_most_the_segment_in_progress_and_the_same_files_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("indexer.vectors.files.ROWS_AT_ONCE", 2)
    columns = {"id": [f"t{i}" for i in range(6)], "embedding": [[1.0, i, 0.0] for i in range(6)]}
    path = foreign(tmp_path / "v.parquet", **columns, lon=[1.0] * 6, lat=[1.0] * 6)
    options = BuildOptions(segment_tiles=2)

    def stop_after_four(done, seen=[0]):  # noqa: B006 - counts over the calls
        seen[0] += done
        if seen[0] == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        build_from_vectors(VectorFiles(path, GIVEN), tmp_path / "given", options, {}, stop_after_four)
    assert not (tmp_path / "given" / "CURRENT").exists()
    report = build_from_vectors(VectorFiles(path, GIVEN), tmp_path / "given", options, {})
    assert (report.adopted, report.added, report.left_out["already indexed"]) == (4, 2, 4)
    assert len(open_collection(tmp_path / "given")) == 6


def test_other_files_or_columns_are_another_build(tmp_path):
    columns = {"other": [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}
    a, b = (foreign(tmp_path / name, **columns) for name in ("a.parquet", "b.parquet"))
    orders = ((a, GIVEN), (b, GIVEN), (a, replace(GIVEN, column="other")), (a, GIVEN))
    jobs = [job_of(VectorFiles(path, given), GIVEN.model, BuildOptions()) for path, given in orders]
    assert (len(set(jobs)), jobs[0]) == (3, jobs[3])


def test_a_folder_of_files_is_one_source_and_a_stranger_among_them_is_refused(small, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    with pytest.raises(SourceError, match=r"without \*\.parquet"):
        VectorFiles(folder, GIVEN)
    export_collection(small, folder / "a.parquet")
    foreign(folder / "b.parquet", lon=[1.0, 2.0], lat=[1.0, 2.0])
    with pytest.raises(SourceError, match=r"b\.parquet was not exported here"):
        VectorFiles(folder)
    foreign(folder / "a.parquet", id=["c", "d"], lon=[1.0, 2.0], lat=[1.0, 2.0])
    import_collection(folder, tmp_path / "given", GIVEN)
    assert set(by_id(open_collection(tmp_path / "given"))) == {"a", "b", "c", "d"}


def test_a_file_that_is_not_parquet_is_refused(tmp_path):
    (tmp_path / "v.parquet").write_text("hello")
    with pytest.raises(SourceError, match="can't be read as Parquet"):
        import_collection(tmp_path / "v.parquet", tmp_path / "given", GIVEN)


def test_major_tom_pictures_get_place_and_date_from_the_metadata(majortom, model):
    source = MajorTomSource(str(majortom / "images"), str(majortom / "metadata.parquet"))
    first, second = source.candidates()
    assert source.count() == 2
    assert first.tile.tile_id == "majortom-433D_12R-S2A_0"
    assert first.tile.lon_lat == (pytest.approx(-98), pytest.approx(-38.9))
    assert (first.tile.captured_on, first.tile.cloud_cover) == (dt.date(2020, 7, 15), pytest.approx(0.125))
    assert second.tile.captured_on == dt.date(2021, 7, 16)
    assert second.tile.bbox.crosses_antimeridian
    assert np.array_equal(source.read(second).pixels, png(2)[1].transpose(2, 0, 1))
    near = MajorTomSource(str(majortom / "images"), str(majortom / "metadata.parquet"), BBox(-99, -40, -97, -38))
    assert [c.tile.tile_id for c in near.candidates()] == ["majortom-433D_12R-S2A_0"]


def test_the_metadata_of_the_planet_is_looked_through_once_a_file(majortom, monkeypatch):
    rows = {"product_id": ["S2A_0"] * 3, "grid_cell": ["433D_12R"] * 3, "thumbnail": [png(i)[0] for i in range(3)]}
    pq.write_table(pa.table(rows), majortom / "images" / "part_0.parquet", row_group_size=2)
    looks = []
    read = pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda *args, **options: looks.append(args) or read(*args, **options))
    source = MajorTomSource(str(majortom / "images"), str(majortom / "metadata.parquet"))
    listed = list(source.candidates())
    assert (len(listed), len(looks)) == (4, 2)
    for i in range(3):
        assert np.array_equal(source.read(listed[i]).pixels, png(i)[1].transpose(2, 0, 1))


def test_major_tom_without_places_says_what_is_needed(majortom, tmp_path):
    with pytest.raises(SourceError, match="--metadata"):
        list(MajorTomSource(str(majortom / "images")).candidates())
    with pytest.raises(SourceError, match="no columns grid_cell and thumbnail"):
        list(MajorTomSource(str(majortom / "metadata.parquet")).candidates())
    with pytest.raises(SourceError, match="neither a Parquet file nor a folder"):
        MajorTomSource(str(tmp_path / "nothing"))


def test_a_box_across_180_degrees_is_found_by_readers_that_prune_and_comes_back_as_it_was(tmp_path):
    boxes = [BBox(179.5, -18, -179.5, -17), BBox(-180, 88, 180, 90), BBox(10, 40, 11, 41)]
    fiji = shapely.MultiPolygon([shapely.box(179.6, -18, 180, -17), shapely.box(-180, -18, -179.6, -17)])
    tiles = [
        *(Tile(f"t{i}", box, 10.0, "toy") for i, box in enumerate(boxes)),
        Tile("outlined", BBox(179.6, -18, -179.6, -17), 10.0, "toy", footprint_wkb=shapely.to_wkb(fiji)),
    ]
    spaces = {"image": SpaceSpec(2, "inner_product")}
    with CollectionWriter(tmp_path / "toy", "toy", ModelRef("m", "", "", ""), spaces) as writer:
        writer.add(tiles, {"image": np.eye(4, 2, dtype=np.float32) + 1})
        writer.publish()
    collection = open_collection(tmp_path / "toy")
    export_collection(collection, tmp_path / "toy.parquet")
    found = geopandas.read_parquet(tmp_path / "toy.parquet", bbox=(179.9, -17.6, 179.95, -17.4))
    assert set(found["tile_id"]) == {"t0", "outlined"}
    assert set(geopandas.read_parquet(tmp_path / "toy.parquet", bbox=(-179.9, -18, -179.8, -17))["tile_id"]) == {
        "t0",
        "outlined",
    }
    import_collection(tmp_path / "toy.parquet", tmp_path / "again")
    assert by_id(open_collection(tmp_path / "again")) == by_id(collection)


@pytest.mark.parametrize(("given", "kept"), [(float("nan"), 0.0), (None, 0.0), (0.6, 0.6)])
def test_an_unknown_pixel_size_is_0(tmp_path, given, kept):
    path = foreign(tmp_path / "v.parquet", lon=[-98.0, 10], lat=[33.5, 20], gsd_m=pa.array([given, 1.0], pa.float64()))
    import_collection(path, tmp_path / "given", GIVEN)
    collection = open_collection(tmp_path / "given")
    assert collection.tile(collection.row_of("a")).gsd_m == kept


@pytest.mark.parametrize("given", [float("inf"), -1.0])
def test_a_pixel_size_that_is_none_is_refused(tmp_path, given):
    path = foreign(tmp_path / "v.parquet", lon=[-98.0, 10], lat=[33.5, 20], gsd_m=[given, 1.0])
    with pytest.raises(SourceError, match="gsd_m"):
        import_collection(path, tmp_path / "given", GIVEN, options=BuildOptions(max_bad=0.4))
    import_collection(path, tmp_path / "given", GIVEN)
    assert len(open_collection(tmp_path / "given")) == 1
