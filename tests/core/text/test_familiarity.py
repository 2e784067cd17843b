"""Tests of wildsat_core/text/familiarity.py."""

import numpy as np
import pytest

from wildsat_core.errors import CheckpointError
from wildsat_core.text.familiarity import FAMILIARITY_FILE, Familiarity

KNOWN = np.asarray([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_familiarity_is_the_mean_cosine_with_the_nearest_known_texts():
    familiarity = Familiarity(KNOWN, nearest=2, threshold=0.5)
    # cosines with (1, 0): 1, 0, 0.7071
    np.testing.assert_allclose(familiarity.of(np.asarray([[3.0, 0.0]])), [(1 + np.sqrt(0.5)) / 2], rtol=1e-6)


def test_a_text_far_from_all_known_ones_is_unfamiliar():
    familiarity = Familiarity(KNOWN, nearest=1, threshold=0.5)
    assert familiarity.is_unfamiliar(np.asarray([-1.0, -1.0]))
    assert not familiarity.is_unfamiliar(np.asarray([1.0, 0.1]))


def test_a_zero_embedding_is_unfamiliar_and_not_an_error():
    assert Familiarity(KNOWN, nearest=3, threshold=0.1).is_unfamiliar(np.zeros(2))


def test_what_is_saved_is_read_again(tmp_path):
    saved = Familiarity(KNOWN, nearest=2, threshold=0.4321)
    settings = saved.save(tmp_path)
    opened = Familiarity.open(tmp_path, settings)
    query = np.asarray([[0.3, 0.7]])
    np.testing.assert_allclose(opened.of(query), saved.of(query), atol=1e-3)
    assert (opened.nearest, opened.threshold) == (2, 0.4321)


def test_who_may_read_other_files_may_read_this_one(tmp_path):
    Familiarity(KNOWN, nearest=2, threshold=0.5).save(tmp_path)
    (tmp_path / "other").touch()
    assert (tmp_path / FAMILIARITY_FILE).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_missing_file_is_named(tmp_path):
    settings = Familiarity(KNOWN, nearest=1, threshold=0.5).save(tmp_path)
    (tmp_path / FAMILIARITY_FILE).unlink()
    with pytest.raises(CheckpointError, match=FAMILIARITY_FILE):
        Familiarity.open(tmp_path, settings)


def test_a_damaged_file_is_named(tmp_path):
    settings = Familiarity(KNOWN, nearest=1, threshold=0.5).save(tmp_path)
    (tmp_path / FAMILIARITY_FILE).write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=FAMILIARITY_FILE):
        Familiarity.open(tmp_path, settings)


def test_another_kind_of_calibration_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="scores"):
        Familiarity.open(tmp_path, {"kind": "scores"})


@pytest.mark.parametrize("nearest", [0, 4])
def test_more_neighbours_than_known_texts_are_refused(nearest):
    with pytest.raises(CheckpointError, match="nearest"):
        Familiarity(KNOWN, nearest=nearest, threshold=0.5)
