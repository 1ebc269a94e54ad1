"""What a chat service says of its installation, and what is none."""

import asyncio
import json

import pytest
from aiohttp import web

from chat_client import Refused, Unreachable, WrongAnswer, describe
from devtools.ports import free_port
from frameproto import DEFAULT_MAX_FRAME_BYTES
from tests.client.conftest import Chatbot
from tests.client.standins import answering

TOLD = {
    "history": None,
    "subprotocols": ["chatbot.v1"],
    "auth": "none",
    "window": 10,
    "max_frame_bytes": 1000,
    "max_text_bytes": 100,
}


def test_the_chatbot_describes_itself(chatbot: Chatbot) -> None:
    found = describe(chatbot.url)
    assert found.history == chatbot.history_url
    assert found.subprotocols == ("chatbot.v2", "chatbot.v1")
    assert (found.auth, found.window, found.max_frame_bytes) == ("none", 10, DEFAULT_MAX_FRAME_BYTES)
    assert 0 < found.max_text_bytes < found.max_frame_bytes


async def test_history_may_be_at_the_address_of_chat() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(TOLD)

    async with answering(answer) as url:
        found = await asyncio.to_thread(describe, url)
    assert found.history == url.rstrip("/")


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({**TOLD, "history": 7}),
        json.dumps({**TOLD, "subprotocols": [7]}),
        json.dumps({**TOLD, "window": "many"}),
        json.dumps({name: value for name, value in TOLD.items() if name != "auth"}),
        "[]",
        "<h1>Welcome</h1>",
    ],
)
async def test_what_describes_something_else_is_told(body: str) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    async with answering(answer) as url:
        with pytest.raises(WrongAnswer, match="is not a chatbot"):
            await asyncio.to_thread(describe, url)


async def test_a_refusal_is_told() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "host_not_allowed", "detail": "not here"}, status=421)

    async with answering(answer) as url:
        with pytest.raises(Refused, match="host_not_allowed"):
            await asyncio.to_thread(describe, url)


def test_nobody_there_is_told() -> None:
    with pytest.raises(Unreachable, match="cannot be asked where history is"):
        describe(f"ws://127.0.0.1:{free_port()}")
