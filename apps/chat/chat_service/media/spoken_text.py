"""What is read aloud of a text: words without Markdown and emoji, and English as it is said."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple


class Substitution(NamedTuple):
    """How one thing is read aloud.

    Attributes:
        marks: one of these is in whatever the pattern matches. Most texts have none, and are looked through for them in
            a small part of the time that the pattern takes.
        pattern: finds it.
        said: stands in its place.
    """

    marks: tuple[str, ...]
    pattern: "re.Pattern[str]"
    said: "str | Callable[[re.Match[str]], str]"

    def apply(self, text: str) -> str:
        """Return the text with all that the pattern matches as it is said."""
        for mark in self.marks:
            if mark in text:
                return self.pattern.sub(self.said, text)
        return text


FENCE: Final = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?(?:^\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
BULLETS: Final = ("-", "*", "+", "•")
MARKDOWN: Final = (
    Substitution(("<!--",), re.compile(r"<!--.*?-->", re.DOTALL), " "),
    Substitution(("<",), re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>"), " "),
    Substitution(("](",), re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\n]{0,2000}\)"), r"\1"),  # links and pictures
    Substitution(("://", "www."), re.compile(r"\bhttps?://[^\s<>]+|\bwww\.[^\s<>]+"), " a link "),
    Substitution((">",), re.compile(r"^[ \t]*(?:>[ \t]?)+", re.MULTILINE), ""),
    Substitution(("#",), re.compile(r"^[ \t]*#{1,6}[ \t]+([^\n]{0,300}?)[ \t#]{0,9}$", re.MULTILINE), r"\1."),
    Substitution(("-", "*", "_"), re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),  # rules
    Substitution(
        ("|",), re.compile(r"^[ |:-]{0,200}\|[ |:-]{0,200}$", re.MULTILINE), ""
    ),  # the line under the head of a table
    Substitution(("|",), re.compile(r"^[ \t]*\|[ \t]*(.*?)[ \t]?\|[ \t]*$", re.MULTILINE), r"\1."),
    Substitution(("|",), re.compile(r"[ \t]*\|[ \t]*"), ", "),
    Substitution(BULLETS, re.compile(r"^[ \t]*[-*+•][ \t]+(.*[^\s.!?:;,])[ \t]*$", re.MULTILINE), r"\1."),
    Substitution(BULLETS, re.compile(r"^[ \t]*[-*+•][ \t]+", re.MULTILINE), ""),
    Substitution(("*", "~", "`"), re.compile(r"(\*{1,3}|~~|`{1,3})(?=\S)([^\n]{1,300}?)(?<=\S)\1"), r"\2"),
    Substitution(("_",), re.compile(r"(?<!\w)(_{1,3})(?=\S)([^\n]{1,300}?)(?<=\S)\1(?!\w)"), r"\2"),
    Substitution(("*", "~", "`"), re.compile(r"[*`~]"), " "),
)
EMOJI: Final = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u23e9-\u23fa\ufe0e\ufe0f\u200d\u20e3\U000e0000-\U000e007f]+"
)
BLANKS: Final = re.compile(r"[ \t]{2,}|\t")
LOOKED_AT_CHARACTERS: Final = 8_000  # four times of what is spoken; patterns must take no longer than that allows
CODE: Final = " (code) "
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
CURRENCIES: Final = {"$": "dollars", "€": "euros", "£": "pounds"}


def spoken_text(text: str, language: str) -> str:
    """Return a text as it is to be read aloud; empty when it has no words.

    Args:
        text: a reply, which may be Markdown.
        language: of the text, as ISO 639-1 has it. Other languages than English are left to the synthesizer.
    """
    text = FENCE.sub(CODE, BLANKS.sub(" ", text[:LOOKED_AT_CHARACTERS]))
    for rule in MARKDOWN:
        text = rule.apply(text)
    text = EMOJI.sub(" ", text)
    if language in {"en", ""}:
        for rule in ENGLISH:
            text = rule.apply(text)
    return " ".join(text.split())


def _time(found: "re.Match[str]") -> str:
    hour, minute = int(found["hour"]), int(found["minute"])
    if not minute:
        return f"{hour} o'clock" if 1 <= hour <= 12 else f"{hour} hundred hours" if hour else "midnight"  # noqa: PLR2004
    return f"{hour or 'zero'} {'oh ' if minute < 10 else ''}{minute}"  # noqa: PLR2004 - one digit


def _date(found: "re.Match[str]") -> str:
    return f"{int(found['day'])} {MONTHS[int(found['month']) - 1]} {found['year']}"


def _money(found: "re.Match[str]") -> str:
    unit = CURRENCIES[found["sign"]]
    cents = found["cents"]
    whole = found["whole"].replace(",", "")
    return f"{whole} {unit if whole != '1' else unit[:-1]}" + (f" {int(cents)}" if cents and int(cents) else "")


ENGLISH: Final = (
    Substitution((":",), re.compile(r"(?<![:\d])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)\b(?!:)"), _time),
    Substitution(
        ("-",), re.compile(r"\b(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])\b"), _date
    ),
    Substitution(("$", "€", "£"), re.compile(r"(?P<sign>[$€£])\s?(?P<whole>\d[\d,]*)(?:\.(?P<cents>\d\d))?\b"), _money),
    Substitution(("g.", "G."), re.compile(r"\be\.\s?g\.", re.IGNORECASE), "for example"),
    Substitution(("e.", "E."), re.compile(r"\bi\.\s?e\.", re.IGNORECASE), "that is"),
    Substitution(("etc.",), re.compile(r"\betc\.(?=\s+[a-z])"), "et cetera"),
    Substitution(("etc.",), re.compile(r"\betc\."), "et cetera."),
    Substitution(("vs.",), re.compile(r"\bvs\."), "versus"),
    Substitution(("approx.",), re.compile(r"\bapprox\."), "about"),
    Substitution(("Dr.",), re.compile(r"\bDr\.(?=\s+[A-Z])"), "Doctor"),
    Substitution(("Mr.",), re.compile(r"\bMr\.(?=\s+[A-Z])"), "Mister"),
    Substitution(("Mrs.",), re.compile(r"\bMrs\.(?=\s+[A-Z])"), "Missis"),
    Substitution(("No.",), re.compile(r"\bNo\.(?=\s?\d)"), "number"),
    Substitution(("km/h",), re.compile(r"(?<=\d)\s?km/h\b"), " kilometres an hour"),
    Substitution(("km",), re.compile(r"(?<=\d)\s?km\b"), " kilometres"),
    Substitution(("kg",), re.compile(r"(?<=\d)\s?kg\b"), " kilograms"),
    Substitution(("°",), re.compile(r"(?<=\d)\s?°\s?C\b"), " degrees Celsius"),
    Substitution(("°",), re.compile(r"(?<=\d)\s?°\s?F\b"), " degrees Fahrenheit"),
    Substitution(("%",), re.compile(r"(?<=\d)\s?%"), " percent"),
    Substitution(("x", "\u00d7"), re.compile(r"(?<=\d)\s?[x\u00d7]\s?(?=\d)"), " by "),
    Substitution(("&",), re.compile(r"\s&\s"), " and "),
)
