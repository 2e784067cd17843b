"""The experiments of the field on labelled pictures: probe, zero-shot, who it fails (bias), and what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from numpy.typing import NDArray

from training.earth.stretches import STRETCHES, as_pictures
from training.evaluation.encounter_rates import RateHead
from training.evaluation.features import Features, Pixels, Subject
from training.evaluation.labelled_set import PARTS, Kind, LabelledSet, Labels, Part, fingerprint
from training.evaluation.linear_head import fit_head
from training.evaluation.probe import Right, few_right, fit_probe, neighbours_right, neighbours_scores
from training.evaluation.results import Figure, Results
from training.evaluation.segmentation import probe_masks
from training.evaluation.several_labels import mean_precision, micro_precision
from wildsat_core.errors import InvalidInputError

BATCH = 128
TEMPLATES = ("{}", "a satellite picture of {}", "land with {}")
COARSER = (2, 4)
SHOTS = (1, 5, 10)
MEASURED: dict[Kind, str] = {
    "class": "share of test pictures right",
    "labels": "average precision and F1 of test pictures",
    "rates": "accuracy and error of rates at test places",
    "mask": "intersection over union of test pictures",
}
MAIN: dict[Kind, str] = {
    "class": "share of test pictures right",
    "labels": "mean average precision of test pictures",
    "rates": "top-k accuracy at test places",
}
LEAST = ("100 MSE", "100 MAE")
FEWEST_IN_GROUP = 20  # pictures; smaller groups are put together as "others"
LATITUDES = ((23.5, "tropics"), (40.0, "subtropics"), (66.5, "temperate"), (91.0, "polar"))

Change = Callable[[Pixels], Pixels]
Known = tuple[Features, Labels]


class Fitted(Protocol):
    """What learned from features of the training part."""

    def main_figure(self, features: Features, labels: Any) -> Figure:  # noqa: ANN401 - by the kind of data
        """What models are compared by, of other pictures' features (N, F) and labels."""

    def figures(self, features: Features, labels: Any) -> dict[str, Figure]:  # noqa: ANN401 - by the kind of data
        """All that is measured of features (N, F) and labels, the main figure first."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all experiments share.

    Attributes:
        shots: pictures a class, for the probes with few labels; None for 1, 5 and 10 where there are classes.
        most: at most so many pictures of the training part, and of the test part; None for all.
        seed: of draws.
    """

    shots: tuple[int, ...] | None = None
    most: int | None = None
    seed: int = 0


def probe(subjects: Sequence[Subject], data: LabelledSet, setting: Setting) -> Results:
    """Linear probe, nearest neighbours and, of classes, few labels, of each model's features.

    Raises:
        InvalidInputError: few labels a class are asked for where pictures have no class each.
    """
    if setting.shots and data.kind != "class":
        raise InvalidInputError(f"the pictures of {data.name} have not one class each; leave out --shots", "shots")
    if data.kind == "mask":
        rows: dict[Part, NDArray[np.int64]] = {part: _rows(data, part, setting) for part in PARTS}
        row = {subject.name: probe_masks(subject, data, rows, setting.seed) for subject in subjects}
        return Results(f"Patch probes of {data.name}, {MEASURED['mask']}", row, _about(data, setting))
    figures: dict[str, dict[str, Figure]] = {}
    penalties: dict[str, float] = {}
    for subject in subjects:
        train, val, test = (_features(subject, data, part, setting) for part in ("train", "val", "test"))
        fitted, penalties[subject.name] = _fit(data, train, val)
        figures[subject.name] = fitted.figures(*test) | _by_neighbours(data, train, test, setting)
    about = _about(data, setting) | {"C of the linear probe": penalties}
    return Results(f"Probes of {data.name}, {MEASURED[data.kind]}", figures, about, LEAST)


def _fit(data: LabelledSet, train: Known, val: Known) -> tuple[Fitted, float]:
    """A linear probe for this kind of data, with the penalty that suits the validation part, and its C."""
    if data.kind == "mask":
        raise InvalidInputError(f"{data.name} has masks, of which there are probes alone: wildsat eval probe", "data")
    if data.kind == "class":
        return fit_probe(_classed(train), _classed(val))
    if data.kind == "rates":
        return fit_head(_rated(train), _rated(val), RateHead)
    return fit_head(_rated(train), _rated(val))


def _classed(known: Known) -> tuple[Features, NDArray[np.int64]]:
    return known[0], known[1].astype(np.int64)


def _rated(known: Known) -> tuple[Features, NDArray[np.float32]]:
    return known[0], known[1].astype(np.float32)


def _by_neighbours(data: LabelledSet, train: Known, test: Known, setting: Setting) -> dict[str, Figure]:
    """The nearest training pictures' vote and, of classes, probes with few labels."""
    if data.kind == "labels":
        scores = neighbours_scores((train[0], train[1].astype(bool)), test[0])
        return {"kNN mAP": mean_precision(scores, test[1].astype(bool))}
    if data.kind == "rates":
        return {}
    one_each = _classed(train), _classed(test)
    shares = {"kNN": neighbours_right(*one_each)}
    for shots in SHOTS if setting.shots is None else setting.shots:
        shares[f"{shots} a class"] = few_right(*one_each, shots, setting.seed)
    return _figures(shares)


def zero_shot(
    subjects: Sequence[Subject], data: LabelledSet, prompts: Mapping[str, Sequence[str]], setting: Setting
) -> Results:
    """Classes found by texts alone, and for each class the share of its pictures that are recognised.

    Where pictures have several labels, mean average precision, and each label's own.
    """
    if data.kind not in ("class", "labels"):
        raise InvalidInputError(
            f"{data.name} has neither classes nor labels of whole pictures to find by texts", "data"
        )
    rows = data.rows_of("test", setting.most)
    labels = data.labels[rows]
    figures = {}
    for subject in subjects:
        scores = prompt_scores(subject, data, rows, prompts)
        if data.kind == "class":
            right = np.asarray(scores.argmax(1) == labels, np.float64)
            classes = {name: right[labels == i] for i, name in enumerate(data.classes) if (labels == i).any()}
            figures[subject.name] = _figures({"all": right} | classes)
        else:
            truth = labels.astype(bool)
            row = {"mAP": mean_precision(scores, truth), "mAP micro": micro_precision(scores, truth)}
            occurring = np.flatnonzero(truth.any(0)).tolist()
            columns = {data.classes[i]: (scores[:, i, None], truth[:, i, None]) for i in occurring}
            figures[subject.name] = row | {name: mean_precision(*column) for name, column in columns.items()}
    about = _about(data, setting) | {"prompts": {name: list(texts) for name, texts in prompts.items()}}
    return Results(f"{data.name} by texts alone, {MAIN[data.kind]}", figures, about)


def bias(subjects: Sequence[Subject], data: LabelledSet, by: str, setting: Setting) -> Results:
    """The linear probe's first figure, as the share of right test pictures, in each group and over all.

    Args:
        subjects: models.
        data: with the columns lon and lat, or one called as `by`.
        by: "climate" (Koeppen's main group), "country", "latitude", or a column of the data, such as an income group.
        setting: sizes.

    Raises:
        InvalidInputError: the data knows nothing of it.
    """
    test_rows = data.rows_of("test", setting.most)
    groups = _groups(data, by)[test_rows]
    names, counts = np.unique(groups, return_counts=True)
    large = names[counts >= FEWEST_IN_GROUP]
    groups = np.where(np.isin(groups, large), groups, "others")
    figures = {}
    for subject in subjects:
        train, val, test = (_features(subject, data, part, setting) for part in ("train", "val", "test"))
        fitted = _fit(data, train, val)[0]
        each = {str(name): (test[0][groups == name], test[1][groups == name]) for name in np.unique(groups)}
        figures[subject.name] = {name: fitted.main_figure(*known) for name, known in ({"all": test} | each).items()}
    shares = {model: [f.value for name, f in row.items() if name != "all"] for model, row in figures.items()}
    gap = {model: round(max(values) - min(values), 4) for model, values in shares.items()}
    about = _about(data, setting) | {"by": by, "largest difference between groups": gap}
    return Results(f"{data.name} by {by}, linear probe, {MAIN[data.kind]}", figures, about)


def robustness(subjects: Sequence[Subject], data: LabelledSet, setting: Setting) -> Results:
    """A probe that learned from the pictures as they are, asked of the same test pictures under changes."""
    figures = {}
    for subject in subjects:
        train, val = (_features(subject, data, part, setting) for part in ("train", "val"))
        fitted = _fit(data, train, val)[0]
        changed = {name: _features(subject, data, "test", setting, change) for name, change in changes().items()}
        figures[subject.name] = {name: fitted.main_figure(*known) for name, known in changed.items()}
    worst = {
        model: round(row["as they are"].value - min(f.value for f in row.values()), 4) for model, row in figures.items()
    }
    about = _about(data, setting) | {"most lost by a change": worst}
    return Results(f"{data.name} under changes, linear probe, {MAIN[data.kind]}", figures, about)


def changes() -> dict[str, Change]:
    """What pictures are put through: none, stretches of the light, a season's colours, coarser pixels."""
    found: dict[str, Change] = {"as they are": lambda pixels: pixels}
    found |= {name: _stretched(name) for name in STRETCHES}
    return found | {f"{factor} times coarser": _coarser(factor) for factor in COARSER}


def prompt_scores(
    subject: Subject, data: LabelledSet, rows: NDArray[np.int64], prompts: Mapping[str, Sequence[str]]
) -> NDArray[np.float32]:
    """(R, C) inner products of the vectors of R pictures with the mean vector of each class's prompts.

    Raises:
        InvalidInputError: the model knows no texts, or a class has no prompt.
    """
    model = subject.model
    if model is None or "text" not in model.config.tile_heads:
        raise InvalidInputError(f"{subject.name} has no text space; it can't classify by prompts", "model")
    if missing := [name for name in data.classes if not prompts.get(name)]:
        raise InvalidInputError(f"these classes have no prompt: {', '.join(missing)}", "prompts")
    means = np.stack([model.embed_texts(list(prompts[name])).mean(0) for name in data.classes])
    if model.config.metric == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    vectors = [model.embed_pixels(batch)["text"] for batch in data.batches(rows, BATCH)]
    return np.asarray(np.concatenate(vectors) @ means.T)


def read_prompts(path: Path | None, classes: Sequence[str]) -> dict[str, list[str]]:
    """Texts for each class: of a YAML file `class: [texts]`, or the class's own name in a few phrases.

    Raises:
        InvalidInputError: the file is not of this form.
    """
    if path is None and all(name.isdigit() for name in classes):
        raise InvalidInputError("the classes have numbers for names; give --prompts with texts for each", "prompts")
    if path is None:
        return {name: [template.format(in_words(name)) for template in TEMPLATES] for name in classes}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {str(name): [str(text) for text in texts] for name, texts in content.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError) as err:
        raise InvalidInputError(f"{path} must map each class to a list of texts: {err}", "prompts") from err


def in_words(name: str) -> str:
    """A class's name as people write it: "AnnualCrop" and "annual_crop" to "annual crop"."""
    spaced = "".join(f" {c}" if c.isupper() and i and not name[i - 1].isupper() else c for i, c in enumerate(name))
    return " ".join(spaced.replace("_", " ").replace("-", " ").split()).lower()


def _features(subject: Subject, data: LabelledSet, part: Part, setting: Setting, change: Change | None = None) -> Known:
    rows = _rows(data, part, setting)
    if not len(rows):
        return np.empty((0, 0), np.float32), data.labels[:0]
    batches = data.batches(rows, BATCH)
    return subject.of(batches if change is None else map(change, batches)), data.labels[rows]


def _rows(data: LabelledSet, part: Part, setting: Setting) -> NDArray[np.int64]:
    """Pictures of a part, of which there must be some but for validation."""
    rows = data.rows_of(part, setting.most)
    if not len(rows) and part != "val":
        raise InvalidInputError(f"{data.name} has no pictures in its part {part}", "data")
    return rows


def _figures(shares: Mapping[str, Right]) -> dict[str, Figure]:
    return {name: Figure.of(right) for name, right in shares.items()}


def _about(data: LabelledSet, setting: Setting) -> dict[str, Any]:
    counts = {part: len(data.rows_of(part, setting.most)) for part in ("train", "val", "test")}
    return {"data": data.name, "classes": list(data.classes), "pictures": counts, "fingerprint": fingerprint(data)} | {
        "seed": setting.seed
    }


def _groups(data: LabelledSet, by: str) -> NDArray[np.str_]:
    """(N,) the group of each picture."""
    if by in data.columns:
        return data.columns[by]
    if not {"lon", "lat"} <= data.columns.keys() or by not in ("climate", "country", "latitude"):
        known = ", ".join(data.columns) or "none"
        raise InvalidInputError(
            f"pictures can be grouped by climate, country or latitude where a CSV has lon and lat, or by a column; "
            f"its columns are: {known}",
            "by",
        )
    try:
        lon, lat = (data.columns[name].astype(float) for name in ("lon", "lat"))
    except ValueError as err:
        raise InvalidInputError(f"lon and lat must be numbers in degrees: {err}", "data") from err
    if by == "latitude":
        return np.array([next(name for end, name in LATITUDES if abs(value) < end) for value in lat])
    if by == "country":
        from wildsat_core.countries import load_countries

        codes = load_countries().code_at(np.column_stack([lon, lat]))
        return np.array([code or "no country" for code in codes])
    from training.earth.cells import zones_at

    names = {"A": "tropical", "B": "arid", "C": "temperate", "D": "cold", "E": "polar"}
    return np.array([names.get(zone[:1], "sea") for zone in zones_at(lon, lat)])


def _stretched(name: str) -> Change:
    stretch = STRETCHES[name]

    def change(pixels: Pixels) -> Pixels:
        shown = as_pictures(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), stretch)
        return np.asarray(shown.round().clamp(0, 255).to(torch.uint8).numpy())

    return change


def _coarser(factor: int) -> Change:
    """Pixels so many times as large, shown at the old size."""

    def change(pixels: Pixels) -> Pixels:
        values = torch.from_numpy(pixels).float()
        side = [max(1, length // factor) for length in values.shape[-2:]]
        small = F.interpolate(values, side, mode="bilinear", antialias=True)
        large = F.interpolate(small, values.shape[-2:], mode="bilinear", align_corners=False)
        return np.asarray(large.round().clamp(0, 255).to(torch.uint8).numpy())

    return change
