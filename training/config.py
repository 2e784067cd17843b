"""What a training run is: a YAML file and `--set` changes, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.augment import AugmentConfig
from training.losses import HIGHEST_SCALE, REFERENCE_SCALE
from training.recipes import Recipe, departures, filled_in
from training.tuning import TuningConfig
from wildsat_core.errors import InvalidInputError, MissingDataError
from wildsat_core.machine import processors
from wildsat_core.types import Metric

CONFIGS = Path(__file__).parent / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(_Section):
    """Which network.

    Attributes:
        row: name in the registry, `timm:<backbone>`, or `torchgeo:<weights>`.
        start: file of starting weights; None lets the library that has them fetch them; "none" starts at random.
        missing: what the start's file lacks, as MoCo v3's its classifier, is drawn at random or taken from ImageNet's.
        architecture_args: replace or add to the row's.
        feature_size: where other arguments change it.
        input_px: side of the network's input, instead of the row's.
        bands: bands to read, in order, instead of red, green and blue; each needs a channel in the row's network, or
            all nine of the reference's option.
        scale: what pixels are divided by, instead of the row's: 255 for eight-bit pictures, 10000 for reflectance.
        dim: length of vectors.
        text_encoder: that made the data's text embeddings, for a check; None takes the one that the data names.
        metric: instead of the row's.
    """

    row: str
    start: str | None = None
    missing: Literal["random", "imagenet"] = "random"
    architecture_args: dict[str, Any] = Field(default_factory=dict)
    feature_size: int | None = Field(default=None, gt=0)
    input_px: int | None = Field(default=None, gt=0)
    bands: tuple[str, ...] = ()
    scale: float | None = Field(default=None, gt=0)
    dim: int = Field(default=256, gt=0)
    text_encoder: str | None = None
    metric: Metric | None = None


def default_workers() -> int:
    """Processes that read pictures: more than four seldom help, more than there are cores never do."""
    return min(4, processors())


class DataSection(_Section):
    """Which data.

    Attributes:
        folder: of the data set.
        imagery: root of its pictures, if it has moved.
        tile_px: side that pictures are brought to when read; None leaves them, and then all must be alike.
        order: an epoch is every pair once, or one pair of every group.
        workers: processes that read; one a core, at most four, if left out.
        most_damaged: share of pictures that may be unreadable before the run stops.
        single_valued: a picture that has one value everywhere is "damaged" and replaced, or "kept" and read as zeros.
    """

    folder: Path | None = None
    imagery: Path | None = None
    tile_px: int | None = Field(default=512, gt=0)
    order: Literal["pairs", "groups"] = "pairs"
    workers: int = Field(default_factory=default_workers, ge=0)
    most_damaged: float = Field(default=0.01, ge=0, le=1)
    single_valued: Literal["damaged", "kept"] = "damaged"


class LossSection(_Section):
    """What is made small: the sum of the terms times their weights; a term of weight 0 is left out.

    Attributes:
        text: between tiles and habitat texts.
        location: between tiles and location vectors of the same places.
        image: between two pictures of the same ground.
        place: between location vectors and habitat texts; gives the place space.
        scale: what similarities are multiplied by; learned_scale: whether it is trained.
        mask_species, mask_cell: rows of one species, or one cell, are not each other's negatives.
        gather: rows of all processes are each other's negatives; without it those of one process alone.
    """

    text: float = Field(default=2.0, ge=0)
    location: float = Field(default=1.0, ge=0)
    image: float = Field(default=4.0, ge=0)
    place: float = Field(default=0.0, ge=0)
    scale: float = Field(default=REFERENCE_SCALE, gt=0, le=HIGHEST_SCALE)
    learned_scale: bool = False
    mask_species: bool = False
    mask_cell: bool = False
    gather: bool = True


class LocationSection(_Section):
    """The frozen location encoder: a published SINR or SatCLIP file, or a directory that `wildsat train sinr` wrote."""

    weights: Path | None = None


class OptimiserSection(_Section):
    """How weights move: Adam, with weight decay apart from the gradient (AdamW) if there is any.

    Attributes:
        schedule: "step" multiplies the rate by `step_factor` every `step_epochs`; "cosine" lowers it to zero at the
            end.
        warmup_steps: the rate rises evenly over the first steps.
        clip: greatest norm of all gradients together; None for no limit.
        ema: decay of the running mean of weights that is validated and exported; None for no mean.
    """

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["step", "cosine", "none"] = "step"
    step_epochs: float = Field(default=10, gt=0)
    step_factor: float = Field(default=0.5, gt=0, le=1)
    warmup_steps: int = Field(default=0, ge=0)
    clip: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)


class RunSection(_Section):
    """How long and how.

    Attributes:
        folder: of the run; None makes one under runs/ named after the run.
        batch: pairs a step on one process; accumulate: batches whose gradients are added before a step.
        epochs, steps: length; steps win.
        precision: "auto" is bf16 where the hardware multiplies it, else fp32.
        compile: with torch.compile.
        checkpoint_every, validate_every, log_every: steps; 0 validates and saves at the end of each epoch.
        keep: checkpoints.
        validation_pairs: most pairs that validation takes.
    """

    folder: Path | None = None
    batch: int = Field(default=64, gt=0)
    accumulate: int = Field(default=1, gt=0)
    epochs: int = Field(default=50, gt=0)
    steps: int | None = Field(default=None, gt=0)
    seed: int = Field(default=123, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    checkpoint_every: int = Field(default=0, ge=0)
    validate_every: int = Field(default=0, ge=0)
    log_every: int = Field(default=10, gt=0)
    keep: int = Field(default=2, gt=0)
    validation_pairs: int = Field(default=2000, gt=0)


class TrainConfig(_Section):
    """One run; `recipe` says what holds where the sections are silent (`training.recipes`)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    recipe: Recipe = "ours"
    model: ModelSection
    data: DataSection = Field(default_factory=DataSection)
    losses: LossSection = Field(default_factory=LossSection)
    location: LocationSection = Field(default_factory=LocationSection)
    tuning: TuningConfig = Field(default_factory=TuningConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    optimiser: OptimiserSection = Field(default_factory=OptimiserSection)
    run: RunSection = Field(default_factory=RunSection)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, content: Any) -> Any:  # noqa: ANN401 - whatever is to be checked
        return filled_in(content) if isinstance(content, dict) else content

    def departures(self) -> list[str]:
        """Settings that are otherwise than the recipe's, each with both values."""
        return departures(self.recipe, self.model.row, _flat(self.model_dump(mode="json")))

    @model_validator(mode="after")
    def _check_terms(self) -> TrainConfig:
        terms = self.losses
        if not (terms.text or terms.location or terms.image or terms.place):
            raise ValueError("losses: every weight is 0; there is nothing to train")
        if (terms.location or terms.place) and self.location.weights is None:
            raise ValueError(
                "losses.location or losses.place is on, but location.weights is not set: a location term without "
                "location weights teaches nothing. Give a SINR or SatCLIP file, train one with `wildsat train sinr`, "
                "or set losses.location=0 and losses.place=0"
            )
        return self


# What a resumed run may change: how long it is, what it says, and where files lie and are read by how many. Weights
# that it began with come from its checkpoint; those of the location encoder must be the same wherever they lie now.
FREE_ON_RESUME = {
    *("run.steps", "run.epochs", "run.folder", "run.keep"),
    *("run.log_every", "run.checkpoint_every", "run.validate_every"),
    *("data.folder", "data.imagery", "data.workers", "data.most_damaged"),
    *("model.start", "location.weights"),
}


def changed_settings(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Settings that differ and must not when a run goes on, each with both values."""
    old, new = _flat(before.model_dump(mode="json")), _flat(now.model_dump(mode="json"))
    return [
        f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if name not in FREE_ON_RESUME and old.get(name) != new.get(name)
    ]


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by "section.key"."""
    values: dict[str, Any] = {}
    for key, value in content.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def read_train_config(path: str | Path, changes: list[str] | None = None) -> TrainConfig:
    """Read a YAML file and apply changes such as "run.batch=16"; values are YAML too.

    Args:
        path: of the file, or the name of one of the rows' own.
        changes: `section.key=value`.

    Raises:
        MissingDataError: there is no such file.
        InvalidInputError: not YAML, an unknown key, or a value out of range; every fault is named.
    """
    file = find_config(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise InvalidInputError(f"{file} is not YAML: {err}", "config") from err
    if not isinstance(content, dict):
        raise InvalidInputError(f"{file} must hold sections, it holds a {type(content).__name__}", "config")
    for change in changes or []:
        _apply(content, change)
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as err:
        faults = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or file.name}: {e['msg']}" for e in err.errors())
        raise InvalidInputError(f"{file.name} can't be used: {faults}", "config") from err


def find_config(path: str | Path) -> Path:
    """The file of this path, or the row's own of this name.

    Raises:
        MissingDataError: neither.
    """
    file = Path(path)
    if file.is_file():
        return file
    own = CONFIGS / f"{file.name.removesuffix('.yaml')}.yaml"
    if own.is_file() and str(file.parent) == ".":
        return own
    rows = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
    raise MissingDataError(f"there is no config at {file}; of our own there are {rows}")


def _apply(content: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise InvalidInputError(f"--set needs section.key=value, got {change!r}", "set")
    section = content
    for key in keys[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise InvalidInputError(f"--set {change!r}: {key} is not a section", "set")
    try:
        section[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise InvalidInputError(f"--set {change!r}: the value is not YAML: {err}", "set") from err
