"""What chat asks history for, over real HTTP, with a history that misbehaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from botkit import Said, Speaker
from chat_service.history_reader import MAX_CONTEXT_BYTES, HistoryReader
from frameproto import RequestKind, Response, ResponseKind, encode_response

MESSAGE = UUID("0197b0c8-0000-7000-8000-00000000000a")
SESSION = UUID("0197b0c8-0000-7000-8000-000000000001")
ANSWER = encode_response(Response(ResponseKind.TEXT, "as before"))

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def reader(handler: Handler, *, seconds: float = 5) -> AsyncIterator[HistoryReader]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield HistoryReader(url, http=http, token=lambda: "a token", seconds=seconds)
    finally:
        await runner.cleanup()


def answers(status: int, body: bytes = b"") -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    return handle


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError(request)


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.abort()
    return response


async def test_an_answer_is_claimed_for_the_attempt() -> None:
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return web.Response(body=ANSWER)

    async with reader(handle) as history:
        assert await history.claim("anna", MESSAGE, 17) == ANSWER
    (request,) = asked
    assert (request.method, request.path_qs) == ("POST", f"/v1/clients/anna/answers/{MESSAGE}?attempt=17")
    assert request.headers["Authorization"] == "Bearer a token"


async def test_what_was_said_is_remembered_as_a_bot_is_told_of_it() -> None:
    asked: list[web.Request] = []
    messages = [
        {"direction": "request", "kind": "text", "text": "hello", "transcribed": False},
        {"direction": "reply", "kind": "text", "text": "Hello anna", "transcribed": False},
        {"direction": "request", "kind": "voice", "text": "what time is it", "transcribed": True},
        {"direction": "reply", "kind": "error", "text": "bot_failed: no", "transcribed": False},
        {"direction": "request", "kind": "video", "text": None, "transcribed": False},
        {"direction": "request", "kind": "hologram", "text": "hello", "transcribed": False},
    ]

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return web.json_response({"messages": messages})

    async with reader(handle) as history:
        said = await history.context("an:na", SESSION)
    assert asked[0].path == f"/v1/clients/an:na/sessions/{SESSION}/context"
    assert said == [
        Said(Speaker.CLIENT, "hello", RequestKind.TEXT, "hello"),
        Said(Speaker.BOT, "Hello anna", RequestKind.TEXT),
        Said(Speaker.CLIENT, '(a voice note: "what time is it")', RequestKind.VOICE, "what time is it"),
        Said(Speaker.CLIENT, "(a video)", RequestKind.VIDEO),
    ]


async def test_what_history_does_not_have_is_no_trouble() -> None:
    with capture_logs() as logs:
        async with reader(answers(404)) as history:
            assert await history.claim("anna", MESSAGE, 1) is None
            assert await history.context("anna", SESSION) == []
    assert logs == []


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (answers(401), "CHAT_CONTEXT_TOKEN"),
        (answers(403), "CHAT_CONTEXT_TOKEN"),
        (answers(500), "500"),
        (answers(503), "503"),
        (answers(302), "302"),
        (answers(200, b"garbage"), ""),
        (answers(200, json.dumps({"messages": [1]}).encode()), ""),
        (answers(200, b"[" * 100_000), ""),
        (answers(200, b"x" * (MAX_CONTEXT_BYTES + 1)), ""),
        (never, "no answer in"),
        (breaks_off, ""),
    ],
)
async def test_a_history_that_does_not_answer_is_done_without_and_logged_once(handler: Handler, why: str) -> None:
    with capture_logs() as logs:
        async with reader(handler, seconds=0.2 if handler is never else 20) as history:
            for _ in range(2):
                assert await history.claim("anna", MESSAGE, 1) is None
                assert await history.context("anna", SESSION) == []
    assert [entry["event"] for entry in logs] == ["history.not_asked"] * 2
    assert all(why in entry["reason"] for entry in logs)
    assert {entry["consequence"] for entry in logs} == {
        "messages that are sent again are answered anew",
        "the bot does not remember what was said before a reconnect",
    }


async def test_that_it_works_again_is_logged() -> None:
    codes = iter([500, 500, 404])

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(status=next(codes))

    with capture_logs() as logs:
        async with reader(handle) as history:
            for _ in range(3):
                await history.context("anna", SESSION)
    assert [entry["event"] for entry in logs] == ["history.not_asked", "history.asked_again"]
    assert logs[1]["after_failures"] == 2


async def test_nobody_waits_longer_for_an_address_than_for_an_answer() -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with aiohttp.ClientSession() as http:
        history = HistoryReader(address, http=http, token=None, seconds=0.05)
        with capture_logs() as logs:
            assert await history.claim("anna", MESSAGE, 1) is None
        assert not address.cancelled()
    assert [entry["event"] for entry in logs] == ["history.not_asked"]
