"""Pictures are cut and changed at many places; what is read is right or an error, never memory of something else."""

import contextlib
import io
import json
import random
import struct
import urllib.request
import zipfile
from functools import partial

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from PIL import Image
from rasterio.io import MemoryFile

from indexer.sources import netcdf
from indexer.sources.dataset import open_dataset
from indexer.sources.intact import check_intact, check_intact_file
from indexer.sources.lengths import check_whole
from indexer.sources.picture import decode_picture, read_picture
from indexer.sources.protocol import NotAPictureError
from indexer.sources.raster import PixelGrid, RasterSource
from indexer.sources.stored import open_stored
from tests.indexer.conftest import write_raster
from tests.indexer.file_server import file_server
from tests.indexer.stac_server import StacServer
from wildsat_core.errors import SourceError
from wildsat_core.types import BBox

PLACES = 24
PIL_FORMATS = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "jp2": ("JPEG2000", {}),
}
TIFFS = ("none", "deflate", "lzw", "zstd", "jpeg", "webp", "packbits", "lerc", "lzma")
WITH_CHECKSUMS = ("png", "lerc.tif")  # any changed byte shows


def picture():
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 150, (8, 8, 3)), np.ones((16, 16, 1)))
    return (smooth + rng.integers(0, 100, smooth.shape)).astype(np.uint8)


def tiff(compress):
    with MemoryFile() as plain, MemoryFile() as made:
        where = {"crs": "EPSG:4326", "transform": Affine(0.001, 0, 10, 0, -0.001, 50)}
        with plain.open(driver="GTiff", width=128, height=128, count=3, dtype="uint8", **where) as out:
            out.write(picture().transpose(2, 0, 1))
        with plain.open() as dataset:
            tiles = {"TILED": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
            rasterio.shutil.copy(dataset, made.name, driver="GTiff", COMPRESS=compress, **tiles)
        return made.read()


@pytest.fixture(scope="module")
def pictures():
    made = {}
    for name, (form, options) in PIL_FORMATS.items():
        buffer = io.BytesIO()
        Image.fromarray(picture()).save(buffer, form, **options)
        made[name] = buffer.getvalue()
    return made | {f"{compress}.tif": tiff(compress) for compress in TIFFS}


def cuts(data):
    yield from (data[: len(data) * (i + 1) // (PLACES + 1)] for i in range(PLACES))
    yield from (data[:-n] for n in (1, 2, 4, 8, 12))


def changes(data):
    rng = random.Random(1)
    for _ in range(PLACES):
        at = rng.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


@pytest.mark.parametrize("name", [*PIL_FORMATS, *(f"{c}.tif" for c in TIFFS)])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_picture_that_is_cut_is_refused_or_read_right(name, pictures, tmp_path):
    bands = (1,) if name == "gif" else (1, 2, 3)
    whole = decode_picture(pictures[name], bands, "it").pixels
    path = tmp_path / f"it.{name}"
    for part in cuts(pictures[name]):
        path.write_bytes(part)
        told = f"{len(part)} of {len(pictures[name])} bytes"
        with contextlib.suppress(SourceError):
            assert np.array_equal(decode_picture(part, bands, "it").pixels, whole), told
        with contextlib.suppress(SourceError):
            assert np.array_equal(read_picture(str(path), bands).pixels, whole), told


@pytest.mark.parametrize("name", WITH_CHECKSUMS)
def test_a_changed_byte_is_found_where_the_format_has_checksums(name, pictures):
    whole = decode_picture(pictures[name], (1, 2, 3), "it").pixels
    for damaged in changes(pictures[name]):
        with contextlib.suppress(SourceError):
            assert np.array_equal(decode_picture(damaged, (1, 2, 3), "it").pixels, whole)


def test_what_is_wrong_with_a_png_is_said(pictures, tmp_path):
    data = pictures["png"]
    with pytest.raises(NotAPictureError, match=r"it is damaged: it ends after \d+ bytes, before its end"):
        check_intact(data[:-1], "it")
    with pytest.raises(NotAPictureError, match="part at byte 8 does not agree with its checksum"):
        check_intact(data[:20] + bytes([data[20] ^ 1]) + data[21:], "it")
    with pytest.raises(NotAPictureError, match="empty"):
        check_intact(b"", "it")
    with pytest.raises(NotAPictureError, match="can't be read"):
        check_intact_file(tmp_path / "none.png")
    check_intact(data, "it")
    check_intact(data + b"what a program put behind", "it")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_raster_that_is_a_cut_png_or_is_put_together_of_such_gives_no_tile(pictures, tmp_path, share):
    data = pictures["png"]
    (tmp_path / "cut.png").write_bytes(data[: int(len(data) * share)])
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">{{name}}'
        f"</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    (tmp_path / "whole.png").write_bytes(data)
    for of in ("cut", "whole"):
        (tmp_path / f"of-{of}.vrt").write_text(
            '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:4326</SRS>'
            f"<GeoTransform>10, 0.001, 0, 50, 0, -0.001</GeoTransform>{bands.format(name=f'{of}.png')}</VRTDataset>"
        )
    for name, extent in (("cut.png", BBox(10, 49, 11, 50)), ("of-cut.vrt", None)):
        with pytest.raises(NotAPictureError, match=name):
            _first_tile(RasterSource, str(tmp_path / name), PixelGrid(128, 128), extent)
    reading = _first_tile(RasterSource, str(tmp_path / "of-whole.vrt"), PixelGrid(128, 128))
    assert np.array_equal(reading.pixels, picture().transpose(2, 0, 1))


# Formats beside pictures: what GDAL's driver says of a cut file, or else what its length says.
CONTAINERS = {
    "ENVI": ("bin", {}),
    "PCRaster": ("map", {}),
    "netCDF": ("nc", {"FORMAT": "NC"}),
    "netCDF 64": ("nc", {"FORMAT": "NC2"}),
    "netCDF on HDF5": ("nc", {"FORMAT": "NC4"}),
    "EHdr": ("bil", {}),
    "HFA": ("img", {}),
    "HFA compressed": ("img", {"COMPRESSED": "YES"}),
    "HFA with a file beside": ("img", {"USE_SPILL": "YES"}),
    "NITF": ("ntf", {}),
    "PCIDSK": ("pix", {}),
    "PCIDSK by pixels": ("pix", {"INTERLEAVING": "PIXEL"}),
    "PCIDSK in tiles": ("pix", {"INTERLEAVING": "TILED"}),
    "PCIDSK in tiles, as before 2011": ("pix", {"INTERLEAVING": "TILED", "TILEVERSION": "1", "TILESIZE": "32"}),
    "PCIDSK in compressed tiles": ("pix", {"INTERLEAVING": "TILED", "COMPRESSION": "RLE"}),
    "ILWIS": ("mpr", {}),
    "GPKG": ("gpkg", {}),
    "MBTiles": ("mbtiles", {"TILE_FORMAT": "PNG"}),
    "GSBG": ("grd", {}),
    "RST": ("rst", {}),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_raster_that_is_cut_is_refused_or_read_right(name, tmp_path):
    suffix, options = CONTAINERS[name]
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None], "EPSG:32614", 592_000, 3_707_000, 10)
    path = tmp_path / f"it.{suffix}"
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver=name.partition(" ")[0], **options)
    whole = _one_band(path)
    numbers = max(tmp_path.glob("it*"), key=lambda file: file.stat().st_size)
    data = numbers.read_bytes()
    refused = 0
    for length in (*(len(data) * share // 8 for share in range(8)), len(data) * 99 // 100, len(data) - 1):
        numbers.write_bytes(data[:length])
        try:
            assert np.array_equal(_one_band(path), whole), length
        except SourceError:
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize(
    ("driver", "suffix", "options", "damaged"),
    [("PCIDSK", "pix", {"INTERLEAVING": "FILE"}, "it.002"), ("ILWIS", "mpl", {}, "it_band_2.mp#")],
)
def test_a_file_for_each_band_is_looked_at(driver, suffix, options, damaged, tmp_path):
    write_raster(tmp_path / "plain.tif", picture().transpose(2, 0, 1), "EPSG:32614", 592_000, 3_707_000, 10)
    rasterio.shutil.copy(tmp_path / "plain.tif", tmp_path / f"it.{suffix}", driver=driver, **options)
    assert _one_band(tmp_path / f"it.{suffix}").shape == (1, 128, 128)
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:-1])
    with pytest.raises(NotAPictureError, match=rf"{damaged} is damaged: it ends after 16,383 bytes"):
        _one_band(tmp_path / f"it.{suffix}")


def test_overviews_of_an_imagine_file_are_looked_at(tmp_path):
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None], "EPSG:32614", 592_000, 3_707_000, 10)
    path, overviews = tmp_path / "it.img", tmp_path / "it.rrd"
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver="HFA")
    with rasterio.Env(HFA_USE_RRD="YES"), rasterio.open(path, "r+") as whole:
        whole.build_overviews([2, 4])
    assert _one_band(path).shape == (1, 128, 128)
    overviews.write_bytes(overviews.read_bytes()[:-2000])
    with pytest.raises(NotAPictureError, match=r"it\.\w+ (is damaged|can't be opened)"):
        _one_band(path)


@pytest.mark.parametrize(
    ("driver", "name", "header", "told"),
    [
        ("ENVI", "it.dat", "it.hdr", "file type = ENVI Standard\n"),
        ("EHdr", "it.bil", "it.hdr", "NBITS          3"),
        ("MFF2", "it", "it/attrib", "unsigned twos-complement *ieee-754 }\n"),
    ],
)
def test_a_header_that_lost_the_type_of_the_numbers_is_refused(driver, name, header, told, tmp_path):
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None].astype("f4"), "EPSG:32614", 592_000, 3_707_000, 10)
    rasterio.shutil.copy(tmp_path / "plain.tif", tmp_path / name, driver=driver)
    assert _one_band(tmp_path / name).dtype == "float32"
    text = (tmp_path / header).read_text()
    (tmp_path / header).write_text(text[: text.index(told) + len(told)])
    with pytest.raises(NotAPictureError, match="its header tells need 16,384: the header is cut or wrong"):
        _one_band(tmp_path / name)


def test_what_stands_before_the_numbers_of_an_envi_file_counts(tmp_path):
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None], "EPSG:32614", 592_000, 3_707_000, 10)
    path, header = tmp_path / "it.dat", tmp_path / "it.hdr"
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver="ENVI")
    whole, data = _one_band(path), path.read_bytes()
    header.write_text(header.read_text().replace("header offset = 0", "header offset = 20000"))
    path.write_bytes(bytes(20_000) + data)
    assert np.array_equal(_one_band(path), whole)
    path.write_bytes(bytes(20_000) + data[:-1])
    with pytest.raises(NotAPictureError, match=r"it.dat is damaged: it ends after 36,383 bytes"):
        _one_band(path)


def test_a_cut_netcdf_says_how_long_it_should_be_whichever_of_its_rasters_is_read(tmp_path):
    write_raster(tmp_path / "plain.tif", picture().transpose(2, 0, 1), "EPSG:32614", 592_000, 3_707_000, 10)
    path = tmp_path / "it.nc"
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver="netCDF")
    assert _one_band(f"netcdf:{path}:Band2").shape == (1, 128, 128)
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(NotAPictureError, match=r"it.nc is damaged: it ends after [\d,]+ bytes, and its numbers need"):
        _one_band(f"netcdf:{path}:Band2")


@pytest.mark.parametrize("records", [0, 1, 3])
@pytest.mark.parametrize("kinds", [["i2"], ["i1"], ["i2", "f4"], ["i1", "f8", "i2"]])
@pytest.mark.parametrize("version", [1, 2])
def test_the_length_of_a_netcdf_is_that_of_its_numbers(version, kinds, records, tmp_path):
    from scipy.io import netcdf_file

    with netcdf_file(tmp_path / "it.nc", "w", version=version) as file:
        file.createDimension("t", None)
        file.createDimension("x", 5)
        file.title = "abc"
        file.createVariable("x", "f8", ("x",))[:] = np.arange(5.0)
        for i, kind in enumerate(kinds):
            variable = file.createVariable(f"v{i}", kind, ("t", "x"))
            for record in range(records):
                variable[record] = np.arange(5)
    with open_stored(str(tmp_path / "it.nc")) as file:
        assert 0 <= file.length - netcdf.needed_bytes(file) < 4


def zipped(folder, name):
    """GDAL's name for a file that was put into an archive, with all that lies beside it."""
    archive = folder.with_name(f"{folder.name}-{name}.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for file in folder.iterdir():
            out.write(file, file.name)
    return f"zip://{archive}!{name}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder, and the address of a server that gives its files."""
    folder = tmp_path_factory.mktemp("shared")
    with file_server(folder) as address:
        yield folder, address


# Beside a file on a server GDAL is not asked to look for others: there is no ENVI or ILWIS there.
@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(("archive", name) for name in ("ENVI", "ILWIS", "netCDF", "PCIDSK in tiles, as before 2011")),
        *(
            ("server", name)
            for name in ("netCDF", "netCDF on HDF5", "HFA with a file beside", "PCIDSK in tiles", "GPKG")
        ),
    ],
)
def test_a_cut_raster_is_refused_wherever_it_lies(way, name, shared, tmp_path):
    folder, address = shared
    suffix, options = CONTAINERS[name]
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None], "EPSG:32614", 592_000, 3_707_000, 10)
    made = [folder / f"{way}-{name.replace(' ', '-')}" / part for part in ("whole", "cut")]
    for one in made:
        one.mkdir(parents=True)
        rasterio.shutil.copy(tmp_path / "plain.tif", one / f"it.{suffix}", driver=name.partition(" ")[0], **options)
    numbers = max(made[1].iterdir(), key=lambda file: file.stat().st_size)
    numbers.write_bytes(numbers.read_bytes()[:-4000])
    served = [f"{address}/{one.relative_to(folder).as_posix()}/it.{suffix}" for one in made]
    whole, cut = served if way == "server" else [zipped(one, f"it.{suffix}") for one in made]
    assert np.array_equal(_one_band(whole), _one_band(made[0] / f"it.{suffix}"))
    with pytest.raises(NotAPictureError, match=r"it\.\S+ (is damaged|can't be)"):
        _one_band(cut)


@pytest.mark.parametrize("name", ["HFA", "netCDF", "PCIDSK in tiles", "GPKG"])
def test_to_see_that_a_file_is_whole_its_server_is_not_asked_again(name, shared, tmp_path, monkeypatch):
    folder, address = shared
    suffix, options = CONTAINERS[name]
    noise = np.random.default_rng(0).integers(0, 255, (1, 800, 800)).astype(np.uint8)
    write_raster(tmp_path / "plain.tif", noise, "EPSG:32614", 592_000, 3_707_000, 10)
    asked = []
    for check in (lambda _: None, check_whole):
        path = folder / f"{len(asked)}-{name.partition(' ')[0]}.{suffix}"
        rasterio.shutil.copy(tmp_path / "plain.tif", path, driver=name.partition(" ")[0], **options)
        monkeypatch.setattr("indexer.sources.view.check_whole", check)
        _one_band(f"{address}/{path.name}")
        log = json.loads(urllib.request.urlopen(f"{address}/requests").read())
        asked.append([line for line in log if f"/{path.name}" in line])
    assert len(asked[1]) <= len(asked[0]), asked


def test_a_raster_that_is_put_together_of_cut_files_is_refused(tmp_path):
    write_raster(tmp_path / "plain.tif", picture()[..., 0][None], "EPSG:32614", 592_000, 3_707_000, 10)
    path = tmp_path / "part.dat"
    rasterio.shutil.copy(tmp_path / "plain.tif", path, driver="ENVI")
    rasterio.shutil.copy(path, tmp_path / "of.vrt", driver="VRT")
    rasterio.shutil.copy(tmp_path / "of.vrt", tmp_path / "of-that.vrt", driver="VRT")
    assert np.array_equal(_one_band(tmp_path / "of-that.vrt"), _one_band(path))
    path.write_bytes(path.read_bytes()[:-1])
    for name in ("of.vrt", "of-that.vrt"):
        with pytest.raises(NotAPictureError, match=r"part\.dat is damaged: it ends after 16,383 bytes"):
            _one_band(tmp_path / name)


def test_bytes_of_a_stored_file_are_given_by_place_and_none_beyond_its_end(tmp_path):
    data = random.Random(0).randbytes(200_000)
    (tmp_path / "it").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "it.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.write(tmp_path / "it", "it")
    for name in (f"{tmp_path}/it", f"/vsizip/{tmp_path}/it.zip/it"):
        with open_stored(name) as file:
            assert file.length == len(data)
            for start, count in (
                (0, 10),
                (65_530, 20),
                (131_000, 69_000),
                (199_990, 50),
                (200_000, 1),
                (-5, 3),
                (9, 0),
            ):
                assert file.at(start, count) == (data[start : start + count] if start >= 0 else b"")
            assert file.unpack("<H", 70_000) == (int.from_bytes(data[70_000:70_002], "little"),)
            with pytest.raises(struct.error):
                file.unpack("<H", 199_999)
    for name in (f"{tmp_path}/none", str(tmp_path), f"/vsizip/{tmp_path}/it.zip/none"):
        with open_stored(name) as file:
            assert file is None


def test_a_cut_raster_on_a_server_is_no_picture(pictures, tmp_path):
    with StacServer(tmp_path) as server:
        # Not a TIFF: GDAL asks for more of a cut one while it holds the lock that this server's thread needs, too.
        for name in ("jp2", "png"):
            (tmp_path / f"it.{name}").write_bytes(pictures[name][: len(pictures[name]) // 2])
            with pytest.raises(NotAPictureError, match="it"):
                _first_tile(RasterSource, f"{server.url}/it.{name}", PixelGrid(128, 128), BBox(10, 49, 11, 50))


def _one_band(path):
    open_dataset.cache_clear()
    extent = BBox(10, 49, 11, 50)  # what is cut may have been what says where it lies
    return _first_tile(partial(RasterSource, bands=("any",)), str(path), PixelGrid(128, 128), extent).pixels


def _first_tile(kind, *arguments):
    source = kind(*arguments)
    return source.read(next(iter(source.candidates())))
