"""The words by which messages are found, the same for all stores and queries."""

import unicodedata
from typing import Final

MAX_WORD_CHARACTERS: Final = 64
"""Longer words are cut to this length, in messages and in queries."""

MAX_WORDS: Final = 2000
"""How many different words of a message are indexed, its first ones."""

ASCII_WORDS: Final = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
"""What each ASCII character is mapped to; a space separates words."""


def tokenize(text: str) -> list[str]:
    """Return the different words of a text, in the order of their first occurrence.

    A word is a run of letters, marks and digits (Unicode categories L, M and N). It is compared in compatibility form
    (NFKC) and case-folded, so that "STRASSE" is "Straße" and a full-width letter is the letter. The dot of an i does
    not count, by which Turkish tells two letters apart: "İstanbul" is "istanbul". Writing without spaces is one word
    from one mark of punctuation to the next. A symbol (category S) beyond ASCII, as an emoji, is a word of its own.
    """
    if text.isascii():
        found = text.translate(ASCII_WORDS).split()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        folded = folded.replace("i\N{COMBINING DOT ABOVE}", "i").replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")
        counts_as = {ord(character): _counts_as(character) for character in set(folded)}
        found = folded.translate(counts_as).split()
    if max(map(len, found), default=0) > MAX_WORD_CHARACTERS:
        found = [word[:MAX_WORD_CHARACTERS] for word in found]
    return list(dict.fromkeys(found))[:MAX_WORDS]


def _counts_as(character: str) -> str:
    """Map a case-folded character; a space separates words."""
    if "\N{VARIATION SELECTOR-1}" <= character <= "\N{VARIATION SELECTOR-16}":  # selects the look of an emoji
        return ""
    category = unicodedata.category(character)[0]
    if category in "LMN":
        return character
    return f" {character} " if category == "S" and not character.isascii() else " "
