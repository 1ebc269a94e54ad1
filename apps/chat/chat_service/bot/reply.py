"""What the words of a bot must be to become a reply, checked when every field has been filled in."""

import re
import unicodedata
from typing import Final

SPEECHLESS: Final = "I do not know what to say to that."
"""Sent in place of a text in which there is nothing to see."""

KEPT_CONTROLS: Final = "\n\t"
INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs without ink, by which people send messages that look empty; Unicode calls none of them a space."""
VARIATION_SELECTORS: Final = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
FULL_LINE: Final = re.compile(r"\r\n?|[\u0085\u2028\u2029]")


def presentable(said: str) -> str:
    """Return a text that can be sent, shown and spoken; empty when there is nothing to see in it.

    Line ends become line feeds, other control characters go, and a lone surrogate, which UTF-8 cannot say, becomes
    U+FFFD.
    """
    if not said.isprintable():
        said = "".join(_shown(letter) for letter in FULL_LINE.sub("\n", said))
    return said if any(map(_is_seen, said)) else ""


def _is_seen(letter: str) -> bool:
    if unicodedata.category(letter) in INVISIBLE or letter in BLANKS:
        return False
    return VARIATION_SELECTORS.match(letter) is None


def _shown(letter: str) -> str:
    match unicodedata.category(letter):
        case "Cc":
            return letter if letter in KEPT_CONTROLS else ""
        case "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case _:
            return letter
