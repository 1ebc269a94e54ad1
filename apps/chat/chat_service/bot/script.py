"""Scripts: what the scripted bot says to what, read from TOML and checked when the service starts.

`default.toml` beside this file is the bot of the project, and an example; docs/bot.md explains the format.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from string import Formatter
from typing import Any, Final

from chat_service.bot.patterns import Pattern, PatternError, parse_pattern
from chat_service.bot.reply import SPEECHLESS, presentable
from frameproto import RequestKind

DEFAULT_SCRIPT: Final = Path(__file__).with_name("default.toml")
MAX_FILE_BYTES: Final = 256 * 1024
MAX_NAME_CHARACTERS: Final = 64
MAX_TEMPLATE_CHARACTERS: Final = 1_000
KINDS: Final = {str(kind.message_kind): kind for kind in RequestKind}

# Fields that a template may use, by what its rule answers. Patterns add the names of their gaps.
ALWAYS: Final = frozenset({"bot", "client", "greeting", "time", "date", "iso_date", "weekday", "zone"})
OF_MEMORY: Final = frozenset({"first_said", "last_said", "said_count"})
OF_KIND: Final = {
    RequestKind.TEXT: frozenset({"text"}),
    RequestKind.VOICE: frozenset({"length", "seconds", "heard"}),
    RequestKind.VIDEO: frozenset({"length", "seconds", "width", "height", "with_sound"}),
}


class ScriptError(ValueError):
    """A script has a mistake; the message is one line that names file and rule and says what to do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What to say to what.

    Attributes:
        name: how mistakes and readers refer to it.
        kind: the kind of message it answers.
        patterns: any of these must match a text; none: it always applies.
        needs_memory: applies only when the client has said something before.
        templates: what to say; taken in turns.
    """

    name: str
    kind: RequestKind
    patterns: tuple[Pattern, ...]
    needs_memory: bool
    templates: tuple[str, ...]


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
    speechless: str = SPEECHLESS

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
        ScriptError: it cannot be read, or has a mistake.
    """
    path = path or DEFAULT_SCRIPT
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as trouble:
        raise ScriptError(f"{path}: cannot be read ({trouble.strerror}); name a TOML file") from trouble
    if len(raw) > MAX_FILE_BYTES:
        raise ScriptError(f"{path}: is larger than {MAX_FILE_BYTES // 1024} KiB; shorten it")
    try:
        return parse_script(raw.decode("utf-8-sig"))
    except ScriptError as mistake:
        raise ScriptError(f"{path}: {mistake}") from mistake
    except UnicodeDecodeError as mistake:
        raise ScriptError(f"{path}: is not UTF-8; save it as UTF-8") from mistake


def parse_script(source: str) -> Script:
    """Read a script from a string.

    Raises:
        ScriptError: it has a mistake; the message does not name a file.
    """
    try:
        table = tomllib.loads(source)
    except tomllib.TOMLDecodeError as mistake:
        raise ScriptError(f"is not TOML: {mistake}".replace("\n", " ")) from mistake
    top = _Table("the script", table)
    top.allow("name", "greetings", "speechless", "rule")
    name = top.text("name", most=MAX_NAME_CHARACTERS)
    greetings = _greetings(_Table("[greetings]", top.table("greetings")))
    entries = top.entries("rule")
    rules = tuple(_rule(number, entry) for number, entry in enumerate(entries, 1))
    _check_reach(rules)
    return Script(name, greetings, rules, _speechless(top))


@dataclass(frozen=True, slots=True)
class _Table:
    """A TOML table that knows how it is called, so that a mistake in it can be named."""

    called: str
    content: Mapping[str, Any]

    def mistake(self, what: str) -> ScriptError:
        return ScriptError(f"{self.called}: {what}")

    def allow(self, *keys: str) -> None:
        for key in self.content:
            if key not in keys:
                raise self.mistake(f'unknown key "{key}"; these are known: {", ".join(keys)}')

    def text(self, key: str, *, most: int) -> str:
        value = self.content.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.mistake(f'needs {key} = "…"')
        if len(value) > most:
            raise self.mistake(f"{key} is longer than {most} characters; shorten it")
        return value

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.content.get(key)
        if not isinstance(value, dict) or not value:
            raise self.mistake(f"needs a table [{key}]")
        return value

    def entries(self, key: str) -> list[Mapping[str, Any]]:
        value = self.content.get(key)
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.mistake(f"needs at least one [[{key}]]")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; one string alone will do."""
        value = self.content.get(key)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not values:
            raise self.mistake(f'needs {key} = "…" or {key} = ["…", "…"]')
        if not all(isinstance(text, str) and text.strip() for text in values):
            raise self.mistake(f"{key} must hold texts that are not empty")
        return tuple(values)


def _speechless(top: _Table) -> str:
    if "speechless" not in top.content:
        return SPEECHLESS
    said = presentable(top.text("speechless", most=MAX_TEMPLATE_CHARACTERS))
    if not said:
        raise top.mistake("speechless must have something that can be seen")
    return said


def _greetings(table: _Table) -> tuple[tuple[time, str], ...]:
    greetings = []
    for clock in table.content:
        try:
            begins = time.fromisoformat(clock) if len(clock) == len("HH:MM") else None
        except ValueError:
            begins = None
        if begins is None:
            raise table.mistake(f'"{clock}" is not a time of day; write it as "HH:MM"')
        greetings.append((begins, table.text(clock, most=MAX_TEMPLATE_CHARACTERS)))
    return tuple(sorted(greetings))


def _rule(number: int, content: Mapping[str, Any]) -> Rule:
    name = _Table(f"rule {number}", content).text("name", most=MAX_NAME_CHARACTERS)
    table = _Table(f'rule {number} "{name}"', content)
    table.allow("name", "kind", "when", "needs_memory", "say")
    kind = KINDS.get(str(content.get("kind", "text")))
    if kind is None:
        raise table.mistake(f"kind must be one of {', '.join(KINDS)}")
    if kind.part is not None and "when" in content:
        raise table.mistake(f"when is for texts; a {kind.message_kind} message has no words to compare")
    patterns = _patterns(table) if "when" in content else ()
    needs_memory = content.get("needs_memory", False)
    if not isinstance(needs_memory, bool):
        raise table.mistake("needs_memory must be true or false")
    allowed = ALWAYS | OF_KIND[kind] | (OF_MEMORY if needs_memory else frozenset())
    if patterns:
        allowed |= frozenset.intersection(*(pattern.names for pattern in patterns))
    templates = table.texts("say")
    for template in templates:
        _check_template(table, template, allowed)
    return Rule(name, kind, patterns, needs_memory, templates)


def _patterns(table: _Table) -> tuple[Pattern, ...]:
    patterns = []
    for source in table.texts("when"):
        try:
            pattern = parse_pattern(source)
        except PatternError as mistake:
            raise table.mistake(f'the pattern "{source}" {mistake}') from mistake
        if taken := pattern.names & (ALWAYS | OF_MEMORY | OF_KIND[RequestKind.TEXT]):
            raise table.mistake(f"the gap {{{min(taken)}}} has the name of a field; name it otherwise")
        patterns.append(pattern)
    return tuple(patterns)


def _check_template(table: _Table, template: str, allowed: frozenset[str]) -> None:
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise table.mistake(f"say is longer than {MAX_TEMPLATE_CHARACTERS} characters; shorten it")
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as mistake:
        raise table.mistake(f'in "{template}" a brace is not closed; write {{{{ and }}}} for braces') from mistake
    for _, name, form, conversion in pieces:
        if name is None:
            continue
        if form or conversion or name not in allowed:
            wrong = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
            memory = "; set needs_memory = true to use it" if name in OF_MEMORY and not form else ""
            raise table.mistake(
                f"unknown field {wrong}{memory or '; these are known here: ' + ', '.join(sorted(allowed))}"
            )


def _check_reach(rules: tuple[Rule, ...]) -> None:
    """Check that every kind of message is answered, and that every rule can have its turn."""
    for kind in RequestKind:
        own = [rule for rule in rules if rule.kind is kind]
        final = next((rule for rule in own if not rule.patterns and not rule.needs_memory), None)
        if final is None:
            raise ScriptError(
                f"the script: some {kind.message_kind} messages would get no answer; "
                f'end with a rule of kind = "{kind.message_kind}" without when'
            )
        if final is not own[-1]:
            raise ScriptError(f'rule "{own[-1].name}": is never reached, as "{final.name}" always applies; move it up')
