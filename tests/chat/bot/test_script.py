"""Mistakes of a script, in our sentences; a script that changes while it is followed; rules that hand over to a bot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from botkit import BotError, BotNotFound, Memory, Reply, RequestKind, Turn, whole
from botkit.testing import MONDAY_MORNING, BotClient
from chat_service.bot.choice import CannotStartBot, open_bot
from chat_service.bot.reply import StreamingBot
from chat_service.bot.runner import BotRunner
from chat_service.bot.script import ScriptError, parse_script
from chat_service.bot.script_watch import follow_file, stamp_of
from chat_service.bot.scripted import ScriptedBot
from chat_service.metrics import ChatMetrics
from chat_service.settings import ChatSettings
from devtools.watching import eventually
from servicekit.settings import load
from tests.chat.conversation_parts import run_bot

HEAD = 'name = "X"\n[greetings]\n"00:00" = "Hi"\n'
MEDIA = '[[rule]]\nname = "v"\nkind = "voice"\nsay = "v"\n[[rule]]\nname = "w"\nkind = "video"\nsay = "w"\n'


def script(rules: str) -> str:
    return f"{HEAD}{rules}\n{MEDIA}"


def rule(more: str = 'say = "y"', name: str = "a") -> str:
    return f'[[rule]]\nname = "{name}"\n{more}\n'


@pytest.mark.parametrize(
    ("source", "line", "mistake"),
    [
        ("", None, 'the script: needs name = "…"'),
        ('name = "X"\n', None, "the script: needs a table [greetings]"),
        (HEAD, None, "the script: needs at least one [[rule]]"),
        (f"colour = 1\n{script(rule())}", 1, 'the script: unknown key "colour"; these are known: name, greetings, '),
        (script(rule("")), 4, 'rule 1 "a": needs say = "…" or say = ["…", "…"]'),
        (script(rule('say = [""]')), 6, 'rule 1 "a": say must hold texts that are not empty'),
        (script(rule('say = "{x}"')), 6, 'rule 1 "a": unknown field {x}; these are known here: bot, client, '),
        (script(rule('say = "{last_said}"')), 6, "unknown field {last_said}; set needs_memory = true to use it"),
        (script(rule('say = "{last_sent}"')), 6, "unknown field {last_sent}; set needs_sent = true to use it"),
        (script(rule('say = "{time!r}"')), 6, "unknown field {time!r}; these are known here"),
        (script(rule('say = "{time"')), 6, "a brace is not closed; write {{ and }} for braces"),
        (script(rule('when = "a ?"\nsay = "y"')), 6, 'the pattern "a ?" has "?", which is not a word'),
        (script(rule('when = "{time}"\nsay = "y"')), 6, "the gap {time} has the name of a field; name it otherwise"),
        (script(rule('kind = "smell"\nsay = "y"')), 6, 'rule 1 "a": kind must be one of text, voice, video'),
        (script(rule('kind = "voice"\nwhen = "x"\nsay = "y"')), 4, "when is for texts; a voice message has no words"),
        (script(rule('needs_memory = "yes"\nsay = "y"')), 6, "needs_memory must be true or false"),
        (script(rule('needs_sent = 1\nsay = "y"')), 6, "needs_sent must be true or false"),
        (script(rule('bot = "a model"')), 6, 'bot must be "llm", "http" or "package.module:attribute"'),
        (script(rule(name="x" * 65)), 5, "name is longer than 64 characters; shorten it"),
        (script(rule(f'say = "{"x" * 1001}"')), 6, "say is longer than 1000 characters; shorten it"),
        (script(rule() + rule(name="b")), 7, 'rule 2 "b": is never reached, as "a" always applies; move it up'),
        (HEAD + rule(), None, "some voice messages would get no answer; end with a rule of kind"),
        (script(rule()).replace("00:00", "25:00"), 3, '[greetings]: "25:00" is not a time of day; write it as "HH:MM"'),
        (script(rule()).replace('"Hi"', '""'), 3, '[greetings]: needs 00:00 = "…"'),
        ("name = =", 1, "is not TOML: "),
    ],
)
def test_a_mistake_is_told_in_our_words_with_its_line(source: str, line: int | None, mistake: str) -> None:
    with pytest.raises(ScriptError) as told:
        parse_script(source)
    assert mistake in told.value.mistakes[0].what
    assert told.value.mistakes[0].line == line
    assert "pydantic" not in str(told.value)
    assert "\n" not in str(told.value)


def test_all_mistakes_are_found_and_the_message_names_the_first() -> None:
    with pytest.raises(ScriptError, match=r'rule 1 "a": needs say = .* \(and 1 more\)') as told:
        parse_script(script(rule("") + rule('say = "{x}"', name="b")))
    assert [mistake.line for mistake in told.value.mistakes] == [4, 9]


async def test_a_changed_script_is_followed_and_one_with_a_mistake_is_not(tmp_path: Path) -> None:
    file = tmp_path / "script.toml"
    file.write_text(script(rule('say = "one"')))
    bot = ScriptedBot(parse_script(file.read_text()))
    anna = BotClient(bot)
    following = asyncio.create_task(follow_file(file, bot, stamp_of(file), seconds=0.01))

    async def says(expected: str) -> None:
        async def said() -> bool:
            return await anna.say("hello") == expected

        await eventually(said, f"the bot to say {expected}")

    async def refusals(count: int) -> None:
        def told() -> bool:
            return [entry["event"] for entry in logged].count("bot.script_refused") == count

        await eventually(told, f"{count} scripts to be refused")

    with capture_logs() as logged:
        await says("one")
        file.write_text(script(rule('say = "number two"')))
        await says("number two")
        file.write_text(script(rule('say = "{three"')))
        await refusals(1)
        assert await anna.say("hello") == "number two"
        file.unlink()
        other = tmp_path / "other.toml"
        other.write_text(script(rule('bot = "llm"')))
        file.symlink_to(other)
        await refusals(2)
        assert await anna.say("hello") == "number two"
        new = tmp_path / "new.toml"
        new.write_text(script(rule('say = "four"')))
        file.unlink()
        file.symlink_to(new)
        await says("four")
    following.cancel()


class Model:
    """A bot that is handed over to; it fails when it is told to."""

    async def reply(self, turn: Turn, _: Memory, /) -> Reply:
        await asyncio.sleep(0)
        if turn.text == "fail":
            raise BotError("no answer", retryable=True)
        return f"model: {turn.text}"


class Pieces:
    """A bot whose reply comes piece by piece; it breaks off in the middle when it is told to."""

    async def reply(self, turn: Turn, _: Memory, /) -> AsyncIterator[str]:
        yield "a model "
        if "break off" in turn.text:
            raise BotError("no more", retryable=True)
        if "hang" in turn.text:
            await asyncio.Event().wait()
        yield f"on {turn.text}"


def models() -> dict[str, StreamingBot]:
    metrics = ChatMetrics()
    return {"llm": run_bot(Model(), metrics), "my:bot": run_bot(Pieces(), metrics)}


MIXED = script(
    rule('when = "hello"\nsay = "fixed"')
    + rule('when = "* pieces *"\nbot = "my:bot"', name="pieces")
    + rule('bot = "llm"\nsay = ["first instead", "second instead"]', name="else")
)


async def test_a_rule_hands_over_and_says_its_own_when_the_other_bot_cannot() -> None:
    anna = BotClient(ScriptedBot(parse_script(MIXED), models()))
    said = [await anna.say(text) for text in ("hello", "what is love", "in pieces please", "fail", "fail", "fail")]
    assert said == [
        *("fixed", "model: what is love", "a model on in pieces please"),
        *("first instead", "second instead", "first instead"),
    ]


async def test_without_words_of_its_own_the_rule_fails_as_the_other_bot_does() -> None:
    bot = ScriptedBot(parse_script(script(rule('bot = "llm"'))), models())
    with pytest.raises(BotError, match="no answer"):
        await BotClient(bot).say("fail")


def test_a_script_that_hands_over_to_a_bot_that_is_not_there_is_refused() -> None:
    with pytest.raises(BotNotFound, match=r'hands over to "llm", which was not started'):
        ScriptedBot(parse_script(script(rule('bot = "llm"'))))


@pytest.mark.parametrize(
    ("bot", "trouble"),
    [
        ("llm", "the script hands over to llm, which needs CHAT_LLM_MODEL"),
        ("http", "the script hands over to http, which needs CHAT_BOT_URL"),
        ("no_such_module:bot", "no_such_module"),
    ],
)
async def test_a_pod_does_not_start_without_the_bots_of_its_script(
    bot: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "script.toml"
    file.write_text(script(rule(f'bot = "{bot}"')))
    monkeypatch.setenv("CHAT_BOT_SCRIPT", str(file))
    settings = load(ChatSettings, [], prog="", description="")
    with pytest.raises(CannotStartBot, match=trouble):
        async with open_bot(settings, ChatMetrics().bot):
            pass


async def test_a_pod_serves_a_script_that_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "script.toml"
    file.write_text(MIXED.replace('"my:bot"', f'"{__name__}:Pieces"').replace('"llm"', f'"{__name__}:Model"'))
    monkeypatch.setenv("CHAT_BOT_SCRIPT", str(file))
    monkeypatch.setenv("CHAT_BOT_BREAKER_FAILURES", "2")
    async with open_bot(load(ChatSettings, [], prog="", description=""), ChatMetrics().bot) as bot:
        anna = BotClient(bot)
        assert await anna.say("hello") == "fixed"
        assert await anna.say("what is love") == "model: what is love"
        assert [await anna.say("fail") for _ in range(3)] == ["first instead", "second instead", "first instead"]
        assert await anna.say("what is love") == "second instead"  # the model is passed by
        assert await anna.say("hello") == "fixed"  # and the script is not


HANDS_OVER = MIXED.replace('"my:bot"', f'"{__name__}:Pieces"\nsay = "instead"').replace('"llm"', f'"{__name__}:Model"')


@asynccontextmanager
async def serving(tmp_path: Path, metrics: ChatMetrics, **given: Any) -> AsyncIterator[BotRunner]:
    """Open a pod's bot, the script that hands over."""
    file = tmp_path / "script.toml"
    file.write_text(HANDS_OVER)
    settings = ChatSettings.model_validate({"bot_script": file, "data_dir": tmp_path / "data", **given})
    async with open_bot(settings, metrics.bot) as bot:
        yield bot


async def say(bot: BotRunner, text: str, memory: Memory | None = None) -> tuple[str, list[str]]:
    """Return the reply, and the pieces that were handed on."""
    pieces: list[str] = []
    turn = Turn(kind=RequestKind.TEXT, client_id="anna", local_time=MONDAY_MORNING, text=text)
    return await whole(bot.reply(turn, memory or Memory(), pieces.append)), pieces


async def test_the_pieces_of_the_other_bot_are_handed_on(tmp_path: Path) -> None:
    async with serving(tmp_path, ChatMetrics()) as bot:
        reply = "a model on in pieces please"
        assert await say(bot, "in pieces please") == (reply, ["a model ", "on in pieces please"])
        assert await say(bot, "what is love") == ("model: what is love", [])
        assert await say(bot, "hello") == ("fixed", [])


async def test_what_the_rule_says_replaces_pieces_that_were_handed_on(tmp_path: Path) -> None:
    async with serving(tmp_path, ChatMetrics()) as bot:
        assert await say(bot, "fail") == ("first instead", [])
        assert await say(bot, "break off pieces please") == ("instead", ["a model "])


async def test_the_rule_has_its_words_when_the_other_bot_takes_too_long(tmp_path: Path) -> None:
    async with serving(tmp_path, ChatMetrics(), bot_seconds=0.1) as bot:
        assert await say(bot, "hang pieces please") == ("instead", ["a model "])


async def test_pieces_are_counted_for_the_bot_that_made_them(tmp_path: Path) -> None:
    metrics = ChatMetrics()
    async with serving(tmp_path, metrics) as bot:
        await say(bot, "in pieces please")

    def value(name: str, of: str) -> float | None:
        return metrics.registry.get_sample_value(f"chatbot_bot_{name}", {"bot": of})

    of_other = f"{__name__}:Pieces"
    assert [value("pieces_total", name) for name in ("script", of_other)] == [1, 2]
    assert [value("seconds_count", name) for name in ("script", of_other)] == [1, 1]
