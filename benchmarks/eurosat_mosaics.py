"""Mosaics of four EuroSAT chips: pictures with several labels and with masks, to measure models on where no others are.

python -m benchmarks.eurosat_mosaics eurosat.zip work/mosaics
wildsat eval probe --data work/mosaics/labels.csv --model wildsat-s2
wildsat eval probe --data work/mosaics/masks.csv --model wildsat-s2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from training.evaluation.labelled import open_labelled
from training.evaluation.labelled_set import PARTS, LabelledSet

SIDE = 2  # chips


def make_mosaics(data: LabelledSet, out: Path, counts: dict[str, int], seed: int = 0) -> None:
    """Write pictures, masks, `labels.csv` and `masks.csv`; each chip is used once, within its own part."""
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    labels, masks = ["file,labels,split"], ["file,mask,split"]
    for part in PARTS:
        rows = random.permutation(data.rows_of(part))
        count = min(counts[part], len(rows) // SIDE**2)
        for number, four in enumerate(rows[: count * SIDE**2].reshape(-1, SIDE, SIDE)):
            name = f"{part}_{number}"
            chips = [[data.read(int(row)) for row in line] for line in four]
            height, width = chips[0][0].shape[1:]
            picture = np.concatenate([np.concatenate(line, axis=2) for line in chips], axis=1)
            mask = np.kron(data.labels[four], np.ones((height, width))).astype(np.uint8)
            Image.fromarray(picture.transpose(1, 2, 0)).save(out / f"{name}.png")
            Image.fromarray(mask).save(out / f"{name}_mask.png")
            named = sorted({data.classes[label] for label in data.labels[four].ravel()})
            labels.append(f"{name}.png,{'|'.join(named)},{part}")
            masks.append(f"{name}.png,{name}_mask.png,{part}")
    (out / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (out / "masks.csv").write_text("\n".join(masks) + "\n", encoding="utf-8")


def main() -> None:
    """Read the arguments and write the mosaics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eurosat", help="a folder or zip of EuroSAT's chips in true colour")
    parser.add_argument("out", type=Path)
    for part, count in zip(PARTS, (1200, 150, 500), strict=True):
        parser.add_argument(f"--{part}", type=int, default=count, help="mosaics of this part")
    arguments = parser.parse_args()
    make_mosaics(open_labelled(arguments.eurosat), arguments.out, {part: getattr(arguments, part) for part in PARTS})


if __name__ == "__main__":
    main()
