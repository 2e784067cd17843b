"""A picture for people to judge by: each query's best tiles in a row, right ones framed in green, wrong ones in red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.evaluation.measures import precision_at

TILE_PX, FRAME_PX, GAP_PX, TEXT_PX = 56, 3, 4, 18
RIGHT, WRONG = (30, 150, 60), (205, 50, 45)
INK, PAPER = (25, 25, 25), (250, 250, 248)


class Query(Protocol):
    """A query as a sheet names it."""

    @property
    def text(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def held(self) -> bool: ...


class Rankable(Protocol):
    """Tiles and queries of a benchmark: pixels (N, 3, H, W) uint8, truth (Q, N)."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(N, 3, H, W) red, green and blue, 0 to 255."""
        ...

    @property
    def queries(self) -> Sequence[Query]: ...
    @property
    def truth(self) -> NDArray[np.bool_]:
        """(Q, N) whether a tile is right for a query."""
        ...

    def scores(self, texts: list[str], blend: float) -> NDArray[np.floating[Any]]:
        """(T, N) the ranking of texts at a blend of the place space."""
        ...


def contact_sheet(evaluated: Rankable, rows: list[int], blend: float, columns: int = 16) -> Image.Image:
    """One line a query: its text, kind and precision at 20, and below them its best tiles.

    Args:
        evaluated: vectors, pictures and truth.
        rows: which queries, top to bottom.
        blend: of the ranking that is shown.
        columns: how many tiles a query shows.
    """
    scores = evaluated.scores([evaluated.queries[row].text for row in rows], blend)
    precision = precision_at(scores, evaluated.truth[rows], 20)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :columns]
    cell = TILE_PX + 2 * FRAME_PX + GAP_PX
    height = TEXT_PX + cell + GAP_PX
    sheet = Image.new("RGB", (best.shape[1] * cell + 2 * GAP_PX, len(rows) * height + GAP_PX), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for line, row in enumerate(rows):
        query, top = evaluated.queries[row], line * height + GAP_PX
        half = "held" if query.held else "tuning"
        pen.text((GAP_PX, top), f"{query.text}   [{query.kind}, {half}]   P@20 {precision[line]:.2f}", INK, font)
        for column, tile in enumerate(best[line]):
            right = bool(evaluated.truth[row, tile])
            sheet.paste(_framed(evaluated.pixels[tile], right), (GAP_PX + column * cell, top + TEXT_PX))
    return sheet


def save_contact_sheet(evaluated: Rankable, rows: list[int], blend: float, path: Path) -> None:
    """Write a contact sheet as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(evaluated, rows, blend).save(path, optimize=True)


def _framed(pixels: NDArray[np.uint8], right: bool) -> Image.Image:
    framed = Image.new("RGB", (TILE_PX + 2 * FRAME_PX,) * 2, RIGHT if right else WRONG)
    tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).resize((TILE_PX, TILE_PX))
    framed.paste(tile, (FRAME_PX, FRAME_PX))
    return framed
