"""Pictures as training reads them, and the stream of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.training.conftest import make_dataset
from training.data.pixels import PixelReader
from training.data.stream import DamageCount, EpochBatches, Key, PairDataset, batch_loader
from training.data.tables import PAIRS, PLACES, open_dataset, places_table
from wildsat_core.bands import NINE_BANDS
from wildsat_core.errors import (
    InvalidInputError,
    MissingDataError,
    SourceError,
    TrainingError,
)


def test_band_files_beside_the_picture_are_read_in_the_order_asked(tmp_path: Path) -> None:
    for band, value in (("tci", None), ("b08", 80), ("b05", 50)):
        (tmp_path / "u" / band).mkdir(parents=True)
        picture = Image.new("RGB", (4, 4), (10, 20, 30)) if value is None else Image.new("L", (4, 4), value)
        picture.putpixel((0, 0), (1, 2, 3) if value is None else 1)
        picture.save(tmp_path / "u" / band / "1_2.png")
    reader = PixelReader(tmp_path, NINE_BANDS, ("b08", "green", "b05"), band_files=True)
    assert reader.read("u/tci/1_2.png")[:, 3, 3].tolist() == [80, 20, 50]
    missing = PixelReader(tmp_path, NINE_BANDS, ("red", "b11"), band_files=True)
    with pytest.raises(SourceError, match=r"b11.*missing band is not filled in"):
        missing.read("u/tci/1_2.png")


def test_unreadable_and_empty_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    (tmp_path / "bad.tif").write_bytes(b"not a raster")
    Image.new("RGB", (4, 4)).save(tmp_path / "black.png")
    for name in ("bad.png", "bad.tif", "black.png", "none.png"):
        with pytest.raises(SourceError, match=name):
            PixelReader(tmp_path).read(name)


def pair_dataset(folder: Path, **options: Any) -> PairDataset:
    data = open_dataset(folder)
    rows = data.pairs_of("train")
    reader = PixelReader(data.imagery_root)
    return PairDataset(data, rows, reader, options.pop("seed", 1), other_date=options.pop("other_date", True))


def epoch_batches(folder: Path, *, ranks: int = 1, rank: int = 0, order: Any = "pairs", batch: int = 4) -> EpochBatches:
    data = open_dataset(folder)
    rows = data.pairs_of("train")
    groups = data.column("pairs", "group")[rows]
    batches = EpochBatches(rows, groups, batch=batch, ranks=ranks, rank=rank, order=order, seed=1)
    batches.limit(0, 2 * batches.per_epoch)
    return batches


def test_an_epoch_takes_every_pair_once_and_the_next_in_another_order(painted: Path) -> None:
    keys = [k.pair for batch in epoch_batches(painted, batch=3) for k in batch]
    first, second = keys[:18], keys[18:]
    assert sorted(first) == sorted(second) == open_dataset(painted).pairs_of("train").tolist()
    assert first != second


def test_ranks_share_the_batch_that_one_process_would_have(painted: Path) -> None:
    whole = list(epoch_batches(painted, batch=4))
    parts = [list(epoch_batches(painted, batch=2, ranks=2, rank=r)) for r in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_groups_give_one_pair_each(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    pairs = pq.read_table(folder / PAIRS)
    doubled = pa.concat_tables([pairs, pairs])
    pq.write_table(doubled, folder / PAIRS)
    epoch = [k.pair for batch in list(epoch_batches(folder, order="groups", batch=3))[:6] for k in batch]
    groups = doubled.column("group").to_numpy()[epoch]
    assert sorted(groups) == sorted(set(groups.tolist()))


def test_a_batch_larger_than_the_data_is_refused(painted: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"run\.batch smaller"):
        epoch_batches(painted, batch=64)


def test_workers_give_the_same_batches_as_none(painted: Path) -> None:
    streams = [list(batch_loader(pair_dataset(painted), epoch_batches(painted), workers=w, pin=False)) for w in (0, 2)]
    assert len(streams[0]) == len(streams[1])
    for one, other in zip(*streams, strict=True):
        assert torch.equal(one.anchor, other.anchor)
        assert torch.equal(one.positive, other.positive)
        assert torch.equal(one.text, other.text)


def test_the_positive_is_another_date(painted: Path) -> None:
    batch = pair_dataset(painted).__getitems__([Key(0, i, i) for i in range(4)])
    assert not torch.equal(batch.anchor, batch.positive)
    same = pair_dataset(painted, other_date=False).__getitems__([Key(0, i, i) for i in range(4)])
    assert torch.equal(same.anchor, same.positive)


def test_the_positive_is_never_of_another_part(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", places=4, species=2)
    places = open_dataset(folder).places.to_pylist()
    for row, place in enumerate(places):
        place["split"] = "val" if row % 2 == 0 else "train"  # the other date of every place is held out
    pq.write_table(places_table(places), folder / PLACES)
    batch = pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(4)])
    assert torch.equal(batch.anchor, batch.positive)


def test_deep_and_four_band_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 10_000, (16, 16)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(PixelReader(tmp_path, ("b08",), ("b08",)).read("deep.png")[0], deep)
    four = rng.integers(0, 255, (16, 16, 4)).astype(np.uint8)
    Image.fromarray(four).save(tmp_path / "four.png")
    reader = PixelReader(tmp_path, ("red", "green", "blue", "b08"), ("b08", "red"))
    np.testing.assert_array_equal(reader.read("four.png"), four.transpose(2, 0, 1)[[3, 0]])
    with pytest.raises(SourceError, match=r"four\.png can't be read: it has 4 bands, band 5 is asked for"):
        PixelReader(tmp_path, ("a", "b", "c", "d", "b08"), ("b08",)).read("four.png")


def test_a_picture_too_large_to_be_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(SourceError, match=r"huge\.png can't be read: .*decompression bomb"):
        PixelReader(tmp_path).read("huge.png")


def test_damaged_pictures_are_named_replaced_and_counted(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set")
    for name in ("0_0.png", "0_1.png"):
        (folder / "pictures" / name).write_bytes(b"damaged")
    batch = pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(4)])
    assert len(batch.anchor) == 4
    assert len(batch.damaged) == 1
    assert "0_1.png" in batch.damaged[0]
    count = DamageCount(0.5, 8)
    assert count.add(batch.damaged, batch.reads) == batch.damaged
    assert count.add(batch.damaged, batch.reads) == [], "a picture is named once"
    with pytest.raises(TrainingError, match=r"1 of 9 pictures can't be read.*0_1\.png"):
        DamageCount(0.01, 8).add(batch.damaged, batch.reads)


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "set", dates=1)
    Image.effect_noise((16, 16), 50).convert("RGB").save(folder / "pictures" / "0_0.png")
    with pytest.raises(InvalidInputError, match=r"data\.tile_px"):
        pair_dataset(folder).__getitems__([Key(0, i, i) for i in range(3)])


def test_a_data_set_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="not a training set"):
        open_dataset(tmp_path)
    folder = make_dataset(tmp_path / "set")
    (folder / "dataset.json").write_text('{"imagery": "x", "colour": 1}')
    with pytest.raises(InvalidInputError, match="colour"):
        open_dataset(folder)
