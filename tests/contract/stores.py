"""What the suites of the message store share."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from frameproto import MediaPart, MessageKind
from frameproto.kinds import Outcome
from history_service.model import Media, MessageContent, Session, StoredExchange
from history_service.stores.base import FirstUse, MessageStore
from servicekit.uuid7 import uuid7

NOON = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)


def kept(
    session_id: UUID, text: str = "hello", *, at: datetime = NOON, client_id: str = "anna", asked: str | None = None
) -> StoredExchange:
    """An exchange that asks by voice, or by a text, and answers by a text."""
    id_ = uuid7(at)
    voice = MessageContent(
        MessageKind.VOICE, None, (Media(MediaPart.VOICE, f"{client_id}/{session_id}/{id_}/request.mp3", 42),)
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
    )


async def message_count(store: MessageStore, session: Session) -> int:
    """Return how many messages a session has, as the store counts them."""
    (tally,) = await store.session_stats(session.client_id, [session.id])
    return tally.messages


async def bind(
    store: MessageStore, session_id: UUID, client_id: str = "anna", *, at: datetime = NOON, time_zone: str = "UTC"
) -> UUID | None:
    """Bind one session."""
    use = FirstUse(session_id=session_id, client_id=client_id, time_zone=time_zone, at=at)
    (bound,) = await store.bind_sessions([use])
    return bound


async def begin(store: MessageStore, client_id: str = "anna", *, at: datetime = NOON) -> Session:
    """Bind a fresh session."""
    wanted = uuid4()
    assert await bind(store, wanted, client_id, at=at) == wanted
    session = await store.session(wanted, client_id=client_id)
    assert session is not None
    return session
