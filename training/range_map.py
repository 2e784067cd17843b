"""Pictures of where a location encoder expects a species."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.data.observations import Observation
from training.sinr import TrainedSinr
from wildsat_core.countries import load_countries
from wildsat_core.errors import InvalidInputError, MissingExtraError

STEP_DEG = 0.5


@torch.inference_mode()
def range_grid(trained: TrainedSinr, species: str, step_deg: float = STEP_DEG) -> npt.NDArray[np.float32]:
    """How likely a species is seen at each place: (H, W) from north and west, in [0, 1].

    Raises:
        InvalidInputError: the encoder does not know the species.
    """
    if species not in trained.species:
        raise InvalidInputError(
            f"the location encoder does not know {species!r}; it knows {len(trained.species)} species, as "
            f"{', '.join(trained.species[:5])}",
            "species",
        )
    row = torch.tensor([trained.species.index(species)])
    lons = np.arange(-180 + step_deg / 2, 180, step_deg)
    lats = np.arange(90 - step_deg / 2, -90, -step_deg)
    grid = np.empty((len(lats), len(lons)), np.float32)
    trained.encoder.eval()
    for i, lat in enumerate(lats):
        places = torch.from_numpy(np.stack([lons, np.full_like(lons, lat)], 1).astype(np.float32))
        grid[i] = trained.encoder.species_scores(trained.encoder(places), row)[:, 0].numpy()
    return grid


def draw_range_map(trained: TrainedSinr, species: str, path: Path, sightings: Sequence[Observation] = ()) -> Path:
    """Draw one species' range, with its sightings if they are given, as a PNG in longitude and latitude.

    Raises:
        InvalidInputError: the encoder does not know the species.
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise MissingExtraError("matplotlib", "train", "drawing a range map") from err
    grid = range_grid(trained, species)
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(grid, extent=(-180, 180, -90, 90), cmap="viridis", vmin=0, vmax=max(float(grid.max()), 1e-6))
    for ring in _outlines():
        axes.plot(*ring.T, color="white", linewidth=0.4, alpha=0.7)
    own = [(seen.lon, seen.lat) for seen in sightings if seen.species == species]
    if own:
        axes.plot(*zip(*own, strict=True), "r.", markersize=4, label=f"{len(own)} sightings")
        axes.legend(loc="lower left", fontsize="small")
    axes.set(title=species, xlabel="longitude", ylabel="latitude", xlim=(-180, 180), ylim=(-90, 90))
    figure.colorbar(shown, label="expected presence (relative)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return path


def draw_range_maps(trained: TrainedSinr, sightings: Sequence[Observation], folder: Path, *, most: int) -> list[Path]:
    """Draw the species with the most sightings; files are numbered in this order, so that no two have one name."""
    counts = Counter(seen.species for seen in sightings if seen.species in trained.species)
    return [
        draw_range_map(trained, name, folder / f"{number:02}-{_file_name(name)}.png", sightings)
        for number, (name, _) in enumerate(counts.most_common(most), 1)
    ]


def _outlines() -> Iterator[npt.NDArray[np.float64]]:
    """(N, 2) longitudes and latitudes of each outline of a country."""
    import shapely

    for country in load_countries().countries:
        for part in shapely.get_parts(country.outline):
            yield shapely.get_coordinates(shapely.get_exterior_ring(part))


def _file_name(species: str) -> str:
    return re.sub(r"\W+", "-", species.lower()).strip("-") or "species"  # letters of any alphabet
