"""What a bot remembers of one conversation: the latest of what both sides said, of bounded size."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from botkit.turn import Turn
from frameproto import RequestKind

MAX_MESSAGES: Final = 100
MAX_BYTES: Final = 16 * 1024
TEXT_CHARACTERS: Final = 2_000


class Speaker(StrEnum):
    """Which side of a conversation said something."""

    CLIENT = "client"
    BOT = "bot"


# Looked up once: in Python 3.11 a member of an enum takes as long as two calls.
_CLIENT: Final = Speaker.CLIENT
_BOT: Final = Speaker.BOT


class Said(NamedTuple):
    """One thing that was said.

    Attributes:
        speaker: who said it.
        text: what; for voice and video a description such as `(a voice note of 3.2 seconds)`.
        kind: what kind of message it belongs to; a reply has the kind of what it answers.
        words: what a client wrote, or was recognized of what it spoke; empty for a reply.
    """

    speaker: Speaker
    text: str
    kind: RequestKind
    words: str = ""


@dataclass(slots=True)
class Memory:
    """What is remembered of one conversation. The latest is kept, and the client's very first text.

    The server adds each turn once it was answered, so a bot only reads here. `notes` are a bot's own.

    Attributes:
        max_messages: how many messages of both sides are remembered.
        max_bytes: the same of their texts together, as UTF-8.
        text_characters: the same of one text; the rest of it is forgotten.
        turns: how many messages of the client there were.
        first_text: the first text of the client, however long ago.
        notes: what a bot counts in this conversation, by names of its own choice; it should have few of them.
    """

    max_messages: int = MAX_MESSAGES
    max_bytes: int = MAX_BYTES
    text_characters: int = TEXT_CHARACTERS
    turns: int = 0
    first_text: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    _said: deque[tuple[Said, int]] = field(default_factory=deque)  # each with its bytes
    _bytes: int = 0

    def __iter__(self) -> Iterator[Said]:
        """Iterate over what was said, oldest first."""
        return iter([said for said, _ in self._said])

    def __len__(self) -> int:
        return len(self._said)

    @property
    def client_texts(self) -> Sequence[str]:
        """What the client wrote or said lately, oldest first. Voice and video hold words when speech is recognized."""
        return [said.words for said, _ in self._said if said.words]

    def add(self, turn: Turn, reply: str) -> None:
        """Remember a turn that was answered, and the reply. White space alone is not remembered."""
        self.turns += 1
        kind, words = turn.kind, self._cut(turn.words)
        asked = words if kind.part is None else self._cut(turn.describe())
        self.first_text = self.first_text or words
        self._keep(Said(_CLIENT, asked, kind, words))
        self._keep(Said(_BOT, self._cut(reply), kind))

    def recall(self, said: Iterable[Said]) -> None:
        """Begin with what was said before this memory was made, oldest first; for a conversation that goes on."""
        for each in said:
            if each.speaker is Speaker.CLIENT:
                self.turns += 1
                self.first_text = self.first_text or self._cut(each.words)
            self._keep(Said(each.speaker, self._cut(each.text), each.kind, self._cut(each.words)))

    def count(self, name: str) -> int:
        """Return how often this was counted before in `notes`, and count it."""
        before = self.notes.get(name, 0)
        self.notes[name] = before + 1
        return before

    def _cut(self, text: str) -> str:
        return text.strip()[: self.text_characters]

    def _keep(self, said: Said) -> None:
        if not said.text:
            return
        size = len(said.text.encode())
        if said.words != said.text:  # the words of a text message are the same string
            size += len(said.words.encode())
        self._said.append((said, size))
        self._bytes += size
        while len(self._said) > self.max_messages or self._bytes > self.max_bytes:
            self._bytes -= self._said.popleft()[1]
