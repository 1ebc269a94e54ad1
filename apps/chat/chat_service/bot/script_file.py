"""The shape of a script's TOML file, and the sentences in which its mistakes are told."""

from collections.abc import Mapping
from datetime import time
from string import Formatter
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from chat_service.bot.names import OWN_BOT, OWN_BOT_FORM, BuiltInBot
from chat_service.bot.patterns import Pattern, PatternError, parse_pattern
from chat_service.bot.reply import SPEECHLESS, presentable
from frameproto import RequestKind

MAX_NAME_CHARACTERS: Final = 64
MAX_TEMPLATE_CHARACTERS: Final = 1_000
KINDS: Final = {kind.message_kind.value: kind for kind in RequestKind}
OTHER_BOTS: Final = tuple(bot for bot in BuiltInBot if bot is not BuiltInBot.SCRIPT)

# Fields that a template may use, by what its rule answers. Patterns add the names of their gaps.
ALWAYS: Final = frozenset({"bot", "client", "greeting", "time", "date", "iso_date", "weekday", "zone"})
OF_MEMORY: Final = frozenset({"first_said", "last_said", "said_count"})
OF_SENT: Final = frozenset({"last_sent", "sent_count"})
OF_SPEECH: Final = frozenset({"transcript"})
OF_KIND: Final = {
    RequestKind.TEXT: frozenset({"text"}),
    RequestKind.VOICE: frozenset({"length", "seconds", "heard"}),
    RequestKind.VIDEO: frozenset({"length", "seconds", "width", "height", "with_sound", "shots"}),
}
NEEDS: Final = {
    "name": 'needs name = "…"',
    "say": 'needs say = "…" or say = ["…", "…"]',
    "greetings": "needs a table [greetings]",
    "rule": "needs at least one [[rule]]",
}


def mistake(what: str, *, quoted: str = "") -> PydanticCustomError:
    """Return what a validator raises; `quoted` is the part of the value that is wrong."""
    return PydanticCustomError("script", "{what}", {"what": what, "quoted": quoted})


def _text(most: int) -> BeforeValidator:
    def check(value: object, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value.strip():
            raise mistake(f'needs {info.field_name} = "…"')
        if len(value) > most:
            raise mistake(f"{info.field_name} is longer than {most} characters; shorten it")
        return value

    return BeforeValidator(check)


def _texts(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """Check a list of strings; one string alone will do."""
    key = info.field_name
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values:
        raise mistake(f'needs {key} = "…" or {key} = ["…", "…"]')
    if not all(isinstance(text, str) and text.strip() for text in values):
        raise mistake(f"{key} must hold texts that are not empty")
    return tuple(values)


def _patterns(value: object, info: ValidationInfo) -> tuple[Pattern, ...]:
    patterns = []
    for source in _texts(value, info):
        try:
            pattern = parse_pattern(source)
        except PatternError as exc:
            raise mistake(f'the pattern "{source}" {exc}', quoted=source) from exc
        if taken := pattern.names & (ALWAYS | OF_MEMORY | OF_SENT | OF_SPEECH | OF_KIND[RequestKind.TEXT]):
            what = f"the gap {{{min(taken)}}} has the name of a field; name it otherwise"
            raise mistake(what, quoted=source)
        patterns.append(pattern)
    return tuple(patterns)


def _kind(value: object) -> RequestKind:
    kind = KINDS.get(value) if isinstance(value, str) else None
    if kind is None:
        raise mistake(f"kind must be one of {', '.join(KINDS)}")
    return kind


def _switch(value: object, info: ValidationInfo) -> bool:
    if not isinstance(value, bool):
        raise mistake(f"{info.field_name} must be true or false")
    return value


def _speechless(value: object, info: ValidationInfo) -> str:
    said = presentable(value) if isinstance(value, str) else ""
    if not said:
        raise mistake("speechless must have something that can be seen")
    if len(said) > MAX_TEMPLATE_CHARACTERS:
        raise mistake(f"{info.field_name} is longer than {MAX_TEMPLATE_CHARACTERS} characters; shorten it")
    return said


def _greetings(value: object) -> tuple[tuple[time, str], ...]:
    if not isinstance(value, dict) or not value:
        raise mistake(NEEDS["greetings"])
    greetings = []
    for clock, said in value.items():
        try:
            begins = time.fromisoformat(clock) if len(clock) == len("HH:MM") else None
        except ValueError:
            begins = None
        if begins is None:
            raise mistake(f'"{clock}" is not a time of day; write it as "HH:MM"', quoted=clock)
        if not isinstance(said, str) or not said.strip():
            raise mistake(f'needs {clock} = "…"', quoted=clock)
        if len(said) > MAX_TEMPLATE_CHARACTERS:
            raise mistake(f"{clock} is longer than {MAX_TEMPLATE_CHARACTERS} characters; shorten it", quoted=clock)
        greetings.append((begins, said))
    return tuple(sorted(greetings))


def _other_bot(value: object) -> str:
    if not isinstance(value, str) or not (value in OTHER_BOTS or OWN_BOT.fullmatch(value)):
        others = ", ".join(f'"{bot}"' for bot in OTHER_BOTS)
        raise mistake(f'bot must be {others} or "{OWN_BOT_FORM}"')
    return value


def _entries(value: object) -> object:
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise mistake(NEEDS["rule"])
    return value


Name = Annotated[str, _text(MAX_NAME_CHARACTERS)]
Switch = Annotated[bool, BeforeValidator(_switch)]


class RuleFile(BaseModel):
    """A `[[rule]]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: Name
    kind: Annotated[RequestKind, BeforeValidator(_kind)] = RequestKind.TEXT
    when: Annotated[tuple[Pattern, ...], BeforeValidator(_patterns)] = ()
    needs_memory: Switch = False
    needs_sent: Switch = False
    needs_speech: Switch = False
    bot: Annotated[str, BeforeValidator(_other_bot)] = ""
    say: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind is not RequestKind.TEXT and self.when:
            raise mistake(f"when is for texts; a {self.kind.message_kind} message has no words to compare")
        if self.kind is RequestKind.TEXT and self.needs_speech:
            raise mistake("needs_speech is for voice and video; a text has its words")
        if not self.say and not self.bot:
            raise mistake(NEEDS["say"])
        allowed = ALWAYS | OF_KIND[self.kind]
        allowed |= OF_MEMORY if self.needs_memory else frozenset()
        allowed |= OF_SENT if self.needs_sent or self.needs_memory else frozenset()
        allowed |= OF_SPEECH if self.needs_speech else frozenset()
        if self.when:
            allowed |= frozenset.intersection(*(pattern.names for pattern in self.when))
        for template in self.say:
            _check_template(template, allowed)
        return self


class ScriptFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    greetings: Annotated[tuple[tuple[time, str], ...], BeforeValidator(_greetings)]
    speechless: Annotated[str, BeforeValidator(_speechless)] = SPEECHLESS
    rule: Annotated[tuple[RuleFile, ...], BeforeValidator(_entries), Field(strict=False)]


def sentence(error: ErrorDetails, table: Mapping[str, Any]) -> str:
    """Return a mistake as one sentence that names the table in which it is, and says what to do."""
    match error["type"]:
        case "missing":
            what = NEEDS[str(error["loc"][-1])]
        case "extra_forbidden":
            keys = RuleFile.model_fields if error["loc"][0] == "rule" else ScriptFile.model_fields
            what = f'unknown key "{error["loc"][-1]}"; these are known: {", ".join(keys)}'
        case _:
            what = error["msg"]
    match error["loc"]:
        case ("rule", int(number), *_):
            name = table["rule"][number].get("name")
            called = f'rule {number + 1} "{name}"' if isinstance(name, str) else f"rule {number + 1}"
        case ("greetings",) if error["type"] != "missing" and table["greetings"]:
            called = "[greetings]"
        case _:
            called = "the script"
    return f"{called}: {what}"


def _check_template(template: str, allowed: frozenset[str]) -> None:
    quoted = template.splitlines()[0]
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise mistake(f"say is longer than {MAX_TEMPLATE_CHARACTERS} characters; shorten it", quoted=quoted)
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as exc:
        what = f'in "{template}" a brace is not closed; write {{{{ and }}}} for braces'
        raise mistake(what, quoted=quoted) from exc
    for _, name, form, conversion in pieces:
        if name is None:
            continue
        if form or conversion or name not in allowed:
            wrong = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
            needed = _needed_for(name) if not form else ""
            known = (
                f"; set {needed} = true to use it"
                if needed
                else f"; these are known here: {', '.join(sorted(allowed))}"
            )
            raise mistake(f"unknown field {wrong}{known}", quoted=wrong)


def _needed_for(name: str) -> str:
    needed = {"needs_memory": OF_MEMORY, "needs_sent": OF_SENT, "needs_speech": OF_SPEECH}
    return next((key for key, fields in needed.items() if name in fields), "")
