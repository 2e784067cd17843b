"""The table of models, and how a model is found and loaded by name.

`wildsat-mini` and `wildsat-s2` are this project's own. The fourteen starting points after them are those of WildSAT
(Daroya et al., ICCV 2025, arXiv:2412.14428). Its published checkpoints carry no licence; the licence column is that of
the starting weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from wildsat_core.errors import InvalidInputError, ModelNotFoundError
from wildsat_core.files import sha256_file
from wildsat_core.ground_scale import GroundScale, distance, in_words, suits
from wildsat_core.models.config import CONFIG_FILE, WEIGHTS_FILE, read_config
from wildsat_core.models.spec import ModelSpec, prithvi_bands, rgb, satclip_bands
from wildsat_core.preprocess import Preprocessing
from wildsat_core.types import ModelRef

if TYPE_CHECKING:
    import torch

    from wildsat_core.models.model import WildSATModel

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"

NORMS = "norms and classifier"
ADAPTERS = "LoRA and DoRA on k_proj, v_proj, q_proj, out_proj, visual_projection"
IMAGENET = "BSD-3-Clause code; trained on ImageNet-1k, whose terms are research only"
NONE = "none needed: random weights"
SATCLIP = {"num_classes": 256}
POOLED = {"classifier": False}

SLIM = {"channels": [32, 64, 128, 256], "stem_width": 16}
MINI = Preprocessing(input_px=40, normalisation="standard", mean=(0.35, 0.37, 0.33), std=(0.22, 0.2, 0.2))

COMPACT = {"widths": [48, 96, 192], "blocks": [1, 2, 2], "features": 384}
S2 = Preprocessing(normalisation="standard", mean=(0.36, 0.37, 0.36), std=(0.22, 0.2, 0.2))

_ROWS = (
    ModelSpec("wildsat-mini", "WildSAT mini, shipped with the program", "timm:resnet10t", "random", 256,
              MINI, "all", "Apache-2.0", "", architecture_args=SLIM, text_encoder="minilm", metric="cosine",
              gsd_m=(500.0, 8000.0)),
    ModelSpec("wildsat-s2", "WildSAT for Sentinel-2, shipped with the program", "wildsat:compact", "random", 384,
              S2, "all", "Apache-2.0", "", architecture_args=COMPACT, text_encoder="minilm", metric="cosine",
              gsd_m=(10.0, 60.0)),
    ModelSpec("vitb16-imagenet", "ViT-B/16 from ImageNet-1k", "torchvision:vit_b_16", "imagenet", 1000, rgb(224), NORMS,
              IMAGENET, "torchvision ViT_B_16_Weights.IMAGENET1K_V1", "1IxBpf3nbEMzny4YJWS6stMBxel6gMiYE"),
    ModelSpec("vitb16-clip", "ViT-B/16 from CLIP", "clip:vit", "clip", 512, rgb(224), ADAPTERS,
              "MIT", "openai/clip-vit-base-patch16 on Hugging Face", "1AjB9nWxv_-LTjZtxDFh4Tq50hwga65pK"),
    ModelSpec("vitb16-prithvi", "ViT-B/16 from Prithvi-100M", "prithvi:vit", "prithvi", 768, prithvi_bands(224), "all",
              "Apache-2.0", "Prithvi_100M.pt, ibm-nasa-geospatial/Prithvi-EO-1.0-100M on Hugging Face",
              "12Mi1mr9Ktk7JEbyhyaaNhx6Nog--dPWs"),
    ModelSpec("vitb16-satclip", "ViT-S/16 from SatCLIP", "timm:vit_small_patch16_224", "satclip", 256,
              satclip_bands(224), "all", "MIT", "satclip-vit16-l10.ckpt, microsoft/SatCLIP-ViT16-L10 on Hugging Face",
              "1P5DVHJP_8idUoTOr-ycDTvCZ7hxUizUQ", SATCLIP),
    ModelSpec("vitb16-random", "ViT-B/16 from random weights", "torchvision:vit_b_16", "random", 1000, rgb(224), "all",
              NONE, "", "1jsabRt5QKvN8MAjsHKKZwlBqT16-6WPU"),
    ModelSpec("swint-imagenet", "Swin-T from ImageNet-1k", "torchvision:swin_t", "imagenet", 1000, rgb(None), NORMS,
              IMAGENET, "torchvision Swin_T_Weights.IMAGENET1K_V1", "12rfb3ES9-RuIAk_RjzYrMQJG_5J1Iq5H"),
    ModelSpec("swint-satlas", "Swin-v2-T from Satlas", "torchvision:swin_v2_t", "satlas", 1000, rgb(None), "all",
              "ODC-BY", "sentinel2_swint_si_rgb.pth, allenai/satlas-pretrain on Hugging Face",
              "1luX_a2nSp0Lg-TEWH29kViKFx5YES9-U"),
    ModelSpec("swint-random", "Swin-T from random weights", "torchvision:swin_t", "random", 1000, rgb(None), "all",
              NONE, "", "1nEKchTOxuXdJ6e-aLjnVZE4RmrJzZa-u"),
    ModelSpec("resnet50-imagenet", "ResNet-50 from ImageNet-1k", "torchvision:resnet50", "imagenet", 1000, rgb(None),
              NORMS, IMAGENET, "torchvision ResNet50_Weights.IMAGENET1K_V2", "1LwCjzT1p0yFOtv1m0YD-rl7tP0eYXTb2"),
    ModelSpec("resnet50-moco", "ResNet-50 from MoCo v3", "torchvision:resnet50", "moco", 1000, rgb(None), NORMS,
              "CC-BY-NC-4.0", "r-50-100ep.pth.tar of facebookresearch/moco-v3", "1FvxUuRITM-156QgJDJ8OYCPkTN74OlC-"),
    ModelSpec("resnet50-satclip", "ResNet-50 from SatCLIP", "timm:resnet50", "satclip", 256, satclip_bands(None), "all",
              "MIT", "satclip-resnet50-l10.ckpt, microsoft/SatCLIP-ResNet50-L10 on Hugging Face",
              "1Dca0pHQ53v20Jy22_ikIl1bPH1CKNVJr", SATCLIP),
    ModelSpec("resnet50-satlas", "ResNet-50 from Satlas", "torchvision:resnet50", "satlas", 1000, rgb(None), "all",
              "ODC-BY", "sentinel2_resnet50_si_rgb.pth, allenai/satlas-pretrain on Hugging Face",
              "19fhXiSIrAYtXXuqklKG5YAdeS2jgTDjx"),
    ModelSpec("resnet50-seco", "ResNet-50 from SeCo", "torchvision:resnet50", "seco", 2048, rgb(None), "all",
              "Apache-2.0", "seco_resnet50_100k.ckpt of ServiceNow/seasonal-contrast",
              "1GWrhoRLx4hnpfGOi8HYM2aKUyxVMvQEP", POOLED),
    ModelSpec("resnet50-random", "ResNet-50 from random weights", "torchvision:resnet50", "random", 1000, rgb(None),
              "all", NONE, "", "1qKphYzyPp3dM_l5CIno0-p4KPvypCOW_"),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {row.name: row for row in _ROWS}


def find_spec(name: str) -> ModelSpec:
    """The row of a name, or a row made for `timm:<backbone>` or `torchgeo:<weights>`.

    Raises:
        ModelNotFoundError: no such row, no such timm backbone, or no such weights of torchgeo.
        InvalidInputError: torchgeo's weights are none to train from.
        MissingExtraError: torchgeo is asked for and not installed.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith("timm:"):
        return _timm_spec(name)
    if name.startswith("torchgeo:"):
        from wildsat_core.models.torchgeo_starts import torchgeo_spec

        return torchgeo_spec(name)
    raise ModelNotFoundError(
        f"no model is called {name!r}; there are {', '.join(MODELS)}, timm:<backbone> and torchgeo:<weights>"
    )


def model_home() -> Path:
    """Where converted and pulled models are kept: $WILDSAT_MODEL_DIR, or a folder of the user's cache."""
    return Path(os.environ.get("WILDSAT_MODEL_DIR") or Path.home() / ".cache" / "wildsat" / "models")


def installed_models() -> dict[str, Path]:
    """Names and directories of the models that can be loaded now; the user's own hide shipped ones of the same name."""
    found: dict[str, Path] = {}
    for home in (PRETRAINED, model_home()):
        if home.is_dir():
            found.update({d.name: d for d in sorted(home.iterdir()) if (d / CONFIG_FILE).is_file()})
    return found


def find_model(name_or_dir: str | Path) -> Path:
    """The directory of a model given by name or by path.

    Raises:
        ModelNotFoundError: neither an installed name nor a model directory; says how to get one that can be fetched.
    """
    path = Path(name_or_dir)
    if (path / CONFIG_FILE).is_file():
        return path
    installed = installed_models()
    name = str(name_or_dir)
    if name in installed:
        return installed[name]
    row = MODELS.get(name)
    how = f"; fetch it with `wildsat models pull {name}`" if row is not None and row.published_id else ""
    raise ModelNotFoundError(
        f"no model {name!r} is installed and it is not a model directory; "
        f"installed: {', '.join(installed) or 'none'}{how}"
    )


def model_for(scale: GroundScale, *, any_scale: bool = False) -> str:
    """Name of the installed model that is for tiles of this scale; of several, the one whose range lies nearest.

    Args:
        scale: of the tiles.
        any_scale: where no model is for it, take the nearest.

    Raises:
        InvalidInputError: no installed model is for it; says what they are for.
    """
    configs = [read_config(directory) for directory in installed_models().values()]
    ranged = sorted((c for c in configs if c.gsd_m is not None), key=lambda config: distance(config, scale))
    fitting = [config for config in ranged if suits(config, scale)] or (ranged if any_scale else [])
    if fitting:
        return fitting[0].name
    known = ", ".join(f"{c.name} is for {in_words(c.gsd_m)}" for c in ranged if c.gsd_m is not None)
    raise InvalidInputError(
        f"no installed model is for pixels of {in_words(scale.gsd_m)} in tiles of {in_words(scale.side_m)}: "
        f"{known or 'none says what it is for'}. Cut other tiles, name one with --model, or insist with --any-scale",
        "model",
    )


def load_model(name_or_dir: str | Path, device: str | torch.device = "cpu") -> WildSATModel:
    """Load a model, ready to embed.

    Raises:
        ModelNotFoundError: no such model.
        CheckpointError: its files are damaged or don't fit each other.
    """
    folder = find_model(name_or_dir)  # before torch is loaded, which takes seconds
    from wildsat_core.models.model import WildSATModel

    return WildSATModel.open(folder, device)


def model_ref(name_or_dir: str) -> ModelRef:
    """Identity of an installed model from its files alone, in milliseconds."""
    folder = find_model(name_or_dir)
    config = read_config(folder)
    return ModelRef(
        config.name, sha256_file(folder / WEIGHTS_FILE), config.text_encoder, config.preprocessing.describe()
    )


def _timm_spec(name: str) -> ModelSpec:
    """A row for any timm backbone: pooled features, and the preprocessing that its weights were trained with."""
    import torch

    from wildsat_core.torchvision_guard import guard_torchvision

    guard_torchvision()
    import timm

    backbone = name.removeprefix("timm:")
    if not timm.is_model(backbone.split(".")[0]):
        raise ModelNotFoundError(f"timm has no backbone {backbone!r}; timm.list_models() lists them")
    with torch.device("meta"):  # shapes without memory: the row needs the feature size only
        model = timm.create_model(backbone, pretrained=False, num_classes=0)
    trained = model.pretrained_cfg
    preprocessing = Preprocessing(
        input_px=trained["input_size"][-1],
        normalisation="standard",
        mean=tuple(trained["mean"]),
        std=tuple(trained["std"]),
    )
    size = int(getattr(model, "head_hidden_size", model.num_features))  # some have a layer after pooling
    return ModelSpec(
        name, f"timm {backbone}", name, "timm", size, preprocessing, "all",
        str(trained.get("license") or "see timm's model card"), f"timm {backbone}",
        text_encoder="minilm", metric="cosine",
    )  # fmt: skip
