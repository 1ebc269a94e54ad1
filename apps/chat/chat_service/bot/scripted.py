"""The scripted bot: the first rule that fits a message has the word."""

from collections.abc import Mapping
from typing import Final

from chat_service.bot import wording
from chat_service.bot.base import Dialogue, Incoming
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

    async def reply(self, incoming: Incoming, dialogue: Dialogue) -> str:
        """Return what the script says, and remember the turn."""
        rule, gaps = self._choose(incoming, dialogue)
        template = rule.templates[dialogue.count(rule.name) % len(rule.templates)]
        said = template.format_map({**self._fields(incoming, dialogue), **gaps})
        dialogue.remember(incoming)
        said = presentable(said) or self._script.speechless
        return said if len(said) <= MAX_REPLY_CHARACTERS else said[: MAX_REPLY_CHARACTERS - 1] + "…"

    def _choose(self, incoming: Incoming, dialogue: Dialogue) -> tuple[Rule, Mapping[str, str]]:
        said = Utterance.of(incoming.text)
        for rule in self._script.rules:
            if rule.kind is not incoming.kind or (rule.needs_memory and not dialogue.said):
                continue
            if not rule.patterns:
                return rule, {}
            for pattern in rule.patterns:
                gaps = pattern.match(said)
                if gaps is not None:
                    return rule, gaps
        raise LookupError(f"no rule for {incoming.kind.name}")  # a script that was checked has one

    def _fields(self, incoming: Incoming, dialogue: Dialogue) -> dict[str, str]:
        local, said = incoming.local_time, dialogue.said
        fields = {
            "bot": self._script.name,
            "client": incoming.client_id,
            "greeting": self._script.greeting_at(local),
            "time": wording.clock(local),
            "date": wording.full_date(local),
            "iso_date": local.date().isoformat(),
            "weekday": wording.weekday(local),
            "zone": str(local.tzinfo),
            "text": incoming.text.strip(),
        }
        if said:
            fields |= {"first_said": dialogue.first, "last_said": said[-1], "said_count": str(len(said))}
        if incoming.heard is not None:
            fields |= {**_length(incoming.heard.seconds), "heard": wording.heard(incoming.heard)}
        if incoming.seen is not None:
            fields |= {
                **_length(incoming.seen.seconds),
                "width": str(incoming.seen.width),
                "height": str(incoming.seen.height),
                "with_sound": "with sound" if incoming.seen.has_sound else "without sound",
            }
        return fields


def _length(seconds: float) -> dict[str, str]:
    return {"length": wording.length(seconds), "seconds": f"{seconds:.1f}"}
