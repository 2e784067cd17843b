"""Tests of training/familiar.py: what the small models know, and where "nothing matches" begins."""

import numpy as np
import pytest

from training.familiar import LEAST_REAL, MOST_UNRELATED, fit_familiarity, spread_sample, unrelated_texts
from wildsat_core.text.familiarity import Familiarity

UNRELATED = unrelated_texts()


class Encoder:
    """Texts that no place answers lie around the first axis, real ones around the second."""

    def encode_texts(self, texts):
        rng = np.random.default_rng(len(texts))
        about = np.where(np.isin(texts, UNRELATED)[:, None], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        found = about + 0.1 * rng.normal(size=about.shape)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_each_text_of_a_sample_is_the_farthest_from_those_before():
    embeddings = np.asarray([[1, 0], [0.6, 0.8], [0.8, 0.6], [-1, 0]], np.float32)
    np.testing.assert_array_equal(spread_sample(embeddings, 3), embeddings[[0, 3, 1]])
    assert len(spread_sample(embeddings)) == 4


def test_the_threshold_lies_half_way_between_unrelated_and_real_texts():
    model, real = Encoder(), [f"habitat {i}" for i in range(60)]
    known = model.encode_texts([f"known {i}" for i in range(40)])
    fitted = fit_familiarity(model.encode_texts, known, real)
    plain = Familiarity(known, 8, 0.0)
    low = np.quantile(plain.of(model.encode_texts(UNRELATED)), MOST_UNRELATED)
    high = np.quantile(plain.of(model.encode_texts(real)), LEAST_REAL)
    assert low < fitted.threshold < high
    assert fitted.threshold == pytest.approx((low + high) / 2)


def test_unrelated_texts_that_look_real_do_not_push_the_threshold_over_real_ones():
    model = Encoder()
    known = model.encode_texts(UNRELATED[:40])  # so that the unrelated are nearer than the real
    real = [f"habitat {i}" for i in range(60)]
    fitted = fit_familiarity(model.encode_texts, known, real)
    assert fitted.threshold == pytest.approx(np.quantile(Familiarity(known, 8, 0.0).of(model.encode_texts(real)), 0.02))
