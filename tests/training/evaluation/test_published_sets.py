"""GEO-Bench and SatBird over tiny sets in their published layout; nothing is fetched, and no pickle is read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from training.evaluation.commands import evaluate
from training.evaluation.encounter_rates import RateHead, rate_figures, top_right
from training.evaluation.labelled import open_labelled
from wildsat_core.errors import InvalidInputError, MissingDataError, SourceError

PARTS = {"train": ["id_0", "id_1", "id_2"], "valid": ["id_3"], "test": ["id_4", "id_5"]}
NAMES = [name for names in PARTS.values() for name in names]
LEVELS = {"02 - Blue": 275.0, "03 - Green": 1375.0, "04 - Red": 2750.0, "05 - Vegetation Red Edge": 9999.0}
SHOWN = [255, 128, 26]


class Bomb:
    """Would leave a trace if it was ever unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def samples(folder: Path, bands: dict[str, float], mask: bool = False) -> Path:
    """HDF5 files as GEO-Bench writes them, with a pickle in each that must not be read, and its parts."""
    h5py = pytest.importorskip("h5py", reason="the extra torchgeo is not installed")
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        with h5py.File(folder / f"{name}.hdf5", "w") as file:
            for band, level in bands.items():
                file[band] = np.full((8, 8), level, np.float32)
            if mask:
                file["label"] = np.full((8, 8), number % 3, np.int16)
            file.attrs["pickle"] = str(pickle.dumps(Bomb()))
    (folder / "task_specs.pkl").write_bytes(pickle.dumps(Bomb()))
    (folder / "default_partition.json").write_text(json.dumps(PARTS))
    return folder


def test_several_labels_of_geobench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = samples(tmp_path / "m-bigearthnet", LEVELS)
    several = {name: [1, int(i % 2), 0] for i, name in enumerate(NAMES)}
    (folder / "label_stats.json").write_text(json.dumps(several))
    data = open_labelled(f"geobench:{folder}")
    assert (data.kind, data.labels.tolist()) == ("labels", [[True, bool(i % 2), False] for i in range(6)])
    assert data.parts.tolist() == ["train"] * 3 + ["val"] + ["test"] * 2
    assert data.read(5)[:, 3, 3].tolist() == SHOWN
    (folder / "0.10x_train_partition.json").write_text(json.dumps(PARTS | {"train": ["id_2"]}))
    fewer = open_labelled(f"geobench:{folder / '0.10x_train_partition.json'}")
    assert fewer.labels.shape == (4, 3)
    assert not (tmp_path / "exploded").exists()


def test_classes_of_geobench_come_from_either_list(tmp_path: Path) -> None:
    reflectance = {"02 - Blue": 0.0275, "03 - Green": 0.1375, "04 - Red": 0.275, "04 - VV.Imaginary": 9.0}
    folder = samples(tmp_path / "m-so2sat", reflectance)
    listed = {"10": ["id_0", "id_4"], "2": ["id_1", "id_3"], "0": ["id_2", "id_5"]}
    (folder / "label_map.json").write_text(json.dumps(listed))
    data = open_labelled(f"geobench:{folder}")
    assert (data.classes, data.labels.tolist()) == (("0", "2", "10"), [2, 1, 0, 1, 2, 0])
    assert data.read(0)[:, 0, 0].tolist() == SHOWN
    (folder / "label_map.json").unlink()
    with pytest.raises(MissingDataError, match="the labels in its samples are pickles, which may run any code"):
        open_labelled(f"geobench:{folder}")
    for written, labels in (([[1], [0], [1], [0], [1], [0]], [1, 0, 1, 0, 1, 0]), (np.eye(6).tolist(), list(range(6)))):
        (folder / "label_stats.json").write_text(json.dumps(dict(zip(NAMES, written, strict=True))))
        assert open_labelled(f"geobench:{folder}").labels.tolist() == labels
    (folder / "label_stats.json").write_text(json.dumps({"id_0": [1]}))
    with pytest.raises(SourceError, match=r"do not fit its samples: KeyError\('id_1'\)"):
        open_labelled(f"geobench:{folder}")


def test_bands_of_several_dates_and_of_pictures(tmp_path: Path) -> None:
    bands = {"Red_2014-01-01": 200.0, "Red_2015-01-01": 9.0, "Green_2014-01-01": 100.0, "Blue_2014-01-01": 50.0}
    folder = samples(tmp_path / "m-forestnet", bands)
    (folder / "label_map.json").write_text(json.dumps({"Plantation": NAMES[:3], "Fire": NAMES[3:]}))
    (folder / "band_stats.json").write_text(json.dumps({"Red": {"max": 255.0}, "Green": {"max": 255.0}}))
    data = open_labelled(f"geobench:{folder}")
    assert (data.classes, data.labels.tolist()) == (("Fire", "Plantation"), [1, 1, 1, 0, 0, 0])
    assert data.read(0)[:, 0, 0].tolist() == [200, 100, 50]
    (folder / "id_0.hdf5").write_bytes(b"none")
    with pytest.raises(SourceError, match=r"id_0\.hdf5 can't be read"):
        open_labelled(f"geobench:{folder}")
    with pytest.raises(MissingDataError, match=r"is no folder of GEO-Bench: there is no default_partition\.json"):
        open_labelled(f"geobench:{tmp_path}")


def test_masks_of_geobench(tmp_path: Path) -> None:
    folder = samples(tmp_path / "m-cashew-plant", {f"{band}_2019-11-05": of for band, of in LEVELS.items()}, mask=True)
    shares = {name: list(np.eye(7)[i % 3]) for i, name in enumerate(NAMES)}
    (folder / "label_stats.json").write_text(json.dumps(shares))
    data = open_labelled(f"geobench:{folder}")
    assert (data.kind, len(data.classes)) == ("mask", 7)
    assert data.mask is not None
    assert (data.mask(4).dtype, data.mask(4).tolist()) == (np.uint8, [[1] * 8] * 8)
    assert data.read(4)[:, 0, 0].tolist() == SHOWN
    (folder / "label_stats.json").unlink()
    assert open_labelled(f"geobench:{folder}").classes == ("0", "1", "2"), "as many as the masks have"


@pytest.mark.parametrize("value", [-1, 256])
def test_a_mask_that_eight_bits_do_not_hold_is_refused(tmp_path: Path, value: int) -> None:
    h5py = pytest.importorskip("h5py", reason="the extra torchgeo is not installed")
    folder = samples(tmp_path / "m-cashew-plant", LEVELS, mask=True)
    with h5py.File(folder / "id_4.hdf5", "a") as file:
        file["label"][2, 3] = value
    with pytest.raises(SourceError, match=rf"id_4\.hdf5 has a mask of .*{value}.*numbers from 0 to 255"):
        open_labelled(f"geobench:{folder}")


# --- SatBird ---


@pytest.fixture
def kenya(tmp_path: Path) -> Path:
    """Forty hotspots, green ones with four species and dry ones with two others."""
    folder, random = tmp_path / "Kenya", np.random.default_rng(0)
    for name in ("images_visual", "targets"):
        (folder / name).mkdir(parents=True)
    rows: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(40):
        green = number % 2
        pixels = np.array([60, 120, 50] if green else [180, 150, 110]) + random.integers(-20, 20, (72, 72, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images_visual" / f"L{number}_visual.tif")
        rates = [0.8, 0.5, 0.3, 0.1, 0, 0] if green else [0, 0, 0, 0, 0.6, 0.2]
        target = {"hotspot_id": f"L{number}", "probs": rates, "num_complete_checklists": 9}
        (folder / "targets" / f"L{number}.json").write_text(json.dumps(target))
        rows[("train", "train", "valid", "test")[number // 2 % 4]].append(f"{number},L{number},{36 + number / 10},0.5")
    for part, lines in rows.items():
        (folder / f"{part}_split.csv").write_text("\n".join([",hotspot_id,lon,lat", *lines]) + "\n")
    return folder


def test_rates_of_species_are_told_from_pictures(kenya: Path, tmp_path: Path) -> None:
    data = open_labelled(f"satbird:{kenya}")
    assert (data.kind, data.labels.shape, data.labels.dtype) == ("rates", (40, 6), np.float32)
    assert sorted(set(data.parts)) == ["test", "train", "val"]
    assert data.read(0).shape == (3, 72, 72)
    options = ["--data", f"satbird:{kenya}", "--model", "colour", "--out", str(tmp_path), "--threads", "1"]
    answer = CliRunner().invoke(evaluate, ["probe", *options, "--crop", "64"])
    assert answer.exit_code == 0, answer.output
    report = json.loads((tmp_path / "probe.json").read_text())
    row = report["figures"]["colour"]
    assert list(row) == ["top-k", "top-10", "top-30", "100 MSE", "100 MAE"]
    assert row["top-k"]["value"] == 1.0
    assert row["100 MSE"]["value"] < 0.5
    refused = CliRunner().invoke(evaluate, ["zeroshot", *options])
    assert isinstance(refused.exception, InvalidInputError)
    answer = CliRunner().invoke(evaluate, ["bias", *options, "--by", "latitude"])
    assert answer.exit_code == 0, answer.output


def test_top_k_and_errors_follow_their_formulas() -> None:
    truth = np.array([[0.9, 0.5, 0.1, 0, 0], [0, 0, 0, 0, 0.4], [0, 0, 0, 0, 0]], np.float32)
    said = np.array([[0.1, 0.6, 0.5, 0.7, 0.2], [0.9, 0.1, 0.2, 0.3, 0.8], [0, 0, 0, 0.5, 0]], np.float32)
    assert top_right(said, truth, None).tolist() == [pytest.approx(2 / 3), 0.0], "of 3 and of 1; where none is, none"
    assert top_right(said, truth, 2).tolist() == [0.5, 1.0], "the best 2 of 3, and the 1 among 2"
    assert top_right(said, truth, 10).tolist() == [1.0, 1.0]
    row = rate_figures(said, truth)
    assert row["100 MSE"].value == pytest.approx(100 * np.square(said - truth).mean(), abs=1e-4)
    assert row["100 MAE"].value == pytest.approx(100 * np.abs(said - truth).mean(), abs=1e-4)
    assert row["top-k"].count == 2
    with pytest.raises(InvalidInputError, match="none of 3 test places has a species"):
        rate_figures(said, np.zeros_like(truth))
    features = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    rates = np.clip(0.3 + 0.2 * features[:, :2], 0, 1)
    assert RateHead(features, rates, 10.0).figures(features, rates)["100 MSE"].value < 0.2


def test_damaged_folders_of_satbird_are_told(kenya: Path) -> None:
    (kenya / "targets" / "L3.json").write_text('{"probs": [0.5]}')
    with pytest.raises(SourceError, match=r"know \[1, 6\] species; all must know the same"):
        open_labelled(f"satbird:{kenya}")
    (kenya / "targets" / "L3.json").write_text('{"probs": [5, 0, 0, 0, 0, 0]}')
    with pytest.raises(SourceError, match=r"L3\.json has rates outside of 0 to 1"):
        open_labelled(f"satbird:{kenya}")
    (kenya / "targets" / "L3.json").write_text("{}")
    with pytest.raises(SourceError, match=r"L3\.json does not give the rates of species"):
        open_labelled(f"satbird:{kenya}")
    (kenya / "valid_split.csv").unlink()
    with pytest.raises(MissingDataError, match=r"it lacks valid_split\.csv"):
        open_labelled(f"satbird:{kenya}")
