"""Patterns: what a client may say, in words with gaps.

    what time is it          these words, whatever their case and the signs between them
    hi|hello|hey             any one of these words
    please?                  a word that may be missing
    *                        any words, also none
    {name}                   one word or more, kept under this name as the client wrote them

Matching takes time in proportion to the parts of the pattern, each times the words of the text at worst, whatever both
look like; that is why these are not regular expressions, some of which a client can make take forever.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, Self

MAX_WORDS: Final = 100  # of a text; what a bot understands stands at its beginning
MAX_CHARACTERS: Final = 2_000
MAX_PARTS: Final = 30  # of a pattern

WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001 - the apostrophe that phones type
LEADING: Final = " \t\n:,;-"  # between "say" and what is to be said
FIELD: Final = re.compile(r"\{([a-z_]+)\}")


class PatternError(ValueError):
    """This is not a pattern; the message says why."""


class Utterance(NamedTuple):
    """A text, split into words once for all the patterns that it is compared with.

    Attributes:
        text: its beginning.
        matches: its words as they stand in the text.
        keys: the same as they are compared.
        places: where each of these stands: bit n is set for word n.
    """

    text: str
    matches: Sequence[re.Match[str]]
    keys: Sequence[str]
    places: Mapping[str, int]

    @classmethod
    def of(cls, text: str) -> Self:
        """Split the beginning of a text into words: letters and digits, with apostrophes inside."""
        text = text[:MAX_CHARACTERS]
        matches = list(islice(WORD.finditer(text), MAX_WORDS))
        keys = [_key(match[0]) for match in matches]
        places: dict[str, int] = {}
        for at, key in enumerate(keys):
            places[key] = places.get(key, 0) | 1 << at
        return cls(text, matches, keys, places)

    def between(self, begin: int, end: int) -> str:
        """Return the words from one on to before another, with the signs that belong to them."""
        start = self.matches[begin - 1].end() if begin else 0
        stop = self.matches[end - 1].end() if end < len(self.matches) else len(self.text)
        return self.text[start:stop].lstrip(LEADING).strip()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a pattern: one of some words (which may be missing), or a gap (which may have a name)."""

    words: frozenset[str] = frozenset()
    may_be_missing: bool = False
    name: str = ""
    is_gap: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether no text matches that has none of these words."""
        return not (self.is_gap or self.may_be_missing)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was read.

    Attributes:
        source: as it was written.
        parts: what it is made of.
    """

    source: str
    parts: tuple[Part, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of its gaps."""
        return frozenset(part.name for part in self.parts if part.name)

    def match(self, said: Utterance) -> dict[str, str] | None:
        """Return what stands in the named gaps, each as short as can be, or None when something else was said."""
        rests = self._rests(said)
        if rests is None or not rests.pop() & 1:
            return None
        found: dict[str, str] = {}
        at = 0
        for part in self.parts:
            rest, first = rests.pop() >> at, at
            if part.is_gap:
                steps = 1 if part.name else 0
                while not rest >> steps & 1:
                    steps += 1
                at += steps
            elif rest & 2 and said.keys[at] in part.words:
                at += 1
            if part.name:
                found[part.name] = said.between(first, at)
        return found

    def _rests(self, said: Utterance) -> list[int] | None:
        """Return from which words on the last parts match the rest of the text: none of them, the last one, and so on.

        Bit n is set when they match from word n on. None: there is no such word for some of the last parts.
        """
        rest = 1 << len(said.keys)
        rests = [rest]
        for part in reversed(self.parts):
            if part.is_gap:
                rest = (1 << rest.bit_length() - (1 if part.name else 0)) - 1
            else:
                places = 0
                for word in part.words:
                    places |= said.places.get(word, 0)
                rest = places & rest >> 1 | (rest if part.may_be_missing else 0)
            if not rest:
                return None
            rests.append(rest)
        return rests


def parse_pattern(source: str) -> Pattern:
    """Read a pattern.

    Raises:
        PatternError: it is not one.
    """
    parts = tuple(_part(raw) for raw in source.split())
    if not parts:
        raise PatternError("is empty; leave `when` out for a rule that always applies")
    if len(parts) > MAX_PARTS:
        raise PatternError(f"has {len(parts)} parts; {MAX_PARTS} is the most")
    names = [part.name for part in parts if part.name]
    if len(names) != len(set(names)):
        raise PatternError("has two gaps of the same name; name each differently")
    return Pattern(source, parts)


def _part(raw: str) -> Part:
    if raw == "*":
        return Part(is_gap=True)
    if field := FIELD.fullmatch(raw):
        return Part(name=field.group(1), is_gap=True)
    words = raw.removesuffix("?").split("|")
    if not all(map(WORD.fullmatch, words)):
        raise PatternError(f'has "{raw}", which is not a word, words joined by |, a word and ?, a * or a {{gap}}')
    return Part(frozenset(map(_key, words)), may_be_missing=raw.endswith("?"))


def _key(word: str) -> str:
    return word.casefold().replace("’", "'")  # noqa: RUF001 - the apostrophe that phones type
