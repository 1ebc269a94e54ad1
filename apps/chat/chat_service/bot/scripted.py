"""The scripted bot: the first rule that fits a message says what to reply."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from botkit import BotError, BotNotFound, Memory, Speaker, Turn
from chat_service.bot import wording
from chat_service.bot.matcher import RuleMatcher
from chat_service.bot.reply import OnPiece, PendingReply, StreamingBot, presentable
from chat_service.bot.script import Rule, Script
from frameproto import RequestKind

MAX_REPLY_CHARACTERS: Final = 2_000


class ScriptedBot:
    """Replies by a script. The same conversation always goes the same way: templates take turns, nothing is random.

    Args:
        script: what to say to what.
        others: the bots that its rules may hand over to, by name.
    """

    def __init__(self, script: Script, others: Mapping[str, StreamingBot] | None = None) -> None:
        self._others = dict(others or {})
        self.follow(script)

    def follow(self, script: Script) -> None:
        """Reply by another script from now on; conversations go on.

        Raises:
            BotNotFound: it hands over to a bot that is not there.
        """
        if unknown := script.bots - self._others.keys():
            raise BotNotFound(f'hands over to "{min(unknown)}", which was not started with this service; restart it')
        self._script = script
        self._matchers = {
            kind: RuleMatcher([rule for rule in script.rules if rule.kind is kind]) for kind in RequestKind
        }
        # A question that is spoken is answered as one that is written.
        questions = [rule for rule in script.rules if rule.kind is RequestKind.TEXT and rule.patterns]
        self._spoken = RuleMatcher([*questions, *(rule for rule in script.rules if rule.kind is RequestKind.VOICE)])

    def reply(self, turn: Turn, memory: Memory, on_piece: OnPiece | None = None, /) -> str | PendingReply:
        """Return what the script says, or what is to be awaited where a rule hands over to another bot.

        `on_piece` gets the pieces of the other bot. The reply is what the rule says when that bot fails, also after
        pieces were handed on.

        Raises:
            BotError: the other bot cannot reply, and its rule has nothing to say in its place.
        """
        words = turn.words
        matcher = self._spoken if words and turn.audio is not None else self._matchers[turn.kind]
        rule, gaps = matcher.choose(words, lambda rule: _applies(rule, memory))
        fields = _Fields(gaps, self._script, turn, memory)
        if not rule.bot:
            return _say(rule, fields)
        said = partial(_say, rule, fields)
        instead = said if rule.templates else None
        try:
            reply = self._others[rule.bot].reply(turn, memory, on_piece)
        except BotError:
            if instead is None:
                raise
            return instead()
        if isinstance(reply, str) or instead is None:
            return reply
        return PendingReply(partial(_wait_for, reply, instead), reply.close, on_piece)


async def _wait_for(reply: PendingReply, instead: Callable[[], str], on_piece: OnPiece | None) -> str:
    try:
        return await reply.wait(on_piece)
    except BotError:
        return instead()


def _applies(rule: Rule, memory: Memory) -> bool:
    return memory.turns > 0 and (not rule.needs_memory or bool(memory.client_texts))


class _Fields(dict[str, str]):
    """The fields of one reply, and what they are made of; only those that its template names are made."""

    def __init__(self, gaps: Mapping[str, str], script: Script, turn: Turn, memory: Memory) -> None:
        super().__init__(gaps)
        self.script = script
        self.turn = turn
        self.memory = memory

    def __missing__(self, name: str) -> str:
        return FIELDS[name](self)


def _say(rule: Rule, fields: _Fields) -> str:
    template = rule.templates[fields.memory.count(rule.name) % len(rule.templates)]
    said = presentable(template.format_map(fields)) or fields.script.speechless
    return said if len(said) <= MAX_REPLY_CHARACTERS else said[: MAX_REPLY_CHARACTERS - 1] + "…"


def _seconds(asked: _Fields) -> float:
    said = asked.turn.audio or asked.turn.video
    return said.seconds if said else 0.0


def _heard(asked: _Fields) -> str:
    return wording.heard(asked.turn.audio) if asked.turn.audio else ""


def _size(asked: _Fields) -> tuple[int, int]:
    return (asked.turn.video.width, asked.turn.video.height) if asked.turn.video else (0, 0)


def _last_sent(memory: Memory) -> str:
    sent = [said.text for said in memory if said.speaker is Speaker.CLIENT]
    return sent[-1] if sent else ""


def _with_sound(asked: _Fields) -> str:
    return "with sound" if asked.turn.video and asked.turn.video.has_sound else "without sound"


FIELDS: Final[Mapping[str, Callable[[_Fields], str]]] = {
    "bot": lambda asked: asked.script.name,
    "client": lambda asked: asked.turn.client_id,
    "greeting": lambda asked: asked.script.greeting_at(asked.turn.local_time),
    "time": lambda asked: wording.clock(asked.turn.local_time),
    "date": lambda asked: wording.full_date(asked.turn.local_time),
    "iso_date": lambda asked: asked.turn.local_time.date().isoformat(),
    "weekday": lambda asked: wording.weekday(asked.turn.local_time),
    "zone": lambda asked: str(asked.turn.local_time.tzinfo),
    "text": lambda asked: asked.turn.words.strip(),
    "transcript": lambda asked: asked.turn.words.strip(),
    "first_said": lambda asked: asked.memory.first_text,
    "last_said": lambda asked: asked.memory.client_texts[-1] if asked.memory.client_texts else "",
    "said_count": lambda asked: str(len(asked.memory.client_texts)),
    "last_sent": lambda asked: _last_sent(asked.memory),
    "sent_count": lambda asked: str(asked.memory.turns),
    "length": lambda asked: wording.length(_seconds(asked)),
    "seconds": lambda asked: f"{_seconds(asked):.1f}",
    "heard": _heard,
    "width": lambda asked: str(_size(asked)[0]),
    "height": lambda asked: str(_size(asked)[1]),
    "with_sound": _with_sound,
    "shots": lambda asked: wording.counted(asked.turn.video.shots if asked.turn.video else 1, "shot"),
}
