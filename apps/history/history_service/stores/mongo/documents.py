"""Exchanges and sessions as MongoDB documents."""

from collections.abc import Sequence
from typing import Any, Final

from frameproto.history import Direction
from history_service.model import MessageContent, Session, StoredExchange
from history_service.stores.encoding import (
    content_document,
    content_words,
    microseconds,
    moment,
    read_content,
    read_outcome,
)

MARKS: Final = {Direction.REQUEST: ">", Direction.REPLY: "<"}
"""Prefixes of words by side, so that one list and one index serve both messages of an exchange."""


def marked(direction: Direction, words: Sequence[str]) -> list[str]:
    """Return words as the list of an exchange has them."""
    mark = MARKS[direction]
    return [mark + word for word in words]


def words_document(request: MessageContent | None, reply: MessageContent | None) -> list[str]:
    """Return the word list of an exchange."""
    return marked(Direction.REQUEST, content_words(request)) + marked(Direction.REPLY, content_words(reply))


def exchange_document(exchange: StoredExchange) -> dict[str, Any]:
    """Return an exchange as it is stored."""
    return {
        "_id": exchange.id,
        "client_id": exchange.client_id,
        "session_id": exchange.session_id,
        "time_zone": exchange.time_zone,
        "received_us": microseconds(exchange.received_at),
        "answered_us": microseconds(exchange.answered_at),
        "outcome": exchange.outcome.value,
        "request": content_document(exchange.request),
        "reply": content_document(exchange.reply),
        "messages": (exchange.request is not None) + (exchange.reply is not None),
        "words": words_document(exchange.request, exchange.reply),
        **({} if exchange.message_id is None else {"message_id": exchange.message_id, "rank": exchange.rank}),
    }


def read_exchange(document: dict[str, Any]) -> StoredExchange:
    """Return an exchange from what `exchange_document` wrote."""
    return StoredExchange(
        id=document["_id"],
        client_id=document["client_id"],
        session_id=document["session_id"],
        time_zone=document["time_zone"],
        received_at=moment(document["received_us"]),
        answered_at=moment(document["answered_us"]),
        outcome=read_outcome(document["outcome"]),
        request=read_content(document["request"]),
        reply=read_content(document["reply"]),
        message_id=document.get("message_id"),
        rank=document.get("rank", 0),
    )


def read_session(document: dict[str, Any]) -> Session:
    """Return a session from its document."""
    return Session(
        id=document["_id"],
        client_id=document["client_id"],
        time_zone=document["time_zone"],
        started_at=moment(document["started_us"]),
        title=document["title"],
    )
