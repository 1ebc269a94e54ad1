"""What a line of a conversation means."""

from pathlib import Path

import pytest

from chat_client.cli.lines import (
    Command,
    File,
    Line,
    SlashCommand,
    Text,
    UnknownLine,
    help_lines,
    read_line,
)
from frameproto import RequestKind

VOICE, VIDEO = RequestKind.VOICE, RequestKind.VIDEO


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("What time is it?", Text("What time is it?")),
        ("  hello  ", Text("hello")),
        ("7", Text("7")),
        ("2 days ago it rained", Text("2 days ago it rained")),
        ("1 apple", Text("1 apple")),
        ("help", Text("help")),
        ("//help", Text("/help")),
        ("/voice hello.mp3", File(VOICE, "hello.mp3")),
        ("/video", File(VIDEO, None)),
        ("/VOICE a file.mp3", File(VOICE, "a file.mp3")),
        ("/hist", SlashCommand(Command.HISTORY, "")),
        ("/search two words", SlashCommand(Command.SEARCH, "two words")),
        ("/session new", SlashCommand(Command.SESSION, "new")),
        ("/q", SlashCommand(Command.QUIT, "")),
        ("0", Text(None)),
        ("0 hello", Text("hello")),
        ("0\thello\nthere", Text("hello\nthere")),
        ("1", File(VOICE, None)),
        ("1 none.mp3", File(VOICE, "none.mp3")),
        ("2 my holidays.MOV", File(VIDEO, "my holidays.MOV")),
        ("h", SlashCommand(Command.HISTORY, "")),
        ("q", SlashCommand(Command.QUIT, "")),
    ],
)
def test_a_line_is_a_text_a_command_or_a_choice_of_the_menu(line: str, means: Line) -> None:
    assert read_line(line) == means


@pytest.mark.parametrize("line", ["", "  ", "\n"])
def test_an_empty_line_means_nothing(line: str) -> None:
    assert read_line(line) is None


def test_a_file_that_is_there_is_one_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_line("1 note") == Text("1 note")
    (tmp_path / "note").touch()
    assert read_line("1 note") == File(VOICE, "note")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("/dance", "/dance is no command"),
        ("/s", "it may be /search or /session or /save"),
        ("/", "is no command"),
        ("/search", "/search needs WORDS"),
        ("/save", "/save needs FOLDER"),
    ],
)
def test_a_command_that_there_is_not_is_told(line: str, says: str) -> None:
    found = read_line(line)
    assert isinstance(found, UnknownLine)
    assert says in found.why


def test_the_list_has_every_command() -> None:
    shown = "\n".join(help_lines())
    assert all(f"/{command} " in shown or f"/{command}  " in shown for command in Command)
