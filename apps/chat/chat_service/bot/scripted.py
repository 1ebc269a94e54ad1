"""The scripted bot: the first rule that fits a message says what to reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from botkit import Memory, Turn
from chat_service.bot import wording
from chat_service.bot.matcher import RuleMatcher
from chat_service.bot.reply import presentable
from chat_service.bot.script import Script
from frameproto import RequestKind

MAX_REPLY_CHARACTERS: Final = 2_000


class ScriptedBot:
    """Replies by a script. The same conversation always goes the same way: templates take turns, nothing is random.

    Args:
        script: what to say to what.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._matchers = {
            kind: RuleMatcher([rule for rule in script.rules if rule.kind is kind]) for kind in RequestKind
        }

    def reply(self, turn: Turn, memory: Memory, /) -> str:
        """Return what the script says."""
        rule, gaps = self._matchers[turn.kind].choose(turn.text, lambda: bool(memory.client_texts))
        template = rule.templates[memory.count(rule.name) % len(rule.templates)]
        said = template.format_map(_Fields(_Asked(self._script, turn, memory), gaps))
        said = presentable(said) or self._script.speechless
        return said if len(said) <= MAX_REPLY_CHARACTERS else said[: MAX_REPLY_CHARACTERS - 1] + "…"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What fields are made of."""

    script: Script
    turn: Turn
    memory: Memory


class _Fields(dict[str, str]):
    """The fields of one reply; only those that its template names are made."""

    def __init__(self, asked: _Asked, gaps: Mapping[str, str]) -> None:
        super().__init__(gaps)
        self._asked = asked

    def __missing__(self, name: str) -> str:
        return FIELDS[name](self._asked)


def _seconds(asked: _Asked) -> float:
    said = asked.turn.audio or asked.turn.video
    return said.seconds if said else 0.0


def _heard(asked: _Asked) -> str:
    return wording.heard(asked.turn.audio) if asked.turn.audio else ""


def _size(asked: _Asked) -> tuple[int, int]:
    return (asked.turn.video.width, asked.turn.video.height) if asked.turn.video else (0, 0)


def _with_sound(asked: _Asked) -> str:
    return "with sound" if asked.turn.video and asked.turn.video.has_sound else "without sound"


FIELDS: Final[Mapping[str, Callable[[_Asked], str]]] = {
    "bot": lambda asked: asked.script.name,
    "client": lambda asked: asked.turn.client_id,
    "greeting": lambda asked: asked.script.greeting_at(asked.turn.local_time),
    "time": lambda asked: wording.clock(asked.turn.local_time),
    "date": lambda asked: wording.full_date(asked.turn.local_time),
    "iso_date": lambda asked: asked.turn.local_time.date().isoformat(),
    "weekday": lambda asked: wording.weekday(asked.turn.local_time),
    "zone": lambda asked: str(asked.turn.local_time.tzinfo),
    "text": lambda asked: asked.turn.text.strip(),
    "first_said": lambda asked: asked.memory.first_text,
    "last_said": lambda asked: asked.memory.client_texts[-1] if asked.memory.client_texts else "",
    "said_count": lambda asked: str(len(asked.memory.client_texts)),
    "length": lambda asked: wording.length(_seconds(asked)),
    "seconds": lambda asked: f"{_seconds(asked):.1f}",
    "heard": _heard,
    "width": lambda asked: str(_size(asked)[0]),
    "height": lambda asked: str(_size(asked)[1]),
    "with_sound": _with_sound,
}
