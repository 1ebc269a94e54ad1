"""A bot that is a language model, against a stand-in for the API on loopback."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botkit import BotError, Memory, RequestKind, VideoInfo, pieces, whole
from botkit.testing import BotClient
from chat_service.bot.llm import DEFAULT_PROMPT, MAX_ANSWER_BYTES, ModelBot, ModelSettings
from tests.support.model_api import chunk, event, streamed, words

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The chat API; the test says how it answers."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answer: Handler = lambda request: streamed(request, *words("Good ", "day!"))

    async def respond(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        return await self.answer(request)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def base_url(api: Api) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", api.respond)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1"))


@pytest.fixture
async def bot(base_url: str) -> AsyncIterator[ModelBot]:
    settings = ModelSettings(base_url=base_url, api_key="a key", model="small", attempts=1, request_seconds=5)
    async with ModelBot(settings) as opened:
        yield opened


async def test_the_model_is_told_the_conversation_and_the_local_time(bot: ModelBot, api: Api) -> None:
    anna = BotClient(bot)
    assert await anna.say("hello") == "Good day!"
    assert await anna.speak(3.2) == "Good day!"
    assert api.keys == ["Bearer a key"] * 2
    assert api.asked[-1]["model"] == "small"
    assert "temperature" not in api.asked[-1]
    system, *talk = api.asked[-1]["messages"]
    assert system == {
        "role": "system",
        "content": f"{DEFAULT_PROMPT}\n\nFor the user it is Monday, 01 June 2026, 09:30 (UTC).",
    }
    assert talk == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Good day!"},
        {"role": "user", "content": "(a voice note of 3.2 seconds)"},
    ]


async def test_words_come_as_they_are_said(bot: ModelBot, api: Api) -> None:
    api.answer = lambda request: streamed(request, *words("one ", "two ", "three"))
    turn = BotClient(bot).turn(RequestKind.TEXT, text="count")
    assert [piece async for piece in pieces(bot.reply(turn, Memory()))] == ["one ", "two ", "three"]


async def test_settings_reach_the_model(base_url: str, api: Api) -> None:
    told: list[tuple[int, int]] = []
    api.answer = lambda request: streamed(request, *words("yes")[:-1], chunk(usage=(120, 7)), b"data: [DONE]\n\n")
    settings = ModelSettings(
        base_url=base_url, api_key="k", model="m", prompt="Be brief.", temperature=0.2, reply_tokens=50, images=True
    )
    async with ModelBot(settings, on_tokens=lambda asked, replied: told.append((asked, replied))) as bot:
        seen = VideoInfo(2.0, 64, 48, b"a jpeg", has_sound=True)
        await whole(bot.reply(BotClient(bot).turn(RequestKind.VIDEO, video=seen), Memory()))
    asked = api.asked[0]
    assert (asked["temperature"], asked["max_tokens"], told) == (0.2, 50, [(120, 7)])
    assert asked["messages"][0]["content"].startswith("Be brief.")
    image = f"data:image/jpeg;base64,{base64.b64encode(b'a jpeg').decode()}"
    assert asked["messages"][-1]["content"] == [
        {"type": "text", "text": "(a video of 2.0 seconds)"},
        {"type": "image_url", "image_url": {"url": image}},
    ]


async def test_only_so_much_of_the_conversation_goes_along(base_url: str, api: Api) -> None:
    async with ModelBot(ModelSettings(base_url=base_url, api_key="k", model="m", context_tokens=100)) as bot:
        anna = BotClient(bot)
        for number in range(10):
            await anna.say(f"{number}" + "x" * 99)
    *_, latest = api.asked
    talk = latest["messages"][1:]
    assert talk[-1]["content"].startswith("9")
    assert 2 <= len(talk) <= 5
    assert sum(len(message["content"]) for message in talk) <= 400


@pytest.mark.parametrize(
    ("answer", "why", "retryable"),
    [
        (lambda r: respond(r, 401), "operator", False),
        (lambda r: respond(r, 402), "operator", False),
        (lambda r: respond(r, 404), "operator", False),
        (lambda r: respond(r, 408), "has a fault", True),
        (lambda r: streamed(r, event({"error": {"message": "overloaded"}})), "has a fault", True),
        (lambda r: respond(r, 400), "did not accept", False),
        (lambda r: respond(r, 429), "too much to do", True),
        (lambda r: respond(r, 500), "has a fault", True),
        (lambda r: respond(r, 503), "has a fault", True),
        (lambda r: streamed(r, *words("I will not", finish="content_filter")), "does not want to answer", False),
        (lambda r: streamed(r, chunk("half a")), "broke off", True),
        (lambda r: streamed(r, chunk("half a"), cut=True), "cannot be reached|broke off", True),
        (lambda r: streamed(r, b"data: {not json}\n\n"), "cannot be reached", True),
        (lambda r: respond(r, 200), "broke off", True),
    ],
    ids=[
        "401",
        "402",
        "404",
        "408",
        "error in stream",
        "400",
        "429",
        "500",
        "503",
        "filter",
        "ended",
        "cut",
        "garbage",
        "no stream",
    ],
)
async def test_whatever_goes_wrong_is_told(bot: ModelBot, api: Api, answer: Handler, why: str, retryable: bool) -> None:
    api.answer = answer
    with pytest.raises(BotError, match=why) as failed:
        await BotClient(bot).say("hello")
    assert failed.value.retryable is retryable
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b": OPENROUTER PROCESSING\n\n", *words("hi")], "hi"),
        ([part.replace(b"\n", b"\r\n") for part in words("hi ", "you")], "hi you"),
        ([event({"choices": [{"index": 0, "delta": None}]}), *words("hi")], "hi"),
        ([event({"choices": [{"index": 0, "content_filter_offsets": {}}]}), *words("hi")], "hi"),
        ([event({"choices": None}), event("a comment"), event([1]), *words("hi")], "hi"),
        (
            [event({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "h"}]}}]}), *words("i")],
            "hi",
        ),
        ([event({"choices": [{"index": 0, "delta": {"content": 42}}]}), *words("hi")], "hi"),
        ([event({"choices": [{"index": 0, "delta": {"refusal": "I will not. "}}]}), *words("hi")], "I will not. hi"),
        ([event({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})], "hi"),
    ],
    ids=["comments", "CRLF", "no words", "no delta", "other JSON", "parts", "a number", "declined", "a message"],
)
async def test_unusual_streams_are_read(bot: ModelBot, api: Api, lines: list[bytes], said: str) -> None:
    api.answer = lambda request: streamed(request, *lines)
    assert await BotClient(bot).say("hello") == said


async def test_a_server_that_does_not_stream_is_understood(bot: ModelBot, api: Api) -> None:
    async def at_once(_: web.Request) -> web.StreamResponse:
        message = {"role": "assistant", "content": "all at once"}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    api.answer = at_once
    assert await BotClient(bot).say("hello") == "all at once"


LARGE = (
    b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "more": "'
    + b"x" * MAX_ANSWER_BYTES
    + b'"}'
)


@pytest.mark.parametrize("body", [LARGE, b"[" * 100_000], ids=["large", "deep"])
async def test_an_answer_that_takes_too_much_is_a_failure(bot: ModelBot, api: Api, body: bytes) -> None:
    async def at_once(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type="application/json")

    api.answer = at_once
    with pytest.raises(BotError) as failed:
        await BotClient(bot).say("hello")
    assert failed.value.retryable


@pytest.mark.parametrize(
    ("usages", "counted"),
    [
        ([{"prompt_tokens": 5, "completion_tokens": 1}, {"prompt_tokens": 5, "completion_tokens": 2}], [(5, 2)]),
        ([{"prompt_tokens": None, "completion_tokens": None}], []),
        ([{"total_tokens": 9}], []),
        ([{"prompt_tokens": "5", "completion_tokens": 2}], []),
    ],
)
async def test_tokens_are_counted_once_and_never_in_the_way(
    base_url: str, api: Api, usages: list[dict[str, Any]], counted: list[tuple[int, int]]
) -> None:
    told: list[tuple[int, int]] = []
    api.answer = lambda r: streamed(r, *(event({"choices": [], "usage": usage}) for usage in usages), *words("hi"))
    settings = ModelSettings(base_url=base_url, api_key="k", model="m")
    async with ModelBot(settings, on_tokens=lambda asked, replied: told.append((asked, replied))) as bot:
        assert await BotClient(bot).say("hello") == "hi"
    assert told == counted


async def test_an_operator_reads_that_the_address_is_of_something_else(
    bot: ModelBot, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    async def login(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>log in</html>", content_type="text/html")

    api.answer = login
    with pytest.raises(BotError, match="broke off"):
        await BotClient(bot).say("hello")
    assert "does CHAT_LLM_BASE_URL end in /v1?" in capsys.readouterr().out


async def respond(request: web.Request, status: int) -> web.StreamResponse:
    del request
    return web.json_response({"error": {"message": "secret details"}}, status=status)


async def test_a_reply_that_is_too_long_shows_it(bot: ModelBot, api: Api) -> None:
    api.answer = lambda request: streamed(request, *words("once upon", finish="length"))
    assert await BotClient(bot).say("a story") == "once upon…"


async def test_a_busy_server_is_asked_again_when_it_says(base_url: str, api: Api) -> None:
    tries = 0

    async def busy(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        if tries < 3:
            return web.json_response({"error": {}}, status=429, headers={"Retry-After": "0.01"})
        return await streamed(request, *words("at last"))

    api.answer = busy
    async with ModelBot(ModelSettings(base_url=base_url, api_key="k", model="m", attempts=3)) as bot:
        assert await BotClient(bot).say("hello") == "at last"
    assert tries == 3


async def test_a_server_that_is_slow_or_not_there(base_url: str, api: Api) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3)
        return web.Response()

    api.answer = never
    for url in (base_url, "http://127.0.0.1:1/v1"):
        settings = ModelSettings(base_url=url, api_key="k", model="m", attempts=1, request_seconds=0.2)
        async with ModelBot(settings) as bot:
            with pytest.raises(BotError, match="cannot be reached") as failed:
                await BotClient(bot).say("hello")
        assert failed.value.retryable
