"""A tiny random model, and small rasters whose every pixel can be worked out by hand."""

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

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
