"""What docs/bot.md shows is a script, the conversation goes as it says, and nothing is left out."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from botkit import AudioInfo, Memory, Turn, VideoInfo, memory
from botkit.testing import BotClient
from chat_service.bot import patterns, script, script_file, scripted
from chat_service.bot.script import load_script
from chat_service.bot.scripted import ScriptedBot
from chat_service.settings import ChatSettings
from frameproto import RequestKind
from servicekit.settings import load

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "bot.md").read_text("utf-8")
MONDAY = datetime(2026, 6, 1, 7, 30, tzinfo=ZoneInfo("Europe/Berlin"))


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture
def bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedBot:
    """The bot of the page, from a file that a setting names."""
    (tmp_path / "bakery.toml").write_text(block("toml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAT_BOT_SCRIPT", "bakery.toml")
    return ScriptedBot(load_script(load(ChatSettings, [], prog="", description="").bot_script))


async def test_the_conversation_goes_as_shown(bot: ScriptedBot) -> None:
    anna = BotClient(bot, client_id="anna", local_time=MONDAY)
    lines = [line.split(maxsplit=1) for line in block("conversation").splitlines()]
    assert [who for who, _ in lines] == ["anna", "bot"] * (len(lines) // 2)
    for (_, said), (_, answer) in zip(lines[::2], lines[1::2], strict=True):
        assert await anna.say(said) == answer


@pytest.mark.parametrize(
    ("turn", "answer"),
    [
        (
            Turn(kind=RequestKind.VOICE, client_id="anna", local_time=MONDAY, audio=AudioInfo(3.2)),
            "I listened for three seconds. For an order, please write to me.",
        ),
        (
            Turn(
                kind=RequestKind.VIDEO,
                client_id="anna",
                local_time=MONDAY,
                video=VideoInfo(3.2, 640, 480, b"", has_sound=False),
            ),
            "What I see has 640 by 480 pixels, without sound.",
        ),
    ],
    ids=["voice", "video"],
)
def test_voice_and_video_are_answered(bot: ScriptedBot, turn: Turn, answer: str) -> None:
    assert bot.reply(turn, Memory()) == answer


def test_a_mistake_is_told_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bakery.toml").write_text(block("toml").replace("{client}!", "{clinet}!"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(script.ScriptError) as mistake:
        load_script(Path("bakery.toml"))
    shown = re.search(r"CHAT_BOT_SCRIPT: (bakery\.toml:\d+: .*)…$", PAGE, re.MULTILINE)
    assert shown
    assert str(mistake.value).startswith(shown[1])


def test_every_field_is_listed_and_no_other() -> None:
    known = (
        script_file.ALWAYS
        | script_file.OF_MEMORY
        | script_file.OF_SENT
        | script_file.OF_SPEECH
        | frozenset.union(*script_file.OF_KIND.values())
    )
    rows = re.findall(r"^\| (`\{.*?) \|", section("Replies"), re.MULTILINE)
    assert {field for row in rows for field in re.findall(r"\{(\w+)\}", row)} == known


def test_every_key_is_listed() -> None:
    keys = set(re.findall(r"^\| `(\[*\w+\]*)` \|", section("Keys"), re.MULTILINE))
    assert keys == set(script_file.ScriptFile.model_fields) - {"greetings", "rule"} | {"[greetings]", "[[rule]]"} | set(
        script_file.RuleFile.model_fields
    )


def test_limits_are_those_of_the_code() -> None:
    for limit in (
        f"of {script.MAX_FILE_BYTES // 1024} KiB at most",
        f"up to {script_file.MAX_NAME_CHARACTERS} characters",
        f"each up to {script_file.MAX_TEMPLATE_CHARACTERS:,} characters",
        f"first {patterns.MAX_WORDS} words, within {patterns.MAX_CHARACTERS:,} characters",
        f"up to {patterns.MAX_PARTS} parts",
        f"latest {memory.MAX_MESSAGES} messages of both sides are remembered",
        f"up to {memory.TEXT_CHARACTERS:,} characters of each and {memory.MAX_BYTES // 1024} KiB together",
        f"longer than {scripted.MAX_REPLY_CHARACTERS:,} characters",
    ):
        assert limit in PAGE
    assert all(f"CHAT_{name.upper()}`" in PAGE for name in ("bot_script", "bot_typing_seconds"))


def test_links_lead_somewhere() -> None:
    files = re.findall(r"\]\(((?!https?:)[^)#]+)", PAGE)
    assert all((REPOSITORY / "docs" / file).exists() for file in files)
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings
