"""The open format, what is read into it, and the stream out of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from tests.training.conftest import make_dataset
from training.data.build import BuildReport, SplitPlan, build_dataset, read_texts
from training.data.cells import cell_centre, cell_of, spatial_splits
from training.data.embed import embed_texts
from training.data.imagery import mercator_centre, mercator_tile, open_imagery
from training.data.observations import read_observations
from training.data.pixels import PixelReader
from training.data.reference import import_reference, read_pickled_array
from training.data.stream import DamageCount, EpochBatches, Key, PairDataset, _Sites, batch_loader
from training.data.tables import ABOUT, EMBEDDINGS, PAIRS, PLACES, TEXTS, open_dataset, places_table, texts_table
from wildsat_core.bands import NINE_BANDS
from wildsat_core.errors import (
    CheckpointError,
    InvalidInputError,
    MissingDataError,
    SourceError,
    TrainingError,
    WildsatError,
)
from wildsat_core.geo import great_circle_km

# --- sightings ---


def test_observations_of_gbif_and_inaturalist_are_read_and_bad_rows_counted(tmp_path: Path) -> None:
    gbif = tmp_path / "gbif.csv"
    gbif.write_text(
        "gbifID\tspecies\tdecimalLatitude\tdecimalLongitude\teventDate\n"
        "1\tPanthera  onca\t-3.5\t-60.25\t2019-07-04T10:00:00Z\n"
        "2\t\t1\t2\t2019-01-01\n"
        "3\tPanthera onca\tnorth\t-60\t\n"
        "4\tPanthera onca\t91\t-60\t\n"
        "5\tPanthera onca\t0\t0\t\n"
        "6\tPanthera onca\tnan\t3\t\n"
        "7\tPanthera onca\t10\t180\tJuly 1999\n"
        "8\tPanthera\n"
    )
    seen = read_observations(gbif)
    assert [(o.species, o.lon, o.lat, o.date) for o in seen.rows] == [
        ("Panthera onca", -60.25, -3.5, dt.date(2019, 7, 4)),
        ("Panthera onca", 180.0, 10.0, None),
    ]
    assert dict(seen.skipped) == {
        "without a species": 1,
        "with a position that is not a number": 1,
        "with a position off the globe": 2,
        "at 0, 0": 1,
        "dates not understood (rows kept)": 1,
        "too short": 1,
    }
    inaturalist = tmp_path / "inat.csv"
    inaturalist.write_text('taxon_name,latitude,longitude,observed_on\n"Ursus, arctos",61.5,-150,2020-02-30\n')
    assert read_observations(inaturalist).rows[0].species == "Ursus, arctos"


def test_a_quote_in_a_tab_separated_table_is_a_letter(tmp_path: Path) -> None:
    gbif = tmp_path / "gbif.csv"
    places = ('"Rio Negro', "Manaus", '12" trap, "north" side')
    rows = [f"{place}\tPanthera onca\t-60\t-3.{i}\n" for i, place in enumerate(places)]
    gbif.write_text("locality\tspecies\tlon\tlat\n" + "".join(rows))
    seen = read_observations(gbif)
    assert [o.lat for o in seen.rows] == [-3.0, -3.1, -3.2]
    assert not seen.skipped


def test_a_quote_that_is_not_closed_swallows_no_rows(tmp_path: Path) -> None:
    rows = "".join(f"Lynx lynx,{lon},47\n" for lon in range(50))
    for head in ('"Lynx lynx,9,47\n', '"Lynx" lynx,9,47\n'):
        (tmp_path / "quote.csv").write_text("species,lon,lat\n" + head + rows)
        with pytest.raises(InvalidInputError, match="a quote that is not closed"):
            read_observations(tmp_path / "quote.csv")
    (tmp_path / "quote.csv").write_text('species,lon,lat\n"Lynx, ""lynx""",9,47\n' + rows)
    assert len(read_observations(tmp_path / "quote.csv").rows) == 51


def test_observations_without_a_column_or_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError):
        read_observations(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_text("animal,where\n")
    with pytest.raises(InvalidInputError, match="needs columns"):
        read_observations(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_bytes(b"species,lon,lat\n\xff\xfe\x00,1,2\n")
    with pytest.raises(InvalidInputError, match="save it as UTF-8"):
        read_observations(tmp_path / "y.csv")


# --- cells and parts ---


def test_cells_have_equal_areas_and_hold_their_centres() -> None:
    random = np.random.default_rng(0)
    lon, lat = random.uniform(-180, 180, 500), np.degrees(np.arcsin(random.uniform(-1, 1, 500)))
    cells = cell_of(lon, lat, 100.0)
    for i, cell in enumerate(cells):
        centre = cell_centre(cell, 100.0)
        assert int(cell_of(*centre, 100.0)) == cell
        if abs(lat[i]) < 85:
            assert float(great_circle_km(lon[i], lat[i], *centre)) < 75
    assert int(cell_of(180.0, 10.0, 100.0)) == int(cell_of(-180.0, 10.0, 100.0))
    assert len({int(cell_of(lon, 90.0, 100.0)) for lon in (-180.0, 0.0, 90.0)}) <= 3


def test_blocks_are_held_out_whole_and_parts_have_their_shares() -> None:
    random = np.random.default_rng(1)
    lon, lat = random.uniform(-180, 180, 5000), random.uniform(-90, 90, 5000)
    parts = spatial_splits(lon, lat, 10.0, (0.8, 0.1, 0.1), 7)
    blocks: dict[tuple[int, int], set[str]] = {}
    for x, y, part in zip(lon, lat, parts, strict=True):
        blocks.setdefault((int((x + 180) // 10), int((y + 90) // 10)), set()).add(str(part))
    assert all(len(names) == 1 for names in blocks.values())
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs((parts == name).mean() - share) < 0.01
    assert (parts == spatial_splits(lon, lat, 10.0, (0.8, 0.1, 0.1), 7)).all()
    assert (parts != spatial_splits(lon, lat, 10.0, (0.8, 0.1, 0.1), 8)).any()
    with pytest.raises(ValueError, match="sum to 1"):
        spatial_splits(lon, lat, 10.0, (0.8, 0.1, 0.2), 7)


def test_a_dense_block_is_trained_on_and_no_part_stays_empty() -> None:
    sizes = [600, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40]
    lon = np.repeat(np.arange(len(sizes)) * 10.0 + 5, sizes)
    for seed in range(20):
        parts = spatial_splits(lon, np.zeros(len(lon)), 10.0, (0.8, 0.1, 0.1), seed)
        assert set(parts[:600]) == {"train"}
        for name in ("val", "test"):
            assert 0.04 <= (parts == name).mean() <= 0.15
    few = spatial_splits([5.0, 15.0, 25.0], [0.0, 0.0, 0.0], 10.0, (0.8, 0.1, 0.1), 0)
    assert sorted(few) == ["test", "train", "val"]
    assert set(spatial_splits([5.0, 15.0], [0.0, 0.0], 10.0, (0.5, 0.0, 0.5), 0)) == {"train", "test"}


def test_places_near_held_out_ones_are_in_no_part(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    lines = [f"{name}.png,{lon},50" for name, lon in (("a", 9.95), ("b", 10.05), ("c", 14), ("d", 90))]
    (folder / "index.csv").write_text("file,lon,lat\n" + "\n".join(lines) + "\n")
    seen = "".join(f"Crax rubra,{lon},50,\n" for lon in (9.95, 10.05, 14, 90))
    found = {}
    for buffer_km in (0.0, 10.0):  # a and b are 7 km apart
        for seed in range(8):
            build(folder, seen, texts, SplitPlan(10.0, (0.5, 0.5, 0.0), seed, buffer_km))
            data = open_dataset(folder / "set")
            parts = dict(zip(data.column("places", "path"), data.column("places", "split"), strict=True))
            if {parts["a.png"], parts["b.png"]} & {"val"} and parts["a.png"] != parts["b.png"]:
                found[buffer_km] = sorted((parts["a.png"], parts["b.png"]))
                assert parts["c.png"] in ("train", "val"), "far enough"
                assert len(data.pairs_of("train")) + len(data.pairs_of("val")) == (4 if buffer_km == 0 else 3)
                _Sites(data.column("places", "site"), data.column("places", "split"))
    assert found == {0.0: ["train", "val"], 10.0: ["buffer", "val"]}


@pytest.mark.parametrize("side", [0.0, -5.0, float("nan"), float("inf"), 1e-9, 1e9])
def test_cells_of_no_size_are_refused(side: float) -> None:
    with pytest.raises(InvalidInputError, match=r"cells of ground must be 0\.05 to 10,000 km wide, got"):
        cell_of([10.0], [50.0], side)


# --- building ---


def write_sources(folder: Path) -> tuple[Path, pa.Table]:
    """Four pictures, two of them of one place at two dates; a table of texts."""
    random = np.random.default_rng(2)
    rows = [("a", 10.0, 50.0, "2020-01-01"), ("b", 10.0, 50.0, "2021-01-01"), ("c", 40.0, -20.0, ""), ("d", 90, 0, "")]
    lines = ["file,lon,lat,date"]
    for name, lon, lat, date in rows:
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        lines.append(f"{name}.png,{lon},{lat},{date}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    texts = [
        ("Lynx lynx", "Cold forests."),
        ("lynx  Lynx", "Rocky slopes."),
        ("Crax rubra", "Lowland jungle."),
        ("X", ""),
    ]
    table = texts_table([{"species": s, "section": None, "text": t, "source": "s", "licence": "CC0"} for s, t in texts])
    return folder, table


def test_build_joins_by_position_and_species(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    csv = tmp_path / "obs.csv"
    csv.write_text(
        "species,lon,lat\nLynx lynx,10.001,50.001\nLYNX LYNX,10.002,50\n"
        "Crax rubra,40,-20\nCrax rubra,0,70\nX,10,50\nZ,1,1\n"
    )
    imagery = open_imagery(f"folder:{folder}", side_km=5.0)
    plan = SplitPlan(10.0, (0.5, 0.5, 0.0), 1)
    report = build_dataset(tmp_path / "set", read_observations(csv), texts, imagery, cell_km=100.0, plan=plan)
    assert dict(report.left_out) == {
        "sightings of species without a text": 2,
        "sightings without imagery": 1,
        "blank texts": 1,
    }
    data = open_dataset(tmp_path / "set")
    assert data.column("places", "path").tolist() == ["a.png", "b.png", "c.png"]
    assert data.column("places", "site")[0] == data.column("places", "site")[1] != data.column("places", "site")[2]
    pairs = data.pairs.to_pylist()
    assert [(p["place"], p["text"]) for p in pairs] == [(1, 0), (1, 1), (2, 2)], "the newest picture, every text, once"
    assert pairs[0]["lon"] == 10.001
    assert pairs[0]["group"] == pairs[1]["group"] != pairs[2]["group"]
    assert set(data.column("places", "split")) == {"train", "val"}
    with pytest.raises(MissingDataError, match="embed-texts"):
        data.embeddings()


def build(folder: Path, rows: str, texts: pa.Table, plan: SplitPlan | None = None) -> BuildReport:
    """Join sightings, given as lines of species,lon,lat,date, to the pictures of a folder."""
    (folder / "obs.csv").write_text("species,lon,lat,date\n" + rows)
    imagery = open_imagery(f"folder:{folder}", side_km=5.0)
    seen = read_observations(folder / "obs.csv")
    return build_dataset(folder / "set", seen, texts, imagery, cell_km=100.0, plan=plan or SplitPlan())


def test_a_sighting_gets_the_picture_nearest_in_date(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)  # a.png is of 2020-01-01, b.png of 2021-01-01
    for date, picture in (("2019-03-01", "a"), ("2020-06-29", "a"), ("2020-07-05", "b"), ("", "b")):
        build(folder, f"Crax rubra,10,50,{date}\n", texts)
        data = open_dataset(folder / "set")
        assert data.column("places", "path")[data.column("pairs", "place")].tolist() == [f"{picture}.png"], date


def test_sightings_beside_the_picture_are_left_out(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    east, north = 2.6 / (111.195 * np.cos(np.radians(50.0))), 2.6 / 111.195  # the pictures reach 2.5 km each way
    outside = f"Crax rubra,{10 + east},50,\nCrax rubra,10,{50 - north},\n"
    corner = f"Crax rubra,{10 - 0.9 * east},{50 + 0.9 * north},\n"
    assert build(folder, outside + corner, texts).left_out["sightings without imagery"] == 2


def test_all_dates_of_a_site_are_in_one_part_across_a_block_line(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    lines = [f"{name}.png,{lon},50" for name, lon in (("a", 9.999), ("b", 10.001), ("c", 40), ("d", 90))]
    (folder / "index.csv").write_text("file,lon,lat\n" + "\n".join(lines) + "\n")
    for seed in range(6):
        build(folder, "Crax rubra,10,50,\nCrax rubra,40,50,\n", texts, SplitPlan(10.0, (0.5, 0.5, 0.0), seed))
        splits = open_dataset(folder / "set").column("places", "split")
        assert splits[0] == splits[1] != splits[2]


def test_a_part_that_nothing_fell_into_is_told(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    report = build(folder, "Crax rubra,10,50,\n", texts, SplitPlan(10.0, (0.9, 0.1, 0.0)))
    assert report.lines()[-1].startswith("warning: no place fell into val;")
    assert not any("test" in line for line in report.lines())


def test_a_rebuilt_set_has_no_embeddings_of_older_texts(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    rows = "Lynx lynx,10,50,\nCrax rubra,40,-20,\n"
    build(folder, rows, texts)
    embed_texts(folder / "set", CountingEncoder())
    with pytest.raises(KeyboardInterrupt):
        embed_texts(folder / "set", CountingEncoder(fail_after=1), batch=2)
    build(folder, rows, texts)
    assert {p.name for p in (folder / "set").iterdir()} == {ABOUT, PLACES, TEXTS, PAIRS}
    pictures, wiki = write_reference(tmp_path)
    (folder / "set" / f"gritlm.{EMBEDDINGS}.part.npy").write_bytes(b"of older texts")
    import_reference(folder / "set", pictures, wiki, tmp_path, plan=SplitPlan())
    assert {p.name for p in (folder / "set").iterdir()} == {ABOUT, PLACES, TEXTS, PAIRS, EMBEDDINGS}


def test_build_with_nothing_left_says_why(tmp_path: Path) -> None:
    folder, texts = write_sources(tmp_path)
    (tmp_path / "obs.csv").write_text("species,lon,lat\nNobody,10,50\n")
    imagery = open_imagery(f"folder:{folder}", side_km=5.0)
    with pytest.raises(InvalidInputError, match="without a text': 1"):
        build_dataset(
            tmp_path / "set", read_observations(tmp_path / "obs.csv"), texts, imagery, cell_km=9, plan=SplitPlan()
        )


def test_texts_need_their_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("species,text,source,licence\nLynx lynx,Forests,me,CC0\n")
    assert read_texts(tmp_path / "t.csv").num_rows == 1
    (tmp_path / "u.csv").write_text("species,text\nLynx lynx,Forests\n")
    with pytest.raises(InvalidInputError, match="source, licence"):
        read_texts(tmp_path / "u.csv")


def test_texts_are_strings_whatever_the_table_holds(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('species,text,source,licence,n\n501,"Dry\nslopes",me,CC0,1\n')
    columns: dict[str, list[Any]] = {"species": [501], "text": [b"Dry\nslopes"], "source": ["me"], "licence": ["CC0"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        (row,) = read_texts(tmp_path / name).to_pylist()
        assert row == {"species": "501", "text": "Dry\nslopes", "source": "me", "licence": "CC0"}
    (tmp_path / "latin.csv").write_bytes("species,text,source,licence\nLynx,Wälder,me,CC0\n".encode("latin-1"))
    pq.write_table(pa.table(columns | {"text": ["Wälder".encode("latin-1")]}), tmp_path / "latin.parquet")
    for name in ("latin.csv", "latin.parquet"):
        with pytest.raises(InvalidInputError, match=rf"{name}.*save it as UTF-8"):
            read_texts(tmp_path / name)


def test_texts_that_are_not_used_are_counted(tmp_path: Path) -> None:
    folder, _ = write_sources(tmp_path)
    rows = [("Crax rubra", "Jungle."), (" ", "Nobody's."), ("", "Nobody's."), ("Lynx", " "), ("Yeti", "Ice.")]
    texts = texts_table([{"species": s, "section": None, "text": t, "source": "", "licence": ""} for s, t in rows])
    assert dict(build(folder, "Crax rubra,40,-20,\n", texts).left_out) == {
        "texts without a species": 2,
        "blank texts": 1,
        "texts of species without a sighting here": 1,
    }


def test_a_habitat_is_paired_by_its_name_as_a_species_is(tmp_path: Path) -> None:
    folder, _ = write_sources(tmp_path)
    text = {"species": "mangrove", "section": None, "text": "Tidal forest.", "source": "me", "licence": "CC0"}
    report = build(folder, "Mangrove,40,-20,\n", texts_table([text]))
    assert (report.texts, report.pairs) == (1, 1)


def test_satlas_tiles_are_found_at_every_date(tmp_path: Path) -> None:
    column, row = mercator_tile(-98.0, 33.5)
    lon, lat = mercator_centre(column, row)
    assert abs(lon + 98.0) < 0.05
    assert abs(lat - 33.5) < 0.05
    for image in ("u1", "u2"):
        (tmp_path / image / "tci").mkdir(parents=True)
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / image / "tci" / f"{column}_{row}.png")
    found = open_imagery(f"satlas:{tmp_path}", side_km=5).pictures_at(-98.0, 33.5)
    assert [p.path for p in found] == [f"u1/tci/{column}_{row}.png", f"u2/tci/{column}_{row}.png"]
    assert found[0].site == found[1].site
    assert open_imagery(f"satlas:{tmp_path}", side_km=5).pictures_at(0.0, 33.5) == []


def test_satlas_dates_come_from_the_index_of_the_data_set(tmp_path: Path) -> None:
    column, row = mercator_tile(-98.0, 33.5)
    for image in ("old", "new", "unknown"):
        (tmp_path / "sentinel2" / image / "tci").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "sentinel2" / image / "tci" / f"{column}_{row}.png")
    (tmp_path / "metadata").mkdir()
    times = tmp_path / "metadata" / "image_times.json"
    times.write_text('{"old": "2018-05-01T10:00:00+00:00", "new": "2022-06-30T23:59:59+00:00"}')

    def dates(**options: Path) -> dict[str, dt.date | None]:
        found = open_imagery(f"satlas:{tmp_path / 'sentinel2'}", **options).pictures_at(-98.0, 33.5)
        return {p.path.split("/")[0]: p.captured_on for p in found}

    known = {"old": dt.date(2018, 5, 1), "new": dt.date(2022, 6, 30), "unknown": None}
    assert dates() == known
    assert dates(dates=times.rename(tmp_path / "elsewhere.json")) == known
    assert set(dates().values()) == {None}
    (tmp_path / "elsewhere.json").write_text('["2018-05-01"]')
    with pytest.raises(InvalidInputError, match="must map image names to ISO times"):
        dates(dates=tmp_path / "elsewhere.json")


def test_pictures_of_the_same_ground_are_one_site_whatever_cells_they_lie_in(tmp_path: Path) -> None:
    # Centres of neighbouring squares of 2.56 km along a parallel, each seen twice some ten metres apart.
    step = 2.56 / (111.195 * np.cos(np.radians(50.0)))
    lines = ["file,lon,lat,side_km"]
    for site in range(200):
        lines += [f"{site}_{date}.png,{site * step + date * 2e-4},{50.0 + date * 1e-4},2.56" for date in range(2)]
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    imagery = open_imagery(f"folder:{tmp_path}")
    for site in range(200):
        found = imagery.pictures_at(site * step, 50.0)
        assert [p.path for p in found] == [f"{site}_0.png", f"{site}_1.png"]
    assert imagery.pictures_at(-1.5 * step, 50.0) == []


def test_pictures_of_several_sizes_are_one_site_by_the_smaller_ones_side(tmp_path: Path) -> None:
    km = 1 / 111.2
    rows = [  # the large picture shows all of them; only 3 and 4 show nearly the same ground
        ("1.png", 10.0, 0.0, 10.0), ("2.png", 10.0, 2 * km, 1.0), ("3.png", 10.0, -3 * km, 2.0),
        ("4.png", 10.0, -3.4 * km, 3.0), ("5.png", 10.0, 0.0, 1.0),
    ]  # fmt: skip
    table = [f"{name},{lon},{lat},{side}" for name, lon, lat, side in rows]
    (tmp_path / "index.csv").write_text("file,lon,lat,side_km\n" + "\n".join(table) + "\n")
    imagery = open_imagery(f"folder:{tmp_path}")
    assert [[p.path for p in imagery.pictures_at(lon, lat)] for _, lon, lat, _ in rows] == [
        ["5.png"], ["2.png"], ["3.png", "4.png"], ["3.png", "4.png"], ["5.png"],
    ]  # fmt: skip
    assert [p.path for p in imagery.pictures_at(10.0, 4.5 * km)] == ["1.png"]
    (tmp_path / "index.csv").write_text("file,lon,lat,side_km\na.png,10,50,-1\n")
    with pytest.raises(InvalidInputError, match="must have a side in km, got side_km -1"):
        open_imagery(f"folder:{tmp_path}")


def test_a_folder_that_names_its_bands_is_believed(tmp_path: Path) -> None:
    folder, _ = write_sources(tmp_path)
    (folder / "cut.json").write_text('{"bands": ["red", "green", "b08"]}')
    assert open_imagery(f"folder:{folder}").bands == ("red", "green", "b08")
    with pytest.raises(InvalidInputError, match="have the bands red, green, b08"):
        open_imagery(f"folder:{folder}", bands=("red", "green", "blue"))
    (folder / "cut.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="does not name the bands"):
        open_imagery(f"folder:{folder}")


def test_raster_windows_lie_on_the_ground_they_claim(tmp_path: Path) -> None:
    import rasterio
    from rasterio import Affine

    rows, columns = np.mgrid[0:400, 0:400]
    with rasterio.open(
        tmp_path / "r.tif", "w", driver="GTiff", width=400, height=400, count=2, dtype="uint16", crs="EPSG:4326",
        transform=Affine(0.01, 0, 20.0, 0, -0.01, 10.0),
    ) as raster:  # fmt: skip
        raster.write(np.stack([rows, columns]).astype(np.uint16))
    imagery = open_imagery(f"raster:{tmp_path / 'r.tif'}", side_km=20.0, bands=("red", "green"))
    (picture,) = imagery.pictures_at(22.0, 8.0)
    pixels = PixelReader(tmp_path, ("red", "green"), ("green", "red")).read(picture.path, picture.window)
    assert float(pixels[0].mean()) == pytest.approx((picture.lon - 20.0) / 0.01, abs=1.5)
    assert float(pixels[1].mean()) == pytest.approx((10.0 - picture.lat) / 0.01, abs=1.5)
    assert imagery.pictures_at(22.0, 8.0)[0].site == picture.site
    assert imagery.pictures_at(50.0, 8.0) == []


def test_unknown_imagery_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="folder:DIRECTORY"):
        open_imagery("http://somewhere", side_km=5)
    with pytest.raises(MissingDataError):
        open_imagery(f"folder:{tmp_path / 'none'}", side_km=5)


# --- text embeddings ---


class CountingEncoder:
    """Gives each text its length; fails on demand."""

    name, dim = "st:counting", 3

    def __init__(self, fail_after: int = 1000) -> None:
        self.calls, self.fail_after = 0, fail_after

    def encode(self, texts: Any) -> np.ndarray:
        self.calls += 1
        if self.calls > self.fail_after:
            raise KeyboardInterrupt
        return np.array([[len(t), 1, 0] for t in texts], np.float32)


def test_embedding_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", species=5)
    (folder / EMBEDDINGS).unlink()
    with pytest.raises(KeyboardInterrupt):
        embed_texts(folder, CountingEncoder(fail_after=1), batch=2)
    assert embed_texts(folder, CountingEncoder(), batch=2) == 3
    np.testing.assert_array_equal(load_file(folder / EMBEDDINGS)["embeddings"], [[9, 1, 0]] * 5)
    assert open_dataset(folder).about.text_encoder == "st:counting"
    assert sorted(p.name for p in folder.glob("*part*")) == []


def test_the_embeddings_of_another_encoder_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_dataset(tmp_path / "set", species=3)
    before, encoder = (folder / EMBEDDINGS).read_bytes(), open_dataset(folder).about.text_encoder
    embed_texts(folder, CountingEncoder())
    kept = folder / f"{encoder}.{EMBEDDINGS}"
    assert kept.read_bytes() == before
    assert f"they now lie in {kept}" in caplog.text
    embed_texts(folder, CountingEncoder())
    assert len(list(folder.glob(f"*{EMBEDDINGS}"))) == 2


# --- the reference's files ---


def write_reference(folder: Path) -> tuple[Path, Path]:
    """`dataloader_data.npy` and `wiki_data_v4.pt` in the reference's form, tiny."""
    groups = [
        [("u1/tci/10_20.png", -98.0, 33.5, 2, ["u2/tci/10_20.png"]), ("u3/tci/11_20.png", -97.9, 33.4, 0, [])],
        [("u2/tci/10_20.png", np.float64(-98.0), 33.5, np.int64(1), ["u1/tci/10_20.png"])],
    ]
    pictures, wiki = folder / "dataloader_data.npy", folder / "wiki_data_v4.pt"
    np.save(pictures, {"dataloader_data": groups}, allow_pickle=True)  # type: ignore[arg-type]
    keys = [(0, "Habitat"), (0, "Range"), (1, "Habitat")]
    torch.save({"data": torch.randn(3, 16), "keys": keys, "taxon_id": torch.tensor([501, 777])}, wiki)
    return pictures, wiki


def test_reference_files_become_tables(tmp_path: Path) -> None:
    pictures, wiki = write_reference(tmp_path)
    report = import_reference(
        tmp_path / "set", pictures, wiki, tmp_path / "sentinel2", plan=SplitPlan(), nine_bands=True
    )
    assert (report.places, report.texts, report.pairs) == (3, 3, 3)
    data = open_dataset(tmp_path / "set")
    assert data.pairs.to_pylist()[0] == {"place": 0, "text": 2, "group": 0, "lon": -98.0, "lat": 33.5}
    assert data.column("pairs", "group").tolist() == [0, 0, 1]
    assert data.column("places", "path").tolist() == ["u1/tci/10_20.png", "u2/tci/10_20.png", "u3/tci/11_20.png"]
    assert data.column("places", "site").tolist() == [0, 0, 2]
    assert data.column("texts", "species").tolist() == ["taxon 501", "taxon 501", "taxon 777"]
    assert data.about.bands == NINE_BANDS
    assert data.about.text_encoder == "gritlm"
    original = torch.load(wiki, weights_only=True)["data"].numpy()
    embeddings = data.embeddings()
    for row in range(3):
        np.testing.assert_array_equal(embeddings[row], original[row])


def test_pictures_that_samples_link_are_one_site_in_whatever_order(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    samples = [("a", ["b"]), ("c", ["d"]), ("e", []), ("f", ["d", "b"])]
    group = [(name, -98.0, 33.5, 0, others) for name, others in samples]
    np.save(tmp_path / "p.npy", {"dataloader_data": [group]}, allow_pickle=True)  # type: ignore[arg-type]
    import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())
    data = open_dataset(tmp_path / "set")
    sites = dict(zip(data.column("places", "path"), data.column("places", "site"), strict=True))
    assert sites == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 4, "f": 0}


def test_a_place_of_the_reference_lies_where_its_tile_does(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    column, row = mercator_tile(-100.0, 33.5)
    seen = [(f"u/tci/{column}_{row}.png", -100.02, 33.52, 0, []), ("elsewhere.png", 7.0, 8.0, 0, [])]
    np.save(tmp_path / "p.npy", {"dataloader_data": [seen]}, allow_pickle=True)  # type: ignore[arg-type]
    import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())
    data = open_dataset(tmp_path / "set")
    places, pairs = data.places.to_pylist(), data.pairs.to_pylist()
    assert [(p["lon"], p["lat"]) for p in places] == [mercator_centre(column, row), (7.0, 8.0)]
    assert (pairs[0]["lon"], pairs[0]["lat"]) == (-100.02, 33.52)


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    evil = tmp_path / "evil.npy"
    np.save(evil, {"dataloader_data": [[Malice()]]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"asks for builtins\.exec"):
        import_reference(tmp_path / "set", evil, wiki, tmp_path, plan=SplitPlan())
    for name in ("getattr", "eval", "__import__"):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.array(None, object), allow_pickle=True)
        header = stream.getvalue()[: stream.getvalue().index(b"\n") + 1]
        evil.write_bytes(header + f"cbuiltins\n{name}\n.".encode())
        with pytest.raises(CheckpointError, match=name):
            read_pickled_array(evil)
    assert not (tmp_path / "set").exists()


def test_damaged_reference_files_are_refused(tmp_path: Path) -> None:
    pictures, wiki = write_reference(tmp_path)
    short = tmp_path / "short.npy"
    short.write_bytes(pictures.read_bytes()[:-40])
    with pytest.raises(CheckpointError):
        read_pickled_array(short)
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match="plain numbers"):
        read_pickled_array(tmp_path / "numbers.npy")
    np.save(tmp_path / "other.npy", {"dataloader_data": [[("a", 1.0)]]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="group 0"):
        import_reference(tmp_path / "set", tmp_path / "other.npy", wiki, tmp_path, plan=SplitPlan())
    with pytest.raises(MissingDataError):
        read_pickled_array(tmp_path / "none.npy")


SAMPLE = ("u/tci/1_2.png", -98.0, 33.5, 0, [])


@pytest.mark.parametrize(
    "content",
    [
        None, 5, {"dataloader_data": None}, {"dataloader_data": 7}, {"dataloader_data": [5]}, {"dataloader_data": "ab"},
        {"dataloader_data": []}, {"dataloader_data": [[None]]}, {"dataloader_data": [[(*SAMPLE[:4], None)]]},
        *({"dataloader_data": [[(*SAMPLE[:i], wrong, *SAMPLE[i + 1 :])]]}
          for i, wrong in ((0, ""), (1, float("nan")), (1, "x"), (2, 95.0), (3, 9), (3, -1), (3, math.inf), (4, 3))),
    ],
)  # fmt: skip
def test_a_list_of_pictures_that_is_none_is_refused_in_words(tmp_path: Path, content: Any) -> None:
    _, wiki = write_reference(tmp_path)
    np.save(tmp_path / "p.npy", np.array(content, object), allow_pickle=True)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "p.npy"))):
        import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": 3}, {"keys": [1, 2, 3]}, {"keys": [(0, "a"), (9, "b"), (0, "c")]}, {"keys": [("x", "a")] * 3},
        {"taxon_id": 5}, {"taxon_id": torch.zeros(2, 2)}, {"data": torch.zeros(3, 16, dtype=torch.int64)},
        {"data": torch.zeros(3)}, {"data": None},
    ],
)  # fmt: skip
def test_a_table_of_texts_that_is_none_is_refused_in_words(tmp_path: Path, changes: dict[str, Any]) -> None:
    pictures, wiki = write_reference(tmp_path)
    torch.save(torch.load(wiki, weights_only=True) | changes, wiki)
    with pytest.raises(CheckpointError, match=re.escape(str(wiki))):
        import_reference(tmp_path / "set", pictures, wiki, tmp_path, plan=SplitPlan())
    assert not (tmp_path / "set").exists()


def test_reference_files_damaged_anywhere_end_in_an_error_of_ours(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    for file in write_reference(tmp_path):
        whole = file.read_bytes()
        for number in range(60):
            damaged = bytearray(whole)
            if number % 3:
                for at in random.integers(0, len(whole), 3):
                    damaged[at] = int(random.integers(256))
            else:
                del damaged[int(random.integers(len(whole))) :]
            file.write_bytes(damaged)
            with contextlib.suppress(WildsatError):  # or the damage is in a number, and nobody can tell
                import_reference(
                    tmp_path / "set", tmp_path / "dataloader_data.npy", tmp_path / "wiki_data_v4.pt", tmp_path,
                    plan=SplitPlan(),
                )  # fmt: skip
        file.write_bytes(whole)


# --- pictures ---


def test_band_files_beside_the_picture_are_read_in_the_order_asked(tmp_path: Path) -> None:
    for band, value in (("tci", None), ("b08", 80), ("b05", 50)):
        (tmp_path / "u" / band).mkdir(parents=True)
        picture = Image.new("RGB", (4, 4), (10, 20, 30)) if value is None else Image.new("L", (4, 4), value)
        picture.putpixel((0, 0), (1, 2, 3) if value is None else 1)
        picture.save(tmp_path / "u" / band / "1_2.png")
    reader = PixelReader(tmp_path, NINE_BANDS, ("b08", "green", "b05"), band_files=True)
    assert reader.read("u/tci/1_2.png")[:, 3, 3].tolist() == [80, 20, 50]
    missing = PixelReader(tmp_path, NINE_BANDS, ("red", "b11"), band_files=True)
    with pytest.raises(SourceError, match=r"b11.*missing band is not filled in"):
        missing.read("u/tci/1_2.png")


def test_unreadable_and_empty_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "bad.tif").write_bytes(b"not a raster")
    Image.new("RGB", (4, 4)).save(tmp_path / "black.png")
    for name in ("bad.png", "bad.tif", "black.png", "none.png"):
        with pytest.raises(SourceError, match=name):
            PixelReader(tmp_path).read(name)


# --- the stream ---


def pair_dataset(folder: Path, **options: Any) -> PairDataset:
    data = open_dataset(folder)
    rows = data.pairs_of("train")
    reader = PixelReader(data.imagery_root)
    return PairDataset(data, rows, reader, options.pop("seed", 1), other_date=options.pop("other_date", True))


def epoch_batches(folder: Path, *, ranks: int = 1, rank: int = 0, order: Any = "pairs", batch: int = 4) -> EpochBatches:
    data = open_dataset(folder)
    rows = data.pairs_of("train")
    groups = data.column("pairs", "group")[rows]
    batches = EpochBatches(rows, groups, batch=batch, ranks=ranks, rank=rank, order=order, seed=1)
    batches.limit(0, 2 * batches.per_epoch)
    return batches


def test_an_epoch_takes_every_pair_once_and_the_next_in_another_order(painted: Path) -> None:
    keys = [k.pair for batch in epoch_batches(painted, batch=3) for k in batch]
    first, second = keys[:18], keys[18:]
    assert sorted(first) == sorted(second) == open_dataset(painted).pairs_of("train").tolist()
    assert first != second


def test_ranks_share_the_batch_that_one_process_would_have(painted: Path) -> None:
    whole = list(epoch_batches(painted, batch=4))
    parts = [list(epoch_batches(painted, batch=2, ranks=2, rank=r)) for r in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_groups_give_one_pair_each(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    pairs = pq.read_table(folder / PAIRS)
    doubled = pa.concat_tables([pairs, pairs])
    pq.write_table(doubled, folder / PAIRS)
    epoch = [k.pair for batch in list(epoch_batches(folder, order="groups", batch=3))[:6] for k in batch]
    groups = doubled.column("group").to_numpy()[epoch]
    assert sorted(groups) == sorted(set(groups.tolist()))


def test_a_batch_larger_than_the_data_is_refused(painted: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"run\.batch smaller"):
        epoch_batches(painted, batch=64)


def test_workers_give_the_same_batches_as_none(painted: Path) -> None:
    streams = [list(batch_loader(pair_dataset(painted), epoch_batches(painted), workers=w, pin=False)) for w in (0, 2)]
    assert len(streams[0]) == len(streams[1])
    for one, other in zip(*streams, strict=True):
        assert torch.equal(one.anchor, other.anchor)
        assert torch.equal(one.positive, other.positive)
        assert torch.equal(one.text, other.text)


def test_the_positive_is_another_date(painted: Path) -> None:
    batch = pair_dataset(painted).__getitems__([Key(0, i, i) for i in range(4)])
    assert not torch.equal(batch.anchor, batch.positive)
    same = pair_dataset(painted, other_date=False).__getitems__([Key(0, i, i) for i in range(4)])
    assert torch.equal(same.anchor, same.positive)


def test_the_positive_is_never_of_another_part(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", places=4, species=2)
    places = open_dataset(folder).places.to_pylist()
    for row, place in enumerate(places):
        place["split"] = "val" if row % 2 == 0 else "train"  # the other date of every place is held out
    pq.write_table(places_table(places), folder / PLACES)
    batch = pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(4)])
    assert torch.equal(batch.anchor, batch.positive)


def test_deep_and_four_band_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 10_000, (16, 16)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(PixelReader(tmp_path, ("b08",), ("b08",)).read("deep.png")[0], deep)
    four = rng.integers(0, 255, (16, 16, 4)).astype(np.uint8)
    Image.fromarray(four).save(tmp_path / "four.png")
    reader = PixelReader(tmp_path, ("red", "green", "blue", "b08"), ("b08", "red"))
    np.testing.assert_array_equal(reader.read("four.png"), four.transpose(2, 0, 1)[[3, 0]])
    with pytest.raises(SourceError, match=r"four\.png can't be read: it has 4 bands, band 5 is asked for"):
        PixelReader(tmp_path, ("a", "b", "c", "d", "b08"), ("b08",)).read("four.png")


def test_a_picture_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match=r"huge\.png can't be read: .*decompression bomb"):
        PixelReader(tmp_path).read("huge.png")


def test_damaged_pictures_are_named_replaced_and_counted(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    for name in ("0_0.png", "0_1.png"):
        (folder / "pictures" / name).write_bytes(b"damaged")
    batch = pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(4)])
    assert len(batch.anchor) == 4
    assert len(batch.damaged) == 1
    assert "0_1.png" in batch.damaged[0]
    count = DamageCount(0.5, 8)
    assert count.add(batch.damaged, batch.reads) == batch.damaged
    assert count.add(batch.damaged, batch.reads) == [], "a picture is named once"
    with pytest.raises(TrainingError, match=r"1 of 9 pictures can't be read.*0_1\.png"):
        DamageCount(0.01, 8).add(batch.damaged, batch.reads)


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", dates=1)
    Image.effect_noise((16, 16), 50).convert("RGB").save(folder / "pictures" / "0_0.png")
    with pytest.raises(InvalidInputError, match=r"data\.tile_px"):
        pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(3)])


def test_a_data_set_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="not a training set"):
        open_dataset(tmp_path)
    folder = make_dataset(tmp_path / "set")
    (folder / "dataset.json").write_text('{"imagery": "x", "colour": 1}')
    with pytest.raises(InvalidInputError, match="colour"):
        open_dataset(folder)
