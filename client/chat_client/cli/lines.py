"""What a line of a conversation means: a text, a command that begins with a slash, or a choice of the menu."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from frameproto import RequestKind
from frameproto.media import by_suffix


class Command(StrEnum):
    """What can be asked for besides sending a text."""

    VOICE = "voice"
    VIDEO = "video"
    RECORD = "record"
    HISTORY = "history"
    SEARCH = "search"
    SESSION = "session"
    SAVE = "save"
    OPEN = "open"
    PLAY = "play"
    HELP = "help"
    QUIT = "quit"


NEW_SESSION: Final = "new"
HELP: Final = {
    Command.VOICE: ("FILE", "send a voice note"),
    Command.VIDEO: ("FILE", "send a video"),
    Command.RECORD: ("", "record a voice note, and send it"),
    Command.HISTORY: ("", "show this conversation"),
    Command.SEARCH: ("WORDS", "find messages that hold all of the words"),
    Command.SESSION: (
        f"[ID | {NEW_SESSION}]",
        "say which conversation this is, go on with another one, or begin a new one",
    ),
    Command.SAVE: ("FOLDER", "save voices and pictures of replies there from now on"),
    Command.OPEN: ("[MESSAGE]", "open the picture, voice or video of a message; of the last reply by default"),
    Command.PLAY: ("[MESSAGE]", "play the voice of a message; of the last reply by default"),
    Command.HELP: ("", "show this list"),
    Command.QUIT: ("", "end; so do Ctrl-D and q"),
}
MENU: Final = {str(int(kind)): kind for kind in RequestKind}


@dataclass(frozen=True, slots=True)
class Text:
    """A text to send; None: it is still to be asked for."""

    words: str | None


@dataclass(frozen=True, slots=True)
class File:
    """A voice note or a video to send; None: the name of the file is still to be asked for."""

    kind: RequestKind
    name: str | None


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command and what stands behind it."""

    command: Command
    rest: str


@dataclass(frozen=True, slots=True)
class UnknownLine:
    """An invalid line, and why."""

    why: str


Line = Text | File | SlashCommand | UnknownLine


def read_line(line: str) -> Line | None:
    """Return what a line means; None: it is empty.

    A line is a text, unless it begins with a slash or is a choice of the menu: 0, 1, 2, h or q alone, `0 TEXT`, or
    `1 FILE` and `2 FILE` with the name of a file. Two slashes send a text that begins with one.
    """
    line = line.strip()
    if not line:
        return None
    if line.startswith("//"):
        return Text(line[1:])
    if line.startswith("/"):
        return _slash(line)
    return _menu(line) or Text(line)


def help_lines() -> list[str]:
    """Return the list of commands."""
    calls = [f"/{command} {words}".rstrip() for command, (words, _) in HELP.items()]
    width = max(map(len, calls))
    lines = [f"{call:{width}}  {what}" for call, (_, what) in zip(calls, HELP.values(), strict=True)]
    return ["A line is a text for the bot. Commands:", *(f"  {line}" for line in lines)]


def _slash(line: str) -> Line:
    name, _, rest = line[1:].partition(" ")
    found = [command for command in Command if name and command.startswith(name.lower())]
    exact = [command for command in found if command == name.lower()]
    if len(exact or found) != 1:
        which = f"; it may be {' or '.join(f'/{command}' for command in found)}" if found else ""
        return UnknownLine(f"/{name[:20]} is no command{which}: /help lists them, and //{name[:20]} sends it as a text")
    command, rest = (exact or found)[0], rest.strip()
    if command in {Command.VOICE, Command.VIDEO}:
        return File(RequestKind[command.name], rest or None)
    if command in {Command.SEARCH, Command.SAVE} and not rest:
        return UnknownLine(f"/{command} needs {HELP[command][0]}")
    return SlashCommand(command, rest)


def _menu(line: str) -> Line | None:
    if line in {"h", "q"}:
        return SlashCommand(Command.HISTORY if line == "h" else Command.QUIT, "")
    found = re.fullmatch(rf"([{''.join(MENU)}])(?:\s+(.*))?", line, re.DOTALL)
    if found is None:
        return None
    kind, rest = MENU[found[1]], found[2]
    if kind.part is None:
        return Text(rest)
    return File(kind, rest) if rest is None or _names_a_file(rest) else None


def _names_a_file(name: str) -> bool:
    """Say whether this is meant as a file: "1 hello.mp3" is, "2 days ago it rained" is not."""
    try:
        suffix = Path(name).suffix.lower().removeprefix(".")
        return by_suffix(suffix) is not None or Path(name).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False
