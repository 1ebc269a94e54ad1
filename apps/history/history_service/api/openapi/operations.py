"""The operations, in the order of the routes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from frameproto.history import NDJSON
from frameproto.media import CONTENT_TYPES
from history_service.api.openapi.schemas import (
    ARRIVAL_CURSOR,
    ATTEMPT,
    CLIENT,
    CURSOR,
    LIMIT,
    MESSAGE_ID,
    PART,
    QUERY,
    TEXT,
    UUID,
    Schema,
    ref,
)
from servicekit.tokens import TokenErrorCode

Described = dict[str, Any]
Problems = Mapping[int, Sequence[str]]

PROBLEM: Final = "application/problem+json"
BODY_PROBLEMS: Final[Problems] = {
    400: ("body_unreadable", "body_invalid"),
    413: ("body_too_large",),
    415: ("content_type_unsupported",),
}
"""Of operations that take a JSON object."""

TOKEN_PROBLEMS: Final[Problems] = {
    401: tuple(TokenErrorCode),
    403: ("access_denied",),
    503: ("token_keys_unavailable",),
}
COMMON_PROBLEMS: Final[Problems] = {
    404: ("not_found",),
    405: ("method_not_allowed",),
    500: ("internal",),
    503: ("store_unavailable",),
}
MEDIA_HEADERS: Final = {
    name: {"description": description, "schema": TEXT}
    for name, description in {
        "ETag": "names these bytes",
        "Last-Modified": "when the message was sent",
        "Cache-Control": "media never changes",
        "Accept-Ranges": "bytes",
    }.items()
}


def paths(*, with_tokens: bool) -> dict[str, Any]:
    """Return all paths with their operations."""
    listed: dict[str, Any] = {}
    for path, operations in OPERATIONS.items():
        listed[path] = {method: _finished(path, each, with_tokens=with_tokens) for method, each in operations.items()}
    return listed


def _finished(path: str, operation: Described, *, with_tokens: bool) -> Described:
    """Add what all operations have in common."""
    problems: dict[int, list[str]] = {}
    common = [COMMON_PROBLEMS, *([TOKEN_PROBLEMS] if with_tokens else [])] if path.startswith("/v1/") else []
    for each in (operation["problems"], *common):
        for status, codes in each.items():
            problems.setdefault(status, []).extend(codes)
    answers = {str(status): _problem(codes) for status, codes in sorted(problems.items())}
    rest = {name: value for name, value in operation.items() if name != "problems"}
    secured: Described = {"security": [{"token": []}]} if common and with_tokens else {}
    return {**rest, **secured, "responses": {**operation["responses"], **answers}}


def _problem(codes: Sequence[str]) -> Described:
    schema = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": list(codes)}}}]}
    return {"description": " or ".join(codes), "content": {PROBLEM: {"schema": schema}}}


def _operation(
    name: str,
    summary: str,
    responses: Described,
    *parameters: Described,
    body: Described | None = None,
    problems: Problems | None = None,
) -> Described:
    taken: Described = {} if body is None else {"requestBody": {"required": True, "content": body}}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": list(parameters),
        **taken,
        "responses": responses,
        "problems": problems or {},
    }


def _answer(status: int, description: str, schema: str) -> Described:
    return {str(status): {"description": description, "content": {"application/json": {"schema": ref(schema)}}}}


def _path(name: str, schema: Schema, description: str) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


def _query(name: str, schema: Schema, description: str, *, required: bool = False) -> Described:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


def _header(name: str, description: str) -> Described:
    return {"name": name, "in": "header", "required": False, "schema": TEXT, "description": description}


def _with_body(problems: Problems) -> Problems:
    return {**BODY_PROBLEMS, **problems, 400: (*problems[400], *BODY_PROBLEMS[400])}


GONE: Final[Described] = {"204": {"description": "gone"}}
JSON_OF: Final = {name: {"application/json": {"schema": ref(name)}} for name in ("NewSession", "SessionChange")}
OF_CLIENT: Final = _path("client", CLIENT, "the id of a client")
OF_SESSION: Final = _path("session", UUID, "the id of a session")
OF_MESSAGE: Final = _path("message", MESSAGE_ID, "the id of a message")
OF_PART: Final = _path("part", PART, "which of its media")
LIMITED: Final = _query("limit", LIMIT, "how many at the most")
NO_DELETION: Final[Problems] = {503: ("deletion_refused",)}
NO_SESSION: Final[Problems] = {400: ("session_id_malformed",), 404: ("session_unknown",)}
NO_MESSAGE: Final[Problems] = {400: ("message_id_malformed",), 404: ("message_unknown",)}

BYTES_OF_MEDIA: Final = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(CONTENT_TYPES)}
RANGED_HEADERS: Final = {**MEDIA_HEADERS, "Content-Range": {"description": "which bytes these are", "schema": TEXT}}

OPERATIONS: Final[dict[str, dict[str, Described]]] = {
    "/v1/exchanges": {
        "post": _operation(
            "handIn",
            "Hand a batch of exchange records in",
            _answer(200, "what became of each", "Results"),
            body={"application/msgpack": {"schema": {"type": "string", "format": "binary"}}},
            problems={
                400: ("batch_unreadable", "batch_cut_off"),
                408: ("batch_too_slow",),
                413: ("batch_too_large",),
                415: ("content_type_unsupported",),
                429: ("ingest_busy",),
            },
        )
    },
    "/v1/clients/{client}": {
        "delete": _operation(
            "eraseClient",
            "Erase all that a client has, for good",
            GONE,
            OF_CLIENT,
            problems={400: ("client_id_malformed",), **NO_DELETION},
        )
    },
    "/v1/clients/{client}/export": {
        "get": _operation(
            "exportClient",
            "All sessions and messages of a client, one JSON object a line",
            {"200": {"description": "the lines", "content": {NDJSON: {"schema": TEXT}}}},
            OF_CLIENT,
            problems={400: ("client_id_malformed",)},
        )
    },
    "/v1/clients/{client}/sessions": {
        "get": _operation(
            "listSessions",
            "The sessions of a client, latest start first",
            _answer(200, "a page", "Sessions"),
            OF_CLIENT,
            LIMITED,
            _query("cursor", CURSOR, "the `next` of the page before"),
            problems={400: ("client_id_malformed", "limit_malformed", "cursor_malformed")},
        ),
        "post": _operation(
            "createSession",
            "Make an empty session",
            {
                "201": {
                    **_answer(201, "the session", "Session")["201"],
                    "headers": {"Location": {"description": "where it is", "schema": TEXT}},
                }
            },
            OF_CLIENT,
            body=JSON_OF["NewSession"],
            problems=_with_body({400: ("client_id_malformed", "title_malformed", "time_zone_malformed")}),
        ),
    },
    "/v1/clients/{client}/sessions/{session}/context": {
        "get": _operation(
            "getContext",
            "The newest messages of a session for the chat service, oldest first",
            _answer(200, "their texts", "Context"),
            OF_CLIENT,
            OF_SESSION,
            LIMITED,
            problems={
                400: ("client_id_malformed", "session_id_malformed", "limit_malformed"),
                404: ("session_unknown",),
            },
        )
    },
    "/v1/clients/{client}/answers/{message}": {
        "post": _operation(
            "claimAnswer",
            "The answer to a message that was sent again, for the chat service",
            {
                "200": {
                    "description": "the response frame of chatbot.v1",
                    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                }
            },
            OF_CLIENT,
            _path("message", UUID, "the client's id of the message"),
            _query("attempt", ATTEMPT, "the ticket of the connection over which it was sent again", required=True),
            problems={
                400: ("client_id_malformed", "message_id_malformed", "attempt_malformed"),
                404: ("answer_unknown",),
                503: ("downloads_busy",),
            },
        )
    },
    "/v1/clients/{client}/search": {
        "get": _operation(
            "search",
            "The messages of a client that hold all words, newest first",
            _answer(200, "a page", "Found"),
            OF_CLIENT,
            _query("q", QUERY, "the words", required=True),
            LIMITED,
            _query("cursor", MESSAGE_ID, "the `next` of the page before"),
            problems={
                400: (
                    "client_id_malformed",
                    "query_malformed",
                    "query_without_words",
                    "limit_malformed",
                    "cursor_malformed",
                )
            },
        )
    },
    "/v1/sessions/{session}": {
        "get": _operation(
            "getSession", "One session", _answer(200, "the session", "Session"), OF_SESSION, problems=NO_SESSION
        ),
        "patch": _operation(
            "renameSession",
            "Give a session another title, or none",
            _answer(200, "the session", "Session"),
            OF_SESSION,
            body=JSON_OF["SessionChange"],
            problems=_with_body({**NO_SESSION, 400: ("session_id_malformed", "title_malformed")}),
        ),
        "delete": _operation(
            "deleteSession", "Delete a session, for good", GONE, OF_SESSION, problems={**NO_SESSION, **NO_DELETION}
        ),
    },
    "/v1/sessions/{session}/messages": {
        "get": _operation(
            "listMessages",
            "The messages of a session, oldest first within a page",
            _answer(200, "a page", "Messages"),
            OF_SESSION,
            LIMITED,
            _query("before", MESSAGE_ID, "a message id: the messages just older than it"),
            _query("after", MESSAGE_ID, "a message id: the messages just newer than it"),
            problems={**NO_SESSION, 400: ("session_id_malformed", "limit_malformed", "cursor_malformed")},
        )
    },
    "/v1/sessions/{session}/arrivals": {
        "get": _operation(
            "followMessages",
            "The messages of a session in the order of their arrival, each once",
            _answer(200, "what has arrived behind the cursor", "Arrivals"),
            OF_SESSION,
            LIMITED,
            _query("cursor", ARRIVAL_CURSOR, "now, or the `next` of an earlier answer"),
            problems={**NO_SESSION, 400: ("session_id_malformed", "limit_malformed", "cursor_malformed")},
        )
    },
    "/v1/messages/{message}": {
        "get": _operation(
            "getMessage", "One message", _answer(200, "the message", "Message"), OF_MESSAGE, problems=NO_MESSAGE
        ),
        "delete": _operation(
            "deleteMessage", "Delete a message, for good", GONE, OF_MESSAGE, problems={**NO_MESSAGE, **NO_DELETION}
        ),
    },
    "/v1/messages/{message}/media/{part}": {
        "get": _operation(
            "getMedia",
            "Voice, video or picture of a message",
            {
                "200": {"description": "the whole", "headers": MEDIA_HEADERS, "content": BYTES_OF_MEDIA},
                "206": {"description": "the range", "headers": RANGED_HEADERS, "content": BYTES_OF_MEDIA},
                "304": {"description": "known already", "headers": MEDIA_HEADERS},
                "307": {
                    "description": "in the media store itself, for a while",
                    "headers": {"Location": {"description": "where", "schema": TEXT}},
                },
            },
            OF_MESSAGE,
            OF_PART,
            *(_query(name, TEXT, "of a signed address") for name in ("client", "expires", "signature")),
            _header("Range", "bytes=0-99, bytes=100- or bytes=-500"),
            _header("If-Range", "an ETag or Last-Modified: the range only of these bytes, else the whole"),
            _header("If-None-Match", "ETags, or *: 304 for these bytes"),
            _header("If-Modified-Since", "a Last-Modified: 304 if it is no older"),
            problems={
                400: ("message_id_malformed",),
                403: ("address_invalid", "address_expired"),
                404: ("message_unknown", "media_unknown"),
                416: ("range_not_satisfiable",),
                503: ("downloads_busy",),
            },
        )
    },
    "/v1/messages/{message}/media/{part}/address": {
        "post": _operation(
            "getAddress",
            "An address of the media that needs no token",
            _answer(200, "the address", "Address"),
            OF_MESSAGE,
            OF_PART,
            problems={400: ("message_id_malformed",), 404: ("message_unknown", "media_unknown")},
        )
    },
    "/healthz": {
        "get": _operation("isAlive", "Whether the process is alive", _answer(200, "it is", "Health")),
    },
    "/readyz": {
        "get": _operation(
            "isReady",
            "Whether the pod takes requests",
            {**_answer(200, "it does", "Health"), **_answer(503, "not yet, or not any more", "Health")},
        ),
    },
    "/openapi.json": {
        "get": _operation(
            "getDocument",
            "This document",
            {"200": {"description": "it", "content": {"application/json": {"schema": {"type": "object"}}}}},
        ),
    },
    "/docs": {
        "get": _operation(
            "getPage",
            "This document as a page to read and to try",
            {"200": {"description": "it", "content": {"text/html": {"schema": TEXT}}}},
        ),
    },
}
