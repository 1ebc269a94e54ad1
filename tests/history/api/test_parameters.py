"""Parameters of paths and queries, and cursors: what is accepted, and the code of what is not."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import pytest
from starlette.requests import Request

from frameproto.exchange import MAX_ATTEMPT
from frameproto.history import DEFAULT_LIMIT, MAX_LIMIT, MAX_QUERY_CHARACTERS, Direction
from history_service.api.parameters import (
    ArrivalCursor,
    path_client,
    path_uuid,
    query_attempt,
    query_limit,
    query_message_id,
    query_session_key,
    query_words,
    session_cursor,
)
from history_service.model import MessageId, Session
from history_service.stores.base import SessionKey
from servicekit.problems import Problem

ID = UUID(int=7)


def asked(query: str = "", **path: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "path_params": path, "headers": []})


def test_what_is_not_given_has_its_default() -> None:
    assert query_limit(asked()) == DEFAULT_LIMIT
    assert query_message_id(asked(), "before") is None
    assert query_session_key(asked()) is None


def test_what_is_given_is_parsed() -> None:
    assert path_client(asked(client="anna")) == "anna"
    assert path_uuid(asked(session=str(ID)), "session") == ID
    assert query_limit(asked(f"limit={MAX_LIMIT}")) == MAX_LIMIT
    assert query_attempt(asked(f"attempt={MAX_ATTEMPT}")) == MAX_ATTEMPT
    assert query_words(asked("q=Good%20Morning")) == ["good", "morning"]
    assert query_message_id(asked(f"before={ID}.reply"), "before") == MessageId(ID, Direction.REPLY)


@pytest.mark.parametrize(
    ("read", "request_", "code"),
    [
        (path_client, asked(client="a b"), "client_id_malformed"),
        (lambda request: path_uuid(request, "session"), asked(session=ID.hex), "session_id_malformed"),
        *((query_limit, asked(f"limit={raw}"), "limit_malformed") for raw in ("0", "-1", "x", "", str(MAX_LIMIT + 1))),
        *((query_attempt, asked(raw), "attempt_malformed") for raw in ("", "attempt=x", f"attempt={MAX_ATTEMPT + 1}")),
        (query_words, asked(), "query_malformed"),
        (query_words, asked(f"q={'a' * (MAX_QUERY_CHARACTERS + 1)}"), "query_malformed"),
        (query_words, asked("q=...!"), "query_without_words"),
        (lambda request: query_message_id(request, "after"), asked(f"after={ID}"), "cursor_malformed"),
        (query_session_key, asked("cursor=x"), "cursor_malformed"),
    ],
)
def test_what_cannot_be_parsed_is_refused(read: Callable[[Request], object], request_: Request, code: str) -> None:
    with pytest.raises(Problem) as refused:
        read(request_)
    assert (refused.value.status, refused.value.code) == (400, code)


@pytest.mark.parametrize("started_at", [datetime(2026, 6, 1, 9, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
def test_the_cursor_behind_a_session_is_its_start_and_id(started_at: datetime) -> None:
    session = Session(id=ID, client_id="anna", time_zone="UTC", started_at=started_at, title=None)
    assert query_session_key(asked(f"cursor={quote(session_cursor(session))}")) == SessionKey(started_at, ID)


def test_a_cursor_of_arrivals_is_read_as_it_is_written() -> None:
    for direction in Direction:
        cursor = ArrivalCursor(12, direction)
        assert ArrivalCursor.parse(str(cursor)) == cursor
    assert ArrivalCursor(12, Direction.REPLY).last_complete == 12
    assert ArrivalCursor(12, Direction.REQUEST).last_complete == 11


@pytest.mark.parametrize("raw", ["", "12", "12.other", "-1.reply", "\u0661.reply", "now"])
def test_other_cursors_of_arrivals_are_refused(raw: str) -> None:
    with pytest.raises(Problem) as refused:
        ArrivalCursor.parse(raw)
    assert refused.value.code == "cursor_malformed"
