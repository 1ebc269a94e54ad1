"""Patterns: what a client may say, in words with gaps.

    what time is it          these words, whatever their case and the signs between them
    hi|hello|hey             any one of these words
    please?                  a word that may be missing
    *                        any words, also none
    {name}                   one word or more, kept under this name as the client wrote them

Matching takes time in proportion to the parts of the pattern times the words of the text, whatever both look like; that
is why these are not regular expressions, some of which a client can make take forever.
"""

import re
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final, Self

MAX_WORDS: Final = 100  # of a text; what a bot understands stands at its beginning
MAX_CHARACTERS: Final = 2_000
MAX_PARTS: Final = 30  # of a pattern

WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001 - the apostrophe that phones type
LEADING: Final = " \t\n:,;-"  # between "say" and what is to be said
FIELD: Final = re.compile(r"\{([a-z_]+)\}")


class PatternError(ValueError):
    """This is not a pattern; the message says why."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A text, split into words once for all the patterns that it is compared with.

    Attributes:
        text: its beginning.
        keys: its words as they are compared.
        spans: where each of them stands in the text.
        known: the same words, for a quick look.
    """

    text: str
    keys: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    known: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Self:
        """Split the beginning of a text into words: letters and digits, with apostrophes inside."""
        text = text[:MAX_CHARACTERS]
        found = list(islice(WORD.finditer(text), MAX_WORDS))
        keys = tuple([_key(match.group()) for match in found])
        return cls(text, keys, tuple([match.span() for match in found]), frozenset(keys))

    def between(self, begin: int, end: int) -> str:
        """Return the words from one on to before another, with the signs that belong to them."""
        start = self.spans[begin - 1][1] if begin else 0
        stop = self.spans[end - 1][1] if end < len(self.spans) else len(self.text)
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
        least: how many words a text must have.
        most: how many it may have; None: any number.
        head: words that a text must begin with, one of each.
        tail: words that it must end with.
        middle: the parts between them, which words may fill in several ways.
    """

    source: str
    parts: tuple[Part, ...]
    least: int
    most: int | None
    head: tuple[frozenset[str], ...]
    tail: tuple[frozenset[str], ...]
    middle: tuple[Part, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of its gaps."""
        return frozenset(part.name for part in self.parts if part.name)

    def match(self, said: Utterance) -> dict[str, str] | None:
        """Return what stands in the named gaps, each as short as can be, or None when something else was said."""
        keys, count = said.keys, len(said.keys)
        if count < self.least or (self.most is not None and count > self.most):
            return None
        begin, end = len(self.head), count - len(self.tail)
        for at, words in enumerate(self.head):
            if keys[at] not in words:
                return None
        for at, words in enumerate(self.tail, end):
            if keys[at] not in words:
                return None
        match self.middle:
            case ():
                return {}
            case (Part(is_gap=True, name=name),):
                return {name: said.between(begin, end)} if name else {}
            case _:
                return self._fill(said, begin, end)

    def _fill(self, said: Utterance, begin: int, end: int) -> dict[str, str] | None:
        """Share the words from one on to before another out to the parts of the middle."""
        for part in self.middle:
            if not (part.is_gap or part.may_be_missing) and part.words.isdisjoint(said.known):
                return None
        words = said.keys[begin:end]
        fits = self._fits(words)
        if not fits[0][0]:
            return None
        found: dict[str, str] = {}
        at = 0
        for part, rest in zip(self.middle, fits[1:], strict=True):
            first = at
            if part.is_gap:
                at += 1 if part.name else 0
                while not rest[at]:
                    at += 1
            elif at < len(words) and words[at] in part.words and rest[at + 1]:
                at += 1
            if part.name:
                found[part.name] = said.between(begin + first, begin + at)
        return found

    def _fits(self, words: tuple[str, ...]) -> list[list[bool]]:
        """Return a table: whether the parts from one on match the words from one on. Filled from its end."""
        count = len(words)
        rest = [False] * count + [True]
        table = [rest]
        for part in reversed(self.middle):
            here = [False] * (count + 1)
            if part.is_gap:
                more = False
                for at in range(count, -1, -1):
                    here[at] = more or (not part.name and rest[at])
                    more = here[at] or rest[at]
            else:
                for at in range(count, -1, -1):
                    taken = at < count and words[at] in part.words and rest[at + 1]
                    here[at] = taken or (part.may_be_missing and rest[at])
            table.append(here)
            rest = here
        table.reverse()
        return table


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
    least = sum(part.is_needed or bool(part.name) for part in parts)
    most = None if any(part.is_gap for part in parts) else len(parts)
    head = tuple(part.words for part in takewhile(_is_needed, parts))
    tail = tuple(part.words for part in takewhile(_is_needed, reversed(parts[len(head) :])))[::-1]
    return Pattern(source, parts, least, most, head, tail, parts[len(head) : len(parts) - len(tail)])


def _is_needed(part: Part) -> bool:
    return part.is_needed


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
