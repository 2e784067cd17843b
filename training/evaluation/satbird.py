"""SatBird's folders: pictures of birding hotspots with the encounter rate of each species; nothing is fetched.

`<country>/{train,valid,test}_split.csv` name hotspots, `images_visual/<id>_visual.tif` shows each in true colour, and
`targets/<id>.json` holds its rates as `probs`. Range maps are a pickle, which is not read: any species may be foretold.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.evaluation.labelled_set import LabelledSet, Part, Picture
from training.evaluation.pictures import decoded
from wildsat_core.errors import MissingDataError, SourceError

SPLITS: dict[str, Part] = {"train": "train", "valid": "val", "test": "test"}
PICTURES, TARGETS = "images_visual/{}_visual.tif", "targets/{}.json"


def open_satbird(source: str) -> LabelledSet:
    """Open `satbird:<folder of a country or season>`, as Kenya or USA_summer.

    Raises:
        MissingDataError: the folder does not hold the data set.
        SourceError: a file is damaged, or knows other species than the first.
    """
    folder = Path(source.removeprefix("satbird:")).expanduser()
    tables = {part: folder / f"{name}_split.csv" for name, part in SPLITS.items()}
    if missing := [path.name for path in tables.values() if not path.is_file()]:
        raise MissingDataError(f"{folder} is no folder of SatBird: it lacks {', '.join(missing)}")
    rows = [(part, row) for part, path in tables.items() for row in _rows(path)]
    if not rows:
        raise MissingDataError(f"the tables of {folder} name no hotspots")
    rates = [_rates(folder / TARGETS.format(row["hotspot_id"])) for _, row in rows]
    if len(counts := {len(one) for one in rates}) > 1:
        raise SourceError(f"the targets of {folder} know {sorted(counts)} species; all must know the same")

    def read(row: int) -> Picture:
        path = folder / PICTURES.format(rows[row][1]["hotspot_id"])
        try:
            return decoded(path.read_bytes())
        except (OSError, ValueError, SyntaxError) as err:
            raise SourceError(f"{path} can't be read: {err}") from err

    names = tuple(f"species {i}" for i in range(len(rates[0])))
    columns: dict[str, NDArray[np.str_]] = {}
    for name in ("lon", "lat"):
        if name in rows[0][1]:
            columns[name] = np.array([row.get(name) or "" for _, row in rows])
    parts = np.array([part for part, _ in rows])
    return LabelledSet(folder.name, names, np.array(rates, np.float32), parts, read, columns)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if rows and "hotspot_id" not in rows[0]:
        raise SourceError(f"{path} needs the column hotspot_id, it has {', '.join(rows[0])}")
    return rows


def _rates(path: Path) -> list[float]:
    try:
        rates = [float(rate) for rate in json.loads(path.read_text(encoding="utf-8"))["probs"]]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise SourceError(f"{path} does not give the rates of species: {err}") from err
    if not all(0 <= rate <= 1 for rate in rates):
        raise SourceError(f"{path} has rates outside of 0 to 1")
    return rates
