"""What a conversation asks of a bot, whichever it is."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from chat_service.media.base import Heard, Seen
from frameproto import RequestKind

SPEECHLESS: Final = "I do not know what to say to that."
MEMORY_TEXTS: Final = 50
MEMORY_BYTES: Final = 16 * 1024  # of all texts together, as UTF-8
MEMORY_CHARACTERS: Final = 500  # of one text; the rest of it is forgotten


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message as a bot sees it.

    Attributes:
        kind: text, voice or video; `text`, `heard` or `seen` is there accordingly.
        client_id: who says it.
        local_time: when, aware and in the client's own zone.
    """

    kind: RequestKind
    client_id: str
    local_time: datetime
    text: str = ""
    heard: Heard | None = None
    seen: Seen | None = None


@dataclass(slots=True)
class Dialogue:
    """What a bot remembers of one conversation: a bounded number of the client's texts, of bounded size.

    The latest texts are kept, and the very first.

    Attributes:
        turns: how many messages there were.
        first: the first text of all.
    """

    turns: int = 0
    first: str = ""
    _said: deque[str] = field(default_factory=deque)
    _bytes: int = 0
    _counts: Counter[str] = field(default_factory=Counter)

    @property
    def said(self) -> Sequence[str]:
        """What the client said lately, oldest first."""
        return tuple(self._said)

    def remember(self, incoming: Incoming) -> None:
        """Count a turn, and keep what was said in it. Voice and video count, but hold no words."""
        self.turns += 1
        text = incoming.text.strip()[:MEMORY_CHARACTERS]
        if not text:
            return
        self.first = self.first or text
        self._said.append(text)
        self._bytes += len(text.encode())
        while len(self._said) > MEMORY_TEXTS or self._bytes > MEMORY_BYTES:
            self._bytes -= len(self._said.popleft().encode())

    def count(self, what: str) -> int:
        """Return how often this was counted before. A bot counts things it has few of, such as its own rules."""
        self._counts[what] += 1
        return self._counts[what] - 1


class Responder(Protocol):
    """A bot."""

    async def reply(self, incoming: Incoming, dialogue: Dialogue) -> str:
        """Return what to say; `SPEECHLESS` is sent for a text in which there is nothing to see.

        Turns of one dialogue come one after the other.
        """
