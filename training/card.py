"""The card of a trained model: what it learned from, whom that is owed to, how it was measured, how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training.config import TrainConfig
from training.data.credit import Credit, in_words
from training.data.tables import TrainingSet
from wildsat_core.files import write_text_atomically
from wildsat_core.models.config import CARD_FILE, ModelConfig


def write_card(
    folder: Path, config: TrainConfig, model: ModelConfig, data: TrainingSet, step: int, found: Mapping[str, float]
) -> None:
    """Write the card beside a model's weights, as Markdown.

    Args:
        folder: of the model.
        config: of the run.
        model: what was trained.
        data: what it learned from; `dataset.json` says whom it is owed to.
        step: after which it was kept.
        found: figures on held-out pairs by name; none where nothing is held out.
    """
    trained, held = len(data.pairs_of("train")), len(data.pairs_of("val"))
    lines = [
        f"# {model.name}",
        "",
        f"A WildSAT model, {model.description}, kept after step {step} of its training. It ranks satellite pictures by "
        "how much they look like a habitat text; a high rank does not mean that a species lives there.",
        "",
        "## Data",
        "",
        f"{trained} pairs of pictures and texts to train on, {held} held out; pictures of the bands "
        f"{', '.join(model.preprocessing.bands)}.",
        "",
        *(f"- {line}" for line in credits_of(data.about.provenance)),
        "",
        "Whoever shows the model, or what it finds, passes these terms on.",
        "",
        "## Figures",
        "",
        *(_figures(found) if found else ["Nothing was held out, so nothing was measured."]),
        "",
        "## Use",
        "",
        f"    wildsat models export {config.run.folder or f'runs/{config.name}'} --name {model.name}",
        f"    wildsat index build folder NAME --input PICTURES --model {model.name}",
        "",
    ]
    write_text_atomically(folder / CARD_FILE, "\n".join(lines))


def credits_of(provenance: Mapping[str, Any]) -> list[str]:
    """What the provenance of a data set says of licences and citations, a line each."""
    told: list[str] = []
    try:
        credit = Credit.model_validate(provenance.get("observations", {}))
    except ValidationError:
        credit = Credit()  # of a data set whose description was written by hand
    told += [f"sightings, {line}" for line in credit.lines()] or ["sightings: nobody said whom to cite"]
    texts = provenance.get("texts")
    if isinstance(texts, dict) and texts:
        told.append(f"texts, by source and licence: {in_words(texts)}")
    return told


def _figures(found: Mapping[str, float]) -> list[str]:
    return ["| on held-out pairs | |", "|---|---|", *(f"| {name} | {value:.4g} |" for name, value in found.items())]
