"""What a model directory's `config.json` says: all that decides the model's vectors, and where they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wildsat_core.errors import CheckpointError, ModelNotFoundError
from wildsat_core.preprocess import Preprocessing
from wildsat_core.types import Metric, Space

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"  # for people; a model without one is whole


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# What heads that know texts are told.
KNOWN = {
    "memory": ("slots", "meanings", "recall_features", "recall_share", "recall_sharpness"),
    "kernel": ("slots", "meanings", "recall_sharpness", "decision"),
}
ALL_KNOWN = tuple(dict.fromkeys(name for names in KNOWN.values() for name in names))


class HeadConfig(_Frozen):
    """A projection into a shared space: a bias-free linear layer, a perceptron, or the one with the other beside it.

    A "memory" head is a residual one that also recalls known texts, a "kernel" head is made of known texts alone; both
    need `slots`, `meanings` and `recall_sharpness`, the one `recall_features` and `recall_share` and the other
    `decision`: those of `MemoryHead` and `KernelHead`.
    """

    kind: Literal["linear", "mlp", "residual", "memory", "kernel"] = "linear"
    in_features: int = Field(gt=0)
    out_features: int = Field(gt=0)
    hidden: int | None = Field(default=None, gt=0)
    slots: int | None = Field(default=None, gt=0)
    meanings: int | None = Field(default=None, gt=0)
    recall_features: int | None = Field(default=None, gt=0)
    recall_share: float | None = Field(default=None, gt=0)
    recall_sharpness: float | None = Field(default=None, gt=0)
    decision: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check_hidden(self) -> HeadConfig:
        flat = self.kind in ("linear", "kernel")
        if flat != (self.hidden is None):
            raise ValueError(f"a {self.kind} head {'has no' if flat else 'needs a'} hidden width, got {self.hidden}")
        return self

    @model_validator(mode="after")
    def _check_recall_features(self) -> HeadConfig:
        if self.recall_features is not None and self.recall_features > self.in_features:
            raise ValueError(f"recall_features is at most in_features, {self.in_features}, got {self.recall_features}")
        return self

    @model_validator(mode="after")
    def _check_known(self) -> HeadConfig:
        needed = KNOWN.get(self.kind, ())
        told = [name for name in ALL_KNOWN if getattr(self, name) is not None]
        if set(told) != set(needed):
            wants = f"needs {', '.join(needed)}" if needed else f"knows no texts: leave out {', '.join(told)}"
            raise ValueError(f"a {self.kind} head {wants}" + (f", got {', '.join(told) or 'none'}" if needed else ""))
        return self


class LocationConfig(_Frozen):
    """A location encoder, the arguments that build it, and which spaces its output serves.

    Attributes:
        kind: "position", "sinr" or "satclip".
        parameters: arguments of the encoder.
        spaces: "place" when the output is compared with texts, "location" when with tiles' location vectors.
        head: a projection after the encoder, None when its output is used as it is.
        out_features: length of the final vector.
    """

    kind: Literal["position", "sinr", "satclip"]
    parameters: dict[str, Any] = Field(default_factory=dict)
    spaces: tuple[Literal["location", "place"], ...] = ("place",)
    head: HeadConfig | None = None
    out_features: int = Field(default=256, gt=0)


class ModelConfig(_Frozen):
    """One model. Two models with equal configs and equal weights give equal vectors.

    Attributes:
        format: version of this file's format.
        architecture: the backbone, such as "timm:resnet10t" or "torchvision:resnet50".
        architecture_args: keyword arguments of the backbone's builder.
        feature_size: length of the backbone's feature vector.
        tile_heads: one head for each space that tiles have a vector in.
        text_encoder: "minilm", "gritlm" or "st:<name>"; the text head belongs to it alone.
        text_head: None for a model that texts can't be searched with.
        default_blend: weight of the place space in a text query when the searcher names none.
        gsd_m: ground sizes of a pixel, smallest and largest, that the model is for, as it sees pictures once they are
            brought to its input's size; None when nobody said.
        side_km: ground that the pictures of its training showed, smallest and largest side; None when nobody said.
        no_match: calibration of the "nothing matches" answer, None before it is measured.
        source: where the weights came from; source_sha256: hash of that file, when there was one.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    title: str = ""
    architecture: str
    architecture_args: dict[str, Any] = Field(default_factory=dict)
    feature_size: int = Field(gt=0)
    preprocessing: Preprocessing = Field(default_factory=Preprocessing)
    gsd_m: tuple[float, float] | None = None
    side_km: tuple[float, float] | None = None
    tile_heads: dict[Space, HeadConfig]
    text_encoder: str = "minilm"
    text_head: HeadConfig | None = None
    location: LocationConfig | None = None
    metric: Metric = "cosine"
    default_blend: float = Field(default=0.0, ge=0.0, le=1.0)
    no_match: dict[str, Any] | None = None
    licence: str = ""
    description: str = ""
    source: str = ""
    source_sha256: str | None = None

    @property
    def input_px(self) -> int | None:
        """Side that pictures are resized to; None when they keep their own size."""
        return self.preprocessing.input_px

    @model_validator(mode="after")
    def _check_scale(self) -> ModelConfig:
        for name, sizes, unit in (("gsd_m", self.gsd_m, "metres"), ("side_km", self.side_km, "kilometres")):
            if sizes is not None and not 0 < sizes[0] <= sizes[1] < float("inf"):
                raise ValueError(f"{name} must be two positive sizes in {unit}, the smaller first, got {sizes}")
        return self

    @model_validator(mode="after")
    def _check_sizes(self) -> ModelConfig:
        if "place" in self.tile_heads:
            raise ValueError("the place space is made by the location encoder, not by a tile head")
        for space, head in self.tile_heads.items():
            if head.in_features != self.feature_size:
                raise ValueError(
                    f"the {space} head takes {head.in_features} features, the backbone gives {self.feature_size}"
                )
        text = self.tile_heads.get("text")
        if self.text_head and text and self.text_head.out_features != text.out_features:
            raise ValueError(
                f"tiles have {text.out_features} numbers in the text space, texts {self.text_head.out_features}"
            )
        return self


def read_config(directory: str | Path) -> ModelConfig:
    """Read a model directory's config.

    Raises:
        ModelNotFoundError: the directory has no config.
        CheckpointError: the config is not JSON, or not of this format; each wrong field is named.
    """
    path = Path(directory) / CONFIG_FILE
    try:
        return ModelConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError as err:
        raise ModelNotFoundError(f"{directory} is not a model directory: it has no {CONFIG_FILE}") from err
    except ValidationError as err:
        faults = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'file'}: {e['msg']}" for e in err.errors())
        raise CheckpointError(f"{path} can't be used as a model config: {faults}") from err


def write_config(config: ModelConfig, directory: str | Path) -> Path:
    """Write a model directory's config in one step: a reader sees the old file or the new one."""
    path = Path(directory) / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(config.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    part.replace(path)
    return path
