"""Conversations as readable files, which a script is tried with.

    # a comment
    at 2026-06-01 22:15 Europe/Berlin

    anna  Hello
    bot   Good evening, anna! *
    anna  (voice 3.2)
    bot   Thank you for your voice note, anna. *

An empty line begins another conversation, `at` sets the time of all that follow. In what the bot replies `*` stands for
any text, and a line that begins with spaces goes on with the one before.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from botkit import BotError, Responder
from botkit.testing import BotClient

BOT: Final = "bot"
MOMENT: Final = datetime(2026, 6, 1, 9, 30, tzinfo=UTC)
MEDIA: Final = re.compile(r"\((voice|video) (\d+(?:\.\d+)?)\)")


class ConversationError(ValueError):
    """This is not a conversation; the message names the line and says what to do."""


@dataclass(frozen=True, slots=True)
class TrialLine:
    """What one side says, and in which line of the file."""

    who: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Expected:
    """A conversation as it should go."""

    moment: datetime
    said: tuple[TrialLine, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A reply that was another one."""

    line: int
    expected: str
    replied: str


def read_conversations(source: str) -> Iterator[Expected]:
    """Yield the conversations of a file.

    Raises:
        ConversationError: a line is not one of the three kinds, or the bot begins.
    """
    moment, said = MOMENT, list[TrialLine]()
    for number, line in enumerate([*source.splitlines(), ""], 1):
        who, _, text = line.partition(" ")
        if line.startswith("#"):
            continue
        if not line.strip():
            if said:
                yield Expected(moment, tuple(said))
                said = []
        elif not who and said:
            said[-1] = TrialLine(said[-1].who, f"{said[-1].text}\n{text.strip()}", said[-1].line)
        elif who == "at" and not said:
            moment = _moment(text, number)
        elif not who or not text.strip() or (who == BOT and not said):
            raise ConversationError(f"line {number}: begin with who says it, then a space, then what; a client begins")
        else:
            said.append(TrialLine(who, text.strip(), number))


async def try_conversation(bot: Responder, expected: Expected) -> list[Difference]:
    """Have a conversation with a bot, and return the replies that are not as expected."""
    differences = []
    talk: BotClient | None = None
    replied = ""
    for said in expected.said:
        if said.who != BOT:
            talk = talk or BotClient(bot, client_id=said.who, local_time=expected.moment)
            replied = await _say(talk, said.text)
        elif not _pattern(said.text).fullmatch(replied):
            differences.append(Difference(said.line, said.text, replied))
    return differences


def files(path: Path) -> list[Path]:
    """Return the files of conversations that a path names: itself, or all `*.txt` in it."""
    return sorted(path.glob("*.txt")) if path.is_dir() else [path]


async def _say(talk: BotClient, text: str) -> str:
    media = MEDIA.fullmatch(text)
    try:
        if media is None:
            return await talk.say(text)
        return await (talk.speak if media[1] == "voice" else talk.show)(float(media[2]))
    except BotError as exc:
        return f"({exc.code}: {exc})"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _moment(text: str, line: int) -> datetime:
    when, _, zone = text.strip().rpartition(" ")
    try:
        return datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    except (ValueError, OSError) as exc:
        raise ConversationError(f"line {line}: write the time as in: at 2026-06-01 22:15 Europe/Berlin") from exc
    except KeyError as exc:
        raise ConversationError(f"line {line}: there is no time zone {zone}") from exc
