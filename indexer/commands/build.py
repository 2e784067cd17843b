"""`wildsat index build` and `wildsat index add`: from an area and some imagery to a collection."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer
from rich.console import Console

from indexer.commands.by_source import join
from indexer.commands.options import DryRun, PictureOptions, Wait, WhereOptions, Workers, into, running
from indexer.commands.progress import progress_bar
from indexer.commands.roots import CollectionsFolder, StoreAddress, folder_of
from indexer.commands.sources import PICTURES, VectorOptions
from indexer.pipeline.listing import Chooser
from indexer.pipeline.options import BuildOptions
from indexer.pipeline.reading import ReadOptions, default_workers
from indexer.pipeline.scale import model_name, model_sides
from indexer.sources.protocol import Source
from wildsat_core.collection import open_collection
from wildsat_core.collection.writer import check_collection_name
from wildsat_core.countries import load_countries
from wildsat_core.errors import CollectionNotFoundError, InvalidInputError
from wildsat_core.ground_scale import SLACK
from wildsat_core.land import load_land

if TYPE_CHECKING:
    from wildsat_core.models.model import WildSATModel

logger = logging.getLogger(__name__)


class Engine(StrEnum):
    """Who does the work of a build."""

    LOCAL = "local"
    RAY = "ray"


Address = Annotated[
    str | None, running(metavar="ADDRESS", help="Of a Ray cluster; else one starts here.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class CollectionOptions(WhereOptions):
    """What everything that adds to a collection takes."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the collection.")]
    title: Annotated[str, into(metavar="TEXT", help="Title shown to searchers.")] = ""
    description: Annotated[str, into(metavar="TEXT", help="Description shown to searchers.")] = ""
    attribution: Annotated[str, into(metavar="TEXT", help="Who must be named beside the imagery.")] = ""
    replace: Annotated[bool, into("--replace", help="Replace tiles that are indexed already.")] = False
    segment_tiles: Annotated[int, into(min=1, metavar="N", help="Tiles of which a kill loses no more.")] = 16_384
    restart: Annotated[bool, into("--restart", help="Begin anew, not where a kill ended it.")] = False
    collections: CollectionsFolder = Path("collections")
    store: StoreAddress = None
    dry_run: DryRun = False
    wait: Wait = 0.0

    @property
    def root(self) -> Path:
        """Folder of the collection."""
        return self.collections / check_collection_name(self.name)

    def at_hand(self, *, ids_alone: bool) -> Self:
        """The same for the copy of a collection in a store, brought up to date."""
        return replace(self, collections=folder_of(self.name, self.collections, self.store, ids_alone=ids_alone))

    @property
    def facts(self) -> dict[str, str]:
        """What is told of the imagery."""
        told = {"title": self.title, "description": self.description, "attribution": self.attribution}
        return {key: value for key, value in told.items() if value}

    def build_options(self) -> BuildOptions:
        """How to build, as far as that does not depend on the kind of source."""
        return BuildOptions(
            segment_tiles=self.segment_tiles,
            land=load_land(),
            min_land=self.min_land,
            countries=load_countries(),
            area=self.polygons,
            max_bad=self.max_bad,
            restart=self.restart,
            on_known="replace" if self.replace else "skip",
            wait_s=self.wait,
        )

    def chooser(self, options: BuildOptions) -> Chooser:
        """Chooses as the build would, without the writer's lock."""
        known = (lambda _: set()) if self.replace else _known_in(self.root)
        return Chooser(known, options.land, options.min_land, None, options.area, options.centres_in)


@dataclass(frozen=True, kw_only=True)
class Build(CollectionOptions, PictureOptions):
    """Pictures, which a model embeds."""

    model: Annotated[
        str | None,
        into(
            metavar="NAME|FOLDER",
            help="A model of `wildsat models`, its folder, or auto.",
            show_default="the collection's, or one for such pixels",
        ),
    ] = None
    any_scale: Annotated[bool, into("--any-scale", help="Take pixels of a size that the model is not for, too.")] = (
        False
    )
    thumbnail_px: Annotated[
        int, into(min=0, max=512, metavar="PIXELS", help="Longer side of thumbnails; 0 for none.")
    ] = 128
    map_tiles: Annotated[bool, into("--map-tiles", help="Paint thumbnails as map tiles of the imagery, too.")] = False
    workers: Workers = None
    batch: Annotated[int, running("--batch", min=1, metavar="N", help="Tiles embedded at once.")] = 256
    threads: Annotated[
        int | None, running(min=1, metavar="N", help="Threads of the model on a CPU.", show_default="all cores")
    ] = None
    device: Annotated[str, running(metavar="NAME", help="Of the model: auto, cpu, cuda.")] = "auto"
    compiled: Annotated[
        bool | None,
        running("--compile/--no-compile", help="Compile the model.", show_default="after a minute"),
    ] = None
    engine: Annotated[Engine, running(help="Who builds.")] = Engine.LOCAL
    address: Address = None
    allow_failed: Annotated[bool, running("--allow-failed", help="Publish although units failed.")] = False

    def picture_options(self) -> BuildOptions:
        """How to build, with all that concerns pictures and the model."""
        return replace(
            self.build_options(),
            batch_tiles=self.batch,
            workers=default_workers() if self.workers is None else self.workers,
            read=ReadOptions(self.thumbnail_px or None, max_missing=self.max_missing),
            compiled=self.compiled,
            threads=self.threads,
            any_scale=self.any_scale,
        )

    def sized(self) -> Self:
        """The same, cut to the side that the model's training pictures had where nobody said how large tiles are to be.

        Other sides than those are warned of.
        """
        sides = model_sides(self.root, self.model)
        if sides is None:
            return self
        order = self.of_side(sides[1])
        wanted = getattr(order, "tile_km", None)
        if wanted is not None and not sides[0] / SLACK <= wanted <= sides[1] * SLACK:
            logger.warning(
                "tiles are %g km wide, and the pictures that the model was trained on showed %g to %g km: its "
                "ranking may mean less; leave out --tile-km for %g",
                *(wanted, *sides, sides[1]),
            )
        return order

    def loaded(self, source: Source) -> "WildSATModel":
        """The model asked for, the collection's, or the one for such pixels, on its device."""
        from wildsat_core.models.registry import load_model

        return load_model(model_name(self.root, self.model, source, any_scale=self.any_scale), _device(self.device))


@dataclass(frozen=True, kw_only=True)
class BuildVectors(CollectionOptions, VectorOptions):
    """Ready-made vectors: nothing is decoded or embedded, the rest is as for pictures."""

    model: Annotated[
        str | None,
        into(
            metavar="NAME",
            help="Who made the vectors: an installed model, or any name.",
            show_default="what an exported file says",
        ),
    ] = None

    def run(self) -> None:
        """Index the rows of the files."""
        from indexer.vectors.build import build_from_vectors, estimate_vectors
        from indexer.vectors.files import VectorFiles, given_vectors

        given = given_vectors(self.input, self.column, self.space, self.metric, self.model) if self.model else None
        files = VectorFiles(self.input, given)
        options = replace(self.build_options(), centres_in=self.box)
        spaces = ", ".join(f"{space} ({spec.dim}, {spec.metric})" for space, spec in files.specs.items())
        typer.echo(f"vectors of {files.model.name}: {spaces}")
        if self.dry_run:
            typer.echo(estimate_vectors(files, self.chooser(options)).text())
            return
        with progress_bar("rows", files.count(), Console(stderr=True)) as advance:
            report = build_from_vectors(files, self.root, options, self.facts, advance)
        typer.echo(report.text(), err=True)


PICTURE_ORDERS: Final = {kind: join(Build, options) for kind, options in PICTURES.items()}


def _known_in(root: Path) -> Callable[[set[str]], set[str]]:
    try:
        tiles = open_collection(root).tiles
    except CollectionNotFoundError:
        return lambda _: set()
    return lambda ids: set(tiles.take(tiles.rows_of(sorted(ids)))["tile_id"].to_pylist())


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInputError("--device cuda: no CUDA device is visible here; use --device cpu", "device")
    return name
