"""A bot that is a service of its own, against a real one on loopback."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from botkit import AudioInfo, BotError, Memory, RequestKind, Turn, VideoInfo, pieces, whole
from botkit.testing import MONDAY_MORNING, BotClient
from chat_service.bot.http import HttpBot

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """The service of a bot; the test says how it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.answer: Handler = self.echo

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((dict(request.headers), await request.read()))
        return await self.answer(request)

    async def echo(self, request: web.Request) -> web.StreamResponse:
        del request
        turn = json.loads(self.asked[-1][1])
        return web.json_response({"text": f"you said {turn['text']}"})


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def bot(service: Service) -> AsyncIterator[HttpBot]:
    app = web.Application()
    app.router.add_post("/turn", service.respond)
    async with TestServer(app) as server:
        secret = SecretStr("a secret that both sides know")
        async with HttpBot(
            str(server.make_url("/turn")), secret=secret, max_characters=100, now=lambda: 1_000
        ) as opened:
            yield opened


async def test_a_turn_is_told_with_its_memory_and_signed(bot: HttpBot, service: Service) -> None:
    anna = BotClient(bot)
    assert await anna.say("hello") == "you said hello"
    assert await anna.say("again") == "you said again"
    headers, body = service.asked[-1]
    assert json.loads(body) == {
        "kind": "text",
        "client_id": "anna",
        "session_id": None,
        "local_time": "2026-06-01T09:30:00+00:00",
        "time_zone": "UTC",
        "text": "again",
        "transcript": None,
        "memory": [{"speaker": "client", "text": "hello"}, {"speaker": "bot", "text": "you said hello"}],
    }
    proof = hmac.new(b"a secret that both sides know", b"1000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Chatbot-Signature"] == f"t=1000,v1={proof}"


async def test_voice_and_video_are_described(bot: HttpBot, service: Service) -> None:
    voice = Turn(kind=RequestKind.VOICE, client_id="a", local_time=MONDAY_MORNING, audio=AudioInfo(3.2, whole=False))
    video = Turn(
        kind=RequestKind.VIDEO, client_id="a", local_time=MONDAY_MORNING, video=VideoInfo(2, 64, 48, b"jpg", True)
    )
    await whole(bot.reply(voice, Memory()))
    await whole(bot.reply(video, Memory()))
    assert json.loads(service.asked[0][1])["voice"] == {"seconds": 3.2, "whole": False, "silent": False}
    assert json.loads(service.asked[1][1])["video"] == {
        "seconds": 2,
        "width": 64,
        "height": 48,
        "has_sound": True,
        "shots": 1,
        "poster": base64.b64encode(b"jpg").decode(),
    }


async def streamed(request: web.Request, *lines: bytes, cut: bool = False) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await answer.prepare(request)
    for line in lines:
        await answer.write(line)
        await asyncio.sleep(0)
    if cut:
        assert request.transport is not None
        request.transport.abort()
    return answer


async def test_lines_are_pieces(bot: HttpBot, service: Service) -> None:
    service.answer = lambda request: streamed(request, b'{"text": "one "}\n', b'\n{"text": "tw', b'o"}\n{"text": "!"}')
    turn = BotClient(bot).turn(RequestKind.TEXT, text="count")
    assert [piece async for piece in pieces(bot.reply(turn, Memory()))] == ["one ", "two", "!"]


@pytest.mark.parametrize(
    ("answer", "why", "retryable"),
    [
        (lambda _: web.Response(status=500, text="Traceback …"), "refused this message", True),
        (lambda _: web.Response(status=429), "refused this message", True),
        (lambda _: web.Response(status=400), "refused this message", False),
        (lambda _: web.Response(status=302, headers={"Location": "/elsewhere"}), "refused this message", False),
        (lambda _: web.Response(text="hello", content_type="text/plain"), "did not answer as it should", True),
        (
            lambda _: web.Response(body=b"\xff\xfe", content_type="application/json"),
            "did not answer as it should",
            True,
        ),
        (lambda _: web.json_response(["hello"]), "something else than text", False),
        (lambda _: web.json_response({"text": 3}), "something else than text", False),
        (lambda _: web.json_response({"error": "I am closed today"}), "^I am closed today$", False),
        (lambda _: web.json_response({"error": "too busy", "retryable": True}), "^too busy$", True),
        (lambda _: web.json_response({"error": {"message": "closed"}}), "^closed$", False),
        (lambda _: web.json_response({"error": True}), "^the bot could not reply$", False),
        (lambda _: web.Response(text="[" * 90_000, content_type="application/json"), "did not answer", True),
        (lambda _: web.json_response({"text": "x" * 1_000_000}), "did not answer as it should", True),
    ],
    ids=[
        "500",
        "429",
        "400",
        "redirect",
        "text",
        "garbage",
        "list",
        "number",
        "error",
        "busy",
        "object",
        "true",
        "deep",
        "endless",
    ],
)
async def test_whatever_else_comes_is_an_error(
    bot: HttpBot, service: Service, answer: Callable[[web.Request], web.Response], why: str, retryable: bool
) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        return answer(request)

    service.answer = respond
    with pytest.raises(BotError, match=why) as failed:
        await BotClient(bot).say("hello")
    assert failed.value.retryable is retryable
    assert "Traceback" not in str(failed.value)


@pytest.mark.parametrize(
    ("lines", "cut", "why"),
    [
        ((b'{"text": "half a', b""), True, "did not answer as it should"),
        ((b'{"text": "one"}\n', b"not JSON\n"), False, "did not answer as it should"),
        ((b'{"text": "one"}\n', b'{"error": "lost the thread"}\n'), False, "lost the thread"),
        ((b"x" * 400_000, b"\n"), False, "did not answer as it should"),
        ((b"x" * 1_000_000, b"\n"), False, "did not answer as it should"),
    ],
    ids=["cut off", "garbage", "error", "endless line", "more than a buffer holds"],
)
async def test_a_stream_that_breaks_is_an_error(
    bot: HttpBot, service: Service, lines: tuple[bytes, ...], cut: bool, why: str
) -> None:
    service.answer = lambda request: streamed(request, *lines, cut=cut)
    with pytest.raises(BotError, match=why):
        await BotClient(bot).say("hello")


async def test_a_service_that_is_not_there() -> None:
    async with HttpBot("http://127.0.0.1:1/turn", secret=None, max_characters=100) as bot:
        with pytest.raises(BotError) as failed:
            await BotClient(bot).say("hello")
    assert failed.value.retryable
