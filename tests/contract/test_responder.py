"""What every bot does as a pod runs it: the script, a model, a service in any language, a factory in Python."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from botkit import AudioInfo, BotError, Memory, RequestKind, Turn, VideoInfo
from botkit.testing import MONDAY_MORNING
from chat_service.bot.choice import open_bot
from chat_service.bot.names import BuiltInBot
from chat_service.message_handler import Bot, MessageHandler
from chat_service.metrics import ChatMetrics
from chat_service.settings import ChatSettings
from tests.chat.conversation_parts import MediaStandIn
from tests.support.model_api import streamed, words

HANDS_OVER = "script, which hands over"
BOTS = (*(bot.value for bot in BuiltInBot), "own_bot:Factory", HANDS_OVER)
STREAM = tuple(bot for bot in BOTS if bot != BuiltInBot.SCRIPT)
FAIL = STREAM  # a script always has something to say
ECHO = 'say = "{client} said {text}"'
SCRIPT = f"""
name = "Contract"
[greetings]
"00:00" = "Hello"
[[rule]]
name = "echo"
{ECHO}
[[rule]]
name = "voice"
kind = "voice"
say = "{{client}} spoke"
[[rule]]
name = "video"
kind = "video"
say = "{{client}} showed"
"""
OWN = '''
import asyncio

class Factory:
    """A bot that is made by a factory, and entered."""

    async def __aenter__(self):
        self.is_open = True
        return self

    async def __aexit__(self, *why):
        self.is_open = False

    async def reply(self, turn, memory):
        assert self.is_open
        if turn.text == "fail":
            raise RuntimeError("a bug")
        if turn.text == "for ever":
            yield "for "
            await asyncio.Event().wait()
        for word in (turn.client_id, "said", turn.text) if turn.text else (turn.client_id, turn.describe()):
            await asyncio.sleep(0)
            yield f"{word} "
'''


class StandIn:
    """A model's API and a bot's service in one: it says back what it is told, word by word."""

    def __init__(self) -> None:
        self.broken_off = asyncio.Event()

    async def model(self, request: web.Request) -> web.StreamResponse:
        asked = (await request.json())["messages"][-1]["content"]
        if asked == "fail":
            return web.Response(status=500)
        if asked == "for ever":
            return await self._for_ever(request, words("for ")[0], "text/event-stream")
        return await streamed(request, *words("somebody ", "said ", asked))

    async def service(self, request: web.Request) -> web.StreamResponse:
        turn = await request.json()
        if turn["text"] == "fail":
            return web.Response(status=500)
        said = turn["text"] or ("spoke" if turn["kind"] == "voice" else "showed")
        if said == "for ever":
            return await self._for_ever(request, _line("for "), "application/x-ndjson")
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        for word in (turn["client_id"], "said", said):
            await answer.write(_line(f"{word} "))
            await asyncio.sleep(0)
        return answer

    async def _for_ever(self, request: web.Request, first: bytes, content_type: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": content_type})
        await answer.prepare(request)
        await answer.write(first)
        try:
            await asyncio.Event().wait()
        finally:
            self.broken_off.set()
        return answer


def _line(text: str) -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


@pytest.fixture
async def bot(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bot]:
    (tmp_path / "own_bot.py").write_text(OWN)
    hands_over = request.param == HANDS_OVER
    (tmp_path / "script.toml").write_text(SCRIPT.replace(ECHO, 'bot = "own_bot:Factory"') if hands_over else SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_bot", raising=False)
    stand_in, app = StandIn(), web.Application()
    app.router.add_post("/v1/chat/completions", stand_in.model)
    app.router.add_post("/turn", stand_in.service)
    async with TestServer(app) as server:
        given: dict[str, Any] = {
            "bot": "script" if hands_over else request.param,
            "bot_url": str(server.make_url("/turn")),
            "llm_model": "small",
            "llm_base_url": str(server.make_url("/v1")),
            "bot_script": tmp_path / "script.toml",
            "bot_fallback": False,
            "bot_seconds": 20,
            "data_dir": tmp_path / "data",
        }
        settings = ChatSettings.model_validate(given)
        async with open_bot(settings, ChatMetrics().bot) as opened:
            yield opened


def handler(bot: Bot) -> MessageHandler:
    return MessageHandler(bot=bot, media=MediaStandIn(), hours={}, typing_seconds=0)


def turn(text: str = "", client_id: str = "anna", **media: Any) -> Turn:
    kind = RequestKind.VOICE if "audio" in media else RequestKind.VIDEO if "video" in media else RequestKind.TEXT
    return Turn(kind=kind, client_id=client_id, local_time=MONDAY_MORNING, text=text, **media)


async def said(reply: str | Awaitable[str]) -> str:
    return reply if isinstance(reply, str) else await reply


@pytest.mark.parametrize("bot", BOTS, indirect=True)
async def test_a_text_is_replied_to_and_both_sides_are_remembered(bot: Bot) -> None:
    memory = Memory()
    reply = await said(handler(bot).reply(turn("hello"), memory))
    assert reply.strip().endswith("said hello")
    assert [each.text for each in memory] == ["hello", reply.strip()]


@pytest.mark.parametrize("bot", BOTS, indirect=True)
async def test_voice_and_video_are_replied_to(bot: Bot) -> None:
    audio, video = AudioInfo(3.2), VideoInfo(2, 64, 48, b"\xff\xd8", has_sound=True)
    for each in (turn(audio=audio), turn(video=video)):
        assert (await said(handler(bot).reply(each, Memory()))).strip()


@pytest.mark.parametrize("bot", BOTS, indirect=True)
async def test_conversations_go_on_side_by_side(bot: Bot) -> None:
    texts = [f"text {number}" for number in range(10)]
    replies = await asyncio.gather(*(said(handler(bot).reply(turn(text), Memory())) for text in texts))
    assert [reply.strip().rpartition("said ")[2] for reply in replies] == texts


@pytest.mark.parametrize("bot", BOTS, indirect=True)
async def test_pieces_together_are_the_reply(bot: Bot, request: pytest.FixtureRequest) -> None:
    pieces: list[str] = []
    reply = await said(handler(bot).reply(turn("hello"), Memory(), pieces.append))
    streams = request.node.callspec.params["bot"] in STREAM
    assert (len(pieces) > 1, "".join(pieces)) == (streams, reply if streams else "")


@pytest.mark.parametrize("bot", FAIL, indirect=True)
async def test_a_failure_is_told_by_a_code_and_the_next_turn_is_replied_to(bot: Bot) -> None:
    with pytest.raises(BotError) as caught:
        await said(handler(bot).reply(turn("fail"), memory := Memory()))
    assert (caught.value.code, len(memory)) == ("bot_failed", 0)
    assert (await said(handler(bot).reply(turn("hello"), memory))).strip().endswith("said hello")


@pytest.mark.parametrize("bot", STREAM, indirect=True)
async def test_a_turn_that_is_cancelled_ends_at_once_and_leaves_its_place(bot: Bot) -> None:
    begun = asyncio.Event()
    for _ in range(3):
        begun.clear()
        reply = handler(bot).reply(turn("for ever"), Memory(), lambda _: begun.set())
        running = asyncio.ensure_future(said(reply))
        await asyncio.wait_for(begun.wait(), 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)
    assert (await said(handler(bot).reply(turn("hello"), Memory()))).strip().endswith("said hello")
