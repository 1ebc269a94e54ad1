"""Tokens that a function of the caller makes: asked for once, and again when the server takes the last one no more."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from chat_client import Backoff, ConnectionLost, History, Refused, State, Unanswered, Unreachable, connect
from devtools.watching import eventually
from tests.client.standins import answering, denial, echo, talking


class Door:
    """Lets a token in until it has expired."""

    def __init__(self) -> None:
        self.shown: list[str | None] = []
        self.expired: set[str] = set()

    def __call__(self, websocket: ServerConnection, request: Request) -> Response | None:
        token = request.headers.get("Authorization")
        self.shown.append(token)
        if token in self.expired:
            return denial(401, b'{"code": "token_expired", "detail": "old"}')(websocket, request)
        return None


def numbered() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"token-{next(numbers)}"


def later() -> Callable[[], Awaitable[str]]:
    make = numbered()

    async def token() -> str:
        await asyncio.sleep(0)
        return make()

    return token


@pytest.mark.parametrize("make", [numbered, later])
async def test_an_expired_token_is_replaced(make: Callable[[], Callable[[], str | Awaitable[str]]]) -> None:
    door = Door()
    door.expired.add("Bearer token-1")

    async def expire_once(websocket: ServerConnection) -> None:
        if len(door.shown) == 2:
            await websocket.close(4003)
        await echo(websocket)

    async with (
        talking(expire_once, process_request=door) as url,
        connect(url, client_id="anna", time_zone="UTC", token=make(), backoff=Backoff(0.01)) as chat,
    ):
        assert (await chat.ask("hello")).text == "6 o"
    assert door.shown == ["Bearer token-1", "Bearer token-2", "Bearer token-3"]


async def test_a_token_is_asked_for_only_when_it_is_needed() -> None:
    door = Door()

    async def break_once(websocket: ServerConnection) -> None:
        if len(door.shown) == 1:
            await websocket.close(1012)
        await echo(websocket)

    async with (
        talking(break_once, process_request=door) as url,
        connect(url, client_id="anna", time_zone="UTC", token=numbered(), backoff=Backoff(0.01)) as chat,
    ):
        assert (await chat.ask("hello")).text == "6 o"
    assert door.shown == ["Bearer token-1"] * 2


async def test_a_token_that_cannot_be_replaced_ends_the_conversation() -> None:
    async def expire(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.close(4003)

    async with talking(expire) as url, connect(url, client_id="anna", time_zone="UTC", token="fixed") as chat:
        with pytest.raises(Unanswered) as end:
            await chat.ask("hello")
        assert isinstance(end.value.why, ConnectionLost)
        assert (end.value.why.code, end.value.exit_code) == (4003, 3)
        await eventually(lambda: chat.state is State.ENDED, "the end")


async def test_a_fresh_token_that_is_refused_is_not_replaced_for_ever() -> None:
    door = Door()
    door.expired |= {"Bearer token-1", "Bearer token-2"}
    async with talking(echo, process_request=door) as url:
        with pytest.raises(Refused, match="token_expired") as refused:
            async with connect(url, client_id="anna", time_zone="UTC", token=numbered()):
                raise AssertionError
    assert refused.value.advice == "get a fresh token for this client"
    assert len(door.shown) == 2


async def test_a_function_that_fails_is_told() -> None:
    def broken() -> str:
        raise LookupError("no issuer")

    async with talking(echo) as url:
        with pytest.raises(Unreachable, match="no issuer") as trouble:
            async with connect(url, client_id="anna", time_zone="UTC", token=broken):
                raise AssertionError
    assert isinstance(trouble.value.__cause__, LookupError)


async def test_history_takes_a_function_too() -> None:
    shown: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers.get("Authorization"))
        if shown[-1] == "Bearer token-1":
            return web.json_response({"code": "token_expired", "detail": "old"}, status=401)
        return web.json_response({"sessions": [], "next": None})

    async with answering(answer) as url, History(url, token=numbered()) as history:
        assert [session async for session in history.sessions("anna")] == []
        assert [session async for session in history.sessions("anna")] == []
    assert shown == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_history_gives_up_when_the_fresh_token_is_refused_too() -> None:
    shown: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers.get("Authorization"))
        return web.json_response({"code": "token_expired", "detail": "old"}, status=401)

    async with answering(answer) as url, History(url, token=numbered()) as history:
        with pytest.raises(Refused, match="token_expired"):
            await anext(history.sessions("anna"))
    assert shown == ["Bearer token-1", "Bearer token-2"]
