"""Sessions and messages as JSON."""

from datetime import datetime

from frameproto.history import MessageJson, SessionJson
from history_service.model import Message, Session, SessionStats


def session_json(session: Session, stats: SessionStats) -> SessionJson:
    """Return a session as JSON shows it."""
    return {
        "id": str(session.id),
        "client_id": session.client_id,
        "time_zone": session.time_zone,
        "started_at": session.started_at.isoformat(),
        "title": session.title,
        "message_count": stats.messages,
        "last_message_at": moment_json(stats.last_at),
    }


def message_json(message: Message) -> MessageJson:
    """Return a message as JSON shows it."""
    return {
        "id": str(message.id),
        "exchange_id": str(message.exchange.id),
        "message_id": None if message.exchange.message_id is None else str(message.exchange.message_id),
        "session_id": str(message.exchange.session_id),
        "direction": message.id.direction.value,
        "kind": message.content.kind.value,
        "text": message.content.text,
        "transcribed": message.content.transcribed,
        "media": {
            media.part.value: {
                "href": media_path(str(message.id), media.part.value),
                "content_type": media.content_type,
                "bytes": media.size_bytes,
            }
            for media in message.content.media
        },
        "outcome": message.exchange.outcome.value,
        "sent_at": message.sent_at.isoformat(),
    }


def moment_json(moment: datetime | None) -> str | None:
    """Return a moment as JSON shows it."""
    return None if moment is None else moment.isoformat()


def media_path(message_id: str, part: str) -> str:
    """Return the path of media, for requests with a token."""
    return f"/v1/messages/{message_id}/media/{part}"
