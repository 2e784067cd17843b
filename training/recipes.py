"""What a run does where its config says nothing: our recipe, or the reference's, for each row of the table of models.

A recipe is a set of plain settings. It fills in what a config leaves out, and `departures` names what it says
otherwise, so that a run which claims a recipe either has it or says where it has not. Why the two differ, and by how
much: docs/differences.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from wildsat_core.models.registry import ADAPTERS, MODELS, NORMS
from wildsat_core.models.spec import ModelSpec

Recipe = Literal["ours", "reference"]
Settings = dict[str, Any]  # value by "section.key"

RELEASED_RANKS, RELEASED_BATCH = 4, 16  # processes of the released run, and pairs that each compared among themselves
PRITHVI_TOKENS = 196


def recipe_settings(recipe: Recipe, row: str) -> Settings:
    """What a recipe says for a row, "section.key" to value; for rows outside the table what holds for all."""
    spec = MODELS.get(row)
    modes = {NORMS: "bnft", ADAPTERS: "dora"}
    mode = "full" if spec is None else modes.get(spec.tuning, "full")
    if recipe == "ours":
        return {"tuning.mode": mode}
    return _common() | {"tuning.mode": mode, "tuning.reference": mode == "bnft"} | _special(spec)


def _common() -> Settings:
    """What the reference does for every row: the released run's 64 pairs a step, in sixteens that know no others."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun's
    return {
        "tuning.settle_frozen": False,
        "data.order": "groups",
        "data.single_valued": "kept",
        "losses.gather": False,
        "augment.views": "reference",
        "augment.mixing": 0.25,
        "run.batch": RELEASED_BATCH,
        "run.accumulate": max(1, RELEASED_RANKS // ranks),
        "run.precision": "fp32",
    }


def _special(spec: ModelSpec | None) -> Settings:
    """What the reference does for single rows."""
    if spec is None:
        return {}
    if spec.start == "satclip":
        return {"tuning.mode": "classifier"}  # its class freezes the image tower but for the last layer
    if spec.start == "moco":
        return {"model.missing": "imagenet"}  # loaded over ImageNet's weights, whose classifier stays
    if spec.start == "prithvi":
        return {
            "model.architecture_args.pool": "shuffled",
            "model.feature_size": PRITHVI_TOKENS * spec.feature_size,
        }
    return {}


def filled_in(content: Mapping[str, Any]) -> dict[str, Any]:
    """A config's sections with what its recipe says where they are silent; anything malformed is left to the check."""
    result = dict(content)
    recipe, model = content.get("recipe", "ours"), content.get("model")
    if recipe not in ("ours", "reference") or not isinstance(model, Mapping):
        return result
    for name, value in recipe_settings(recipe, str(model.get("row"))).items():
        _fill(result, name.split("."), value)
    return result


def departures(recipe: Recipe, row: str, settings: Settings) -> list[str]:
    """What a config says otherwise than its recipe, each with both values.

    Args:
        recipe: that it claims.
        row: of the model.
        settings: the config's own, by "section.key".
    """
    return [
        f"{name} is {settings.get(name)!r}, not {value!r}"
        for name, value in recipe_settings(recipe, row).items()
        if settings.get(name) != value
    ]


def _fill(content: dict[str, Any], keys: list[str], value: Any) -> None:  # noqa: ANN401 - any setting's
    first, *rest = keys
    if not rest:
        content.setdefault(first, value)
        return
    section = content.get(first, {})
    if isinstance(section, Mapping):
        content[first] = dict(section)
        _fill(content[first], rest, value)
