"""What the registry says about a model: enough to build it, train it and tell a reader where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wildsat_core.bands import NINE_BANDS, PRITHVI, RGB, SENTINEL2, band_positions
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.preprocess import DROPPED, Preprocessing
from wildsat_core.types import Metric

REFERENCE_PX, REFERENCE_GSD_M = 512, (4.8, 9.55)
TEXT_FEATURES = {"minilm": 384, "gritlm": 4096}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One row of the registry.

    Attributes:
        name: what users type.
        architecture, architecture_args: the backbone, as in a model's config.
        start: which weights it starts from: "imagenet", "clip", "prithvi", "satclip", "satlas", "moco", "seco",
            "random", or "timm" and "torchgeo" for what these libraries have.
        feature_size: length of the backbone's feature.
        preprocessing: for true-colour pictures.
        tuning: what the reference trains: "norms and classifier", "LoRA and DoRA on ...", or "all".
        licence: of the starting weights.
        start_file: the file that `load_start` reads, and where it is published; empty when there is none.
        published_id: identifier of WildSAT's published checkpoint, None when there is none.
        gsd_m: ground sizes of a pixel that the installed model is for; those of a published checkpoint follow from its
            training pictures, see `trained_gsd_m`.
    """

    name: str
    title: str
    architecture: str
    start: str
    feature_size: int
    preprocessing: Preprocessing
    tuning: str
    licence: str
    start_file: str = ""
    published_id: str | None = None
    architecture_args: dict[str, Any] = field(default_factory=dict)
    text_encoder: str = "gritlm"
    metric: Metric = "inner_product"
    gsd_m: tuple[float, float] | None = None

    @property
    def trained_gsd_m(self) -> tuple[float, float] | None:
        """Pixel sizes that the installed model is for, or that WildSAT's published checkpoint was trained on.

        WildSAT's pictures are Web Mercator tiles of zoom 13 with 512 pixels a side, so a pixel has 9.55 m at the
        equator and half of it at 60 degrees; models that resize them see coarser ones.
        """
        if self.gsd_m is not None or self.published_id is None:
            return self.gsd_m
        shrunk = REFERENCE_PX / (self.preprocessing.input_px or REFERENCE_PX)
        return REFERENCE_GSD_M[0] * shrunk, REFERENCE_GSD_M[1] * shrunk

    @property
    def trained_side_km(self) -> tuple[float, float] | None:
        """Ground that pictures of a published checkpoint's training show: 4.9 km at the equator, half at 60 degrees."""
        if self.published_id is None:
            return None
        low, high = (round(size * REFERENCE_PX / 1000, 1) for size in REFERENCE_GSD_M)
        return low, high

    def config(
        self,
        *,
        name: str | None = None,
        text_encoder: str | None = None,
        text_features: int | None = None,
        dim: int = 256,
        metric: Metric | None = None,
        location: LocationConfig | None = None,
    ) -> ModelConfig:
        """A config for this row with the reference's heads: linear, no bias, one for each tile space and one for text.

        Args:
            name: of the new model, by default the row's.
            text_encoder: by default the row's.
            text_features: length of the text encoder's embedding, needed only for `st:` encoders.
            dim: length of the vectors.
            metric: by default the row's.
            location: the location encoder, if any.
        """
        text_encoder = text_encoder or self.text_encoder
        head = HeadConfig(in_features=self.feature_size, out_features=dim)
        return ModelConfig(
            name=name or self.name,
            title=self.title,
            architecture=self.architecture,
            architecture_args=self.architecture_args,
            feature_size=self.feature_size,
            preprocessing=self.preprocessing,
            tile_heads={"text": head, "location": head, "image": head},
            text_encoder=text_encoder,
            text_head=HeadConfig(in_features=text_features or TEXT_FEATURES[text_encoder], out_features=dim),
            location=location,
            metric=metric or self.metric,
            licence=self.licence,
            source=self.start_file,
        )

    def as_dict(self) -> dict[str, Any]:
        """For people and programs that read `wildsat models list --json`."""
        return {
            "name": self.name,
            "title": self.title,
            "architecture": self.architecture,
            "start": self.start,
            "bands": list(self.preprocessing.bands),
            "channels": self.preprocessing.channels,
            "positions": list(self.preprocessing.positions),
            "input_px": self.preprocessing.input_px,
            "preprocessing": self.preprocessing.describe(),
            "feature_size": self.feature_size,
            "tuning": self.tuning,
            "text_encoder": self.text_encoder,
            "metric": self.metric,
            "gsd_m": self.trained_gsd_m,
            "side_km": self.trained_side_km,
            "licence": self.licence,
            "start_file": self.start_file,
            "published_id": self.published_id,
        }


def rgb(input_px: int | None) -> Preprocessing:
    """True colour into a three-channel model."""
    return Preprocessing(input_px=input_px)


def satclip_bands(input_px: int | None, given: tuple[str, ...] = RGB) -> Preprocessing:
    """The given bands into the thirteen channels of a SatCLIP image tower, zeros elsewhere."""
    return Preprocessing(input_px, given, len(SENTINEL2), band_positions(given, SENTINEL2))


def prithvi_bands(input_px: int | None, given: tuple[str, ...] = RGB) -> Preprocessing:
    """The given bands into Prithvi's six channels, zeros elsewhere."""
    return Preprocessing(input_px, given, len(PRITHVI), band_positions(given, PRITHVI))


def multispectral_bands(start: str, input_px: int | None) -> Preprocessing:
    """The nine-band option for SatCLIP and Prithvi: all nine count in the normalisation, those with a channel go in."""
    wanted = SENTINEL2 if start == "satclip" else PRITHVI
    positions = tuple(wanted.index(band) if band in wanted else DROPPED for band in NINE_BANDS)
    return Preprocessing(input_px, NINE_BANDS, len(wanted), positions)


def nine_bands(input_px: int | None) -> Preprocessing:
    """The nine-band option for a backbone of three channels: all nine go in, a mixing layer makes three of them."""
    return Preprocessing(input_px, NINE_BANDS, len(NINE_BANDS), tuple(range(len(NINE_BANDS))))
