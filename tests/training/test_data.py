"""The open format: cells and parts, what is built into it, and the embeddings of its texts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.training.conftest import make_dataset, write_reference
from training.data.build import BuildReport, SplitPlan, _keep_apart, build_dataset, read_texts
from training.data.cells import cell_centre, cell_of, spatial_splits
from training.data.embed import embed_texts
from training.data.imagery import mercator_centre, mercator_tile, open_imagery
from training.data.observations import read_observations
from training.data.pixels import PixelReader
from training.data.reference import import_reference
from training.data.stream import _Sites
from training.data.tables import ABOUT, EMBEDDINGS, PAIRS, PLACES, TEXTS, open_dataset, texts_table
from wildsat_core.errors import (
    InvalidInputError,
    MissingDataError,
)
from wildsat_core.geo import great_circle_km

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


def test_the_buffer_round_held_out_blocks_is_as_wide_everywhere() -> None:
    """Against distances of all pairs, over the antimeridian and the poles, with sites of two dates."""
    random = np.random.default_rng(5)
    lon = np.concatenate([random.uniform(-180, 180, 150), 180 + random.uniform(-0.3, 0.3, 80), np.arange(40) * 9.0])
    lat = np.concatenate([random.uniform(-90, 90, 150), random.uniform(9, 11, 80), np.full(40, 89.9)])
    lon = (lon + 180) % 360 - 180
    split = random.choice(["train", "val", "test"], 270, p=[0.7, 0.2, 0.1])
    sites = np.arange(270) // 2  # a site is in one part
    split = split[sites * 2]
    places = [{"lon": x, "lat": y, "site": s, "split": p} for x, y, s, p in zip(lon, lat, sites, split, strict=True)]
    _keep_apart(places, 25.0)
    kept = np.array([place["split"] for place in places])
    held = split != "train"
    assert (kept[held] == split[held]).all(), "what is held out stays so"
    away = np.array([great_circle_km(x, y, lon[held], lat[held]).min() for x, y in zip(lon, lat, strict=True)])
    near = {site for site, km, part in zip(sites, away, split, strict=True) if part == "train" and km <= 25}
    assert 20 < len(near) < 80
    assert {site for site, part in zip(sites, kept, strict=True) if part == "buffer"} == near


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
