"""Tests of text/folding.py: what looks alike is one text."""

import pytest

from wildsat_core.search.query import TextTerm
from wildsat_core.text.folding import fold, plain


@pytest.mark.parametrize(
    "typed",
    [
        "mangrove",
        "ｍａｎｇｒｏｖｅ",
        "man\u200bgrove",
        "\ufeffmangrove",
        "man\u00adgrove\ufe0f",
        "\u202emangrove\u202c",
        " mangrove\u3000",
    ],
)
def test_invisible_and_wide_letters_make_no_other_word(typed):
    assert fold(typed) == "mangrove" == TextTerm(typed).text


def test_quotes_and_dashes_are_those_of_a_keyboard():
    assert fold("C\u00f4te d\u2019Ivoire \u2013 \u201ccoast\u201d") == 'C\u00f4te d\'Ivoire - "coast"'


def test_a_key_has_neither_accents_nor_case_nor_punctuation():
    assert plain("  C\u00f4te d\u2019Ivoire! ") == "cote d ivoire"
    assert plain("P\u00c1RAMO") == plain("pa\u0301ramo") == "paramo"
    assert plain("森林") == "森林"


def test_a_key_of_plain_letters_is_what_it_is_beside_others():
    for first in map(chr, range(128)):
        for second in map(chr, range(128)):
            text = f"Aa{first}{second}b Z"
            assert plain(f"\u00e9 {text}") == f"e {plain(text)}"
