"""The settings of the services as parts of values.schema.json; `./taskw charts:schema` writes them there.

A setting that the chart has a value for is not among them: it would be said twice.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin

from pydantic_settings import BaseSettings

from chat_service.settings import ChatSettings
from history_service.settings import HistorySettings
from servicekit.settings.fields import is_secret, variable_name
from tests.charts.cases import SWITCHES
from tests.charts.environment import environment
from tests.charts.release import CHATBOT, release

SCHEMA: Final = CHATBOT / "values.schema.json"
PARTS: Final = ("chat", "history")
SERVICES: Final[dict[str, type[BaseSettings]]] = {"chatSettings": ChatSettings, "historySettings": HistorySettings}


def variables(settings: type[BaseSettings]) -> dict[str, str]:
    """Return the names of fields by their variables."""
    return {variable_name(settings, field): field for field in settings.model_fields}


@cache
def set_by_the_chart() -> frozenset[str]:
    """Return the variables that pods are given when nobody has asked for any by name."""
    unasked = [
        {**values, **{part: {**values.get(part, {}), "settings": {}} for part in PARTS}} for values in SWITCHES.values()
    ]
    return frozenset(name for values in unasked for part in PARTS for name in environment(release(values), part))


def definition(settings: type[BaseSettings]) -> dict[str, Any]:
    """Return the schema of a map of settings."""
    ours = set_by_the_chart()
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            variable: _property(settings, field)
            for variable, field in variables(settings).items()
            if variable not in ours and not is_secret(settings.model_fields[field].annotation)
        },
    }


def _property(settings: type[BaseSettings], field: str) -> dict[str, Any]:
    about = settings.model_fields[field]
    return {
        "description": about.description,
        **_kind(field, _plain(about.annotation)),
        **_bounds(field, about.metadata),
    }


def _plain(annotation: Any) -> Any:
    """Return an annotation without `| None`."""
    others = [part for part in get_args(annotation) if part is not type(None)]
    return others[0] if type(None) in get_args(annotation) and len(others) == 1 else annotation


def _kind(field: str, annotation: Any) -> dict[str, Any]:
    if field.endswith("_bytes"):
        return {"type": ["integer", "string"], "pattern": "^[0-9]+ ?([KMG]i?B)?$"}
    if annotation in {bool, int, float}:
        return {"type": {bool: "boolean", int: "integer", float: "number"}[annotation]}
    if get_origin(annotation) is Literal:
        return {"enum": list(get_args(annotation))}
    return {"type": "string"}


def _bounds(field: str, metadata: list[Any]) -> dict[str, Any]:
    """Return the bounds of a number."""
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    return {name: getattr(one, bound) for one in metadata for bound, name in names.items() if hasattr(one, bound)}


def definitions() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what values.schema.json should hold."""
    for name, settings in SERVICES.items():
        yield name, definition(settings)


def main() -> None:
    """Write the definitions into values.schema.json."""
    schema = json.loads(SCHEMA.read_text())
    schema["definitions"].update(definitions())
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
