"""The schemas of what goes in and comes out (JSON Schema 2020-12)."""

from typing import Any, Final

from frameproto import MediaPart, MessageKind
from frameproto.connection import CLIENT_ID, MAX_CLIENT_ID, UUID_PATTERN
from frameproto.exchange import Outcome
from history_service.access import DEFAULT_LIMIT, MAX_LIMIT
from history_service.bodies import MAX_TITLE_CHARACTERS, ZONE
from history_service.messages import ARRIVAL_CURSOR as ARRIVALS_READ
from history_service.records import CONTENT_TYPES, Direction
from history_service.search import MAX_QUERY_CHARACTERS
from history_service.sessions import CURSOR as SESSION_CURSOR
from history_service.stores.base import Added
from servicekit.problems import TYPE_PREFIX

Schema = dict[str, Any]

UUID: Final[Schema] = {
    "type": "string",
    "format": "uuid",
    "pattern": f"^{UUID_PATTERN}$",
}
CLIENT: Final[Schema] = {"type": "string", "pattern": f"^{CLIENT_ID.pattern}$", "maxLength": MAX_CLIENT_ID}
MESSAGE_ID: Final[Schema] = {
    "type": "string",
    "pattern": r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.(request|reply)$",
}
TITLE: Final[Schema] = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": MAX_TITLE_CHARACTERS,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$",
}
LIMIT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
CURSOR: Final[Schema] = {"type": "string", "pattern": f"^{SESSION_CURSOR.pattern}$"}
ARRIVAL_CURSOR: Final[Schema] = {"type": "string", "pattern": f"^({ARRIVALS_READ.pattern})$"}
QUERY: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS}
PART: Final[Schema] = {"type": "string", "enum": [part.value for part in MediaPart]}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(description: str, members: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object that has these members and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": members,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


def or_null(schema: Schema) -> Schema:
    """Return the schema of what may be absent."""
    return {"oneOf": [schema, {"type": "null"}]}


def pages(name: str, items: str, *cursors: str) -> Schema:
    """Return the schema of a page."""
    listed = {"type": "array", "items": ref(items), "maxItems": MAX_LIMIT}
    return record("A page.", {name: listed, **{cursor: {"type": ["string", "null"]} for cursor in cursors}})


SCHEMAS: Final[dict[str, Schema]] = {
    "Session": record(
        "A conversation.",
        {
            "id": UUID,
            "client_id": CLIENT,
            "time_zone": TEXT,
            "started_at": MOMENT,
            "title": TITLE,
            "message_count": COUNT,
            "last_message_at": or_null(MOMENT),
        },
    ),
    "NewSession": record(
        "What a session is made with.",
        {"title": TITLE, "time_zone": {"type": "string", "pattern": f"^{ZONE.pattern}$", "default": "UTC"}},
        optional=("title", "time_zone"),
    ),
    "SessionChange": record("What is to be changed.", {"title": TITLE}, optional=("title",)),
    "Sessions": pages("sessions", "Session", "next"),
    "Media": record(
        "Where a piece of media is.",
        {
            "href": {"type": "string", "format": "uri-reference"},
            "content_type": {"type": "string", "enum": sorted(CONTENT_TYPES)},
            "bytes": COUNT,
        },
    ),
    "Message": record(
        "A message.",
        {
            "id": MESSAGE_ID,
            "exchange_id": UUID,
            "session_id": UUID,
            "direction": {"type": "string", "enum": [direction.value for direction in Direction]},
            "kind": {"type": "string", "enum": [kind.value for kind in MessageKind]},
            "text": {"type": ["string", "null"]},
            "media": {"type": "object", "propertyNames": PART, "additionalProperties": ref("Media")},
            "outcome": {"type": "string", "enum": [outcome.value for outcome in Outcome]},
            "sent_at": MOMENT,
        },
    ),
    "Address": record(
        "Where media open without a token, and until when.",
        {"href": {"type": "string", "format": "uri-reference"}, "expires_at": or_null(MOMENT)},
    ),
    "Messages": pages("messages", "Message", "before", "after"),
    "Arrivals": record(
        "Messages in the order of their arrival, and the cursor to go on from.",
        {"messages": {"type": "array", "items": ref("Message"), "maxItems": MAX_LIMIT}, "next": ARRIVAL_CURSOR},
    ),
    "Found": pages("messages", "Message", "next"),
    "Result": record(
        "What became of an exchange that was handed in.",
        {
            "id": or_null(UUID),
            "outcome": {"type": "string", "enum": [*(added.value for added in Added), "refused"]},
            "code": TEXT,
            "detail": TEXT,
        },
        optional=("code", "detail"),
    ),
    "Results": record("One result for each record, in order.", {"results": {"type": "array", "items": ref("Result")}}),
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
