"""The words of a text are what their definition says, character by character."""

import unicodedata
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from history_service.words import MAX_WORD_CHARACTERS, words_of

ASCII = "aAbZ09 _-.'\t\n\x1f"
OTHERS = "Straße \u0301é\uff21\u0131🎉"
TEXTS = st.text(max_size=200) | st.text(ASCII, max_size=400) | st.text(OTHERS, max_size=200)


def plainly(text: str) -> list[str]:
    """Return the words of a text in the simplest way."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    runs = groupby(folded, key=lambda character: unicodedata.category(character)[0] in {"L", "M", "N"})
    words = ["".join(run)[:MAX_WORD_CHARACTERS] for is_word, run in runs if is_word]
    return sorted(set(words), key=words.index)


@given(TEXTS)
def test_words_are_runs_of_letters_marks_and_digits(text: str) -> None:
    assert words_of(text) == plainly(text)


@given(st.text("xy", min_size=MAX_WORD_CHARACTERS - 2, max_size=MAX_WORD_CHARACTERS + 2), st.sampled_from(["", "é "]))
def test_of_a_long_word_only_the_beginning_counts(word: str, before: str) -> None:
    assert words_of(f"{before}{word} {word}") == plainly(f"{before}{word}")
