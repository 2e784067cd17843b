"""The whole GritLM path on a tiny random model."""

import sys

import numpy as np
import pytest

from wildsat_core.errors import InvalidInputError, MissingExtraError, UnsupportedVersionError
from wildsat_core.text.gritlm import GritLMEncoder, check_transformers_version

TEXTS = [
    "cloud forest on a steep tropical ridge",
    "mangrove coast",
    "salt lake with pink birds",
    "dry grass plain with a steep ridge on a dry coast with a salt lake",
    "a",
]


@pytest.fixture(scope="module")
def encoder(tiny_mistral):
    pytest.importorskip("gritlm", reason="pip install --no-deps gritlm==1.0.2")
    return GritLMEncoder(tiny_mistral, device="cpu", batch_texts=3)


def by_hand(folder, text, bidirectional=True):
    """The embedding from its definition: one text, no padding, an explicit mask of ones in both directions."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, MistralModel

    config = AutoConfig.from_pretrained(folder)
    del config.auto_map
    config.sliding_window = None
    config._attn_implementation = "eager"
    model = MistralModel.from_pretrained(folder, config=config).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("<|embed|>\n" + text, return_tensors="pt")["input_ids"][:, :512]
    count = ids.shape[1]
    allowed = torch.ones(count, count) if bidirectional else torch.ones(count, count).tril()
    mask = torch.where(allowed.bool(), 0.0, torch.finfo(torch.float32).min)[None, None]
    prompt = len(tokenizer("<|embed|>\n")["input_ids"])
    with torch.inference_mode():
        hidden = model(ids, attention_mask=mask)[0][0, prompt:]
    return torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy()


def test_a_batch_equals_its_texts_one_at_a_time(encoder):
    together = encoder.encode(TEXTS)
    alone = np.stack([encoder.encode([text])[0] for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_embeddings_equal_their_definition(encoder, tiny_mistral):
    vectors = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, by_hand(tiny_mistral, text), atol=1e-5)


def test_attention_looks_both_ways(encoder, tiny_mistral):
    vector = encoder.encode([TEXTS[0]])[0]
    assert np.abs(vector - by_hand(tiny_mistral, TEXTS[0], bidirectional=False)).max() > 1e-2
    # A later token changes an earlier hidden state.
    import torch

    tokenizer, model = encoder._model.tokenizer, encoder._model.model
    hidden = []
    for last in ("lake", "plain"):
        tokens = tokenizer(f"mangrove coast {last}", return_tensors="pt")
        with torch.inference_mode():
            hidden.append(model(**tokens, is_causal=False)[0][0, 1])
    assert (hidden[0] - hidden[1]).abs().max() > 1e-3


def test_the_prompt_is_masked_out(encoder, tiny_mistral):
    import torch

    text = TEXTS[2]
    tokens = encoder._model.tokenizer("<|embed|>\n" + text, return_tensors="pt")
    with torch.inference_mode():
        hidden = encoder._model.model(**tokens, is_causal=False)[0][0]
    whole = torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy()
    assert np.abs(encoder.encode([text])[0] - whole).max() > 1e-3


def test_a_long_text_is_cut_at_512_tokens(encoder):
    words = "dry grass plain " * 300
    vector = encoder.encode([words])[0]
    assert np.isfinite(vector).all()
    np.testing.assert_allclose(vector, encoder.encode([words + "mangrove coast"])[0], atol=1e-6)


def test_no_texts_give_no_rows_and_a_blank_one_is_refused(encoder):
    assert encoder.encode([]).shape == (0, 32)
    with pytest.raises(InvalidInputError, match="blank"):
        encoder.encode(["mangrove coast", "  "])


@pytest.mark.parametrize("version", ["4.51.3", "4.57.0", "5.0.0", "5.1.2"])
def test_versions_that_are_silently_wrong_are_refused(version):
    with pytest.raises(UnsupportedVersionError, match=f"transformers {version} gives wrong"):
        check_transformers_version(version)


def test_right_versions_are_taken():
    for version in ("5.2.0", "5.23.0", "6.0.0"):
        check_transformers_version(version)


def test_the_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "gritlm", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[gritlm\]"):
        GritLMEncoder(tmp_path)
