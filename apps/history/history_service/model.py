"""What history keeps: sessions, exchanges with their two messages, and the media of these."""

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
    """Where a piece of media is kept."""

    part: MediaPart
    key: str
    size_bytes: int

    @property
    def client_id(self) -> str:
        """Whose it is, which the first folder of its key tells."""
        return self.key.partition("/")[0]

    @property
    def content_type(self) -> str:
        """Its media type, which the suffix of its key tells."""
        file_format = by_suffix(self.key.rpartition(".")[2])
        return media_type(file_format, self.part) if file_format else UNFIT


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One of the two messages of an exchange.

    Attributes:
        kind: what it is.
        text: what was written, spoken by the bot, or understood of what the client said.
        media: where its media are.
        transcribed: the text was not written by the client but understood from its voice or video.
    """

    kind: MessageKind
    text: str | None
    media: tuple[StoredMedia, ...] = ()
    transcribed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExchange:
    """A request and its reply, as they are kept: one record, so that both arrive or neither does.

    A side is None once its message was deleted.

    Attributes:
        message_id: what the client called its message; None: it has no name, and has one answer.
        rank: of several answers to a message the one with the highest rank counts, then the one with the highest id.
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
        """What answers to one message are compared by; the highest is kept."""
        return self.rank, self.id

    def in_place_of(self, earlier: Self) -> Self:
        """Return this exchange as it is kept after `earlier`: a message that was deleted there stays deleted."""
        return replace(
            self,
            request=None if earlier.request is None else self.request,
            reply=None if earlier.reply is None else self.reply,
        )

    def messages(self) -> "Iterator[Message]":
        """Yield the request, then the reply, as far as they are there."""
        if self.request is not None:
            yield Message(MessageId(self.id, Direction.REQUEST), self, self.request, self.received_at)
        if self.reply is not None:
            yield Message(MessageId(self.id, Direction.REPLY), self, self.reply, self.answered_at)

    def media_keys(self) -> set[str]:
        """Return the keys of all its media."""
        return {media.key for message in self.messages() for media in message.content.media}


@dataclass(frozen=True, slots=True)
class MessageId:
    """Names a message: the exchange, and which side of it. Written `<exchange id>.request` or `<exchange id>.reply`."""

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
        """What messages are sorted by."""
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
        """Return a piece of its media, if it has it."""
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
    """What a session has of messages. It is derived from its exchanges whenever it is asked for."""

    messages: int
    last_at: datetime | None


def rank_of_answer(attempt: int) -> int:
    """Return the rank of what was answered over the connection with this ticket."""
    return 2 * attempt + 1


def rank_of_claim(attempt: int) -> int:
    """Return the rank of what is handed out once more over the connection with this ticket.

    An answer of that attempt counts more: it was made because the claim came to nothing.
    """
    return 2 * attempt


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stores keep times as microseconds since then: what came over the wire comes back, in every store."""
