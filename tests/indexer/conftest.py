"""A tiny random model, and small rasters whose every pixel can be worked out by hand."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image
from typer.testing import CliRunner

from wildsat_core.errors import WildsatError
from wildsat_core.models.config import HeadConfig, LocationConfig, ModelConfig
from wildsat_core.models.model import WildSATModel
from wildsat_core.preprocess import Preprocessing


def tiny_config(**changes):
    facts = {
        "name": "tiny",
        "architecture": "timm:resnet10t",
        "architecture_args": {"channels": [8, 8, 8, 8], "stem_width": 8},
        "feature_size": 8,
        "preprocessing": Preprocessing(input_px=32),
        "tile_heads": {space: HeadConfig(in_features=8, out_features=4) for space in ("text", "image")},
        "text_head": HeadConfig(in_features=384, out_features=4),
        "location": LocationConfig(
            kind="position", parameters={"dim": 4, "waves": 8, "width": 8, "depth": 1}, out_features=4
        ),
    }
    return ModelConfig(**(facts | changes))


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The model is so small that handing its work to threads takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Directory of the tiny model."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(3)
    WildSATModel(tiny_config()).save(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder):
    return WildSATModel.open(model_folder)


def write_raster(path, values, crs, west, north, pixel, *, nodata=None, **creation):
    """Write (C, H, W) values with square pixels from a north-west corner."""
    count, height, width = values.shape
    profile = {"width": width, "height": height, "count": count, "dtype": values.dtype, "crs": crs, "nodata": nodata}
    transform = Affine(pixel, 0, west, 0, -pixel, north)
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile, **creation) as out:
        out.write(values)
    return path


@pytest.fixture(scope="session")
def globe(tmp_path_factory):
    """Plate carree globe of half a degree, RGB uint8: red tells longitude, green latitude, blue is noise."""
    path = tmp_path_factory.mktemp("rasters") / "globe.tif"
    lon = (np.arange(720) + 0.5) / 720 * 360 - 180
    lat = 90 - (np.arange(360) + 0.5) / 360 * 180
    red = np.broadcast_to(np.rint((np.cos(np.radians(lon)) + 1) * 127), (360, 720))  # no seam at 180 degrees
    green = np.broadcast_to(np.rint((lat + 90) / 180 * 250)[:, None], (360, 720))
    blue = np.random.default_rng(0).integers(0, 255, (360, 720))
    return write_raster(path, np.stack([red, green, blue]).astype(np.uint8), "EPSG:4326", -180, 90, 0.5)


@pytest.fixture
def server(tmp_path):
    """A catalogue on loopback without items, and the folder of its files."""
    from tests.indexer.stac_server import StacServer

    folder = tmp_path / "files"
    folder.mkdir()
    with StacServer(folder) as running:
        yield running


def png(seed):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(1, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels


@pytest.fixture
def majortom(tmp_path):
    """Two picture files of a row a group, and the metadata of the whole planet: three rows."""
    for part, (cell, seed) in enumerate([("433D_12R", 1), ("897U_171R", 2)]):
        rows = {"product_id": [f"S2A_{part}"], "grid_cell": [cell], "thumbnail": [png(seed)[0]]}
        (tmp_path / "images").mkdir(exist_ok=True)
        pq.write_table(pa.table(rows), tmp_path / "images" / f"part_{part}.parquet", row_group_size=1)
    places = {
        "product_id": ["S2A_0", "S2A_1", "S2A_2"],
        "grid_cell": ["433D_12R", "897U_171R", "0U_0R"],
        "timestamp": ["2020-07-15 10:40:31", "20210716T104031", "2020-01-01"],
        "cloud_cover": [12.5, 0.0, 1.0],
        "centre_lat": [-38.9, 80.6, 0.0],
        "centre_lon": [-98.0, 179.99, 0.0],
    }
    pq.write_table(pa.table(places), tmp_path / "metadata.parquet")
    return tmp_path


@pytest.fixture
def type_in(tmp_path, monkeypatch):
    """Run `wildsat index …` with a folder of collections; give what it printed, or raise what it raised."""
    from indexer.commands.index import index

    monkeypatch.setenv("WILDSAT_COLLECTIONS", str(tmp_path / "collections"))

    def run(*arguments, code=0):
        answer = CliRunner().invoke(index, [str(a) for a in arguments])
        if isinstance(answer.exception, WildsatError):
            raise answer.exception
        assert answer.exit_code == code, answer.output
        return answer.stdout

    return run
