"""Exchanges and sessions as rows of SQLite."""

import json
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from history_service.model import MessageContent, Session, StoredExchange
from history_service.stores.encoding import (
    content_document,
    content_words,
    microseconds,
    moment,
    read_content,
    read_outcome,
)

COLUMNS: Final = (
    "id, client_id, session_id, time_zone, received_us, answered_us, outcome, request, reply, message_id, rank"
)
INSERT_EXCHANGE: Final = (
    f"INSERT INTO exchanges ({COLUMNS}, messages, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO NOTHING"
)
INSERT_WORD: Final = "INSERT INTO words (client_id, word, exchange_id, is_reply) VALUES (?, ?, ?, ?)"
SESSION: Final = "SELECT s.id, s.client_id, s.time_zone, s.started_us, s.title FROM sessions s WHERE s.alive"
TALLY: Final = (
    "SELECT coalesce(sum(messages), 0), max(answered_us) FROM exchanges INDEXED BY exchanges_in_order"
    " WHERE session_id = ? AND messages > 0"
)


def content_json(side: MessageContent | None) -> str:
    """Return a message as it is stored."""
    return json.dumps(content_document(side), ensure_ascii=False)


def exchange_row(exchange: StoredExchange, position: int) -> tuple[Any, ...]:
    """Return an exchange as it is stored, for `INSERT_EXCHANGE`."""
    return (
        exchange.id.bytes,
        exchange.client_id,
        exchange.session_id.bytes,
        exchange.time_zone,
        microseconds(exchange.received_at),
        microseconds(exchange.answered_at),
        exchange.outcome.value,
        content_json(exchange.request),
        content_json(exchange.reply),
        None if exchange.message_id is None else exchange.message_id.bytes,
        exchange.rank,
        (exchange.request is not None) + (exchange.reply is not None),
        position,
    )


def word_rows(
    client_id: str, exchange_id: bytes, request: MessageContent | None, reply: MessageContent | None
) -> Iterator[tuple[Any, ...]]:
    """Yield the word list of an exchange, for `INSERT_WORD`."""
    for is_reply, side in enumerate((request, reply)):
        for word in content_words(side):
            yield client_id, word, exchange_id, is_reply


def read_exchange(row: Any) -> StoredExchange:  # noqa: ANN401 - a row of the driver
    """Return an exchange from its `COLUMNS`."""
    return StoredExchange(
        id=UUID(bytes=row[0]),
        client_id=row[1],
        session_id=UUID(bytes=row[2]),
        time_zone=row[3],
        received_at=moment(row[4]),
        answered_at=moment(row[5]),
        outcome=read_outcome(row[6]),
        request=read_content(json.loads(row[7])),
        reply=read_content(json.loads(row[8])),
        message_id=None if row[9] is None else UUID(bytes=row[9]),
        rank=row[10],
    )


def read_session(row: Any) -> Session:  # noqa: ANN401 - a row of the driver
    """Return a session from what `SESSION` selects."""
    return Session(
        id=UUID(bytes=row[0]),
        client_id=row[1],
        time_zone=row[2],
        started_at=moment(row[3]),
        title=row[4],
    )
