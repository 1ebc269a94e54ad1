"""What the suites of the message store share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.database import Database

from frameproto import MediaPart, MessageKind
from frameproto.kinds import Outcome
from history_service.model import MessageContent, Session, StoredExchange, StoredMedia, rank_of_answer
from history_service.stores.base import FirstUse, MessageStore
from servicekit.uuid7 import uuid7

NOON = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


@contextmanager
def raw_database(url: str, name: str) -> Iterator[Database[dict[str, Any]]]:
    """A database as no store shows it: what an older version wrote, or what the server was asked."""
    codec: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with client:
        yield client.get_database(name, codec_options=codec)


def kept(
    session_id: UUID,
    text: str = "hello",
    *,
    at: datetime = NOON,
    client_id: str = "anna",
    asked: str | None = None,
    message_id: UUID | None = None,
    attempt: int = 0,
) -> StoredExchange:
    """An exchange that asks by voice, or by a text, and answers by a text."""
    id_ = uuid7(at)
    voice = MessageContent(
        MessageKind.VOICE, None, (StoredMedia(MediaPart.VOICE, f"{client_id}/{session_id}/{id_}/request.mp3", 42),)
    )
    return StoredExchange(
        id=id_,
        session_id=session_id,
        client_id=client_id,
        time_zone="Europe/Berlin",
        received_at=at,
        answered_at=at + timedelta(microseconds=1500),
        outcome=Outcome.ANSWERED,
        request=voice if asked is None else MessageContent(MessageKind.TEXT, asked),
        reply=MessageContent(MessageKind.TEXT, text),
        message_id=message_id,
        rank=0 if message_id is None else rank_of_answer(attempt),
    )


async def message_count(store: MessageStore, session: Session) -> int:
    """Return how many messages a session has, as the store counts them."""
    (tally,) = await store.sessions.stats(session.client_id, [session.id])
    return tally.messages


async def bind(
    store: MessageStore, session_id: UUID, client_id: str = "anna", *, at: datetime = NOON, time_zone: str = "UTC"
) -> UUID | None:
    """Bind one session."""
    use = FirstUse(session_id=session_id, client_id=client_id, time_zone=time_zone, at=at)
    (bound,) = await store.sessions.bind([use])
    return bound


async def begin(store: MessageStore, client_id: str = "anna", *, at: datetime = NOON) -> Session:
    """Bind a fresh session."""
    wanted = uuid4()
    assert await bind(store, wanted, client_id, at=at) == wanted
    session = await store.sessions.find(wanted, client_id=client_id)
    assert session is not None
    return session
