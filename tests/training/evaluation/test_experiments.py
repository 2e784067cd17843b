"""The experiments on labelled pictures: data sets of every form, features of any model, figures against formulas."""

from __future__ import annotations

import json
import shutil
import sys
import types
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from training.earth.cells import ZONES
from training.evaluation import experiments, results
from training.evaluation.commands import evaluate
from training.evaluation.experiments import Setting, in_words, prompt_scores, read_prompts
from training.evaluation.features import Subject, open_subject
from training.evaluation.labelled import open_labelled
from training.evaluation.labelled_set import LabelledSet
from training.evaluation.probe import Probe, few_right, fit_probe, neighbours_right
from wildsat_core.collection import CollectionWriter
from wildsat_core.errors import CheckpointError, InvalidInputError, MissingDataError, ModelNotFoundError, SourceError
from wildsat_core.types import BBox, ModelRef, SpaceSpec, Tile

COLOURS = {"DeepSea": (20, 40, 120), "forest": (30, 110, 40), "salt_flat": (220, 215, 205)}
PX = 16


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of forty painted pictures each, hard to tell for one in ten."""
    folder, random = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(40):
            of = colour if number % 10 else (100, 100, 100)
            pixels = np.array(of) + random.integers(-20, 20, (PX, PX, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{name}_{number}.png")
    return folder


# --- data sets ---


def test_a_folder_and_its_zip_are_one_data_set(classes: Path, tmp_path: Path) -> None:
    data = open_labelled(str(classes))
    assert data.classes == ("DeepSea", "forest", "salt_flat")
    assert len(data.labels) == 120
    assert sum(len(data.rows_of(part)) for part in ("train", "val", "test")) == 120
    assert 60 < len(data.rows_of("train")) < 115
    first = data.read(0)
    assert (first.shape, first.dtype) == ((3, PX, PX), np.uint8)
    archive = shutil.make_archive(str(tmp_path / "same"), "zip", classes)
    zipped = open_labelled(archive)
    assert zipped.labels.tolist() == data.labels.tolist()
    assert zipped.parts.tolist() == data.parts.tolist(), "by the names of files, wherever they lie"
    np.testing.assert_array_equal(zipped.read(77), data.read(77))


def test_parts_that_a_folder_has_are_kept(classes: Path, tmp_path: Path) -> None:
    for part, name in (("train", "forest"), ("valid", "forest"), ("test", "DeepSea")):
        shutil.copytree(classes / name, tmp_path / part / name)
    data = open_labelled(str(tmp_path))
    assert data.classes == ("DeepSea", "forest")
    assert {part: len(data.rows_of(part)) for part in ("train", "val", "test")} == {"train": 40, "val": 40, "test": 40}


def test_sites_of_several_pictures_have_their_class_as_fmow_is_published(classes: Path, tmp_path: Path) -> None:
    picture = (classes / "forest" / "forest_1.png").read_bytes()
    for file in ("train/airport/airport_0/airport_0_1_rgb.jpg", "train/airport/airport_0/airport_0_1_msrgb.jpg",
                 "train/wind_farm/wind_farm_12/wind_farm_12_0_rgb.jpg", "test_gt/airport/airport_3/airport_3_0_rgb.jpg",
                 "val/wind_farm_2/wind_farm_2_0_rgb.jpg"):  # fmt: skip
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(picture)
    data = open_labelled(str(tmp_path))
    assert data.classes == ("airport", "wind_farm", "wind_farm_2"), "the last is a class of its own"
    assert data.labels.tolist() == [0, 0, 1, 2]
    assert data.parts.tolist() == ["test", "train", "train", "val"]


def test_a_table_names_pictures_parts_and_further_facts(classes: Path) -> None:
    table = classes / "t.csv"
    table.write_text("file,label,split,income\nforest/forest_1.png,a,train,high\nforest/forest_2.png,b,TEST,\n")
    data = open_labelled(str(table))
    assert (data.classes, data.parts.tolist()) == (("a", "b"), ["train", "test"])
    assert data.columns["income"].tolist() == ["high", ""]
    table.write_text("file,label,split\nforest/forest_1.png,a,dev\n")
    with pytest.raises(InvalidInputError, match=r"line 2: split must be train, val or test, got 'dev'"):
        open_labelled(str(table))
    table.write_text("file,label\nforest/none.png,a\n")
    with pytest.raises(SourceError, match=r"forest/none\.png can't be read"):
        open_labelled(str(table)).read(0)
    table.unlink()


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="there is no data set at"):
        open_labelled(str(tmp_path / "none"))
    with pytest.raises(InvalidInputError, match="no folders of pictures"):
        open_labelled(str(tmp_path))
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(InvalidInputError, match="neither a folder of classes"):
        open_labelled(str(tmp_path / "x.txt"))
    (tmp_path / "x.csv").write_text("name,kind\na,b\n")
    with pytest.raises(InvalidInputError, match="columns file and label"):
        open_labelled(str(tmp_path / "x.csv"))


class Samples:
    """As torchgeo's data sets of pictures answer."""

    classes = ("sea", "land")

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        assert not download, "nothing is fetched"
        self.count = {"train": 4, "val": 2, "test": 3}[split]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": torch.full((3, 8, 8), float(40 * row)), "label": torch.tensor(row % 2)}


class Sensor(Samples):
    """As EuroSAT does: all bands of Sentinel-2, reflectance x 10,000, unless others are asked for."""

    BAND_SETS: ClassVar = {"all": ("B01", "B02", "B03", "B04"), "rgb": ("B04", "B03", "B02")}

    def __init__(self, root: str, split: str = "train", bands: Sequence[str] = (), download: bool = False) -> None:
        super().__init__(root, split, download)
        self.bands = bands or self.BAND_SETS["all"]

    def __getitem__(self, row: int) -> dict[str, Any]:
        value = {"B04": 2750.0, "B03": 1375.0, "B02": 0.0}
        return {"image": torch.stack([torch.full((8, 8), value[band]) for band in self.bands]), "label": row % 2}


class Reflectance(Samples):
    """As So2Sat does: a share of the light, parts by names of its own, nothing to fetch."""

    rgb_bands = ("S2_B04", "S2_B03", "S2_B02")

    def __init__(self, root: str, split: str = "train", bands: Sequence[str] = ("S1", "S2_B02")) -> None:
        assert split in ("train", "validation", "test")
        assert tuple(bands) == self.rgb_bands
        super().__init__(root, split.removesuffix("idation"))

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": torch.full((3, 8, 8), 0.55 * row), "label": row % 2}


class Whole(Samples):
    """As PatternNet does: without parts; its pictures from 0 to 1."""

    targets: ClassVar = [0, 1] * 20

    def __init__(self, root: str) -> None:
        self.count = 40

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": torch.full((3, 8, 8), row / 100), "label": self.targets[row]}


class Several(Samples):
    """Any number of labels a picture, and no part to choose a penalty by."""

    def __init__(self, root: str, split: str = "train") -> None:
        assert split in ("train", "test")
        super().__init__(root, split)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": torch.zeros(3, 8, 8), "label": torch.tensor([1, row % 2])}


class Boxes(Samples):
    """Something else to find in pictures."""

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"image": torch.zeros(3, 8, 8), "boxes": torch.zeros(1, 4)}


class Absent(Samples):
    """A folder without the data set's files, found out under the right name of its part alone."""

    def __init__(self, root: str, split: str = "train") -> None:
        assert split != "validation"
        if split == "val":
            raise OSError("Dataset not found")
        super().__init__(root, split)


def test_data_sets_of_torchgeo_are_read_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchgeo", None)  # not installed
    with pytest.raises(InvalidInputError, match="pip install torchgeo"):
        open_labelled("torchgeo:resisc45")
    kinds = {"RESISC45": Samples, "EuroSAT": Sensor, "So2Sat": Reflectance, "PatternNet": Whole,
             "MillionAID": Several, "UCMerced": Absent, "NASAMarineDebris": Boxes}  # fmt: skip
    package = types.ModuleType("torchgeo")
    package.datasets = types.SimpleNamespace(**kinds)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchgeo", package)
    data = open_labelled(f"torchgeo:resisc45:{tmp_path}")
    assert (data.classes, data.labels.tolist()) == (("sea", "land"), [0, 1, 0, 1, 0, 1, 0, 1, 0])
    assert data.parts.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert [int(data.read(row).max()) for row in (3, 4, 5, 8)] == [120, 0, 40, 80]
    counts = open_labelled(f"torchgeo:EuroSAT:{tmp_path}")
    assert counts.read(0)[:, 0, 0].tolist() == [255, 128, 0], "as EuroSAT's own pictures show reflectance"
    shares = open_labelled(f"torchgeo:So2Sat:{tmp_path}")
    assert shares.parts.tolist() == data.parts.tolist()
    assert [int(shares.read(row).max()) for row in (0, 1)] == [0, 255]
    whole = open_labelled(f"torchgeo:PatternNet:{tmp_path}")
    assert set(whole.parts) == {"train", "val", "test"}
    assert (int(whole.read(0).max()), int(whole.read(20).max())) == (0, 51)
    several = open_labelled(f"torchgeo:millionaid:{tmp_path}")
    assert (several.kind, several.labels[:2].tolist()) == ("labels", [[True, False], [True, True]])
    assert several.parts.tolist() == ["train"] * 4 + ["test"] * 3
    for name, fault, words in (
        ("nasamarinedebris", InvalidInputError, "no data set of pictures with a class or labels each"),
        ("ucmerced", MissingDataError, r"can't open ucmerced \(val\) in .*: Dataset not found"),
        ("resisc", InvalidInputError, "no data set 'resisc'"),
    ):
        with pytest.raises(fault, match=words):
            open_labelled(f"torchgeo:{name}:{tmp_path}")
    with pytest.raises(MissingDataError, match="there is no folder"):
        open_labelled("torchgeo:EuroSAT:nowhere")


# --- models ---


class Weights:
    """As torchgeo's enumerations of weights: what they read, and how pictures are made ready for them."""

    def __init__(self, bands: int, divisor: float) -> None:
        self.meta = {"in_chans": bands}
        self.transforms = torch.nn.Sequential(CenterCrop(), Normalize(divisor))


class CenterCrop(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("pictures are not cropped")


class Normalize(torch.nn.Module):
    def __init__(self, divisor: float) -> None:
        super().__init__()
        self.std = [divisor]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels / self.std[0]


class Network(torch.nn.Module):
    """Gives each picture's mean red, then a classifier that must not count."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        if weights.meta.get("lost"):
            raise OSError("no route to host")
        self.fc = torch.nn.Linear(1, 1000)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.fc(pixels[:, :1].mean((2, 3)))


def test_weights_of_torchgeo_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    with pytest.raises(InvalidInputError, match="pip install torchgeo"):
        open_subject("torchgeo:ResNet18_Weights.FMOW_RGB")
    known = {"counts": Weights(3, 10_000), "bytes": Weights(3, 255), "all": Weights(13, 10_000), "lost": Weights(3, 1)}
    known["lost"].meta["lost"] = True
    package = types.ModuleType("torchgeo")
    package.models = SimpleNamespace(  # type: ignore[attr-defined]
        get_weight=known.__getitem__, list_models=lambda: ["other", "network"],
        get_model_weights={"network": Weights}.__getitem__, get_model=lambda name, weights: Network(weights),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torchgeo", package)
    white = np.full((2, 3, 8, 8), 255, np.uint8)
    assert open_subject("torchgeo:bytes").features(white).tolist() == [[1.0], [1.0]]
    np.testing.assert_allclose(open_subject("torchgeo:counts").features(white), 0.275, rtol=1e-6)
    for name, fault, words in (
        ("all", InvalidInputError, "reads 13 bands"),
        ("none", ModelNotFoundError, "no weights 'none'"),
        ("lost", CheckpointError, "can't be had here: no route to host"),
    ):
        with pytest.raises(fault, match=words):
            open_subject(f"torchgeo:{name}")


def test_any_model_gives_features(classes: Path) -> None:
    data = open_labelled(str(classes))
    rows = data.rows_of("test")
    for name, width in (("colour", 12), ("random:timm:test_resnet", 512), ("random:wildsat-s2", 384)):
        found = open_subject(name, seed=1).of(data.batches(rows, 7))
        assert found.shape == (len(rows), found.shape[1])
        assert found.shape[1] == width or name == "random:timm:test_resnet"
    again, other = (open_subject("random:wildsat-s2", seed).of(data.batches(rows[:3], 7)) for seed in (1, 2))
    np.testing.assert_allclose(again, found[:3], atol=1e-5)
    assert not np.allclose(again, other)
    with pytest.raises(ModelNotFoundError):
        open_subject("random:nothing")
    with pytest.raises(ModelNotFoundError):
        open_subject("nothing")


# --- measures ---


def blobs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 4]])
    return (centres[labels] + random.normal(size=(count, 3))).astype(np.float32), labels


def test_probes_know_what_can_be_told_and_no_more() -> None:
    train, val, test = blobs(0, 300), blobs(1, 60), blobs(2, 300)
    probe, c = fit_probe(train, val)
    assert probe.right(*test).mean() > 0.95
    assert c in (0.001, 0.01, 0.1, 1.0, 10.0)
    assert neighbours_right(train, test).mean() > 0.95
    few = few_right(train, test, 5)
    assert few.mean() > 0.85
    assert set(np.unique((few * 5).round(6))) <= {0, 1, 2, 3, 4, 5}, "a share of five draws"
    shuffled = (train[0], np.random.default_rng(3).permutation(train[1]))
    assert fit_probe(shuffled, val)[0].right(*test).mean() < 0.7
    with pytest.raises(InvalidInputError, match=r"500 pictures of each class are asked for, and one has"):
        few_right(train, test, 500)
    with pytest.raises(InvalidInputError, match="at least two classes"):
        Probe(train[0], np.zeros(300, np.int64), 1.0)


def test_neighbours_vote_by_cosine() -> None:
    known = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1], [-1, -0.1]], np.float32)
    labels = np.array([0, 0, 1, 1, 1])
    asked = np.array([[9, 0.0], [-0.2, 0]], np.float32)
    mean = known.mean(0)
    assert neighbours_right((known, labels), (asked + mean, np.array([0, 1])), k=2).tolist() == [1, 1]
    assert neighbours_right((known, labels), (asked + mean, np.array([1, 0])), k=2).tolist() == [0, 0]


class Knowing:
    """A model whose tile vector is the mean colour, and whose texts are the colours they name."""

    config = SimpleNamespace(tile_heads={"text": None}, metric="cosine")

    def embed_pixels(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        means = pixels.mean((2, 3)).astype(np.float32)
        return {"text": means / np.linalg.norm(means, axis=1, keepdims=True)}

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        found = [COLOURS[next(name for name in COLOURS if in_words(name) in text)] for text in texts]
        return np.array(found, np.float32)


def knowing() -> Subject:
    return Subject("knowing", lambda pixels: pixels.mean((2, 3)).astype(np.float32), Knowing())  # type: ignore[arg-type]


def test_classes_are_found_by_their_prompts(classes: Path, tmp_path: Path) -> None:
    data = open_labelled(str(classes))
    prompts = read_prompts(None, data.classes)
    assert prompts["DeepSea"][0] == "deep sea"
    assert in_words("salt_flat") == "salt flat"
    found = experiments.zero_shot([knowing()], data, prompts, Setting())
    row = found.figures["knowing"]
    rows = data.rows_of("test")
    right = prompt_scores(knowing(), data, rows, prompts).argmax(1) == data.labels[rows]
    assert row["all"].value == pytest.approx(right.mean(), abs=1e-4)
    assert row["all"].count == len(rows)
    assert 0.75 < row["all"].value < 1, "grey pictures are nobody's"
    by_class = [row[name].value * row[name].count for name in data.classes]
    assert sum(by_class) == pytest.approx(right.sum(), abs=0.01)
    (tmp_path / "p.yaml").write_text("forest: [trees]\n")
    with pytest.raises(InvalidInputError, match="no prompt: DeepSea, salt_flat"):
        prompt_scores(knowing(), data, rows, read_prompts(tmp_path / "p.yaml", data.classes))
    (tmp_path / "p.yaml").write_text("- forest\n")
    with pytest.raises(InvalidInputError, match="must map each class"):
        read_prompts(tmp_path / "p.yaml", data.classes)
    with pytest.raises(InvalidInputError, match="colour has no text space"):
        prompt_scores(open_subject("colour"), data, rows, prompts)


def test_groups_are_compared_and_small_ones_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "FEWEST_IN_GROUP", 5)
    features, labels = blobs(0, 400)
    features[200:260, 0:3] = 0  # the wet part of the test set can't be told
    parts = np.array(["train"] * 150 + ["val"] * 50 + ["test"] * 200)
    wet = np.array(["dry"] * 200 + ["wet"] * 60 + ["dry"] * 138 + ["rare", "odd"])
    columns = {"soil": wet, "lon": np.full(400, "10.0"), "lat": np.array(["-10", "50"] * 200)}

    def read(row: int) -> np.ndarray:
        return np.full((3, 1, 1), row % 256, np.uint8)

    data = LabelledSet("blobs", ("a", "b", "c"), labels, parts, read, columns)
    order = iter([data.rows_of("train"), data.rows_of("val"), data.rows_of("test")] * 4)
    subject = Subject("s", lambda pixels: np.zeros((len(pixels), 3), np.float32))
    monkeypatch.setattr(Subject, "of", lambda *_: features[next(order)])
    found = experiments.bias([subject], data, "soil", Setting())
    row = found.figures["s"]
    assert {name: figure.count for name, figure in row.items()} == {"all": 200, "dry": 138, "others": 2, "wet": 60}
    assert row["dry"].value > 0.9
    assert row["wet"].value < 0.6
    assert found.about["largest difference between groups"]["s"] > 0.3
    by_latitude = experiments.bias([subject], data, "latitude", Setting()).figures["s"]
    assert {name: f.count for name, f in by_latitude.items()} == {"all": 200, "temperate": 100, "tropics": 100}
    zones = np.full((180, 360), ZONES.index("Cfb") + 1, np.uint8)
    zones[100, 190] = ZONES.index("Aw") + 1  # the square south-east of 10 degrees east, 10 degrees south
    zones[40, 190] = 0
    monkeypatch.setattr("training.earth.cells._fine_zones", lambda: zones)
    by_climate = experiments.bias([subject], data, "climate", Setting()).figures["s"]
    assert {name: f.count for name, f in by_climate.items()} == {"all": 200, "sea": 100, "tropical": 100}
    by_country = experiments.bias([subject], data, "country", Setting()).figures["s"]
    assert "DEU" in by_country
    with pytest.raises(InvalidInputError, match=r"or by a column; its columns are: soil, lon, lat"):
        experiments.bias([subject], data, "income", Setting())


def test_changes_are_those_of_the_light_the_season_and_the_scale() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    found = experiments.changes()
    assert {"as they are", "haze", "autumn colours", "2 times coarser", "4 times coarser"} <= set(found)
    for name, change in found.items():
        changed = change(pixels)
        assert (changed.shape, changed.dtype) == (pixels.shape, np.uint8)
        assert np.array_equal(changed, pixels) == (name in ("as they are", "0 to 0.275, as EuroSAT"))
    flat = np.full((1, 3, 8, 8), 77, np.uint8)
    assert (found["4 times coarser"](flat) == 77).all()
    assert found["4 times coarser"](pixels).std() < found["2 times coarser"](pixels).std() < pixels.std()


# --- commands ---


def test_one_command_measures_several_models_and_writes_a_table(classes: Path, tmp_path: Path) -> None:
    archive = tmp_path / "c.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in classes.rglob("*.png"):
            file.write(path, path.relative_to(classes))
    command = ["probe", "--data", str(archive), "--out", str(tmp_path), "--threads", "1", "--shots", "2"]
    models = ["--model", "colour", "--model", "random:timm:test_resnet"]
    answer = CliRunner().invoke(evaluate, [*command, *models])
    assert answer.exit_code == 0, answer.output
    report = json.loads((tmp_path / "probe.json").read_text())
    assert list(report["figures"]) == ["colour", "random:timm:test_resnet"]
    for row in report["figures"].values():
        assert list(row) == ["linear", "kNN", "2 a class"]
        for figure in row.values():
            assert 0 <= figure["interval"][0] <= figure["value"] <= figure["interval"][1] <= 1
    assert report["figures"]["colour"]["linear"]["value"] >= 0.75
    assert report["about"]["pictures"]["test"] == report["figures"]["colour"]["kNN"]["count"]
    latex = (tmp_path / "probe.tex").read_text()
    assert latex.startswith(r"\begin{tabular}{lrrr}")
    assert r"random:timm:test\_resnet & " in latex
    assert (tmp_path / "probe.png").read_bytes().startswith(b"\x89PNG")
    answer = CliRunner().invoke(
        evaluate,
        ["robustness", "--data", str(classes), "--model", "colour", "--out", str(tmp_path), "--most", "30"],
    )
    assert answer.exit_code == 0, answer.output
    lost = json.loads((tmp_path / "robustness.json").read_text())["about"]["most lost by a change"]["colour"]
    assert 0 <= lost <= 1
    refused = CliRunner().invoke(evaluate, [*command[:-1], "1,x", "--model", "colour"])
    assert isinstance(refused.exception, InvalidInputError)


def test_a_figure_is_the_mean_with_its_interval() -> None:
    figure = results.Figure.of(np.array([1.0, 0, 1, 1]))
    assert (figure.value, figure.count) == (0.75, 4)
    assert figure.interval[0] < 0.75 < figure.interval[1]
    many = results.Results("t", {"m": {str(i): figure for i in range(9)}}, {}).table()
    assert [column.header for column in many.columns] == ["", "m"]
    assert many.row_count == 9
    table = results.Results("t", {"a_b": {"x": figure}, "c": {}}, {})
    assert r"a\_b & \textbf{0.750} $\pm$ " in table.latex()
    assert r"c & --" in table.latex()


def test_indexes_are_measured_and_the_collection_stays_as_it_is(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((1100, 8)).astype(np.float32)
    tiles = [Tile(str(i), BBox(i / 10, 0, i / 10 + 0.1, 0.1), 10.0, "s") for i in range(len(vectors))]
    root, ref = tmp_path / "c", ModelRef("m", "a" * 64, "fake", "rgb")
    with CollectionWriter(root, "c", ref, {"text": SpaceSpec(8, "inner_product")}) as writer:
        writer.add(tiles, {"text": vectors})
        writer.publish()
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    command = ["ann", "--collection", str(root), "--kinds", "sq8", "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(evaluate, command)
    assert answer.exit_code == 0, answer.output
    (row,) = json.loads((tmp_path / "out" / "ann.json").read_text())
    assert row["kind"] == "sq8"
    assert 0.95 <= row["recall_at_10"] <= 1
    assert row["file_bytes"] > 1100 * 8
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("wildsat-ann")] == []
