"""Parameters of paths and queries, and the cursors of pages."""

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self
from uuid import UUID

from starlette.requests import Request

from frameproto.connection import CLIENT_ID_RULE, UUID_RULE, is_client_id, parse_uuid
from frameproto.exchange import MAX_ATTEMPT
from frameproto.history import (
    ARRIVAL_CURSOR_PATTERN,
    DEFAULT_LIMIT,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    NOW,
    SESSION_CURSOR_PATTERN,
    Direction,
)
from history_service.model import Message, MessageId, Session
from history_service.stores.base import SessionKey
from history_service.stores.encoding import microseconds, moment
from history_service.tokenizer import tokenize
from servicekit.problems import Problem

SESSION_CURSOR: Final = re.compile(SESSION_CURSOR_PATTERN)
ARRIVAL_CURSOR: Final = re.compile(ARRIVAL_CURSOR_PATTERN, re.ASCII)
FIRST_US: Final = microseconds(datetime.min.replace(tzinfo=UTC))
LAST_US: Final = microseconds(datetime.max.replace(tzinfo=UTC))


def path_client(request: Request) -> str:
    """Return the client id in the path. Raises a 400 problem."""
    client_id: str = request.path_params["client"]
    if not is_client_id(client_id):
        raise Problem(400, "client_id_malformed", f"a client id is {CLIENT_ID_RULE}")
    return client_id


def path_uuid(request: Request, name: str) -> UUID:
    """Return an id in the path. Raises a 400 problem."""
    raw: str = request.path_params[name]
    try:
        return parse_uuid(raw)
    except ValueError:
        raise Problem(400, f"{name}_id_malformed", f"an id is {UUID_RULE}") from None


def query_limit(request: Request) -> int:
    """Return the page size. Raises a 400 problem."""
    raw = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[0-9]{1,4}", raw) or not 1 <= int(raw) <= MAX_LIMIT:
        raise Problem(400, "limit_malformed", f"limit must be a whole number from 1 to {MAX_LIMIT}")
    return int(raw)


def query_attempt(request: Request) -> int:
    """Return the ticket of the connection that sent a message. Raises a 400 problem."""
    raw = request.query_params.get("attempt", "")
    if not re.fullmatch(r"[0-9]{1,19}", raw) or int(raw) > MAX_ATTEMPT:
        raise Problem(400, "attempt_malformed", f"attempt must be a whole number from 0 to {MAX_ATTEMPT}")
    return int(raw)


def query_words(request: Request) -> list[str]:
    """Return the words to search for. Raises a 400 problem."""
    raw = request.query_params.get("q", "")
    if not 1 <= len(raw) <= MAX_QUERY_CHARACTERS:
        raise Problem(400, "query_malformed", f"q must have 1 to {MAX_QUERY_CHARACTERS} characters")
    words = tokenize(raw)
    if not words:
        detail = "q must have a word: letters, digits, emoji or other symbols; punctuation alone finds nothing"
        raise Problem(400, "query_without_words", detail)
    return words


def query_message_id(request: Request, name: str) -> MessageId | None:
    """Return a cursor from the query. Its message may have been deleted. Raises a 400 problem."""
    raw = request.query_params.get(name)
    try:
        return None if raw is None else MessageId.parse(raw)
    except ValueError as exc:
        raise Problem(400, "cursor_malformed", f"{name} must be the id of a message") from exc


def query_session_key(request: Request) -> SessionKey | None:
    """Return where a page of sessions begins. Raises a 400 problem."""
    raw = request.query_params.get("cursor")
    if raw is None:
        return None
    if SESSION_CURSOR.fullmatch(raw) is None:
        raise Problem(400, "cursor_malformed", "cursor must be the `next` of an earlier page")
    key = base64.urlsafe_b64decode(raw)
    started_us = int.from_bytes(key[:8], "big", signed=True)
    return SessionKey(moment(min(max(started_us, FIRST_US), LAST_US)), UUID(bytes=key[8:]))


def session_cursor(session: Session) -> str:
    """Return the cursor behind a session: its start and id, so that it works after the session is deleted."""
    key = microseconds(session.started_at).to_bytes(8, "big", signed=True) + session.id.bytes
    return base64.urlsafe_b64encode(key).decode()


@dataclass(frozen=True, slots=True)
class ArrivalCursor:
    """How far a follower has read: the position of an exchange, and the last message read of it."""

    position: int = 0
    direction: Direction = Direction.REPLY

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Read a cursor. Raises a 400 problem."""
        match = ARRIVAL_CURSOR.fullmatch(raw)
        if match is None or match[1] is None:
            raise Problem(400, "cursor_malformed", f"cursor must be {NOW}, or the `next` of an earlier answer")
        return cls(int(match[1]), Direction(match[2]))

    @property
    def last_complete(self) -> int:
        """The last position of which both messages have been read."""
        return self.position - (self.direction is Direction.REQUEST)

    def is_before(self, position: int, message: Message) -> bool:
        """Say whether this message of the exchange at that position has not been read."""
        return position > self.position or self.direction is not message.id.direction

    def __str__(self) -> str:
        return f"{self.position}.{self.direction.value}"
