"""Uploaded pictures are taken as people see them, and what can't be is refused in plain words."""

import io
import warnings

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.requests.pictures import decode_picture
from wildsat_core.errors import InvalidInputError

RED, BLUE = (220, 10, 10), (10, 10, 220)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves() -> Image.Image:
    """32 wide, 16 high: red on the left, blue on the right."""
    picture = Image.new("RGB", (32, 16), RED)
    picture.paste(BLUE, (16, 0, 32, 16))
    return picture


@pytest.mark.parametrize(("orientation", "shape"), [(1, (16, 32)), (3, (16, 32)), (6, (32, 16)), (8, (32, 16))])
def test_a_photograph_is_turned_as_the_camera_noted(orientation: int, shape: tuple) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_picture(saved(halves(), "JPEG", exif=exif, quality=95), 10**6)
    assert pixels.shape == (3, *shape)
    top_left_is_red = pixels[0, 2, 2] > 128
    assert top_left_is_red == (orientation in (1, 6))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_transparent_plays_no_part(kind: str) -> None:
    picture = halves().convert("RGBA")
    picture.paste((*BLUE, 0), (16, 0, 32, 16))
    pixels = decode_picture(saved(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), 10**6)
    assert np.abs(pixels.mean(axis=(1, 2)) - RED).max() < 2


def test_a_palette_with_a_transparent_colour_is_seen_through() -> None:
    picture = halves().convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    blue = picture.getpixel((31, 0))
    pixels = decode_picture(saved(picture, transparency=blue), 10**6)
    assert np.abs(pixels.mean(axis=(1, 2)) - RED).max() < 6


def test_printers_colours_become_those_of_a_screen() -> None:
    pixels = decode_picture(saved(halves().convert("CMYK"), "JPEG", quality=95), 10**6)
    assert pixels[0, 8, 4] > 150 > pixels[2, 8, 4]


def tiff(bands: np.ndarray, **profile: object) -> bytes:
    rasterio = pytest.importorskip("rasterio")
    shape = {
        "driver": "GTiff",
        "width": bands.shape[2],
        "height": bands.shape[1],
        "count": len(bands),
        "dtype": "uint8",
    }
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(**shape | profile) as sink:
            sink.write(bands)
        return memory.read()


def test_alpha_and_no_data_of_a_geotiff_play_no_part() -> None:
    bands = np.asarray(halves()).transpose(2, 0, 1)
    alpha = np.full((1, 16, 32), 255, np.uint8)
    alpha[:, :, 16:] = 0
    with_alpha = tiff(np.concatenate([bands, alpha]), photometric="RGB", alpha="yes")
    empty = bands.copy()
    empty[:, :, 16:] = 0
    for content in (with_alpha, tiff(empty, photometric="RGB", nodata=0)):
        pixels = decode_picture(content, 10**6)
        assert np.abs(pixels.mean(axis=(1, 2)) - RED).max() < 2


def test_near_infrared_that_is_marked_as_alpha_hides_nothing() -> None:
    bands = np.asarray(halves()).transpose(2, 0, 1)
    infrared = np.random.default_rng(0).integers(1, 255, (1, 16, 32)).astype(np.uint8)
    pixels = decode_picture(tiff(np.concatenate([bands, infrared]), photometric="RGB", alpha="yes"), 10**6)
    np.testing.assert_array_equal(pixels, bands)


def moving() -> bytes:
    return saved(halves(), "WEBP", save_all=True, append_images=[halves().rotate(180)], duration=100)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (moving(), 422, "moves: it has 2 pictures"),
        (saved(Image.new("RGBA", (16, 16))), 422, "transparent everywhere"),
        (saved(halves())[:-30], 415, "cut short"),
        (saved(halves(), "GIF"), 415, "must be a PNG, JPEG, WebP or GeoTIFF"),
        (b"II*\0" + b"\0" * 40, 415, "GeoTIFF can't be read"),
    ],
)
def test_a_refusal_is_in_plain_words(client: TestClient, content: bytes, status: int, said: str) -> None:
    answer = client.post("/search/image", files={"image": ("a", content)})
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    for jargon in ("DOS", "bomb", "Pillow", "PIL", "GDAL", "vsimem", "Errno", "file is truncated"):
        assert jargon not in answer.json()["detail"]


def test_a_picture_of_far_too_many_pixels_is_refused_in_plain_words() -> None:
    with pytest.raises(InvalidInputError, match=r"at most 1000000 are allowed$"):
        decode_picture(saved(Image.new("1", (20_000, 20_000))), 10**6)


@pytest.mark.parametrize("path", ["/search", "/stac/search"])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_says_what_it_is(client: TestClient, path: str, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = client.post(path, content=b'{"terms": [{"text": "ice"}]}', headers=headers)
    assert (answer.status_code, "application/json" in answer.json()["detail"]) == (415, True)


def test_a_picture_comes_in_a_form(client: TestClient) -> None:
    answer = client.post("/search/image", content=saved(halves()), headers={"Content-Type": "image/png"})
    assert (answer.status_code, "field image" in answer.json()["detail"]) == (415, True)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=one"])
def test_a_form_that_is_none_is_told_in_plain_words(client: TestClient, kind: str) -> None:
    answer = client.post("/search/image", content=b"no form", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["detail"][:24]) == (400, "the body can't be read: ")


def test_a_form_without_the_picture_names_what_is_missing(client: TestClient) -> None:
    answer = client.post("/search/image", files={"picture": ("a", saved(halves()))})
    assert (answer.status_code, answer.json()["detail"]) == (422, "image: must be given")
