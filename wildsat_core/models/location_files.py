"""Location encoders in files: published SINR, LE-SINR and SatCLIP weights, and directories of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wildsat_core.errors import CheckpointError, ModelNotFoundError
from wildsat_core.location import build_location
from wildsat_core.location.bioclim import LAYERS
from wildsat_core.models.checkpoint import read_checkpoint, state_dict_of, without_prefix
from wildsat_core.models.weights import file_sha256, load_exactly, read_safetensors, write_safetensors

CONFIG_FILE = "location.json"
WEIGHTS_FILE = "location.safetensors"
SPECIES_FILE = "species.json"

# Trained with LE-SINR but not needed to place a text: embeddings of single species and their scale.
_SPECIES_ONLY = (
    "species_emb.species_emb.",
    "species_emb.scale",
    "species_emb.learned_emb.",
    "species_emb.linear_learned.",
)


def sinr_weights(
    state: dict[str, torch.Tensor], params: dict[str, Any] | None = None, *, features_only: bool = False
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a SINR or LE-SINR state dict: the arguments of `SinrEncoder`, and its weights.

    Sizes come from the weights themselves; `params` says what they can't, the kind of input.

    Args:
        state: published keys.
        params: of the published file; without it the input is taken from its size, 20 for climate alone, 20 more than
            a multiple of four for both, else position alone.
        features_only: leave out the species layer and the text tower, which location features don't need.

    Raises:
        CheckpointError: not a SINR network, or one that takes a time of year.
    """
    params = params or {}
    hyper = any(name.startswith("pos_enc.") for name in state)
    network = without_prefix(state, "pos_enc.") if hyper else state
    if "feats.0.weight" not in network:
        raise CheckpointError(f"this is not a SINR network: it has no feats.0.weight among {sorted(state)[:8]}")
    if params.get("input_time_dim") or params.get("noise_time"):
        raise CheckpointError("this SINR network takes a time of year, which isn't supported; use one for places alone")
    width, size = network["feats.0.weight"].shape
    arguments: dict[str, Any] = {
        "kind": "hypernet" if hyper else "residual",
        "inputs": params.get("input_enc") or _input_kind(size),
        "width": int(width),
        "depth": sum(name.endswith(".w1.weight") for name in network),
    }
    arguments["sinusoids"] = int(size) - (LAYERS if "env" in arguments["inputs"] else 0)
    if hyper:
        if not features_only and "species_emb.linear1.weight" in state:
            arguments["text"] = _text_arguments(state)
        dropped = ("species_params", *_SPECIES_ONLY, *(() if "text" in arguments else ("species_emb.", "species_enc.")))
        return arguments, {name: value for name, value in state.items() if not name.startswith(dropped)}
    arguments["species"] = 0 if features_only else len(state.get("class_emb.weight", ()))
    kept = {name: value for name, value in state.items() if not (features_only and name == "class_emb.weight")}
    return arguments, kept


def satclip_weights(
    state: dict[str, torch.Tensor], hyper_parameters: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read SatCLIP's location tower: the arguments of `SatCLIPEncoder`, and its weights.

    Args:
        state: keys `nnet.layers.*` and `nnet.last_layer.*`.
        hyper_parameters: of the published file; they say which convention of harmonics was used.

    Raises:
        CheckpointError: not such a tower, or one with another position code or network.
    """
    hyper = hyper_parameters or {}
    kinds = hyper.get("le_type", "sphericalharmonics"), hyper.get("pe_type", "siren")
    if kinds != ("sphericalharmonics", "siren") or "nnet.last_layer.weight" not in state:
        raise CheckpointError(
            f"only SatCLIP towers of spherical harmonics and SIREN are supported, this one is {kinds}"
        )
    features = state["nnet.layers.0.weight"].shape[1]
    dim, width = state["nnet.last_layer.weight"].shape
    arguments = {
        "degree": int(features**0.5),
        "width": int(width),
        "depth": sum(name.startswith("nnet.layers.") and name.endswith(".weight") for name in state),
        "dim": int(dim),
        "harmonics": hyper.get("harmonics_calculation", "analytic"),
        "double": state["nnet.last_layer.weight"].dtype == torch.float64,
    }
    return arguments, {name: value for name, value in state.items() if name.startswith("nnet.")}


def read_location_file(path: str | Path) -> tuple[str, dict[str, Any], nn.Module]:
    """Read a published SINR `model.pt` or SatCLIP `.ckpt`: the kind, its arguments and the encoder.

    Raises:
        CheckpointError: neither, unsafe, or keys that don't fit; they are named.
    """
    content = read_checkpoint(path)
    state = state_dict_of(content, "state_dict", str(path))
    tower = without_prefix(state, "model.location.")
    if tower:
        kind, (arguments, weights) = "satclip", satclip_weights(tower, content.get("hyper_parameters"))
    elif isinstance(content.get("params"), dict):
        kind, (arguments, weights) = "sinr", sinr_weights(state, content["params"])
    else:
        raise CheckpointError(
            f"{path} is neither a SINR file (params, state_dict) nor a SatCLIP one (model.location.*)"
        )
    encoder = build_location(kind, arguments)
    load_exactly(encoder, weights, str(path))
    return kind, arguments, encoder.eval()


def save_location(
    encoder: nn.Module, kind: str, arguments: dict[str, Any], directory: str | Path, source: Path
) -> None:
    """Write a location encoder's directory: safetensors, and JSON with what it was made from."""
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    write_safetensors(encoder.state_dict(), path / WEIGHTS_FILE)
    about = {
        "format": 1,
        "kind": kind,
        "parameters": arguments,
        "source": source.name,
        "source_sha256": file_sha256(source),
    }
    (path / CONFIG_FILE).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def save_species(content: dict[str, Any], encoder: nn.Module, directory: str | Path) -> int:
    """Write which taxon each row of a published SINR's species layer is, so that ranges can be drawn.

    Args:
        content: of the published file.
        encoder: made from it.
        directory: of the encoder.

    Returns:
        The number of species; 0, and nothing written, where the file names none or has no species layer.

    Raises:
        CheckpointError: the file names another number of species than its layer has.
    """
    taxa = (content.get("params") or {}).get("class_to_taxa")
    layer = getattr(encoder, "class_emb", None)
    if taxa is None or layer is None:
        return 0
    names = [str(int(taxon)) for taxon in taxa]
    if len(names) != layer.weight.shape[0]:
        raise CheckpointError(f"the file names {len(names)} species, its layer has {layer.weight.shape[0]}")
    about = {"format": 1, "species": names, "names": "iNaturalist taxon identifiers"}
    (Path(directory) / SPECIES_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return len(names)


def load_location(directory: str | Path) -> nn.Module:
    """Load a location encoder's directory.

    Raises:
        ModelNotFoundError: there is none.
        CheckpointError: its files are damaged or don't fit each other.
    """
    path = Path(directory)
    try:
        about = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8"))
        kind, arguments = about["kind"], about["parameters"]
    except FileNotFoundError as err:
        raise ModelNotFoundError(f"{path} is not a location encoder's directory: it has no {CONFIG_FILE}") from err
    except (ValueError, KeyError, TypeError) as err:
        raise CheckpointError(f"{path / CONFIG_FILE} is damaged: {err}") from err
    encoder = build_location(kind, arguments)
    load_exactly(encoder, read_safetensors(path / WEIGHTS_FILE), WEIGHTS_FILE)
    return encoder.eval()


def _input_kind(size: int) -> str:
    if size == LAYERS:
        return "env"
    return "sin_cos_env" if size > LAYERS else "sin_cos"


def _text_arguments(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Sizes of LE-SINR's text tower, read off its weights."""
    linears = sorted(name for name in state if name.startswith("species_emb.linear") and name.endswith(".weight"))
    linears = [name for name in linears if "learned" not in name]
    last = state[f"species_emb.linear{len(linears)}.weight"]
    arguments: dict[str, Any] = {
        "features": int(state["species_emb.linear1.weight"].shape[1]),
        "hidden": int(last.shape[1]) if len(linears) > 1 else 0,
        "layers": len(linears) - 1,
        "batchnorm": "species_emb.bn1.weight" in state,
        "species_dim": int(last.shape[0]),
        "species_depth": -1,
        "species_width": 0,
    }
    if "species_enc.weight" in state:
        arguments["species_depth"] = 0
    elif "species_enc.feats.0.weight" in state:
        depth = sum(n.startswith("species_enc.feats.") and n.endswith(".w1.weight") for n in state)
        arguments |= {"species_depth": depth, "species_width": int(state["species_enc.feats.0.weight"].shape[0])}
    return arguments
