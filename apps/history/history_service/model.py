"""The model of history: sessions, exchanges with their two messages, and media."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self
from uuid import UUID

from frameproto import MediaPart, MessageKind
from frameproto.history import Direction
from frameproto.kinds import Outcome
from frameproto.media import UNFIT, by_suffix, media_type


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """A stored media part."""

    part: MediaPart
    key: str
    size_bytes: int

    @property
    def client_id(self) -> str:
        """The client that it belongs to, from the first folder of its key."""
        return self.key.partition("/")[0]

    @property
    def content_type(self) -> str:
        """Its media type, from the suffix of its key."""
        file_format = by_suffix(self.key.rpartition(".")[2])
        return media_type(file_format, self.part) if file_format else UNFIT


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One of the two messages of an exchange.

    Attributes:
        kind: the kind of the message.
        text: what was written, spoken by the bot, or recognized in the client's speech.
        media: its media parts.
        transcribed: the text was recognized in the client's voice or video.
    """

    kind: MessageKind
    text: str | None
    media: tuple[StoredMedia, ...] = ()
    transcribed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExchange:
    """A request and its reply in one record, so that both are stored or neither.

    A side is None after its message was deleted.

    Attributes:
        message_id: the message id chosen by the client; None: there is none (`chatbot.v1`).
        rank: of several answers to a message, the one with the highest rank is kept, then the one with the highest id.
    """

    id: UUID
    session_id: UUID
    client_id: str
    time_zone: str
    received_at: datetime
    answered_at: datetime
    outcome: Outcome
    request: MessageContent | None
    reply: MessageContent | None
    message_id: UUID | None = None
    rank: int = 0

    @property
    def precedence(self) -> tuple[int, UUID]:
        """The sort key of answers to one message. The highest is kept."""
        return self.rank, self.id

    def as_replacement_of(self, earlier: Self) -> Self:
        """Return this exchange as the replacement of `earlier`: a message deleted there stays deleted."""
        return replace(
            self,
            request=None if earlier.request is None else self.request,
            reply=None if earlier.reply is None else self.reply,
        )

    def messages(self) -> "Iterator[Message]":
        """Yield the request, then the reply, unless deleted."""
        if self.request is not None:
            yield Message(MessageId(self.id, Direction.REQUEST), self, self.request, self.received_at)
        if self.reply is not None:
            yield Message(MessageId(self.id, Direction.REPLY), self, self.reply, self.answered_at)

    def media_keys(self) -> set[str]:
        """Return the keys of all its media."""
        return {media.key for message in self.messages() for media in message.content.media}


@dataclass(frozen=True, slots=True)
class MessageId:
    """The id of a message: exchange and side. Written `<exchange id>.request` or `<exchange id>.reply`."""

    exchange_id: UUID
    direction: Direction

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read an id.

        Raises:
            ValueError: it is none.
        """
        exchange_id, _, direction = raw.partition(".")
        try:
            parsed = cls(UUID(exchange_id), Direction(direction))
        except ValueError:
            parsed = None
        if parsed is None or str(parsed) != raw:
            raise ValueError("a message id is an exchange id, a dot, and request or reply")
        return parsed

    @property
    def key(self) -> tuple[UUID, bool]:
        """The sort key of messages."""
        return self.exchange_id, self.direction is Direction.REPLY

    def __str__(self) -> str:
        return f"{self.exchange_id}.{self.direction.value}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: a side of an exchange, with its id and time."""

    id: MessageId
    exchange: StoredExchange
    content: MessageContent
    sent_at: datetime

    def media(self, part: MediaPart) -> StoredMedia | None:
        """Return one of its media parts; None: it has no such part."""
        return next((media for media in self.content.media if media.part is part), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A conversation."""

    id: UUID
    client_id: str
    time_zone: str
    started_at: datetime
    title: str | None


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Counts of a session, computed from its exchanges at each query."""

    messages: int
    last_at: datetime | None


def rank_of_answer(attempt: int) -> int:
    """Return the rank of an answer sent over the connection with this ticket."""
    return 2 * attempt + 1


def rank_of_claim(attempt: int) -> int:
    """Return the rank of a stored answer that is claimed for the connection with this ticket.

    A new answer of the same attempt ranks higher: it exists only if the claim failed.
    """
    return 2 * attempt


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""All stores keep times as microseconds since then, the precision of the wire."""
