"""The help page of a program: a table of its environment variables, generated from the settings classes."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from servicekit.settings.fields import is_secret, variable_name
from servicekit.settings.sizes import format_byte_size

_UNITS = {"_seconds": "seconds", "_ms": "milliseconds", "_bytes": "bytes", "_percent": "percent", "_days": "days"}
_NARROWEST, _WIDEST, _ROOM_FOR_COLUMNS = 40, 140, 100
_WIDEST_DEFAULT = 26
_HOW_SET = (
    "Environment variables, or lines NAME=value of a file .env in the working folder (the environment wins). An "
    "empty variable counts as unset. Lists are comma-separated. Sizes may be written as 16MiB."
)
_EXIT_CODES = "Exit codes: 0 ended in good order, 1 failed or left work over, 2 wrong settings."


@dataclass(frozen=True, slots=True)
class Row:
    """One variable on the help page."""

    name: str
    default: str
    meaning: str


def rows(cls: type[BaseSettings]) -> list[Row]:
    """Return one row for each variable of `cls`: its own in the order of its fields, then those of its bases.

    A class that declares none shows those of its base as its own.
    """
    own = next(filter(None, (cls.model_fields.keys() & get_annotations(base).keys() for base in cls.__mro__)), set())
    fields = sorted(cls.model_fields.items(), key=lambda field: field[0] not in own)
    return [Row(variable_name(cls, name), _default(name, field), _meaning(name, field)) for name, field in fields]


def help_page(
    classes: Sequence[type[BaseSettings]],
    prog: str,
    description: str,
    *,
    colour: bool,
    columns: int | None = None,
) -> str:
    """Return the help page, wrapped to `columns` characters (the terminal's width when absent)."""
    width = columns if columns is not None else shutil.get_terminal_size((_ROOM_FOR_COLUMNS, 24)).columns
    width = max(_NARROWEST, min(width, _WIDEST))
    ink = _Ink(colour)
    table = [row for cls in classes for row in rows(cls)]
    layout = _as_columns if width >= _ROOM_FOR_COLUMNS else _as_list
    page = [
        f"{ink.bold('Usage:')} {prog} [--help] [--version]",
        "",
        *textwrap.wrap(description, width),
        "",
        ink.bold("Settings"),
        *textwrap.wrap(_HOW_SET, width),
        "",
        *layout(table, width, ink),
        "",
        ink.bold("Example"),
        *(f"  {line}" for line in _example(table, prog)),
        "",
        *textwrap.wrap(_EXIT_CODES, width),
    ]
    return "\n".join(page) + "\n"


class _Ink:
    """Colours, or none."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self._colour else text


def _as_columns(table: Sequence[Row], width: int, ink: _Ink) -> Iterator[str]:
    name_width = max(len(row.name) for row in table)
    default_width = min(max(len(row.default) for row in table), _WIDEST_DEFAULT)
    meaning_width = width - name_width - default_width - 4
    yield ink.bold(f"{'Variable':<{name_width}}  {'Default':<{default_width}}  Meaning")
    for row in table:
        defaults = textwrap.wrap(row.default, default_width)
        meanings = textwrap.wrap(row.meaning, meaning_width)
        for line in range(max(1, len(defaults), len(meanings))):
            name = ink.bold(row.name) + " " * (name_width - len(row.name)) if line == 0 else " " * name_width
            default = defaults[line] if line < len(defaults) else ""
            meaning = meanings[line] if line < len(meanings) else ""
            yield f"{name}  {default:<{default_width}}  {meaning}".rstrip()


def _as_list(table: Sequence[Row], width: int, ink: _Ink) -> Iterator[str]:
    for row in table:
        yield ink.bold(row.name)
        yield from (f"    {line}" for line in textwrap.wrap(row.meaning, width - 4))
        yield from (f"    {ink.dim(line)}" for line in textwrap.wrap(f"Default: {row.default}", width - 4))


def _example(table: Sequence[Row], prog: str) -> Iterator[str]:
    shown = [row for row in table if row.name.endswith(("_PORT", "_LOG_FORMAT"))][:1]
    yield " ".join([*(f"{row.name}={row.default}" for row in shown), prog])


def _meaning(name: str, field: FieldInfo) -> str:
    facts = [
        *(unit for ending, unit in _UNITS.items() if name.endswith(ending)),
        *_bounds(field),
        *_choices(field.annotation),
    ]
    description = (field.description or "").strip()
    return f"{description} [{', '.join(facts)}]".strip() if facts else description


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "(must be set)"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or (is_secret(field.annotation) and not value):
        return "(unset)"
    if is_secret(field.annotation):
        return "(secret)"
    return _plain(name, value) or "(empty)"


def _plain(name: str, value: object) -> str:
    """Format a default as it would be set."""
    text = str(value)
    match value:
        case bool():
            text = text.lower()
        case Enum():
            text = str(value.value)
        case int() if name.endswith("_bytes"):
            text = format_byte_size(value)
        case float():
            text = f"{value:g}"
        case Path() if not value.is_absolute():
            text = f"./{value}"
        case tuple():
            text = ",".join(_plain(name, part) for part in value)
        case _:
            pass
    return text


def _bounds(field: FieldInfo) -> Iterator[str]:
    low = high = ""
    for bound in field.metadata:
        match bound:
            case Ge(ge):
                low = f"at least {_number(ge)}"
            case Gt(gt):
                low = f"more than {_number(gt)}"
            case Le(le):
                high = f"at most {_number(le)}"
            case Lt(lt):
                high = f"less than {_number(lt)}"
            case _:
                pass
    if low.startswith("at least") and high.startswith("at most"):
        yield f"{low.removeprefix('at least ')} to {high.removeprefix('at most ')}"
    else:
        yield from filter(None, (low, high))


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _choices(annotation: Any) -> Iterator[str]:  # noqa: ANN401 - an annotation can be anything
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield "one of " + " ".join(str(member.value) for member in annotation)
    elif get_origin(annotation) is Literal:
        yield "one of " + " ".join(str(choice) for choice in get_args(annotation))
    elif annotation is bool:
        yield "true or false"
    elif get_origin(annotation) is not tuple:
        for part in get_args(annotation):
            yield from _choices(part)
