"""Pictures with any number of labels: from a table, and told by a probe, by neighbours and by texts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from typer.testing import CliRunner

from training.evaluation.commands import evaluate
from training.evaluation.experiments import Setting, read_prompts, zero_shot
from training.evaluation.features import Subject
from training.evaluation.labelled import open_labelled
from training.evaluation.linear_head import LinearHead, fit_head
from training.evaluation.probe import neighbours_scores
from training.evaluation.results import Figure
from training.evaluation.several_labels import found_figures, mean_precision, micro_precision, weighted_precision
from wildsat_core.errors import InvalidInputError

PX = 8
SHADES = {"Arable land": 0, "Broad-leaved forest": 1, "Water bodies": 2}  # a band each, bright where the label is


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 pictures with up to three labels, and one in eight in a fog that hides them."""
    folder, random = tmp_path_factory.mktemp("several"), np.random.default_rng(0)
    lines = ["file,labels,split,fog"]
    for number in range(150):
        which = random.random(3) < (0.5, 0.3, 0.4)
        fog = number % 8 == 0
        level = np.where(which & (not fog), 200, 60)
        pixels = np.clip(level + random.integers(-25, 25, (PX, PX, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        names = [name for name, band in SHADES.items() if which[band]]
        part = ("train", "train", "val", "test")[number % 4] if number >= 20 else "test"
        separator = "; " if number % 2 else "|"
        lines.append(f'{number}.png,"{separator.join(names)}",{part},{"thick" if fog else "none"}')
    (folder / "several.csv").write_text("\n".join(lines) + "\n")
    return folder / "several.csv"


def test_a_table_may_name_any_number_of_labels(table: Path) -> None:
    data = open_labelled(str(table))
    assert (data.kind, data.classes) == ("labels", tuple(sorted(SHADES)))
    assert (data.labels.shape, data.labels.dtype) == ((150, 3), np.bool_)
    assert not data.labels.any(1).all(), "a picture may have no label at all"
    assert data.labels.sum(1).max() == 3
    wrong = table.with_name("wrong.csv")
    wrong.write_text("file,label,labels\n0.png,a,b\n")
    with pytest.raises(InvalidInputError, match="file and label, labels or mask"):
        open_labelled(str(wrong))


def test_average_precision_and_f1_are_scikit_learns() -> None:
    random = np.random.default_rng(1)
    truth = random.random((200, 5)) < (0.5, 0.1, 0.3, 0.02, 0.0)
    scores = np.round(truth * 0.4 + random.random((200, 5)), 1)  # many equal ones
    found = {"mAP": mean_precision(scores, truth), "mAP micro": micro_precision(scores, truth)}
    occurring = truth.any(0)
    assert not occurring[4]
    wanted = average_precision_score(truth[:, occurring], scores[:, occurring], average="macro")
    assert found["mAP"].value == pytest.approx(wanted, abs=1e-4)
    assert found["mAP micro"].value == pytest.approx(average_precision_score(truth, scores, average="micro"), abs=1e-4)
    figures, said = found_figures(scores, truth), scores >= 0.5
    macro = f1_score(truth[:, occurring], said[:, occurring], average="macro", zero_division=0)
    assert figures["F1"].value == pytest.approx(macro, abs=1e-4)
    assert figures["F1 micro"].value == pytest.approx(f1_score(truth, said, average="micro"), abs=1e-4)
    for figure in (*found.values(), *figures.values()):
        assert figure.interval[0] < figure.value < figure.interval[1]
        assert figure.count == 200
    with pytest.raises(InvalidInputError, match="none of 3 test pictures has a label"):
        mean_precision(np.ones((3, 2)), np.zeros((3, 2), bool))


def test_a_draw_of_pictures_counts_each_as_often_as_it_is_drawn() -> None:
    random = np.random.default_rng(2)
    scores, truth = random.random(30), random.random(30) < 0.4
    drawn = random.integers(30, size=30)
    weights = np.bincount(drawn, minlength=30)[None].astype(float)
    measured = weighted_precision(scores, truth)(weights)
    assert measured[0] == pytest.approx(average_precision_score(truth[drawn], scores[drawn]))
    assert np.isnan(weighted_precision(scores, truth)(np.where(truth, 0.0, 1.0)[None])[0])
    halves = Figure.of_all(lambda w: (w @ truth) / w.sum(1), 30)
    assert halves.value == pytest.approx(truth.mean(), abs=1e-4)
    assert Figure.of_all(lambda w: (w @ truth) / w.sum(1), 30, cells=10**9) == halves, "however many draws at a time"


def test_the_head_is_a_logistic_regression_for_each_target() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(300, 6)).astype(np.float32) * (1, 10, 0.1, 1, 1, 1)
    truth = features @ random.normal(size=(6, 4)) + random.normal(size=(300, 4)) > (0, 1, -1, 3)
    features = features.astype(np.float32)
    standard = (features - features.mean(0)) / features.std(0)
    for c in (0.01, 1.0):
        head = LinearHead(features, truth, c)
        for target in range(4):
            wanted = LogisticRegression(C=c, max_iter=1000).fit(standard, truth[:, target]).predict_proba(standard)
            np.testing.assert_allclose(head.probabilities(features)[:, target], wanted[:, 1], atol=0.003)
    shares = np.clip(truth * 0.6 + 0.1, 0, 1).astype(np.float32)
    learned = LinearHead(features, shares, 1.0).probabilities(features)
    np.testing.assert_allclose(learned.mean(0), shares.mean(0), atol=1e-3, err_msg="of shares it learns shares")
    empty = (np.empty((0, 0), np.float32), truth[:0])
    assert fit_head((features, truth), empty)[1] == 1.0
    noise = random.normal(size=(60, 40)).astype(np.float32), random.random((60, 4)) < 0.5
    assert fit_head(noise, (random.normal(size=(60, 40)).astype(np.float32), noise[1]))[1] == 0.001
    never = LinearHead(features, np.zeros((300, 2), bool), 1.0).probabilities(features)
    assert never.max() < 0.01, "a label that no picture has"


def test_neighbours_count_labels() -> None:
    known = np.array([[1, 0], [1, 0.1], [-1, 0], [-1, 0.1]], np.float32)
    labels = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], bool)
    found = neighbours_scores((known, labels), known + known.mean(0), k=2)
    assert found.shape == (4, 2)
    assert found.round().tolist() == [[2, 1], [2, 1], [0, 1], [0, 1]]


class Bands:
    """A model whose tile vector is the mean of each band, and whose texts name a band."""

    config = SimpleNamespace(tile_heads={"text": None}, metric="inner_product")

    def embed_pixels(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        return {"text": pixels.mean((2, 3)).astype(np.float32) / 255}

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        bands = [next(band for name, band in SHADES.items() if name in text) for text in texts]
        return np.eye(3, dtype=np.float32)[bands]


def test_labels_are_found_by_texts_alone(table: Path) -> None:
    data = open_labelled(str(table))
    bands = Subject("bands", lambda pixels: pixels.mean((2, 3)), Bands())  # type: ignore[arg-type]
    prompts = {name: [name] for name in data.classes}
    row = zero_shot([bands], data, prompts, Setting()).figures["bands"]
    assert list(row) == ["mAP", "mAP micro", *data.classes]
    each = [row[name].value for name in data.classes]
    assert row["mAP"].value == pytest.approx(np.mean(each), abs=1e-3)
    assert 0.8 < row["mAP"].value < 1, "what is in a fog is not found"
    mixed = {name: [other] for name, other in zip(data.classes, data.classes[::-1], strict=True)}
    assert zero_shot([bands], data, mixed, Setting()).figures["bands"]["mAP"].value < 0.75
    assert read_prompts(None, data.classes)["Water bodies"][1] == "a satellite picture of water bodies"


def test_experiments_take_several_labels(table: Path, tmp_path: Path) -> None:
    options = ["--data", str(table), "--model", "colour", "--out", str(tmp_path), "--threads", "1"]
    answer = CliRunner().invoke(evaluate, ["probe", *options, "--model", "random:timm:test_resnet"])
    assert answer.exit_code == 0, answer.output
    report = json.loads((tmp_path / "probe.json").read_text())
    for row in report["figures"].values():
        assert list(row) == ["mAP", "mAP micro", "F1", "F1 micro", "kNN mAP"]
    assert 0.85 < report["figures"]["colour"]["mAP"]["value"] < 1
    assert report["about"]["classes"] == sorted(SHADES)
    assert r"random:timm:test\_resnet & " in (tmp_path / "probe.tex").read_text()
    refused = CliRunner().invoke(evaluate, ["probe", *options, "--shots", "5"])
    assert isinstance(refused.exception, InvalidInputError)
    assert "have not one class each" in str(refused.exception)
    answer = CliRunner().invoke(evaluate, ["bias", *options, "--by", "fog"])
    assert answer.exit_code == 0, answer.output
    by_fog = json.loads((tmp_path / "bias-fog.json").read_text())["figures"]["colour"]
    assert by_fog["none"]["value"] > 0.95
    answer = CliRunner().invoke(evaluate, ["robustness", *options, "--most", "30"])
    assert answer.exit_code == 0, answer.output
    assert json.loads((tmp_path / "robustness.json").read_text())["figures"]["colour"]["as they are"]["count"] == 30
