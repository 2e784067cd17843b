"""Which of a model's parameters training changes: all, norm layers and classifier, adapters, or heads alone.

Adapters are LoRA (Hu et al., arXiv:2106.09685) and DoRA (Liu et al., arXiv:2402.09353), put in by the library peft.
"""

from __future__ import annotations

import copy
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from wildsat_core.errors import InvalidInputError, MissingExtraError
from wildsat_core.models.convert import mean_order_head
from wildsat_core.models.model import WildSATModel
from wildsat_core.models.prithvi import PrithviBackbone
from wildsat_core.models.weights import load_exactly
from wildsat_core.torchvision_guard import guard_torchvision

Mode = Literal["full", "bnft", "lora", "dora", "classifier", "frozen"]

NORM_LAYERS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
CLASSIFIERS = ("fc", "head", "heads", "visual_projection")  # names of the last layer in the libraries' backbones
REFERENCE_NORMS = ("bn", "norm", "ln")  # the reference picks parameters by these parts of their names
REFERENCE_CLASSIFIERS = ("fc", "head", "proj")
PAST_THEIR_LAYERS = ("MultiheadAttention", "ShiftedWindowAttention", "ShiftedWindowAttentionV2")  # torch, torchvision
CLIP_TARGETS = ("k_proj", "v_proj", "q_proj", "out_proj", "visual_projection")


class TuningConfig(BaseModel):
    """What is trained.

    Attributes:
        mode: "full" trains everything; "bnft" norm layers, the classifier and heads; "lora" and "dora" adapters and
            heads; "classifier" the backbone's last layer and heads; "frozen" heads alone.
        rank, alpha: of adapters; their product is scaled by alpha / rank.
        targets: last parts of the names of the linear layers that get adapters; empty for all linear layers of the
            backbone but its classifier, and for CLIP the reference's five.
        reference: in "bnft", choose parameters by parts of their names as the reference does; this leaves tile heads at
            their random start, and norm layers that don't say so in their name frozen.
        settle_frozen: layers that are wholly frozen work as in evaluation: batch norms keep their statistics, no path
            is dropped. Without it they work as in training, as in the reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "full"
    rank: int = Field(default=8, gt=0)
    alpha: float = Field(default=8, gt=0)
    targets: tuple[str, ...] = ()
    reference: bool = False
    settle_frozen: bool = True


def apply_tuning(model: WildSATModel, config: TuningConfig) -> None:
    """Freeze what is not trained and put in adapters, in place. The location encoder is always frozen, its head not.

    Raises:
        InvalidInputError: `reference` with another mode than "bnft", no layer matches the adapters' targets, or the
            backbone has no last layer to train.
        MissingExtraError: adapters are wanted and peft is not installed.
    """
    if config.reference and config.mode != "bnft":
        raise InvalidInputError(f"tuning.reference goes with mode bnft, got {config.mode}", "tuning.reference")
    model.requires_grad_(True)
    if model.location is not None:
        model.location.encoder.requires_grad_(False)
    if config.mode == "full":
        return
    model.backbone.requires_grad_(False)
    if config.mode == "bnft":
        names = _reference_names(model.backbone) if config.reference else _norm_and_classifier_names(model.backbone)
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_(name in names)
        if config.reference:
            model.tile_heads.requires_grad_(False)
    elif config.mode == "classifier":
        _train_classifier(model)
    elif config.mode in ("lora", "dora"):
        _add_adapters(model, config)


def settle_modes(model: WildSATModel, *, frozen_layers: bool = True) -> None:
    """After `model.train()`: what is wholly frozen goes to evaluation mode.

    Frozen batch norms would otherwise follow the new pictures, and a frozen backbone would drop paths at random.

    Args:
        model: after `apply_tuning`.
        frozen_layers: those of the backbone; the location encoder is settled in any case.
    """
    parts: list[nn.Module] = [model.backbone] if frozen_layers else []
    parts += [] if model.location is None else [model.location.encoder]
    for part in parts:
        if not any(p.requires_grad for p in part.parameters()):
            part.eval()
    if not frozen_layers:
        return
    for layer in model.modules():
        if isinstance(layer, NORM_LAYERS) and not any(p.requires_grad for p in layer.parameters()):
            layer.eval()


def without_adapters(model: WildSATModel) -> WildSATModel:
    """An ordinary model that gives the same vectors: a copy with adapters folded into the weights that they adapt."""
    plain = copy.deepcopy(model)
    if any(_is_adapted(m) for m in plain.modules()):
        _fold(plain.backbone)
    if plain.config.architecture_args.get("pool") == "shuffled":
        plain = over_mean_tokens(plain)
    return plain.requires_grad_(True)


def over_mean_tokens(model: WildSATModel) -> WildSATModel:
    """A model that reads Prithvi's mean token, from one that was trained on its tokens in random order.

    Its vectors are the exact mean over all orders, and its heads are 196 times smaller.
    """
    old = model.config
    assert isinstance(model.backbone, PrithviBackbone)
    width = int(model.backbone.norm.weight.shape[0])
    heads = {space: head.model_copy(update={"in_features": width}) for space, head in old.tile_heads.items()}
    pooled = old.model_copy(
        update={
            "architecture_args": old.architecture_args | {"pool": "mean"},
            "feature_size": width,
            "tile_heads": heads,
        }
    )
    weights = {
        name: mean_order_head(value, width) if name.startswith("tile_heads.") else value
        for name, value in model.state_dict().items()
    }
    result = WildSATModel(pooled)
    load_exactly(result, weights, "the trained model")
    return result


def _norm_and_classifier_names(backbone: nn.Module) -> set[str]:
    """Parameters of every norm layer, whatever its name, and of the last layer."""
    names = {
        f"{layer_name}.{name}" if layer_name else name
        for layer_name, layer in backbone.named_modules()
        if isinstance(layer, NORM_LAYERS)
        for name, _ in layer.named_parameters(recurse=False)
    }
    return names | {name for name, _ in backbone.named_parameters() if _in_classifier(name)}


def _reference_names(backbone: nn.Module) -> set[str]:
    parts = REFERENCE_NORMS + REFERENCE_CLASSIFIERS
    return {name for name, _ in backbone.named_parameters() if any(part in name for part in parts)}


def _in_classifier(name: str) -> bool:
    """Whether a parameter is the backbone's last layer: `fc.weight`, `inner.heads.head.bias`, ..."""
    first = name.removeprefix("inner.").removeprefix("vision.").split(".")[0]
    return first in CLASSIFIERS


def _train_classifier(model: WildSATModel) -> None:
    last = [parameter for name, parameter in model.backbone.named_parameters() if _in_classifier(name)]
    if not last:
        raise InvalidInputError(
            f"{model.config.architecture} has no classifier to train; set tuning.mode to frozen, bnft or full",
            "tuning.mode",
        )
    for parameter in last:
        parameter.requires_grad_(True)


def _add_adapters(model: WildSATModel, config: TuningConfig) -> None:
    guard_torchvision()
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as err:
        raise MissingExtraError("peft", "train", f"tuning mode {config.mode}") from err
    targets, unreachable = config.targets or _default_targets(model), _read_by_their_parents(model.backbone)
    layers = [
        name
        for name, layer in model.backbone.named_modules()
        if isinstance(layer, nn.Linear)
        and name not in unreachable
        and any(name == t or name.endswith(f".{t}") for t in targets)
    ]
    if not layers:
        kind = f"named {', '.join(targets)}" if config.targets else "one that an adapter can follow"
        raise InvalidInputError(
            f"no linear layer of {model.config.architecture} is {kind}; name others in tuning.targets, or set "
            "tuning.mode to bnft or full",
            "tuning.targets",
        )
    adapters = LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=layers, use_dora=config.mode == "dora", lora_dropout=0.0
    )
    inject_adapter_in_model(adapters, model.backbone)


def _default_targets(model: WildSATModel) -> tuple[str, ...]:
    if model.config.architecture.startswith("clip:"):
        return CLIP_TARGETS
    return tuple(
        name
        for name, layer in model.backbone.named_modules()
        if isinstance(layer, nn.Linear) and not _in_classifier(name)
    )


def _read_by_their_parents(backbone: nn.Module) -> set[str]:
    """Layers whose weights attention hands to a function, past the layer itself: an adapter there would never act."""
    return {
        f"{name}.{child}"
        for name, module in backbone.named_modules()
        if type(module).__name__ in PAST_THEIR_LAYERS
        for child, _ in module.named_modules()
    }


def _is_adapted(module: nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "merge")


def _fold(backbone: nn.Module) -> None:
    for name, layer in list(backbone.named_modules()):
        if not _is_adapted(layer):
            continue
        layer.merge(safe_merge=True)  # refuses weights that are not finite
        parent = backbone.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
