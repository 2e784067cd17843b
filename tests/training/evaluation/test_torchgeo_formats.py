"""torchgeo's own readers over tiny sets that are laid out as the published ones are; nothing is fetched."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image

from training.evaluation.labelled import open_labelled
from wildsat_core.torchvision_guard import guard_torchvision

pytestmark = pytest.mark.usefixtures("torchgeo")
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
LEVELS = {"B02": 275, "B03": 1375, "B04": 2750}  # reflectance x 10,000, shown as 26, 128 and 255
SHOWN = [255, 128, 26]


def tif(path: Path, *levels: int, side: int = 4) -> None:
    """A raster of one level a band."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        profile = {"driver": "GTiff", "height": side, "width": side, "count": len(levels), "dtype": "uint16"}
        with rasterio.open(path, "w", **profile) as file:
            for band, level in enumerate(levels, 1):
                file.write(np.full((side, side), level, np.uint16), band)


def picture(path: Path, colour: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 6), colour).save(path)


@pytest.fixture
def torchgeo() -> None:
    """The library, which takes seconds to import, so not while tests are collected."""
    guard_torchvision()
    pytest.importorskip("torchgeo.datasets", reason="the extra torchgeo is not installed")
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)


def test_eurosat_is_read_in_true_colour(tmp_path: Path) -> None:
    levels = [LEVELS.get(band, 7) for band in (*BANDS[:8], "B09", "B10", "B11", "B12", "B8A")]
    for number, (kind, part) in enumerate((("Forest", "train"), ("River", "val"), ("River", "test"))):
        tif(tmp_path / f"ds/images/remote_sensing/otherDatasets/sentinel_2/tif/{kind}/{kind}_{number}.tif", *levels)
        (tmp_path / f"eurosat-{part}.txt").write_text(f"{kind}_{number}.jpg\n")
    # Every part has to have every class for torchvision, which lists the folders.
    for part in ("train", "val", "test"):
        names = [f"{kind}_9{part}.jpg" for kind in ("Forest", "River")]
        for name in names:
            kind = name.split("_")[0]
            folder = tmp_path / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif" / kind
            tif(folder / name.replace(".jpg", ".tif"), *levels)
        with (tmp_path / f"eurosat-{part}.txt").open("a") as file:
            file.write("\n".join(names))
    data = open_labelled(f"torchgeo:EuroSAT:{tmp_path}")
    assert (data.kind, data.classes) == ("class", ("Forest", "River"))
    assert {part: len(data.rows_of(part)) for part in ("train", "val", "test")} == {"train": 3, "val": 3, "test": 3}
    assert data.read(4)[:, 0, 0].tolist() == SHOWN


@pytest.mark.parametrize(
    ("name", "folder", "lists", "ending"),
    [("RESISC45", "NWPU-RESISC45", "resisc45", "jpg"), ("UCMerced", "UCMerced_LandUse/Images", "uc_merced", "tif")],
)
def test_aerial_pictures_are_read_by_their_parts(
    tmp_path: Path, name: str, folder: str, lists: str, ending: str
) -> None:
    for part in ("train", "val", "test"):
        files = [f"{kind}_{part}.{ending}" for kind in ("airport", "forest")]
        for file in files:
            picture(tmp_path / folder / file.split("_")[0] / file, (200, 100, 0))
        (tmp_path / f"{lists}-{part}.txt").write_text("\n".join(files))
    data = open_labelled(f"torchgeo:{name}:{tmp_path}")
    assert (data.classes, data.labels.tolist()) == (("airport", "forest"), [0, 1] * 3)
    assert data.parts.tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    shown = data.read(1)
    assert (shown.shape, shown.dtype) == ((3, 6, 6) if name == "RESISC45" else (3, 256, 256), np.uint8)
    np.testing.assert_allclose(shown[:, 2, 2], [200, 100, 0], atol=4)


def test_bigearthnet_has_several_labels(tmp_path: Path) -> None:
    labels = {"train": ["Airports", "Sea and ocean"], "val": ["Sea and ocean"], "test": ["Rice fields", "Pastures"]}
    for part, names in labels.items():
        folder = tmp_path / "BigEarthNet-v1.0" / part
        for band in BANDS:
            tif(folder / f"{part}_{band}.tif", LEVELS.get(band, 7))
        (folder / f"{part}_labels_metadata.json").write_text(json.dumps({"labels": names}))
        (tmp_path / f"bigearthnet-{part}.csv").write_text(f"{part},{part}\n")
    data = open_labelled(f"torchgeo:BigEarthNet:{tmp_path}")
    assert (data.kind, data.labels.shape) == ("labels", (3, 19))
    named = [[name for name, has in zip(data.classes, row, strict=True) if has] for row in data.labels]
    assert named == [["Marine waters"], ["Marine waters"], ["Arable land", "Pastures"]], "of 43 classes 19 are made"
    assert (data.read(2).shape, data.read(2)[:, 9, 9].tolist()) == ((3, 120, 120), SHOWN)


def test_bigearthnet_of_the_second_version_is_read_too(tmp_path: Path) -> None:
    rows = []
    for part in ("train", "validation", "test"):
        patch = f"S2A_{part}_1_2"
        folder = Path("BigEarthNet-S2") / f"S2A_{part}" / patch
        for band in BANDS:
            tif(tmp_path / folder / f"{patch}_{band}.tif", LEVELS.get(band, 7))
        tif(tmp_path / "Reference_Maps" / f"S2A_{part}" / patch / f"{patch}_reference_map.tif", 512)
        rows.append({"patch_id": patch, "s1_name": "none", "split": part, "labels": ["Pastures", "Inland waters"]})
    (tmp_path / "BigEarthNet-S1").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "metadata.parquet")
    data = open_labelled(f"torchgeo:BigEarthNetV2:{tmp_path}")
    assert data.parts.tolist() == ["train", "val", "test"]
    assert data.labels.sum(1).tolist() == [2, 2, 2]
    assert data.classes[17] == "Inland waters"
    assert data.read(0)[:, 5, 5].tolist() == SHOWN


def test_so2sat_is_read_from_its_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra torchgeo is not installed")
    for name, count in (("training", 3), ("validation", 2), ("testing", 2)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            sen2 = np.full((count, 32, 32, 10), 0.05)
            sen2[..., :3] = (0.0275, 0.1375, 0.275)  # blue, green, red as shares of the light
            file["sen1"], file["sen2"] = np.zeros((count, 32, 32, 8)), sen2
            file["label"] = np.eye(17)[np.arange(count) + 9]
    data = open_labelled(f"torchgeo:So2Sat:{tmp_path}")
    assert data.labels.tolist() == [9, 10, 11, 9, 10, 9, 10]
    assert data.parts.tolist() == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    assert (len(data.classes), data.classes[10]) == (17, "Dense trees")
    assert data.read(0)[:, 0, 0].tolist() == SHOWN
