"""What is read aloud of a text: words without Markdown and emoji, and English as it is said."""

import re
from collections.abc import Callable
from typing import Final

FENCE: Final = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?(?:^\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
MARKDOWN: Final = (
    (re.compile(r"<!--.*?-->", re.DOTALL), " "),
    (re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>"), " "),
    (re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\n]{0,2000}\)"), r"\1"),  # links and pictures
    (re.compile(r"\bhttps?://[^\s<>]+|\bwww\.[^\s<>]+"), " a link "),
    (re.compile(r"^[ \t]*(?:>[ \t]?)+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*#{1,6}[ \t]+([^\n]{0,300}?)[ \t#]{0,9}$", re.MULTILINE), r"\1."),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),  # rules
    (re.compile(r"^[ |:-]{0,200}\|[ |:-]{0,200}$", re.MULTILINE), ""),  # the line under the head of a table
    (re.compile(r"^[ \t]*\|[ \t]*(.*?)[ \t]?\|[ \t]*$", re.MULTILINE), r"\1."),
    (re.compile(r"[ \t]*\|[ \t]*"), ", "),
    (re.compile(r"^[ \t]*[-*+•][ \t]+(.*[^\s.!?:;,])[ \t]*$", re.MULTILINE), r"\1."),
    (re.compile(r"^[ \t]*[-*+•][ \t]+", re.MULTILINE), ""),
    (re.compile(r"(\*{1,3}|~~|`+)(?=\S)([^\n]{1,300}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<!\w)(_{1,3})(?=\S)([^\n]{1,300}?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"[*`~]"), " "),
)
EMOJI: Final = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u23e9-\u23fa\ufe0e\ufe0f\u200d\u20e3\U000e0000-\U000e007f]+"
)
BLANKS: Final = re.compile(r"[ \t]+")
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
    for pattern, plain in MARKDOWN:
        text = pattern.sub(plain, text)
    text = EMOJI.sub(" ", text)
    if language in {"en", ""}:
        for english, say in ENGLISH:
            text = english.sub(say, text)
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


def _word(said: str) -> Callable[["re.Match[str]"], str]:
    return lambda _: said


ENGLISH: Final[tuple[tuple["re.Pattern[str]", Callable[["re.Match[str]"], str]], ...]] = (
    (re.compile(r"(?<![:\d])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)\b(?!:)"), _time),
    (re.compile(r"\b(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])\b"), _date),
    (re.compile(r"(?P<sign>[$€£])\s?(?P<whole>\d[\d,]*)(?:\.(?P<cents>\d\d))?\b"), _money),
    (re.compile(r"\be\.\s?g\.", re.IGNORECASE), _word("for example")),
    (re.compile(r"\bi\.\s?e\.", re.IGNORECASE), _word("that is")),
    (re.compile(r"\betc\.(?=\s+[a-z])"), _word("et cetera")),
    (re.compile(r"\betc\."), _word("et cetera.")),
    (re.compile(r"\bvs\."), _word("versus")),
    (re.compile(r"\bapprox\."), _word("about")),
    (re.compile(r"\bDr\.(?=\s+[A-Z])"), _word("Doctor")),
    (re.compile(r"\bMr\.(?=\s+[A-Z])"), _word("Mister")),
    (re.compile(r"\bMrs\.(?=\s+[A-Z])"), _word("Missis")),
    (re.compile(r"\bNo\.(?=\s?\d)"), _word("number")),
    (re.compile(r"(?<=\d)\s?km/h\b"), _word(" kilometres an hour")),
    (re.compile(r"(?<=\d)\s?km\b"), _word(" kilometres")),
    (re.compile(r"(?<=\d)\s?kg\b"), _word(" kilograms")),
    (re.compile(r"(?<=\d)\s?°\s?C\b"), _word(" degrees Celsius")),
    (re.compile(r"(?<=\d)\s?°\s?F\b"), _word(" degrees Fahrenheit")),
    (re.compile(r"(?<=\d)\s?%"), _word(" percent")),
    (re.compile(r"(?<=\d)\s?[x\u00d7]\s?(?=\d)"), _word(" by ")),
    (re.compile(r"\s&\s"), _word(" and ")),
)
