"""Scripts: what the scripted bot says to what, read from TOML and checked before anybody is answered by it.

`default.toml` beside this file is the bot of the project, and an example; docs/bot.md explains the format.
"""

import re
import tomllib
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from chat_service.bot.patterns import Pattern
from chat_service.bot.script_file import RuleFile, ScriptFile, sentence
from chat_service.bot.script_lines import ScriptLines
from frameproto import RequestKind

DEFAULT_SCRIPT: Final = Path(__file__).with_name("default.toml")
MAX_FILE_BYTES: Final = 256 * 1024
TOML_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a script: what is wrong where, and what to do. `line` counts from 1; None: the whole file."""

    what: str
    line: int | None = None

    def at(self, path: Path | str) -> str:
        """Return it as compilers tell it: the file, the line, the mistake."""
        return f"{path}:{self.line}: {self.what}" if self.line else f"{path}: {self.what}"


class ScriptError(ValueError):
    """A script has mistakes. The message is one line: the file, the first mistake, and how many more there are."""

    def __init__(self, mistakes: tuple[Mistake, ...], path: Path | None = None) -> None:
        first = mistakes[0].at(path) if path else mistakes[0].what
        super().__init__(first if len(mistakes) == 1 else f"{first} (and {len(mistakes) - 1} more)")
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Rule:
    """What to say to what.

    Attributes:
        name: how mistakes and readers refer to it.
        kind: the kind of message it answers.
        patterns: any of these must match a text; none: it always applies.
        needs_memory: applies only when the client has written something before.
        needs_sent: the same, with voice and video counted.
        needs_speech: applies only when words were recognized in a voice note or video.
        templates: what to say; taken in turns.
        bot: which other bot replies; what to say is for when it cannot. Empty: none.
    """

    name: str
    kind: RequestKind
    patterns: tuple[Pattern, ...]
    templates: tuple[str, ...]
    needs_memory: bool = False
    needs_sent: bool = False
    needs_speech: bool = False
    bot: str = ""

    @property
    def always_applies(self) -> bool:
        """Whether no later rule for this kind of message can have its turn."""
        return not (self.patterns or self.needs_memory or self.needs_sent or self.needs_speech)


@dataclass(frozen=True, slots=True)
class Script:
    """A script that was checked.

    Attributes:
        name: who the bot is.
        greetings: from which time of the day on it greets how, in the order of the day; the first begins the day.
        rules: in the order in which they are tried.
        speechless: what to say when a filled-in reply has nothing that can be seen.
    """

    name: str
    greetings: tuple[tuple[time, str], ...]
    rules: tuple[Rule, ...]
    speechless: str

    @property
    def bots(self) -> frozenset[str]:
        """The other bots that its rules hand over to."""
        return frozenset(rule.bot for rule in self.rules if rule.bot)

    def greeting_at(self, local: datetime) -> str:
        """Return how to greet at this local time. Before the first greeting of a day, the last one still holds."""
        said = self.greetings[-1][1]
        for begins, greeting in self.greetings:
            if begins <= local.time():
                said = greeting
        return said


def load_script(path: Path | None = None) -> Script:
    """Read a script, or the one of the project.

    Raises:
        ScriptError: it cannot be read, or has mistakes.
    """
    path = path or DEFAULT_SCRIPT
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise ScriptError((Mistake(f"cannot be read ({exc.strerror}); name a TOML file"),), path) from exc
    if len(raw) > MAX_FILE_BYTES:
        raise ScriptError((Mistake(f"is larger than {MAX_FILE_BYTES // 1024} KiB; shorten it"),), path)
    try:
        return parse_script(raw.decode("utf-8-sig"))
    except ScriptError as exc:
        raise ScriptError(exc.mistakes, path) from exc
    except UnicodeDecodeError as exc:
        raise ScriptError(
            (Mistake("is not UTF-8; save it as UTF-8", raw[: exc.start].count(b"\n") + 1),), path
        ) from exc


def parse_script(source: str) -> Script:
    """Read a script from a string.

    Raises:
        ScriptError: it has mistakes; the message does not name a file.
    """
    try:
        table = tomllib.loads(source)
    except tomllib.TOMLDecodeError as exc:
        what = f"is not TOML: {exc}".replace("\n", " ")
        found = TOML_LINE.search(what)
        raise ScriptError((Mistake(TOML_LINE.sub("", what), int(found[1]) if found else None),)) from exc
    lines = ScriptLines(source)
    try:
        file = ScriptFile.model_validate(table)
    except ValidationError as exc:
        mistakes = [
            Mistake(sentence(error, table), lines.of(error["loc"], quoted=str(error.get("ctx", {}).get("quoted", ""))))
            for error in exc.errors()
        ]
        raise ScriptError(tuple(sorted(mistakes, key=lambda mistake: mistake.line or 0))) from exc
    rules = tuple(map(_rule, file.rule))
    _check_reach(rules, lines)
    return Script(file.name, file.greetings, rules, file.speechless)


def _rule(file: RuleFile) -> Rule:
    return Rule(
        file.name,
        file.kind,
        file.when,
        file.say,
        needs_memory=file.needs_memory,
        needs_sent=file.needs_sent,
        needs_speech=file.needs_speech,
        bot=file.bot,
    )


def _check_reach(rules: tuple[Rule, ...], lines: ScriptLines) -> None:
    """Check that every kind of message is answered, and that every rule can have its turn."""
    mistakes = []
    for kind in RequestKind:
        own = [(number, rule) for number, rule in enumerate(rules) if rule.kind is kind]
        final = next((rule for _, rule in own if rule.always_applies), None)
        if final is None:
            mistakes.append(
                Mistake(
                    f"the script: some {kind.message_kind} messages would get no answer; "
                    f'end with a rule of kind = "{kind.message_kind}" without when'
                )
            )
        elif final is not own[-1][1]:
            number, last = own[-1]
            mistakes.append(
                Mistake(
                    f'rule {number + 1} "{last.name}": is never reached, as "{final.name}" always applies; move it up',
                    lines.of(("rule", number)),
                )
            )
    if mistakes:
        raise ScriptError(tuple(mistakes))
