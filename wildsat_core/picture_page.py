"""A web page of pictures in one file, for people to look at: nothing in it is fetched, and nothing in it runs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wildsat_core.bands import RGB
from wildsat_core.files import write_text_atomically
from wildsat_core.thumbnail import webp_thumbnail

SIDE_PX: Final = 192

# What a file's name or a text says is shown as it is written; should something slip through, the policy stops it.
_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif; }}
body {{ margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }}
h2 {{ margin: 2rem 0 .25rem; }}
p {{ margin: .25rem 0 .75rem; max-width: 50rem; white-space: pre-line; }}
.row {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .25rem; }}
figcaption {{ font-size: .85rem; overflow-wrap: anywhere; white-space: pre-line; }}
</style>
</head>
<body>
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture and what is said of it.

    Attributes:
        pixels: (3, H, W) uint8, red, green and blue.
        caption: lines below it.
        alternative: what is read out in its place.
    """

    pixels: npt.NDArray[np.uint8]
    caption: str
    alternative: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, some lines and a row of pictures."""

    heading: str
    lines: Sequence[str]
    figures: Iterable[Figure]


def write_picture_page(path: Path, title: str, lines: Sequence[str], sections: Iterable[Section]) -> None:
    """Write a page whole, or not at all.

    Args:
        path: of the HTML file; one that is there is replaced.
        title: its heading.
        lines: paragraphs below that.
        sections: top to bottom; they are drawn one at a time.
    """
    parts = [_HEAD.format(title=escape(title)), f"<h1>{escape(title)}</h1>\n", *map(_paragraph, lines)]
    for section in sections:
        parts += [f"<h2>{escape(section.heading)}</h2>\n", *map(_paragraph, section.lines)]
        parts += ['<div class="row">\n', *map(_figure, section.figures), "</div>\n"]
    write_text_atomically(path, "".join([*parts, "</body>\n</html>\n"]))


def shown_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Three bands to show as red, green and blue: these where there are such, else a first, middle and last one."""
    return RGB if set(RGB) <= set(bands) else (bands[0], bands[len(bands) // 2], bands[-1])


def for_people(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Eight bits as they are; other values from 0, black, to the picture's own 98th percentile, white.

    Args:
        pixels: (3, H, W) of any type of number.

    Returns:
        (3, H, W) uint8, 0 where a value is not a number.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8)
    values = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    white = max(float(np.percentile(values, 98)), 1e-6)
    shown: npt.NDArray[np.uint8] = np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)
    return shown


def _paragraph(line: str) -> str:
    return f"<p>{escape(line)}</p>\n"


def _figure(figure: Figure) -> str:
    picture = base64.b64encode(webp_thumbnail(figure.pixels, SIDE_PX)).decode()
    return (
        f'<figure><img src="data:image/webp;base64,{picture}" alt="{escape(figure.alternative)}">'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>\n"
    )
