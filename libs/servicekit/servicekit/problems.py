"""Errors over HTTP, as RFC 9457 problem details with a stable `code`.

A `Problem` is raised anywhere below an endpoint and answered by the handlers here, or sent as the denial of a
WebSocket handshake. What went wrong inside is logged, never shown.
"""

import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from servicekit.logs import get_logger

TYPE_PREFIX = "urn:chatbot:problem:"
MEDIA_TYPE = "application/problem+json"

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]

_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code"})
_EMPTY: Mapping[str, str] = MappingProxyType({})

_PHRASES = {
    # As RFC 9110 calls them. Python changed its own words for these between 3.11 and 3.13, and codes are stable.
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_log = get_logger(__name__)


class Problem(Exception):
    """Something the peer must be told, as RFC 9457 sees it.

    Args:
        status: the HTTP status, 400 to 599.
        code: what happened, in stable snake_case; programs decide by it.
        detail: this occurrence in a sentence for people: what failed, and what to do.
        title: the kind of problem in a few words, the same for each occurrence; from the status when absent.
        extra: further members of the body, such as a place in line.
        headers: further headers of the response, such as `Retry-After`.

    Raises:
        ValueError: the status is not an error, or `extra` holds a member that has a meaning of its own.
    """

    status: Final[int]
    code: Final[str]
    title: Final[str]
    detail: Final[str]
    extra: Final[Mapping[str, JsonValue]]
    headers: Final[Mapping[str, str]]

    def __init__(
        self,
        status: int,
        code: str,
        detail: str = "",
        *,
        title: str = "",
        extra: Mapping[str, JsonValue] | None = None,
        headers: Mapping[str, str] = _EMPTY,
    ) -> None:
        if not HTTPStatus.BAD_REQUEST <= status <= 599:  # noqa: PLR2004 - the last error status there can be
            raise ValueError(f"{status} is not the status of an error")
        if clash := _RESERVED.intersection(extra or {}):
            raise ValueError(f"these members of a problem are not extra: {', '.join(sorted(clash))}")
        super().__init__(f"{status} {code}: {detail}" if detail else f"{status} {code}")
        self.status = status
        self.code = code
        self.title = title or _phrase(status)
        self.detail = detail
        self.extra = MappingProxyType(dict(extra or {}))
        self.headers = MappingProxyType(dict(headers))

    @property
    def type(self) -> str:
        """The URI that names this kind of problem."""
        return TYPE_PREFIX + self.code

    def body(self) -> dict[str, JsonValue]:
        """Return the members of the problem details object."""
        members: dict[str, JsonValue] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            members["detail"] = self.detail
        return {**members, **self.extra}


def problem_response(problem: Problem) -> Response:
    """Return `problem` as a response. It is not stored by caches unless the problem's own headers say so."""
    return JSONResponse(
        problem.body(),
        status_code=problem.status,
        headers={
            "cache-control": "no-store",
            **{name.lower(): value for name, value in problem.headers.items()},
        },
        media_type=MEDIA_TYPE,
    )


async def deny(websocket: WebSocket, problem: Problem) -> None:
    """Refuse a WebSocket handshake with `problem`, before anything was accepted; a peer that has left is not told."""
    with contextlib.suppress(OSError):
        await answer(websocket.scope, websocket.receive, websocket.send, problem)


def install(app: Starlette, *, hint: str = "") -> None:
    """Make `app` answer every error as a problem: what was raised as one, 404, 405, and the unforeseen.

    Args:
        app: what answers.
        hint: where somebody should look who asked for a path that is not there.
    """
    nothing = Problem(404, "not_found", "there is nothing at this path" + (f"; {hint}" if hint else ""))

    async def on_http_exception(connection: Request | WebSocket, error: Exception) -> Response:
        raised = cast("HTTPException", error)
        if hint and raised.status_code == HTTPStatus.NOT_FOUND and raised.detail == HTTPStatus.NOT_FOUND.phrase:
            return await _on_problem(connection, nothing)
        return await _on_http_exception(connection, error)

    async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for a path that is not there. Starlette's router would answer a WebSocket handshake by a bare 403."""
        if scope["type"] == "websocket":
            await deny(WebSocket(scope, receive, send), nothing)
        else:
            raise nothing

    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_middleware(CatchUnexpected)
    app.router.default = nowhere


class CatchUnexpected:
    """ASGI middleware: an exception that nothing handled is logged once, here, and answered by a bare 500 problem.

    Starlette's own handler for `Exception` raises on, to be logged a second time by the server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - the ASGI call
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        last_sent = ""

        async def watch(message: Message) -> None:
            nonlocal last_sent
            last_sent = message["type"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except (ClientDisconnect, WebSocketDisconnect):
            # The peer left in the middle; there is nobody to answer.
            _log.debug("peer left", path=scope["path"])
        except Exception:  # noqa: BLE001 - the last resort
            # The path only: a query string names the client.
            _log.exception("request failed", method=scope.get("method", "WEBSOCKET"), path=scope["path"])
            await _answer_unexpected(scope, receive, send, last_sent)


async def _answer_unexpected(scope: Scope, receive: Receive, send: Send, last_sent: str) -> None:
    problem = Problem(500, "internal", "the server failed to answer; this is not your mistake")
    if not last_sent:
        await answer(scope, receive, send, problem)
    elif last_sent in {"websocket.accept", "websocket.send"}:
        # The peer may have gone meanwhile, and then there is nothing left to close.
        with contextlib.suppress(OSError, RuntimeError):
            await send({"type": "websocket.close", "code": 1011, "reason": problem.code})
    # An answer that had begun cannot be taken back: the server closes the connection of an unfinished one.


async def answer(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Send `problem` as the whole answer to a request, or as the denial of a WebSocket handshake (raw ASGI).

    A server without the denial-response extension of ASGI can only refuse a handshake by a bare 403.
    """
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await problem_response(problem)(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": problem.code})


class _TooLate(Exception):
    """What was raised when the WebSocket was open: there is no place for a problem any more."""


async def _on_problem(connection: Request | WebSocket, error: Exception) -> Response:
    _check_not_open(connection, error)
    return problem_response(cast("Problem", error))


async def _on_http_exception(connection: Request | WebSocket, error: Exception) -> Response:
    _check_not_open(connection, error)
    raised = cast("HTTPException", error)
    phrase = _phrase(raised.status_code)
    if raised.status_code < HTTPStatus.BAD_REQUEST:
        return Response(status_code=raised.status_code, headers=raised.headers)
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = raised.detail if raised.detail != phrase else ""
    return problem_response(Problem(raised.status_code, code, detail, headers=raised.headers or {}))


def _check_not_open(connection: Request | WebSocket, error: Exception) -> None:
    if isinstance(connection, WebSocket) and connection.application_state is not WebSocketState.CONNECTING:
        # Raised as it is, it would come to the handlers of the whole application, which cannot see what was sent.
        raise _TooLate(str(error)) from error


def _phrase(status: int) -> str:
    if status in _PHRASES:
        return _PHRASES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
