"""A reply that is under way, and what its words must be so that they can be sent."""

import re
import unicodedata
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Protocol

from botkit import Memory, Turn

OnPiece = Callable[[str], None]
"""Gets a piece of a reply, which is never empty."""

SPEECHLESS: Final = "I do not know what to say to that."
"""Sent in place of a text in which there is nothing to see."""

KEPT_CONTROLS: Final = "\n\t"
INVISIBLE: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and signs without ink, by which people send messages that look empty; Unicode calls none of them a space."""
VARIATION_SELECTORS: Final = frozenset(
    map(chr, [*range(0x180B, 0x180E), 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)
FULL_LINE: Final = re.compile(r"\r\n?|[\u0085\u2028\u2029]")


class PendingReply:
    """A reply that is waited for, once. Nothing of the bot runs before.

    Args:
        wait: waits for the reply, and hands its pieces on meanwhile; raises BotError.
        close: lets go of a reply that nobody waits for.
        on_piece: gets the pieces of a reply that is awaited as it is.
    """

    __slots__ = ("_on_piece", "close", "wait")

    def __init__(
        self,
        wait: Callable[[OnPiece | None], Coroutine[Any, Any, str]],
        close: Callable[[], None],
        on_piece: OnPiece | None,
    ) -> None:
        self.wait = wait
        self.close = close
        self._on_piece = on_piece

    def __await__(self) -> Generator[Any, Any, str]:
        """Wait for the reply. Raises BotError."""
        return self.wait(self._on_piece).__await__()


class StreamingBot(Protocol):
    """A bot whose reply is whole at once, or hands its pieces on before it is: a script, or what a `BotRunner` runs."""

    def reply(self, turn: Turn, memory: Memory, on_piece: OnPiece | None = None, /) -> str | PendingReply:
        """Return the whole reply, or what is to be waited for. Either raises BotError."""


def presentable(said: str) -> str:
    """Return a text that can be sent, shown and spoken; empty when there is nothing to see in it.

    Line ends become line feeds, other control characters go, and a lone surrogate, which UTF-8 cannot say, becomes
    U+FFFD.
    """
    said = _sendable(said)
    return said if any(map(_is_seen, said)) else ""


class PresentablePieces:
    """Hands the pieces of a reply on: together they are what `presentable` makes of the whole, as far as they go.

    Args:
        hand_on: gets them.
        max_characters: what comes behind so many is not handed on.
    """

    def __init__(self, hand_on: OnPiece, max_characters: int) -> None:
        self._hand_on = hand_on
        self._left = max_characters
        self._is_line_ending = False  # the last piece ended with a carriage return, which a line feed may follow

    def add(self, piece: str) -> None:
        """Hand one on, unless nothing of it can be sent."""
        piece = piece[: self._left]
        self._left -= len(piece)
        if self._is_line_ending:
            piece = "\r" + piece
        self._is_line_ending = piece.endswith("\r")
        text = _sendable(piece[:-1] if self._is_line_ending else piece)
        if text:
            self._hand_on(text)


def _sendable(said: str) -> str:
    if said.isprintable():
        return said
    return "".join(_shown(letter) for letter in FULL_LINE.sub("\n", said))


def _is_seen(letter: str) -> bool:
    return unicodedata.category(letter) not in INVISIBLE and letter not in BLANKS and letter not in VARIATION_SELECTORS


def _shown(letter: str) -> str:
    match unicodedata.category(letter):
        case "Cc":
            return letter if letter in KEPT_CONTROLS else ""
        case "Cs":
            return "\N{REPLACEMENT CHARACTER}"
        case _:
            return letter
