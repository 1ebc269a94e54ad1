"""What history has, as its readers get it: sessions, messages and their media, read from JSON."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from frameproto import MediaPart
from frameproto.history import MESSAGE_ID_PATTERN, MessageJson, SessionJson

MESSAGE_ID: Final = re.compile(MESSAGE_ID_PATTERN)
PARTS: Final = frozenset(MediaPart)


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation."""

    id: UUID
    client_id: str
    time_zone: str
    started_at: datetime
    title: str | None
    message_count: int
    last_message_at: datetime | None


@dataclass(frozen=True, slots=True)
class Media:
    """Voice, video or picture of a message."""

    part: str
    href: str
    content_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """Where a medium opens without a token, and until when; None: that does not end."""

    url: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message, from either side."""

    id: str
    direction: str
    kind: str
    text: str | None
    media: tuple[Media, ...]
    outcome: str
    sent_at: datetime
    transcribed: bool = False
    """The text is what was understood of the voice or video."""
    message_id: UUID | None = None
    """What the client called its message, over version 2 of the protocol; the reply has it, too."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """Messages in the order in which history received them, and the cursor to go on from."""

    messages: tuple[Message, ...]
    cursor: str


def read_session(item: SessionJson) -> Session:
    """Return a session that history wrote in JSON.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    last = item["last_message_at"]
    return Session(
        UUID(item["id"]),
        str(item["client_id"]),
        str(item["time_zone"]),
        datetime.fromisoformat(item["started_at"]),
        None if item["title"] is None else str(item["title"]),
        int(item["message_count"]),
        None if last is None else datetime.fromisoformat(last),
    )


def read_message(item: MessageJson) -> Message:
    """Return a message that history wrote in JSON.

    Raises:
        ValueError, LookupError, TypeError: it is none.
    """
    if not MESSAGE_ID.fullmatch(item["id"]) or not PARTS.issuperset(item["media"]):  # they become names of files
        raise ValueError("not the id of a message, or a part that none has")
    media = tuple(
        Media(part, str(there["href"]), str(there["content_type"]), int(there["bytes"]))
        for part, there in item["media"].items()
    )
    return Message(
        item["id"],
        str(item["direction"]),
        str(item["kind"]),
        None if item["text"] is None else str(item["text"]),
        media,
        str(item["outcome"]),
        datetime.fromisoformat(item["sent_at"]),
        bool(item.get("transcribed", False)),  # a history of before does not say it
        None if (named := item.get("message_id")) is None else UUID(named),
    )
