"""The schemas of requests and responses (JSON Schema 2020-12), from the shapes in `frameproto.history`."""

from types import NoneType, UnionType
from typing import Annotated, Any, Final, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from frameproto import history as shapes
from frameproto.exchange import MAX_ATTEMPT
from frameproto.kinds import MediaPart
from servicekit.problems import TYPE_PREFIX

Schema = dict[str, Any]

PRIMITIVES: Final = {str: "string", int: "integer", bool: "boolean", NoneType: "null"}
NAMES: Final[dict[type, str]] = {
    shapes.SessionJson: "Session",
    shapes.NewSessionJson: "NewSession",
    shapes.SessionChangeJson: "SessionChange",
    shapes.SessionsJson: "Sessions",
    shapes.MediaJson: "Media",
    shapes.MessageJson: "Message",
    shapes.SignedUrlJson: "Address",
    shapes.MessagesJson: "Messages",
    shapes.ArrivalsJson: "Arrivals",
    shapes.FoundJson: "Found",
    shapes.ContextMessageJson: "ContextMessage",
    shapes.ContextJson: "Context",
    shapes.ResultJson: "Result",
    shapes.ResultsJson: "Results",
}


def ref(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(annotation: Any) -> Schema:  # noqa: ANN401, PLR0911 - one return for each form of annotation
    """Return the schema of an annotation.

    Raises:
        TypeError: it is not of the few forms that `frameproto.history` uses.
    """
    if is_typeddict(annotation):
        return ref(NAMES[annotation])
    if annotation in PRIMITIVES:
        return {"type": PRIMITIVES[annotation]}
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return schema_of(arguments[0]) | _keywords(*annotation.__metadata__)
        case origin if origin is NotRequired:
            return schema_of(arguments[0])
        case origin if origin is list:
            return {"type": "array", "items": schema_of(arguments[0])}
        case origin if origin is dict:
            return {"type": "object", "additionalProperties": schema_of(arguments[1])}
        case origin if origin in {Union, UnionType}:
            alternatives = [schema_of(argument) for argument in arguments]
            if all(each.keys() == {"type"} for each in alternatives):
                return {"type": [each["type"] for each in alternatives]}
            return {"oneOf": alternatives}
    raise TypeError(f"{annotation!r} has no schema here")


def _keywords(*metadata: shapes.FieldRule) -> Schema:
    return {name: _plain(value) for each in metadata for name, value in each.keywords}


def _plain(value: object) -> object:
    if isinstance(value, shapes.FieldRule):
        return {"type": "string", **_keywords(value)}
    return list(value) if isinstance(value, tuple) else value


def _object(shape: Any) -> Schema:  # noqa: ANN401 - a class made by TypedDict
    """Return the schema of an object that has these members and no others."""
    hints = get_type_hints(shape, include_extras=True)
    return {
        "type": "object",
        "description": shape.__doc__,
        "properties": {name: schema_of(hint) for name, hint in hints.items()},
        "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
        "additionalProperties": False,
    }


TEXT: Final = schema_of(str)
UUID: Final = schema_of(shapes.Uuid)
CLIENT: Final = schema_of(shapes.ClientId)
MESSAGE_ID: Final = schema_of(shapes.MessageId)
ARRIVAL_CURSOR: Final = schema_of(shapes.ArrivalCursor)
CURSOR: Final[Schema] = {"type": "string", "pattern": f"^{shapes.SESSION_CURSOR_PATTERN}$"}
LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": shapes.MAX_LIMIT, "default": shapes.DEFAULT_LIMIT}
QUERY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": shapes.MAX_QUERY_CHARACTERS}
ATTEMPT: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": MAX_ATTEMPT}
PART: Final[Schema] = {"type": "string", "enum": [part.value for part in MediaPart]}

SCHEMAS: Final[dict[str, Schema]] = {
    **{name: _object(shape) for shape, name in NAMES.items()},
    "Health": {
        "type": "object",
        "description": "How the pod is.",
        "properties": {"status": {"type": "string", "enum": ["alive", "ready", "not_ready", "draining"]}},
        "required": ["status"],
    },
    "Problem": {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri", "pattern": f"^{TYPE_PREFIX}[a-z0-9_]+$"},
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
            "detail": TEXT,
        },
        "required": ["type", "title", "status", "code"],
    },
}
