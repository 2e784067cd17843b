"""Tests of training/evaluation/sentinel.py: the benchmark at ten metres."""

import os
from pathlib import Path

import numpy as np
import pytest

from training.earth.chips import WorldChip
from training.earth.kinds import KINDS
from training.evaluation import sentinel
from wildsat_core.models.registry import load_model

COLOURS = {"sand dunes": 0.28, "red outback": 0.2, "sea or lake": 0.02, "forest": 0.1, "annual crops": 0.15}


class Named:
    """A model whose texts are what their kind looks like; some are of another kind than they should."""

    def __init__(self, misread=()):
        self.misread = misread

    def embed_texts(self, texts):
        kinds = {text: kind for kind, said in sentinel._table("sentinel2-world.yaml").items() for text in said}
        return np.asarray([direction(COLOURS["sea or lake" if t in self.misread else kinds[t]]) for t in texts])

    def embed_pixels(self, pixels):
        return {"text": np.asarray([direction(picture.mean() / 255 * 0.3) for picture in pixels])}


def direction(grey):
    return np.asarray([np.cos(4 * grey), np.sin(4 * grey)], np.float32)


def world_of(model, monkeypatch):
    chips = [
        WorldChip(kind, np.full((256, 256, 3), grey, np.float32), KINDS.index(kind), 0.0, 0.0)
        for kind, grey in COLOURS.items()
    ]
    monkeypatch.setattr(sentinel, "read_world", lambda data, part: chips)
    benchmark = object.__new__(sentinel.SentinelBenchmark)
    benchmark.model, benchmark.data = model, None
    return benchmark.world()


def test_chips_of_other_continents_are_asked_in_all_their_wordings(monkeypatch):
    found = world_of(Named(), monkeypatch)
    assert (found["tiles"], found["chips"], found["p16"], found["p16_interval"]) == (80, 5, 1.0, (1.0, 1.0))
    assert set(found["wordings"].values()) == {1.0}


def test_the_interval_is_drawn_over_kinds_as_their_wordings_fail_together(monkeypatch):
    """All three wordings of one kind of five: five values, of which one is 0, not fifteen."""
    forests = sentinel._table("sentinel2-world.yaml")["forest"]
    found = world_of(Named(forests), monkeypatch)
    assert found["p16"] == pytest.approx(0.8)
    assert [text for text, precision in found["wordings"].items() if precision == 0] == forests
    assert found["p16_interval"] == pytest.approx((0.4, 1.0))


def test_the_shipped_weights_find_every_class_by_every_wording():
    """On 400 chips 0.945 are named right, and each of 160 wordings has all of its best 20 right."""
    if not os.environ.get("WILDSAT_DATA"):
        pytest.skip("WILDSAT_DATA is not set: EuroSAT's chips")
    benchmark = sentinel.SentinelBenchmark(load_model("wildsat-s2"), Path(os.environ["WILDSAT_DATA"]), 400)
    plain = benchmark.stretched(sentinel.STRETCHES[sentinel.PLAIN])
    found = benchmark.judge(plain)
    assert found.accuracy >= 0.94
    assert found.p20_all >= 0.995
    assert found.lowest >= 0.9
    rows = sentinel.by_wording(benchmark, plain)
    assert [(row["p20"], row["ap"]) for row in rows] == sorted((row["p20"], row["ap"]) for row in rows)
