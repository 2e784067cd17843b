"""Tests of training/evaluation/baseline.py and contact_sheet.py."""

from types import SimpleNamespace

import numpy as np

from training.evaluation.baseline import colour_features, colour_vectors
from training.evaluation.contact_sheet import FRAME_PX, GAP_PX, RIGHT, TEXT_PX, TILE_PX, WRONG, contact_sheet
from training.evaluation.queries import BenchmarkQuery


def test_colour_features_are_mean_and_deviation():
    pixels = np.zeros((1, 3, 2, 2), np.uint8)
    pixels[0, 0] = [[0, 255], [0, 255]]
    found = colour_features(pixels)[0]
    np.testing.assert_allclose(found[[0, 3, 6, 9, 12]], [0.5, 0.5, 0.25, 0.25, 1.0])
    np.testing.assert_allclose(found[[1, 2, 4, 5]], 0)


def test_colour_finds_what_colour_tells():
    rng = np.random.default_rng(0)
    green = np.arange(40) % 2 == 0
    pixels = rng.integers(0, 20, (40, 3, 4, 4)).astype(np.uint8)
    pixels[green, 1] += 150
    vectors = np.where(green[:, None], [1.0, 0.0], [0.0, 1.0]).astype(np.float32)
    found = colour_vectors(pixels, vectors, np.arange(40) < 20)
    assert (found[20:][green[20:]] @ [1, 0] > 0.9).all()
    assert (found[20:][~green[20:]] @ [1, 0] < 0.5).all()


def test_the_sheet_frames_right_tiles_green_and_wrong_ones_red():
    evaluated = SimpleNamespace(
        queries=[BenchmarkQuery("dunes", "habitat", "rain < 1", True)],
        truth=np.asarray([[False, True, False]]),
        pixels=np.full((3, 3, 8, 8), 128, np.uint8),
        scores=lambda texts, blend: np.asarray([[0.1, 0.9, 0.5]]),
    )
    sheet = np.asarray(contact_sheet(evaluated, [0], blend=0.5, columns=2))
    row, step = GAP_PX + TEXT_PX + 1, TILE_PX + 2 * FRAME_PX + GAP_PX
    assert tuple(sheet[row, GAP_PX + 1]) == RIGHT
    assert tuple(sheet[row, GAP_PX + step + 1]) == WRONG
    assert sheet.shape[1] == 2 * step + 2 * GAP_PX
