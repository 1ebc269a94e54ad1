"""What becomes of a script's reply when it has been filled in with what a client wrote."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from botkit import Memory, Turn
from botkit.testing import BotClient
from chat_service.bot.reply import SPEECHLESS
from chat_service.bot.script import ScriptError, load_script, parse_script
from chat_service.bot.scripted import ScriptedBot
from tests.chat.conversation_parts import open_scene

MONDAY = datetime(2026, 6, 1, 7, 30, tzinfo=ZoneInfo("Europe/Berlin"))
ECHO = """
name = "Echo"
{more}
[greetings]
"00:00" = "Hello"
[[rule]]
name = "echo"
say = "{{text}}"
[[rule]]
name = "voice"
kind = "voice"
say = "voice"
[[rule]]
name = "video"
kind = "video"
say = "video"
"""
NOTHING = [" ", "\t\n", "\u3000\u00a0", "\x1c", "\0", "\x1b", "\u200b", "\u2028", "\ufeff", " \u200d \x07"]
NOTHING += ["\u3164", "\u2800 \u2800", "\ufe0f", "\U000e0100", "\u115f\u1160"]  # what people copy for an empty message


async def echoed(text: str, more: str = "") -> str:
    bot = ScriptedBot(parse_script(ECHO.format(more=more)))
    return await BotClient(bot, local_time=MONDAY).say(text)


@pytest.mark.parametrize("text", NOTHING, ids=ascii)
async def test_where_nothing_is_left_to_see_the_bot_is_speechless(text: str) -> None:
    assert await echoed(text) == SPEECHLESS
    assert await echoed(text, 'speechless = "Pardon?"') == "Pardon?"


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("  two  words ", "two  words"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc\u2028d\u0085e", "a\nb\nc\nd\ne"),
        ("a\0b\x1b[31mc\x7f\x9b", "ab[31mc"),
        ("e\u0301\u200d\U0001f469\u200d\U0001f680", "e\u0301\u200d\U0001f469\u200d\U0001f680"),
        ("\uf8ff", "\uf8ff"),
        ("x" * 2_000, "x" * 2_000),
        ("x" * 2_001, "x" * 1_999 + "…"),
        ("\0" * 3_000 + "x", "x"),
    ],
    ids=lambda text: ascii(text[:20]),
)
async def test_what_is_left_is_sent_as_it_is(text: str, reply: str) -> None:
    assert await echoed(text) == reply


@pytest.mark.parametrize("said", ["", " ", "\x1b"])
async def test_speechless_itself_must_say_something(said: str) -> None:
    with pytest.raises(ScriptError, match="speechless"):
        parse_script(ECHO.format(more=f'speechless = "{said}"'.replace("\x1b", "\\u001b")))


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("said", "answer"),
    [("", SPEECHLESS), (" ", SPEECHLESS), ("\ud83d", "\ufffd"), ("a\x07", "a"), ("x" * 5000, "x" * 5000)],
    ids=lambda text: ascii(text[:20]),
)
async def test_no_reply_of_any_bot_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch, said: str, answer: str) -> None:
    scene = await open_scene()

    async def reply(_: Turn, __: Memory, ___: object = None) -> str:
        return said

    monkeypatch.setattr(scene.bot, "reply", reply)
    scene.line.text("hello")
    scene.line.voice(b"1")
    assert [response.text for response in await scene.line.replies(2)] == [answer, answer]
    scene.line.leave()
    await scene.running


def test_a_script_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "echo.toml"
    path.write_text(ECHO.format(more=""), encoding="utf-8-sig")
    assert load_script(path).name == "Echo"
