"""The words by which messages are found: one definition, for every store and for every question."""

import re
import unicodedata
from typing import Final

MAX_WORD_CHARACTERS: Final = 64
"""Of a longer word only so many characters count, in messages and in questions alike."""

MAX_WORDS: Final = 2000
"""A message is found by so many different words, its first ones."""

ASCII_WORD: Final = re.compile(r"[a-z0-9]+")


def words_of(text: str) -> list[str]:
    """Return the different words of a text, in the order in which they come first.

    A word is a run of letters, marks and digits (Unicode categories L, M and N). It is compared in compatibility form
    (NFKC) and case-folded, so that "STRASSE" is "Straße" and a full-width letter is the letter. Writing without
    spaces is one word from one mark of punctuation to the next.
    """
    if text.isascii():
        found = ASCII_WORD.findall(text.lower())
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        found = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split()
    return list(dict.fromkeys(word[:MAX_WORD_CHARACTERS] for word in found))[:MAX_WORDS]
