"""The scripted bot: the first rule that fits a message has the word."""

from collections.abc import Mapping, Sequence
from typing import Final

from botkit import Memory, Turn
from chat_service.bot import wording
from chat_service.bot.patterns import Utterance
from chat_service.bot.reply import presentable
from chat_service.bot.script import Rule, Script

MAX_REPLY_CHARACTERS: Final = 2_000


class ScriptedBot:
    """Replies by a script. The same conversation always goes the same way: templates take turns, nothing is random.

    Args:
        script: what to say to what.
    """

    def __init__(self, script: Script) -> None:
        self._script = script

    def reply(self, turn: Turn, memory: Memory, /) -> str:
        """Return what the script says."""
        said_before = memory.client_texts
        rule, gaps = self._choose(turn, said_before)
        template = rule.templates[memory.count(rule.name) % len(rule.templates)]
        said = template.format_map({**self._fields(turn, memory, said_before), **gaps})
        said = presentable(said) or self._script.speechless
        return said if len(said) <= MAX_REPLY_CHARACTERS else said[: MAX_REPLY_CHARACTERS - 1] + "…"

    def _choose(self, turn: Turn, said_before: Sequence[str]) -> tuple[Rule, Mapping[str, str]]:
        said = Utterance.of(turn.text)
        for rule in self._script.rules:
            if rule.kind is not turn.kind or (rule.needs_memory and not said_before):
                continue
            if not rule.patterns:
                return rule, {}
            for pattern in rule.patterns:
                gaps = pattern.match(said)
                if gaps is not None:
                    return rule, gaps
        raise LookupError(f"no rule for {turn.kind.name}")  # a script that was checked has one

    def _fields(self, turn: Turn, memory: Memory, said_before: Sequence[str]) -> dict[str, str]:
        local = turn.local_time
        fields = {
            "bot": self._script.name,
            "client": turn.client_id,
            "greeting": self._script.greeting_at(local),
            "time": wording.clock(local),
            "date": wording.full_date(local),
            "iso_date": local.date().isoformat(),
            "weekday": wording.weekday(local),
            "zone": str(local.tzinfo),
            "text": turn.text.strip(),
        }
        if said_before:
            fields |= {
                "first_said": memory.first_text,
                "last_said": said_before[-1],
                "said_count": str(len(said_before)),
            }
        if turn.audio is not None:
            fields |= {**_length(turn.audio.seconds), "heard": wording.heard(turn.audio)}
        if turn.video is not None:
            fields |= {
                **_length(turn.video.seconds),
                "width": str(turn.video.width),
                "height": str(turn.video.height),
                "with_sound": "with sound" if turn.video.has_sound else "without sound",
            }
        return fields


def _length(seconds: float) -> dict[str, str]:
    return {"length": wording.length(seconds), "seconds": f"{seconds:.1f}"}
