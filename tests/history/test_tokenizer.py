"""The words of a text are what their definition says, character by character."""

import re
import unicodedata
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history_service.tokenizer import MAX_WORD_CHARACTERS, tokenize

ASCII = "aAbZ09 _-.'\t\n\x1f"
OTHERS = "Straße \u0301é\uff21\u0131\u0130i\u0307🎉👍🏽€\ufe0f\u200d"
TEXTS = st.text(max_size=200) | st.text(ASCII, max_size=400) | st.text(OTHERS, max_size=200)


def plainly(text: str) -> list[str]:
    """Return the words of a text in the simplest way."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = re.sub("[\ufe00-\ufe0f]", "", folded.replace("i\u0307", "i").replace("\u0131", "i"))
    runs = groupby(enumerate(folded), key=lambda numbered: _kind(*numbered))
    words = ["".join(character for _, character in run)[:MAX_WORD_CHARACTERS] for kind, run in runs if kind]
    return sorted(set(words), key=words.index)


def _kind(index: int, character: str) -> str:
    """Return which word a character belongs to: none, a run of such characters, or its own."""
    category = unicodedata.category(character)[0]
    if category in {"L", "M", "N"}:
        return "run"
    return f"symbol {index}" if category == "S" and not character.isascii() else ""


@given(TEXTS)
def test_words_are_runs_of_letters_marks_and_digits(text: str) -> None:
    assert tokenize(text) == plainly(text)


@given(st.text("xy", min_size=MAX_WORD_CHARACTERS - 2, max_size=MAX_WORD_CHARACTERS + 2), st.sampled_from(["", "é "]))
def test_of_a_long_word_only_the_beginning_counts(word: str, before: str) -> None:
    assert tokenize(f"{before}{word} {word}") == plainly(f"{before}{word}")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("istanbul", "İstanbul'da"),
        ("İSTANBUL", "istanbul"),
        ("IŞIK", "\u0131ş\u0131k"),
        ("\u0131ş\u0131k", "IŞIK"),
        ("🎉", "done🎉🎉!"),
        ("👍", "👍🏽 good"),
        ("❤", "I ❤️ it"),
        ("❤️", "I ❤ it"),
        ("100 €", "100€"),
        ("👨‍👩‍👧", "my 👨‍👩‍👧"),
    ],
)
def test_people_find_what_they_take_for_the_same(asked: str, said: str) -> None:
    words = tokenize(asked)
    assert words
    assert set(words) <= set(tokenize(said))
