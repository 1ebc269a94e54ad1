"""Error messages about the environment, one line each, in terms of the variables."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from servicekit.settings.fields import env_prefix, is_secret, is_service_link, variable_name

_INJECTED_NAME = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_.*)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_PASSWORD_IN_URL = re.compile(r"(?<=://)[^/\s@]*@")
_LONGEST_ECHO = 80

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_LENGTHS = {"string_too_short": ("at least", "min_length"), "string_too_long": ("at most", "max_length")}
_WORDS = {
    "missing": "must be set",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "path_not_file": "must be a file that exists",
    "path_not_directory": "must be a folder that exists",
    "url_parsing": "must be an address such as http://host:port",
}


def error_lines(cls: type[BaseSettings], error: ValidationError) -> list[str]:
    """Return one line for each wrong setting, such as `CHAT_PORT: must be at most 65535 (got "70000")`.

    Secrets, and passwords in addresses, are never shown.
    """
    sayings: dict[str, list[str]] = {}
    endings: dict[str, str] = {}
    several: list[str] = []
    for found in error.errors(include_url=False):
        if not found["loc"]:
            several.append(_saying(found))
            continue
        field_name = str(found["loc"][0])
        name = variable_name(cls, field_name)
        saying = _saying(found)
        # A field of several types fails as each of them.
        if saying not in sayings.setdefault(name, []):
            sayings[name].append(saying)
        endings.setdefault(name, _ending(cls, field_name, found))
    lines = [*(f"{name}: {' or '.join(said)}{endings[name]}" for name, said in sayings.items()), *several]
    return [_in_one_line(line) for line in lines]


def warnings_about(cls: type[BaseSettings], variables: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that has the prefix of `cls` and is probably a mistake.

    Nothing is refused. Variables that Kubernetes injects (`CHAT_SERVICE_HOST`) are ignored silently.
    """
    prefix = env_prefix(cls)
    known = [variable_name(cls, field_name) for field_name in cls.model_fields]
    for variable, value in sorted(variables.items()):
        name = variable.upper()
        if not prefix or not name.startswith(prefix):
            continue
        if is_service_link(value):
            if name in known:
                yield f"{variable} is ignored: its value is a link that Kubernetes injects for a Service"
        elif name not in known and not _INJECTED_NAME.fullmatch(name):
            nearest = difflib.get_close_matches(name, known, n=1)
            yield f"{variable} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _saying(found: ErrorDetails) -> str:
    context: dict[str, Any] = found.get("ctx", {})
    match found["type"]:
        case kind if kind in _BOUNDS:
            words, key = _BOUNDS[kind]
            saying = f"must be {words} {_number(context[key])}"
        case kind if kind in _LENGTHS:
            words, key = _LENGTHS[kind]
            saying = f"must have {words} {context[key]} characters"
        case kind if kind in _WORDS:
            saying = _WORDS[kind]
        case "literal_error" | "enum":
            saying = "must be one of " + ", ".join(_quoted(context["expected"]))
        case "url_scheme":
            saying = "must be an address that begins with " + " or ".join(_quoted(context["expected_schemes"]))
        case "value_error":
            saying = str(context["error"])
        case _:
            message = found["msg"].replace("Input should be", "must be")
            saying = message[:1].lower() + message[1:]
    return saying


def _quoted(expected: object) -> list[str]:
    return re.findall(r"'([^']*)'", str(expected))


def _ending(cls: type[BaseSettings], field_name: str, found: ErrorDetails) -> str:
    field = cls.model_fields.get(field_name)
    if found["type"] == "missing":
        return f" ({field.description})" if field and field.description else ""
    if field is None or is_secret(field.annotation):
        return ""
    echo = _PASSWORD_IN_URL.sub("***@", str(found["input"]))
    if len(echo) > _LONGEST_ECHO:
        echo = f"{echo[:_LONGEST_ECHO]}..."
    return f' (got "{echo}")'


def _in_one_line(text: str) -> str:
    """Escape control characters, such as a line feed inside a value."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
