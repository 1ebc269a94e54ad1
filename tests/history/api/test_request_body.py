"""Small JSON bodies: what is accepted, and the code of what is not."""

import json

import pytest
from starlette.requests import Request
from starlette.types import Message

from frameproto.history import MAX_TITLE_CHARACTERS
from history_service.api.request_body import MAX_BODY_BYTES, read_bytes, read_object, read_time_zone, read_title
from servicekit.problems import Problem

TOO_LARGE, CUT_OFF = Problem(413, "too_large"), Problem(400, "cut_off")


def sent(*chunks: bytes, content_type: str = "application/json", whole: bool = True) -> Request:
    """A request whose body arrives in these chunks; without `whole` its client leaves behind them."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b""} if whole else {"type": "http.disconnect"})

    async def receive() -> Message:
        return messages.pop(0)

    return Request({"type": "http", "headers": [(b"content-type", content_type.encode())]}, receive)


async def test_a_body_is_joined_up_to_its_limit() -> None:
    assert await read_bytes(sent(b"ab", b"cd"), 4, TOO_LARGE, CUT_OFF) == b"abcd"
    with pytest.raises(Problem, match="too_large"):
        await read_bytes(sent(b"ab", b"cde"), 4, TOO_LARGE, CUT_OFF)


async def test_a_body_whose_client_leaves_is_cut_off() -> None:
    with pytest.raises(Problem, match="cut_off"):
        await read_bytes(sent(b"ab", whole=False), 4, TOO_LARGE, CUT_OFF)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_an_object_may_have_the_members_that_are_named(content_type: str) -> None:
    assert await read_object(sent(b'{"title": "x"}', content_type=content_type), ["title", "id"]) == {"title": "x"}
    assert await read_object(sent(b"{}"), ["title"]) == {}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (sent(b"{}", content_type="text/plain"), 415, "content_type_unsupported"),
        (sent(b" " * (MAX_BODY_BYTES + 1)), 413, "body_too_large"),
        (sent(b"{", whole=False), 400, "body_unreadable"),
        (sent(b"{"), 400, "body_unreadable"),
        (sent(b"\xff"), 400, "body_unreadable"),
        (sent(b"[" * 10_000), 400, "body_unreadable"),
        (sent(b"[]"), 400, "body_unreadable"),
        (sent(json.dumps({"title": "x", "owner": "y"}).encode()), 400, "body_invalid"),
    ],
)
async def test_other_bodies_are_refused(request_: Request, status: int, code: str) -> None:
    with pytest.raises(Problem) as refused:
        await read_object(request_, ["title"])
    assert (refused.value.status, refused.value.code) == (status, code)


def test_a_title_is_some_characters_or_none() -> None:
    assert read_title(None) is None
    assert read_title("x" * MAX_TITLE_CHARACTERS) == "x" * MAX_TITLE_CHARACTERS
    assert read_time_zone("Europe/Berlin") == "Europe/Berlin"


@pytest.mark.parametrize("title", ["", "x" * (MAX_TITLE_CHARACTERS + 1), "a\nb", "\x7f", "\ud800", 7, ["x"]])
def test_what_is_no_title_is_refused(title: object) -> None:
    with pytest.raises(Problem, match="title_malformed"):
        read_title(title)


@pytest.mark.parametrize("zone", ["", "Europe/Berlin\n", 7, None])
def test_what_is_no_time_zone_is_refused(zone: object) -> None:
    with pytest.raises(Problem, match="time_zone_malformed"):
        read_time_zone(zone)
