"""Rasters as people have them: without a place, of another body, with palettes, masks and containers."""

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from PIL import Image
from rasterio.crs import CRS
from scipy.io import netcdf_file

from indexer.commands.sources import RasterOptions
from indexer.pipeline.cutting import CutFolder, cut_tiles
from indexer.pipeline.listing import Chooser
from indexer.pipeline.reading import ReadOptions
from indexer.sources.dataset import open_dataset
from indexer.sources.file_georeference import told_place
from indexer.sources.folder import FolderSource, find_table
from indexer.sources.grid import KilometreGrid
from indexer.sources.pixels import Stretch
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.view import View
from wildsat_core.errors import InvalidInputError, SourceError
from wildsat_core.types import BBox

HERE = Affine(0.001, 0, 10, 0, -0.001, 50)
EXTENT = BBox(10, 49, 11, 50)


def noise(count=3, dtype="uint8"):
    return np.random.default_rng(0).integers(1, 255, (count, 128, 128)).astype(dtype)


def write(path, values, crs="EPSG:4326", transform=HERE, **creation):
    count, height, width = values.shape
    size = {"width": width, "height": height, "count": count, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size, **creation) as out:
        out.write(values)
    return path


def only_tile(path, extent=None, **options):
    source = RasterSource(str(path), PixelGrid(128, 128), extent, **options)
    [candidate] = source.candidates()
    return candidate.tile, source.read(candidate)


def virtual(folder, place):
    """A VRT over a plain picture, placed as said."""
    Image.fromarray(noise().transpose(1, 2, 0)).save(folder / "plain.tif")
    band = (
        """<VRTRasterBand dataType="Byte" band="{0}"><SimpleSource><SourceFilename relativeToVRT="1">plain.tif"""
        """</SourceFilename><SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"""
    )
    bands = "".join(band.format(b) for b in (1, 2, 3))
    text = f"""<VRTDataset rasterXSize="128" rasterYSize="128">{place}{bands}</VRTDataset>"""
    (folder / "it.vrt").write_text(text)
    return folder / "it.vrt"


def test_ground_control_points_place_a_picture(tmp_path):
    points = "".join(
        f"""<GCP Pixel="{c}" Line="{r}" X="{700000 + 100 * c}" Y="{2800000 - 100 * r}"/>"""
        for c, r in ((0, 0), (128, 0), (0, 128), (128, 128))
    )
    path = virtual(tmp_path, f"""<GCPList Projection="EPSG:32618">{points}</GCPList>""")
    tile, reading = only_tile(path)
    assert tile.lon_lat == (pytest.approx(-72.95, abs=0.01), pytest.approx(25.24, abs=0.01))
    assert np.array_equal(reading.pixels, noise())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("<SRS>EPSG:32618</SRS>", "not where in it its pixels lie: give --extent"),
        # Numbers of pixels, counted in any of the usual ways.
        ("<SRS>EPSG:4326</SRS><GeoTransform>-0.5, 1, 0, 0.5, 0, -1</GeoTransform>", "not where in it"),
        ("<SRS>EPSG:4326</SRS><GeoTransform>-0.5, 1, 0, -0.5, 0, 1</GeoTransform>", "not where in it"),
        ("<SRS>EPSG:32618</SRS><GeoTransform>0, 1, 0, 128, 0, -1</GeoTransform>", "not where in it"),
        ("<SRS>EPSG:4326</SRS><GeoTransform>10, 0.1, 0, 95, 0, -0.1</GeoTransform>", "latitudes reach 94.9 degrees"),
        ("<SRS>EPSG:4267</SRS><GeoTransform>10, 0.1, 0, -90, 0, -0.1</GeoTransform>", "latitudes reach 102.7 degrees"),
        ("<SRS>EPSG:4807</SRS><GeoTransform>2, 0.1, 0, 104, 0, -0.1</GeoTransform>", "latitudes reach 93.51 degrees"),
        ("", "does not say where it lies: give --extent"),
        ("<GeoTransform>10, 1, 0, 50, 0, -1</GeoTransform>", "does not say in which system"),
        (
            """<GCPList Projection="EPSG:32618"><GCP Pixel="0" Line="0" X="7" Y="8"/></GCPList>""",
            "1 ground control points, too few",
        ),
        (
            """<SRS>IAU_2015:30100</SRS><GeoTransform>10, 0.1, 0, 50, 0, -0.1</GeoTransform>""",
            "not of the Earth: .* radius of 1,737 km",
        ),
    ],
)
def test_what_has_no_place_on_the_earth_is_refused_and_says_what_to_do(tmp_path, place, message):
    with pytest.raises(SourceError, match=message):
        only_tile(virtual(tmp_path, place))


def test_rows_beyond_a_pole_are_no_tiles(tmp_path):
    path = write(tmp_path / "polar.tif", noise(), transform=Affine(0.01, 0, 10, 0, -0.01, 90.64))
    found = list(RasterSource(str(path), PixelGrid(64, 64)).candidates())
    assert [getattr(c, "reason", "") for c in found] == ["off the globe", "off the globe", "", ""]
    assert found[2].tile.bbox.as_tuple() == pytest.approx((10, 89.36, 10.64, 90))


@pytest.mark.parametrize(
    ("driver", "suffix", "world"), [("PNG", "png", "pgw"), ("GTiff", "tif", "tfw"), ("BMP", "bmp", "wld")]
)
def test_a_picture_with_a_world_file_lies_in_the_system_of_the_prj_beside_it(tmp_path, driver, suffix, world):
    place = Affine(30, 0, 592_000, 0, -30, 3_707_000)
    there = write(tmp_path / "there.tif", noise(), "EPSG:32614", place)
    path = tmp_path / f"it.{suffix}"
    rasterio.shutil.copy(there, path, driver=driver, **({"PROFILE": "BASELINE"} if driver == "GTiff" else {}))
    for file in tmp_path.glob("it.*.aux.xml"):
        file.unlink()
    path.with_suffix(f".{world}").write_text("30\n0\n0\n-30\n592015\n3706985\n")
    with pytest.raises(SourceError, match="has coordinates but does not say in which system"):
        only_tile(path)
    prj = path.with_suffix(".prj")
    prj.write_text(CRS.from_epsg(32614).to_wkt(version="WKT1_ESRI"))
    for grid in (PixelGrid(128, 128), KilometreGrid(1, 1)):
        open_dataset.cache_clear()
        found, expected = (RasterSource(str(file), grid, tile_px=None) for file in (path, there))
        for one, other in zip(found.candidates(), expected.candidates(), strict=True):
            assert one.tile.bbox == other.tile.bbox
            assert np.array_equal(found.read(one).pixels, expected.read(other).pixels)
    assert str(prj) in set(found.inputs())
    prj.write_text("PROJCS[")
    open_dataset.cache_clear()
    with pytest.raises(SourceError, match=r"it\.prj, which tells where .* lies: its coordinate system can't be"):
        only_tile(path)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_numbers_are_refused(tmp_path, dtype):
    profile = {"width": 64, "height": 64, "count": 1, "dtype": dtype, "crs": "EPSG:4326"}
    with rasterio.open(
        tmp_path / "c.tif", "w", driver="GTiff", transform=Affine(0.1, 0, 10, 0, -0.1, 50), **profile
    ) as out:
        out.write(np.ones((1, 64, 64), "complex64"))
    with pytest.raises(SourceError, match="holds complex numbers"):
        RasterSource(str(tmp_path / "c.tif"), PixelGrid(64, 64), bands=("any",))


def test_points_that_no_smooth_map_fits_are_refused_with_the_command(tmp_path):
    jump = [(0, 0, 179.9), (128, 0, -179.9), (0, 128, 179.9), (128, 128, -179.9), (64, 0, 180.0), (64, 128, 180.0)]
    points = "".join(f"""<GCP Pixel="{c}" Line="{r}" X="{x}" Y="{50 - r / 1000}"/>""" for c, r, x in jump)
    with pytest.raises(SourceError, match=r"gdalwarp -tps"):
        only_tile(virtual(tmp_path, f"""<GCPList Projection="EPSG:4326">{points}</GCPList>"""))


def test_an_extent_does_not_move_a_raster_that_says_where_it_lies(tmp_path):
    path = write(tmp_path / "geo.tif", noise(), "EPSG:32633", Affine(100, 0, 500_000, 0, -100, 5_316_300))
    options = {"input": str(path), "tile_px": 64, "extent": "100,10,101,11"}
    with pytest.raises(InvalidInputError, match=r"EPSG:32633.*--override-georeference"):
        RasterOptions(**options).source()
    moved = RasterOptions(**options, override_georeference=True).source()
    assert next(moved.candidates()).tile.bbox.west == 100
    with pytest.raises(InvalidInputError, match="goes with --extent"):
        RasterOptions(input=str(path), tile_px=64, override_georeference=True).source()


def test_missing_data_is_that_of_the_bands_that_are_read(tmp_path):
    values = np.concatenate([noise(3, "int16") * 10, np.full((1, 128, 128), 7, "int16")])
    values[:3, :, :64] = -9999
    values[0, :, 64:96] = -9999  # in one band only
    path = write(tmp_path / "rgb_dem.tif", values, nodata=-9999)
    assert only_tile(path, stretch=Stretch(0, 2550))[1].missing == 0.75
    assert only_tile(path, stretch=Stretch(0, 2550), band_indexes=(2, 3, 4))[1].missing == 0.5


@pytest.mark.parametrize(
    ("dtype", "told", "stored"),
    [
        ("float64", -2147473649.0, -2147473664.0),  # as GRIB files come
        ("float64", -3.4028234663852886e38, -3.4e38),  # told as the least of 32 bits, not meant: data
        ("float32", -1.7976931348623157e308, -np.inf),
        ("float32", -9999.9, -9999.9),
    ],
)
def test_a_number_for_no_data_may_be_rounded(dtype, told, stored):
    view = View("", 2, 1, (1,), dtype, nodata=told)
    assert view.valid(np.array([[[stored, 1.0]]], dtype), None).tolist() == [[stored == -3.4e38, True]]


@pytest.mark.parametrize("kind", ["grey", "deep", "palette"])
def test_transparency_survives_a_copy_in_memory(tmp_path, kind):
    alpha = np.full((128, 128), 255, "uint8")
    alpha[:, :64] = 0
    path, options = tmp_path / "it.png", {}
    if kind == "grey":
        Image.merge("LA", (Image.fromarray(noise()[0]), Image.fromarray(alpha))).save(path)
        options["band_indexes"] = (1, 1, 1)
    elif kind == "deep":
        with rasterio.open(
            path, "w", driver="PNG", width=128, height=128, count=4, dtype="uint16", transform=HERE
        ) as d:
            d.write(np.concatenate([noise(), alpha[None]]).astype("uint16") * 257)
        options["stretch"] = Stretch(0, 65535)
    else:
        numbers = np.where(alpha == 0, 255, noise()[0] % 200).astype("uint8")
        picture = Image.fromarray(numbers, "P")
        picture.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
        picture.save(path, transparency=255)
    assert only_tile(path, EXTENT, **options)[1].missing == 0.5


def test_a_palette_is_its_colours_and_never_its_numbers(tmp_path):
    path = write(tmp_path / "cover.tif", noise(1) % 5, photometric="PALETTE")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {i: (i * 60, 255 - i * 60, 20, 255) for i in range(5)})
    numbers = noise(1)[0] % 5
    assert np.array_equal(only_tile(path)[1].pixels, [numbers * 60, 255 - numbers * 60, np.full((128, 128), 20)])
    with pytest.raises(SourceError, match="palette picture: its band holds numbers"):
        only_tile(path, band_indexes=(1, 1, 1))


@pytest.mark.parametrize("beyond", [5, 7])
def test_a_number_without_a_colour_in_the_palette_shows_nothing(tmp_path, beyond):
    classes = noise(1) % (beyond + 1)
    write(tmp_path / "classes.tif", classes)
    entries = "".join(f'<Entry c1="200" c2="{100 + i}" c3="50" c4="255"/>' for i in range(5))
    (tmp_path / "cover.vrt").write_text(
        '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:4326</SRS>'
        '<GeoTransform>10, 0.001, 0, 50, 0, -0.001</GeoTransform><VRTRasterBand dataType="Byte" band="1"><ColorInterp>'
        f"Palette</ColorInterp><ColorTable>{entries}</ColorTable><SimpleSource><SourceFilename relativeToVRT='1'>"
        "classes.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    _, reading = only_tile(tmp_path / "cover.vrt")
    assert reading.missing == pytest.approx((classes > 4).mean())
    assert reading.pixels[0][classes[0] < 5].min() == 200


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (4, 15), (8, 255)])
def test_numbers_of_few_bits_are_as_bright_as_people_see_them_unless_a_stretch_is_stated(tmp_path, bits, most):
    stored = noise() & most
    path = write(tmp_path / "few.tif", stored, nbits=bits, nodata=0)
    seen = only_tile(path)[1].pixels
    assert np.array_equal(seen, stored * (255 // most))
    assert np.array_equal(only_tile(path, stretch=Stretch(0, 255))[1].pixels, stored)
    folder = FolderSource(str(tmp_path))
    assert np.array_equal(folder.read(next(folder.candidates())).pixels, seen)


def test_a_damaged_mask_or_description_beside_a_raster_is_refused(tmp_path):
    path = write(tmp_path / "it.tif", noise())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as out:
        out.write_mask(np.tile([True, False], (128, 64)))
    assert only_tile(path)[1].missing == 0.5
    mask, description = tmp_path / "it.tif.msk", tmp_path / "it.tif.aux.xml"
    mask.write_bytes(mask.read_bytes()[:40])
    open_dataset.cache_clear()
    with pytest.raises(SourceError, match=r"it\.tif\.msk, which tells where .* is damaged"):
        only_tile(path)
    mask.unlink()
    description.write_text("<PAMDataset><PAMRasterBand band='1'><NoDataValue>")
    with pytest.raises(SourceError, match=r"it\.tif\.aux\.xml, which says more of .* is damaged"):
        only_tile(path)
    description.write_text("<PAMDataset></PAMDataset>")
    assert only_tile(path)[1].missing == 0


def test_masks_of_single_bands_beside_a_raster_are_read(tmp_path):
    path = write(tmp_path / "it.tif", noise())
    shown = np.ones((3, 128, 128), np.uint8) * 255
    for band in range(3):
        shown[band, 32 * band : 32 * band + 32] = 0
    with rasterio.open(path) as raster:
        mask = raster.profile | {"driver": "GTiff"}
    with rasterio.open(f"{path}.msk", "w", **mask) as out:
        out.write(shown)
        out.update_tags(**{f"INTERNAL_MASK_FLAGS_{band}": "0" for band in (1, 2, 3)})
    assert only_tile(path)[1].missing == 0.75


def test_a_negative_is_refused_with_the_command_that_makes_a_positive(tmp_path):
    path = write(tmp_path / "it.tif", noise(1), photometric="MINISWHITE")
    with pytest.raises(SourceError, match="gdal_translate -scale 0 255 255 0"):
        only_tile(path, bands=("any",))


def test_bands_are_read_by_the_colours_that_the_file_tells(tmp_path, caplog):
    path = write(tmp_path / "bgr.tif", noise())
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp[c] for c in ("blue", "green", "red")]
    assert np.array_equal(only_tile(path)[1].pixels, noise()[::-1])
    assert "bands 3,2,1 are read as red, green and blue" in caplog.text
    assert np.array_equal(only_tile(path, band_indexes=(1, 2, 3))[1].pixels, noise())


def weather(path, columns, rows, *, aside=False):
    """A CF file without a coordinate system: its axes are longitudes and latitudes, or these lie beside."""
    lon, lat = np.meshgrid(columns, rows)
    with netcdf_file(path, "w") as file:
        shape = ("y", "x") if aside else ("lat", "lon")
        for name, length in zip(shape, lon.shape, strict=True):
            file.createDimension(name, length)
        for name, axis, all_of, unit in (("lat", rows, lat, "degrees_north"), ("lon", columns, lon, "degrees_east")):
            values = all_of if aside else axis
            variable = file.createVariable(name, "d", shape if aside else (name,))
            variable[:], variable.units = values, unit
        band = file.createVariable("band", "f", shape)
        band[:] = 100 + 50 * np.cos(np.radians(lon)) * np.cos(np.radians(lat)) + lat / 10
        if aside:
            band.coordinates = "lat lon"
            for name, axis in zip(shape, (rows, columns), strict=True):
                variable = file.createVariable(name, "d", (name,))
                variable[:], variable.units = axis * 1000, "m"
    return path


@pytest.mark.parametrize("turn", [1, -1])
def test_a_netcdf_of_longitudes_and_latitudes_needs_no_coordinate_system(tmp_path, turn):
    path = weather(tmp_path / "it.nc", np.arange(1, 360, 2.0), np.arange(-89, 90, 2.0)[::turn])
    one = {"bands": ("band",), "band_indexes": (1,)}
    tiles = list(RasterSource(str(path), PixelGrid(90, 90), **one).candidates())
    assert [c.tile.bbox.as_tuple() for c in tiles] == [(0, -90, 180, 90), (180, -90, -0.0, 90)]
    source = RasterSource(str(path), KilometreGrid(1000, 1000), tile_px=16, **one)
    for candidate in list(source.candidates())[100:400:60]:
        lon, lat = candidate.tile.lon_lat
        wanted = 100 + 50 * np.cos(np.radians(lon)) * np.cos(np.radians(lat)) + lat / 10
        assert source.read(candidate).pixels.mean() == pytest.approx(wanted, abs=1)
    assert told_place(str(path)) == "EPSG:4326"


def test_longitudes_and_latitudes_beside_a_netcdfs_own_axes_are_no_axes(tmp_path):
    path = weather(tmp_path / "it.nc", np.arange(1, 60, 2.0), np.arange(1, 60, 2.0), aside=True)
    with pytest.raises(SourceError, match=r"gdalwarp -geoloc|does not say in which system"):
        only_tile(path, bands=("band",), band_indexes=(1,))


def test_a_container_names_what_is_in_it(tmp_path):
    rasterio.shutil.copy(write(tmp_path / "t.tif", noise()), tmp_path / "two.nc", driver="netCDF")
    with pytest.raises(SourceError, match=r"holds 3 rasters; name one of them .*two.nc:Band1"):
        only_tile(tmp_path / "two.nc")
    one = f"netcdf:{tmp_path / 'two.nc'}:Band2"
    tile, _ = only_tile(one, bands=("any",))
    assert tile.tile_id.startswith("two-Band2-")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", HERE),
        ("EPSG:4326", Affine(0.001, 0, 10, 0, 0.001, 48)),
        ("EPSG:3413", Affine(500, 0, 800_000, 0, -500, -300_000)),
        ("EPSG:32633", Affine(20, 30, 500_000, 30, -20, 5_316_300)),
    ],
)
def test_cut_tiles_say_where_their_own_pixels_lie(tmp_path, crs, transform, dtype):
    path = write(tmp_path / "it.tif", noise(3, dtype), crs, transform)
    source = RasterSource(str(path), PixelGrid(64, 64))
    made = CutFolder(tmp_path / "out", source.bands, source.provenance())
    cut_tiles(source, made, Chooser(made.known), ReadOptions(None), workers=0)
    again = FolderSource(str(tmp_path / "out"), find_table(str(tmp_path / "out")))
    for old, new in zip(source.candidates(), again.candidates(), strict=True):
        assert new.tile.bbox.as_tuple() == pytest.approx(old.tile.bbox.as_tuple(), abs=1e-4)
        assert np.array_equal(again.read(new).pixels, source.read(old).pixels)
        if dtype == "uint16" or transform != HERE:
            with rasterio.open(new.locator[0]) as file:
                assert file.crs == rasterio.crs.CRS.from_string(crs)
                assert np.allclose(file.transform[:6], source.read(old).place.transform)
