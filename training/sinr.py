"""Trains a location encoder from presence-only sightings.

Method: Cole et al., "Spatial Implicit Neural Representations for Global-Scale Species Mapping", ICML 2023
(arXiv:2306.02564). For each sighting the species seen is present there, every other species is assumed absent, and at
a random place on the globe all species are assumed absent.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from training.data.observations import Observation
from wildsat_core.errors import CheckpointError, InvalidInputError, ModelNotFoundError, TrainingError
from wildsat_core.files import require_new
from wildsat_core.location.sinr import SinrEncoder
from wildsat_core.models.location_files import load_location, save_location

CPU = torch.device("cpu")
SPECIES_FILE = "species.json"
POSITIVE_WEIGHT = 2048.0  # lambda of the paper, which makes one presence outweigh the assumed absences
RATE_DECAY = 0.98  # of the learning rate, each epoch, as in the paper


@dataclass(frozen=True, slots=True)
class SinrConfig:
    """Settings of a run; the defaults are the paper's, but for the input, which there is position and climate.

    Attributes:
        inputs: "sin_cos" position, "env" climate and elevation, "sin_cos_env" both.
        width, depth, sinusoids: of the network.
        epochs, batch, lr, seed: of the optimisation (Adam).
        least_sightings: species with fewer are left out.
    """

    inputs: str = "sin_cos"
    width: int = 256
    depth: int = 4
    sinusoids: int = 4
    epochs: int = 10
    batch: int = 2048
    lr: float = 5e-4
    seed: int = 123
    least_sightings: int = 1

    def __post_init__(self) -> None:
        """Refuse settings that can't work."""
        if self.inputs not in ("sin_cos", "env", "sin_cos_env"):
            raise InvalidInputError(f"inputs must be sin_cos, env or sin_cos_env, got {self.inputs!r}", "inputs")
        if min(self.width, self.epochs, self.batch, self.least_sightings) < 1 or self.depth < 0 or not self.lr > 0:
            raise InvalidInputError(f"sizes and rates must be positive, got {self}", "sinr")


@dataclass(frozen=True, slots=True)
class TrainedSinr:
    """A location encoder with its species layer; row i of the layer is species[i]."""

    encoder: SinrEncoder
    species: tuple[str, ...]


def an_full_loss(
    seen_logits: torch.Tensor, random_logits: torch.Tensor, species: torch.Tensor, weight: float = POSITIVE_WEIGHT
) -> torch.Tensor:
    """The loss "full assume negative" of the paper, on logits for numerical safety.

    Args:
        seen_logits: (B, S) at the sightings.
        random_logits: (B, S) at random places.
        species: (B,) the species seen.
        weight: of the one presence.

    Returns:
        Scalar in nats, the mean over places and species.
    """
    presence = F.one_hot(species, seen_logits.shape[1]).to(seen_logits.dtype)
    absent_here = F.softplus(seen_logits)  # -log(1 - sigmoid)
    present_here = F.softplus(-seen_logits)  # -log(sigmoid)
    here = presence * weight * present_here + (1 - presence) * absent_here
    return (here + F.softplus(random_logits)).mean()


def random_places(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count, 2) degrees, even over the surface of the globe."""
    unit = torch.rand(count, 2, generator=generator)
    lon = unit[:, 0] * 360 - 180
    lat = torch.rad2deg(torch.asin(unit[:, 1] * 2 - 1))
    return torch.stack([lon, lat], 1)


def train_sinr_encoder(
    sightings: Sequence[Observation],
    config: SinrConfig,
    out: Path,
    *,
    source: Path,
    device: torch.device = CPU,
    say: Callable[[str], Any] = print,
) -> TrainedSinr:
    """Train on sightings and write the directory of the encoder.

    Args:
        sightings: species and places.
        config: of the run.
        out: directory; `location.safetensors`, `location.json` and `species.json` are written.
        source: the file of sightings, whose name and hash are kept.
        device: what it is trained on; the encoder comes back on the CPU.
        say: takes a line for each epoch.

    Raises:
        InvalidInputError: fewer than two species are left, or the directory is not empty.
        MissingDataError: climate is an input and its raster is not set.
        TrainingError: the loss is not finite.
    """
    require_new(out, "out")
    names, species, lon_lat = _arrays(sightings, config.least_sightings)
    species, lon_lat = species.to(device), lon_lat.to(device)
    torch.manual_seed(config.seed)
    arguments = {
        "inputs": config.inputs,
        "width": config.width,
        "depth": config.depth,
        "sinusoids": config.sinusoids,
        "species": len(names),
    }
    encoder = SinrEncoder(**arguments).to(device)  # type: ignore[arg-type]
    optimiser = torch.optim.Adam(encoder.parameters(), lr=config.lr)
    generator = torch.Generator().manual_seed(config.seed)
    encoder.train()
    for epoch in range(config.epochs):
        loss = _epoch(encoder, optimiser, species, lon_lat, config.batch, generator)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss of the location encoder became {loss} in epoch {epoch + 1}; lower the rate")
        for group in optimiser.param_groups:
            group["lr"] *= RATE_DECAY
        say(f"epoch {epoch + 1}/{config.epochs}: loss {loss:.4f} over {len(species)} sightings of {len(names)} species")
    encoder.cpu().eval()
    save_location(encoder, "sinr", arguments, out, source)
    about = {"format": 1, "species": list(names), "settings": asdict(config)}
    (out / SPECIES_FILE).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return TrainedSinr(encoder, names)


def load_sinr(directory: Path) -> TrainedSinr:
    """Load what `train_sinr_encoder` wrote.

    Raises:
        ModelNotFoundError: there is no species table.
        CheckpointError: the files are damaged or don't fit each other.
    """
    encoder = load_location(directory)
    try:
        names = tuple(json.loads((directory / SPECIES_FILE).read_text(encoding="utf-8"))["species"])
    except FileNotFoundError as err:
        raise ModelNotFoundError(f"{directory} has no {SPECIES_FILE}; it can't draw ranges") from err
    except (ValueError, KeyError, TypeError) as err:
        raise CheckpointError(f"{directory / SPECIES_FILE} is damaged: {err}") from err
    if not isinstance(encoder, SinrEncoder) or len(encoder.class_emb.weight) != len(names):
        raise CheckpointError(f"{directory} does not hold a SINR encoder for its {len(names)} species")
    return TrainedSinr(encoder, names)


def _epoch(
    encoder: SinrEncoder,
    optimiser: torch.optim.Optimizer,
    species: torch.Tensor,
    lon_lat: torch.Tensor,
    batch: int,
    generator: torch.Generator,
) -> float:
    """Once through the sightings in a new order; the mean loss."""
    order = torch.randperm(len(species), generator=generator).to(species.device)
    total = 0.0
    for rows in torch.split(order, batch):
        places = torch.cat([lon_lat[rows], random_places(len(rows), generator).to(lon_lat)])
        logits = encoder.class_emb(encoder(places))  # (2B, S): one pass for sightings and random places
        loss = an_full_loss(logits[: len(rows)], logits[len(rows) :], species[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach()) * len(rows)
    return total / len(species)


def _arrays(sightings: Sequence[Observation], least: int) -> tuple[tuple[str, ...], torch.Tensor, torch.Tensor]:
    """Names of the species kept, the species' number of each sighting, and its place (N, 2)."""
    counts = Counter(seen.species for seen in sightings)
    names = tuple(sorted(name for name, count in counts.items() if count >= least))
    if len(names) < 2:
        raise InvalidInputError(
            f"a location encoder needs sightings of two species or more, {len(names)} of {len(counts)} are left with "
            f"at least {least} sightings",
            "observations",
        )
    number = {name: i for i, name in enumerate(names)}
    kept = [seen for seen in sightings if seen.species in number]
    species = torch.tensor([number[seen.species] for seen in kept])
    places: npt.NDArray[np.float32] = np.array([(seen.lon, seen.lat) for seen in kept], np.float32)
    return names, species, torch.from_numpy(places)
