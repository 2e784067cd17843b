"""What each kind of imagery takes on the command line: a dataclass a kind, whose fields are its options.

`build`, `add` and `cut` join each of these with what they take themselves (`indexer/commands/by_source.py`). A new
option is a new field here, used in `source` below it.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from indexer.commands.days import parse_day
from indexer.commands.options import (
    BandIndexes,
    Bands,
    Day,
    PictureOptions,
    Scene,
    StepKm,
    StretchTo,
    WhereOptions,
    band_numbers,
    imagery,
    names,
    stretch_of,
    tiles,
)
from indexer.sources.catalogues import DEFAULT, Catalogue, read_catalogues
from indexer.sources.file_georeference import told_place
from indexer.sources.folder import FolderSource, find_table
from indexer.sources.grid import KilometreGrid
from indexer.sources.majortom import MajorTomSource
from indexer.sources.protocol import Source
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.satlas import SatlasSource
from indexer.sources.sentinel2 import Mosaic, Pick, Sentinel2Source
from indexer.sources.xyz import XyzSource
from wildsat_core.errors import InvalidInputError
from wildsat_core.geo import parse_bbox
from wildsat_core.types import Metric, Space

logger = logging.getLogger(__name__)

DEFAULT_TILE_KM: Final = 2.56  # of a catalogue: 256 pixels of 10 m
NO_TABLE: Final = "none"  # of a folder: not even one that lies in it


@dataclass(frozen=True, kw_only=True)
class RasterOptions(PictureOptions):
    """One raster of any format that GDAL reads, cut on a kilometre grid or along its own pixels.

    For example: --input alps.tif --tile-km 2.56 --stretch 0,3000
    """

    input: Annotated[str, imagery("--input", "-i", metavar="FILE", help="The raster.")]
    bands: Bands = "red,green,blue"
    band_indexes: BandIndexes = None
    stretch: StretchTo = None
    nodata: Annotated[
        float | None, imagery(metavar="VALUE", help="What means no data.", show_default="what the file says")
    ] = None
    extent: Annotated[
        str | None, imagery(metavar="W,S,E,N", help="Where a picture without georeference lies, in degrees.")
    ] = None
    override_georeference: Annotated[
        bool, imagery("--override-georeference", help="Heed --extent, though the raster says itself where it lies.")
    ] = False
    date: Day = None
    scene: Scene = None
    tile_km: Annotated[
        float | None, tiles(metavar="KM", help="Side of a tile, on the kilometre grid of the globe.")
    ] = None
    step_km: StepKm = None
    tile_px: Annotated[
        int | None,
        tiles(metavar="PIXELS", help="Side of a tile along the raster's own pixels; with --tile-km, of its picture."),
    ] = None
    step_px: Annotated[
        int | None, tiles(metavar="PIXELS", help="Step along the raster's own pixels.", show_default="as --tile-px")
    ] = None

    def of_side(self, side_km: float) -> Self:
        return self if self.tile_km is not None or self.tile_px is not None else replace(self, tile_km=side_km)

    def source(self) -> Source:
        self._check_extent()
        return RasterSource(
            path=self.input,
            grid=self._grid(),
            extent=parse_bbox(self.extent) if self.extent else None,
            bands=names(self.bands),
            band_indexes=band_numbers(self.band_indexes),
            stretch=stretch_of(self.stretch),
            nodata=self.nodata,
            tile_px=self.tile_px if self.tile_km is not None else None,
            area=self.box,
            scene=self.scene,
            captured_on=parse_day(self.date, "date"),
        )

    def _check_extent(self) -> None:
        """Refuse to move a raster that says itself where it lies: --extent is mistaken for a crop.

        Raises:
            InvalidInputError: it says.
        """
        if not self.extent:
            if self.override_georeference:
                raise InvalidInputError("--override-georeference goes with --extent, which is missing", "extent")
            return
        if not self.override_georeference and (told := told_place(self.input)):
            raise InvalidInputError(
                f"{self.input.partition('?')[0]} says itself where it lies ({told}), and --extent would put it "
                "elsewhere: leave --extent out (--bbox takes only a part of it), or give --override-georeference, too",
                "extent",
            )

    def _grid(self) -> KilometreGrid | PixelGrid:
        other = "step-px" if self.tile_km is not None else "step-km"
        if (self.step_px if self.tile_km is not None else self.step_km) is not None:
            raise InvalidInputError(
                f"--{other} belongs to --tile-{other[-2:]}: give --tile-km and --step-km for a kilometre grid, or "
                "--tile-px and --step-px",
                other,
            )
        if self.tile_km is not None:
            return kilometre_grid(self.tile_km, self.step_km)
        if self.tile_px is None:
            raise InvalidInputError(
                "say how to cut the raster: --tile-km for a kilometre grid, or --tile-px", "tile-km"
            )
        return PixelGrid(self.tile_px, self.tile_px if self.step_px is None else self.step_px)


@dataclass(frozen=True, kw_only=True)
class Sentinel2Options(PictureOptions):
    """Sentinel-2: the scenes that a STAC catalogue has of an area and a time, read where they lie.

    For example: --bbox 177,-18.5,-179,-16 --from 2023-05-01 --to 2023-09-30 --pick least-cloudy
    """

    input: Annotated[
        str, imagery("--input", "-i", metavar="NAME|ADDRESS", help="A catalogue by name, or the address of a STAC API.")
    ] = DEFAULT
    catalogue: Annotated[
        str | None, imagery(metavar="NAME", help="Its collection.", show_default="the catalogue's of Sentinel-2 L2A")
    ] = None
    since: Annotated[str | None, imagery("--from", metavar="YYYY-MM-DD", help="First day.")] = None
    until: Annotated[str | None, imagery("--to", metavar="YYYY-MM-DD", help="Last day.")] = None
    max_cloud: Annotated[float, imagery(metavar="SHARE", help="Most cloud of a scene, 0 to 1.")] = 0.3
    pick: Annotated[Pick, imagery(help="The scene that a tile is cut from; all: a tile of every date.")] = "newest"
    mosaic: Annotated[
        Mosaic | None,
        imagery(help="Make a tile of several scenes.", show_default="one"),
    ] = None
    assets: Annotated[Literal["visual", "bands"], imagery(help="True colour, or --bands by --stretch.")] = "visual"
    bands: Bands = "red,green,blue"
    stretch: StretchTo = None
    offset: Annotated[
        int | None,
        imagery(metavar="NUMBER", help="Added to reflectance.", show_default="as told"),
    ] = None
    signer: Annotated[str | None, imagery(metavar="MODULE:FUNCTION", help="Makes an asset's address readable.")] = None
    tile_km: Annotated[
        float | None,
        tiles(
            metavar="KM",
            help="Side of a tile, on the kilometre grid of the globe.",
            show_default=f"that of the model's training, or {DEFAULT_TILE_KM:g}",
        ),
    ] = None
    step_km: StepKm = None
    tile_px: Annotated[
        int | None, tiles(metavar="PIXELS", help="Side of a tile's picture.", show_default="pixels of 10 m")
    ] = None

    def of_side(self, side_km: float) -> Self:
        return self if self.tile_km is not None else replace(self, tile_km=side_km)

    def source(self) -> Source:
        since, until, area = parse_day(self.since, "from"), parse_day(self.until, "to"), self.box
        if area is None or since is None or until is None:
            raise InvalidInputError(
                "a catalogue is searched by place and time: give --bbox or --area, --from and --to", "bbox"
            )
        known = read_catalogues().get(self.input, Catalogue(self.input))
        return Sentinel2Source(
            api=known.api,
            area=area,
            since=since,
            until=until,
            grid=kilometre_grid(DEFAULT_TILE_KM if self.tile_km is None else self.tile_km, self.step_km),
            max_cloud=self.max_cloud,
            pick=self.pick,
            assets=self.assets,
            bands=names(self.bands),
            stretch=stretch_of(self.stretch),
            signer=self.signer or known.signer,
            tile_px=self.tile_px,
            collection=self.catalogue or known.collection,
            mosaic=self.mosaic,
            offset=self.offset,
        )


@dataclass(frozen=True, kw_only=True)
class FolderOptions(PictureOptions):
    """A folder of pictures, each of them a tile: georeferenced, or with a table of places and dates.

    For example: --input chips/ --band-indexes 4,3,2 --stretch 0,3000
    """

    input: Annotated[str, imagery("--input", "-i", metavar="FOLDER", help="The folder.")]
    table: Annotated[
        str | None,
        imagery(
            metavar="FILE",
            help="CSV with file, lon, lat, date; none heeds no table that lies there.",
            show_default="its index.csv or tiles.csv",
        ),
    ] = None
    gsd_m: Annotated[
        float | None, imagery(metavar="METRES", help="Ground size of a pixel, where neither picture nor table says.")
    ] = None
    bands: Bands = "red,green,blue"
    band_indexes: BandIndexes = None
    stretch: StretchTo = None

    def source(self) -> Source:
        table = None if self.table == NO_TABLE else self.table or find_table(self.input)
        source = FolderSource(
            root=self.input,
            table=table,
            gsd_m=self.gsd_m,
            band_indexes=band_numbers(self.band_indexes),
            bands=names(self.bands),
            stretch=stretch_of(self.stretch),
            area=self.box,
        )
        if self.table is None and table is not None and (unnamed := source.unnamed()):
            logger.warning(
                "the pictures and their places are those of %s, which does not name %d of the folder's pictures: "
                "--table %s reads all pictures that say themselves where they lie",
                *(table, unnamed, NO_TABLE),
            )
        return source


@dataclass(frozen=True, kw_only=True)
class SatlasOptions(PictureOptions):
    """A SatlasPretrain tree: Sentinel-2 pictures named by map tiles of zoom 13.

    For example: --input sentinel2/ --dates metadata/image_times.json
    """

    input: Annotated[str, imagery("--input", "-i", metavar="FOLDER", help="The tree's images.")]
    dates: Annotated[str | None, imagery(metavar="FILE", help="The data set's image_times.json.")] = None
    bands: Bands = "red,green,blue"

    def source(self) -> Source:
        return SatlasSource(self.input, self.dates, names(self.bands), self.box)


@dataclass(frozen=True, kw_only=True)
class XyzOptions(PictureOptions):
    """Map tiles: an MBTiles file, a folder of z/x/y, or an address whose host WILDSAT_XYZ_HOSTS names.

    For example: --input world.mbtiles --zoom 9
    """

    input: Annotated[
        str,
        imagery("--input", "-i", metavar="FILE|FOLDER|ADDRESS", help="The map tiles; an address has {z}, {x} and {y}."),
    ]
    zoom: Annotated[int | None, imagery(metavar="Z", help="Which zoom.", show_default="the finest")] = None
    scheme: Annotated[
        Literal["xyz", "tms", "xyz-geodetic", "tms-geodetic"] | None,
        imagery(
            help="How tiles are numbered: rows from the north or south, in Web Mercator or degrees.",
            show_default="what lies beside them says",
        ),
    ] = None
    scene: Scene = None

    def source(self) -> Source:
        return XyzSource(self.input, self.zoom, self.box, self.scene, scheme=self.scheme)


@dataclass(frozen=True, kw_only=True)
class MajorTomOptions(PictureOptions):
    """Major TOM Core: Parquet files of pictures.

    For example: --input images/ --metadata metadata.parquet
    """

    input: Annotated[str, imagery("--input", "-i", metavar="FILE|FOLDER", help="The picture files.")]
    metadata: Annotated[
        str | None, imagery(metavar="FILE", help="The data set's metadata, where the pictures' files have no places.")
    ] = None

    def source(self) -> Source:
        return MajorTomSource(self.input, self.metadata, self.box)


@dataclass(frozen=True, kw_only=True)
class VectorOptions(WhereOptions):
    """Ready-made vectors: Parquet files with a place and a vector in each row. No model runs.

    For example: --input vectors/ --model my-encoder --column embedding
    """

    input: Annotated[Path, imagery("--input", "-i", metavar="FILE|FOLDER", help="The Parquet files.")]
    column: Annotated[str, imagery(metavar="NAME", help="The column of the vectors.")] = "embedding"
    space: Annotated[Space, imagery(help="Which space the vectors are.")] = "image"
    metric: Annotated[Metric, imagery(help="How vectors are compared.")] = "cosine"


PICTURES: Final[dict[str, type[PictureOptions]]] = {
    "raster": RasterOptions,
    "sentinel2": Sentinel2Options,
    "folder": FolderOptions,
    "satlas": SatlasOptions,
    "xyz": XyzOptions,
    "majortom": MajorTomOptions,
}


def kilometre_grid(tile_km: float, step_km: float | None) -> KilometreGrid:
    return KilometreGrid(tile_km, tile_km if step_km is None else step_km)
