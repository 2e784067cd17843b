"""The files that the reference trains from, read into the open format."""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import write_reference
from training.data.build import SplitPlan
from training.data.imagery import mercator_centre, mercator_tile
from training.data.reference import import_reference, read_pickled_array
from training.data.tables import open_dataset
from wildsat_core.bands import NINE_BANDS
from wildsat_core.errors import (
    CheckpointError,
    MissingDataError,
    WildsatError,
)


def test_reference_files_become_tables(tmp_path: Path) -> None:
    pictures, wiki = write_reference(tmp_path)
    report = import_reference(
        tmp_path / "set", pictures, wiki, tmp_path / "sentinel2", plan=SplitPlan(), nine_bands=True
    )
    assert (report.places, report.texts, report.pairs) == (3, 3, 3)
    data = open_dataset(tmp_path / "set")
    assert data.pairs.to_pylist()[0] == {"place": 0, "text": 2, "group": 0, "lon": -98.0, "lat": 33.5}
    assert data.column("pairs", "group").tolist() == [0, 0, 1]
    assert data.column("places", "path").tolist() == ["u1/tci/10_20.png", "u2/tci/10_20.png", "u3/tci/11_20.png"]
    assert data.column("places", "site").tolist() == [0, 0, 2]
    assert data.column("texts", "species").tolist() == ["taxon 501", "taxon 501", "taxon 777"]
    assert data.about.bands == NINE_BANDS
    assert data.about.text_encoder == "gritlm"
    original = torch.load(wiki, weights_only=True)["data"].numpy()
    embeddings = data.embeddings()
    for row in range(3):
        np.testing.assert_array_equal(embeddings[row], original[row])


def test_pictures_that_samples_link_are_one_site_in_whatever_order(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    samples = [("a", ["b"]), ("c", ["d"]), ("e", []), ("f", ["d", "b"])]
    group = [(name, -98.0, 33.5, 0, others) for name, others in samples]
    np.save(tmp_path / "p.npy", {"dataloader_data": [group]}, allow_pickle=True)  # type: ignore[arg-type]
    import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())
    data = open_dataset(tmp_path / "set")
    sites = dict(zip(data.column("places", "path"), data.column("places", "site"), strict=True))
    assert sites == {"a": 0, "b": 0, "c": 0, "d": 0, "e": 4, "f": 0}


def test_a_place_of_the_reference_lies_where_its_tile_does(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    column, row = mercator_tile(-100.0, 33.5)
    seen = [(f"u/tci/{column}_{row}.png", -100.02, 33.52, 0, []), ("elsewhere.png", 7.0, 8.0, 0, [])]
    np.save(tmp_path / "p.npy", {"dataloader_data": [seen]}, allow_pickle=True)  # type: ignore[arg-type]
    import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())
    data = open_dataset(tmp_path / "set")
    places, pairs = data.places.to_pylist(), data.pairs.to_pylist()
    assert [(p["lon"], p["lat"]) for p in places] == [mercator_centre(column, row), (7.0, 8.0)]
    assert (pairs[0]["lon"], pairs[0]["lat"]) == (-100.02, 33.52)


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(tmp_path: Path) -> None:
    _, wiki = write_reference(tmp_path)
    evil = tmp_path / "evil.npy"
    np.save(evil, {"dataloader_data": [[Malice()]]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"asks for builtins\.exec"):
        import_reference(tmp_path / "set", evil, wiki, tmp_path, plan=SplitPlan())
    for name in ("getattr", "eval", "__import__"):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.array(None, object), allow_pickle=True)
        header = stream.getvalue()[: stream.getvalue().index(b"\n") + 1]
        evil.write_bytes(header + f"cbuiltins\n{name}\n.".encode())
        with pytest.raises(CheckpointError, match=name):
            read_pickled_array(evil)
    assert not (tmp_path / "set").exists()


def test_damaged_reference_files_are_refused(tmp_path: Path) -> None:
    pictures, wiki = write_reference(tmp_path)
    short = tmp_path / "short.npy"
    short.write_bytes(pictures.read_bytes()[:-40])
    with pytest.raises(CheckpointError):
        read_pickled_array(short)
    np.save(tmp_path / "numbers.npy", np.zeros(3))
    with pytest.raises(CheckpointError, match="plain numbers"):
        read_pickled_array(tmp_path / "numbers.npy")
    np.save(tmp_path / "other.npy", {"dataloader_data": [[("a", 1.0)]]}, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="group 0"):
        import_reference(tmp_path / "set", tmp_path / "other.npy", wiki, tmp_path, plan=SplitPlan())
    with pytest.raises(MissingDataError):
        read_pickled_array(tmp_path / "none.npy")


SAMPLE = ("u/tci/1_2.png", -98.0, 33.5, 0, [])


@pytest.mark.parametrize(
    "content",
    [
        None, 5, {"dataloader_data": None}, {"dataloader_data": 7}, {"dataloader_data": [5]}, {"dataloader_data": "ab"},
        {"dataloader_data": []}, {"dataloader_data": [[None]]}, {"dataloader_data": [[(*SAMPLE[:4], None)]]},
        *({"dataloader_data": [[(*SAMPLE[:i], wrong, *SAMPLE[i + 1 :])]]}
          for i, wrong in ((0, ""), (1, float("nan")), (1, "x"), (2, 95.0), (3, 9), (3, -1), (3, math.inf), (4, 3))),
    ],
)  # fmt: skip
def test_a_list_of_pictures_that_is_none_is_refused_in_words(tmp_path: Path, content: Any) -> None:
    _, wiki = write_reference(tmp_path)
    np.save(tmp_path / "p.npy", np.array(content, object), allow_pickle=True)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "p.npy"))):
        import_reference(tmp_path / "set", tmp_path / "p.npy", wiki, tmp_path, plan=SplitPlan())


@pytest.mark.parametrize(
    "changes",
    [
        {"keys": 3}, {"keys": [1, 2, 3]}, {"keys": [(0, "a"), (9, "b"), (0, "c")]}, {"keys": [("x", "a")] * 3},
        {"taxon_id": 5}, {"taxon_id": torch.zeros(2, 2)}, {"data": torch.zeros(3, 16, dtype=torch.int64)},
        {"data": torch.zeros(3)}, {"data": None},
    ],
)  # fmt: skip
def test_a_table_of_texts_that_is_none_is_refused_in_words(tmp_path: Path, changes: dict[str, Any]) -> None:
    pictures, wiki = write_reference(tmp_path)
    torch.save(torch.load(wiki, weights_only=True) | changes, wiki)
    with pytest.raises(CheckpointError, match=re.escape(str(wiki))):
        import_reference(tmp_path / "set", pictures, wiki, tmp_path, plan=SplitPlan())
    assert not (tmp_path / "set").exists()


def test_reference_files_damaged_anywhere_end_in_an_error_of_ours(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    for file in write_reference(tmp_path):
        whole = file.read_bytes()
        for number in range(60):
            damaged = bytearray(whole)
            if number % 3:
                for at in random.integers(0, len(whole), 3):
                    damaged[at] = int(random.integers(256))
            else:
                del damaged[int(random.integers(len(whole))) :]
            file.write_bytes(damaged)
            with contextlib.suppress(WildsatError):  # or the damage is in a number, and nobody can tell
                import_reference(
                    tmp_path / "set", tmp_path / "dataloader_data.npy", tmp_path / "wiki_data_v4.pt", tmp_path,
                    plan=SplitPlan(),
                )  # fmt: skip
        file.write_bytes(whole)
