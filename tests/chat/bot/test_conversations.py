"""Conversations with the bot's own script, as files; and what the command tells that runs them."""

from pathlib import Path

import pytest

from chat_service.bot.__main__ import main
from chat_service.bot.conversations import (
    ConversationError,
    Difference,
    TrialLine,
    files,
    read_conversations,
    try_conversation,
)
from chat_service.bot.script import load_script
from chat_service.bot.scripted import ScriptedBot

FOLDER = Path(__file__).with_name("conversations")


@pytest.mark.parametrize("file", files(FOLDER), ids=lambda file: file.stem)
async def test_the_default_script_replies_as_written(file: Path) -> None:
    conversations = list(read_conversations(file.read_text()))
    assert conversations
    for expected in conversations:
        assert await try_conversation(ScriptedBot(load_script()), expected) == []


def test_a_conversation_is_read() -> None:
    first, second = read_conversations(
        "# a comment\na  Hello\nbot  Hi,\n     a\n\nat 2026-06-01 22:15 Asia/Tokyo\nb  x y\n"
    )
    assert first.said == (TrialLine("a", "Hello", 2), TrialLine("bot", "Hi,\na", 3))
    assert second.said == (TrialLine("b", "x y", 7),)
    assert second.moment.isoformat() == "2026-06-01T22:15:00+09:00"


async def test_another_reply_is_a_difference() -> None:
    [expected] = read_conversations("anna say yes\nbot no\nbot y*s\n")
    assert await try_conversation(ScriptedBot(load_script()), expected) == [Difference(2, "no", "yes")]


@pytest.mark.parametrize("source", ["bot Hi", "anna", "at noon UTC", "at 2026-06-01 22:15 Mars/Olympus", " x"])
def test_what_is_no_conversation_is_told_with_its_line(source: str) -> None:
    with pytest.raises(ConversationError, match="line 1: "):
        list(read_conversations(source))


def test_the_command_tells_replies_that_differ_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "talk.txt"
    file.write_text("anna say yes\nbot yes\n", "utf-8-sig")
    assert main(["--conversations", str(file)]) == 0
    file.write_text("# one\nanna say yes\nbot no\n")
    assert main(["--conversations", str(file)]) == 1
    assert f"{file}:3: expected 'no', not 'yes'" in capsys.readouterr().err
    assert main(["--conversations", str(FOLDER)]) == 0


def test_the_command_tells_every_mistake_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.toml"
    rules = '[[rule]]\nname = "a"\nwhen = [\n  "x",\n  "y|",\n]\nsay = "y"\n'
    rules += '[[rule]]\nname = "b"\nsay = """\n[[rule]]\n{z}"""\n'
    script.write_text(f'name = "X"\n[greetings]\n"00:00" = "Hi"\n{rules}')
    assert main([str(script)]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in told] == [f"{script}:8:", f"{script}:15:"]
    assert 'rule 1 "a": the pattern "y|"' in told[0]
    assert 'rule 2 "b": unknown field {z}' in told[1]


def test_the_command_checks_a_script_without_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "rules, no mistake" in capsys.readouterr().out


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.toml"
    script.write_text('name = "X"\n[greetings\n')
    assert main([str(script)]) == 1
    assert capsys.readouterr().err.startswith(f"{script}:2: is not TOML: ")
    assert main([str(tmp_path / "missing.toml")]) == 1
    assert "missing.toml: cannot be read" in capsys.readouterr().err
