"""docs/bots.md: its bot converses as it says, its examples run, and its settings are those of the service."""

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from botkit import BotError, load_bot, memory
from botkit.testing import BotClient
from chat_service.bot.choice import CannotStartBot, open_bot
from chat_service.bot.http import sign
from chat_service.bot.names import BuiltInBot
from chat_service.metrics import ChatMetrics
from chat_service.settings import ChatSettings
from servicekit.settings import load
from tests.support.pages import python_examples

PAGE = (Path(__file__).parents[3] / "docs" / "bots.md").read_text("utf-8")
NONE = "\N{EN DASH}"
BOT, TEST, SIGNATURE = python_examples("docs/bots.md")


@pytest.fixture(autouse=True)
def my_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_bot.py").write_text(BOT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_bot", raising=False)


async def test_the_bot_of_the_page() -> None:
    anna = BotClient(load_bot("my_bot:bot"))
    assert await anna.say("nothing before?") == "That was the first thing you wrote."
    assert await anna.say("good day") == "It is 09:30 where you are, anna. You wrote 8 characters."
    assert await anna.say("and before that?") == "Before that you wrote: good day"
    assert await anna.speak(3.2) == "I cannot listen or watch, but thank you for (a voice note of 3.2 seconds)."
    with pytest.raises(BotError, match="closed at night"):
        await anna.say("weather")


async def test_the_test_of_the_page() -> None:
    scope: dict[str, Any] = {}
    exec(TEST, scope)
    await scope["test_the_bot_remembers"]()


def test_the_check_of_a_signature() -> None:
    scope: dict[str, Any] = {}
    exec(SIGNATURE, scope)
    now = int(time.time())
    assert scope["is_ours"](sign(b"body", b"secret", now), b"body", b"secret")
    assert not scope["is_ours"](sign(b"body", b"secret", now), b"bodies", b"secret")
    assert not scope["is_ours"](sign(b"body", b"other", now), b"body", b"secret")
    assert not scope["is_ours"](sign(b"body", b"secret", now - 600), b"body", b"secret")


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> ChatSettings:
    for name, value in given.items():
        monkeypatch.setenv(f"CHAT_{name.upper()}", value)
    return load(ChatSettings, [], prog="", description="")


async def test_a_setting_chooses_the_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(monkeypatch, bot="my_bot:bot")
    async with open_bot(chosen, ChatMetrics().bot) as bot:
        assert "You wrote 2 characters" in await BotClient(bot).say("hi")


async def test_a_file_of_a_model_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin").write_bytes(b"\xe4")
    (tmp_path / "long").write_text("ä" * 40_000)
    for name, why in (
        ("long", "is larger than 64 KiB"),
        ("nowhere", "cannot be read"),
        ("empty", "is empty"),
        ("latin", "is not UTF-8"),
    ):
        chosen = settings(monkeypatch, bot="llm", llm_model="m", llm_prompt_file=str(tmp_path / name))
        with pytest.raises(CannotStartBot, match=f"CHAT_LLM_PROMPT_FILE: .*{why}"):
            async with open_bot(chosen, ChatMetrics().bot):
                pass


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module_anywhere:bot", "CHAT_BOT: there is no module no_such_module_anywhere"),
        ("my_bot:nobody", "CHAT_BOT: my_bot has no nobody"),
    ],
)
async def test_a_bot_that_is_not_there_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    with pytest.raises(CannotStartBot, match=why):
        async with open_bot(settings(monkeypatch, bot=name), ChatMetrics().bot):
            pass


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"bot": "scripted"}, r'CHAT_BOT: "scripted" is no bot'),
        ({"bot": "llm"}, "CHAT_BOT=llm needs CHAT_LLM_MODEL"),
        (
            {"bot": "llm", "llm_model": "m", "llm_api_key": "k", "llm_api_key_file": "/k"},
            "CHAT_LLM_API_KEY and CHAT_LLM_API_KEY_FILE exclude each other",
        ),
        ({"bot": "http"}, "CHAT_BOT=http needs CHAT_BOT_URL"),
    ],
)
def test_settings_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: dict[str, str], why: str
) -> None:
    with pytest.raises(SystemExit):
        settings(monkeypatch, **given)
    assert re.search(why, capsys.readouterr().err)


def test_the_page_lists_every_bot_of_the_service() -> None:
    assert set(re.findall(r"^\| `(\w+)`[^|]*\| ", PAGE.split("\n## ")[0], re.MULTILINE)) == {"CHAT_BOT", *BuiltInBot}


def test_the_page_lists_every_setting_with_its_usual_value(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dict(re.findall(r"^\| `(CHAT_(?:BOT|LLM)_\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    usual = settings(monkeypatch)
    of_the_script = {"bot_script", "bot_typing_seconds"}
    fields = {name for name in ChatSettings.model_fields if name.startswith(("bot_", "llm_"))} - of_the_script
    assert {name.removeprefix("CHAT_").lower() for name in rows} == fields
    for name, shown in rows.items():
        value = getattr(usual, name.removeprefix("CHAT_").lower())
        match value:
            case None | "":
                expected = NONE
            case bool():
                expected = str(value).lower()
            case int() | float():
                expected = f"{value:g}"
            case _:
                expected = str(value)
        assert shown == expected, name


def test_limits_are_those_of_the_code() -> None:
    assert f"latest {memory.MAX_MESSAGES} messages up to {memory.MAX_BYTES // 1024} KiB" in PAGE
