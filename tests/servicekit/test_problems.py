"""Errors as problem details: over HTTP, and as the denial of a WebSocket handshake."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from servicekit.problems import Problem, answer, deny, install, problem_response
from tests.servicekit.conftest import Serving

FULL = Problem(
    429,
    "too_many_cups",
    "the third cup is one too many",
    extra={"cups": 3},
    headers={"Retry-After": "60", "Cache-Control": "max-age=5"},
)


def raising(error: BaseException) -> Any:
    async def endpoint(_: Request | WebSocket) -> Response:
        raise error

    return endpoint


def app(**endpoints: Any) -> Starlette:
    routes = [Route(f"/{name}", endpoint) for name, endpoint in endpoints.items()]
    made = Starlette(routes=[*routes, *(WebSocketRoute(f"/ws/{name}", one) for name, one in endpoints.items())])
    install(made)
    return made


def test_a_problem_says_what_rfc_9457_asks_for_and_our_stable_code() -> None:
    assert FULL.body() == {
        "type": "urn:chatbot:problem:too_many_cups",
        "title": "Too Many Requests",
        "status": 429,
        "code": "too_many_cups",
        "detail": "the third cup is one too many",
        "cups": 3,
    }
    assert str(FULL) == "429 too_many_cups: the third cup is one too many"


def test_its_headers_win_over_ours() -> None:
    response = problem_response(FULL)
    assert response.status_code == 429
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.headers["retry-after"], response.headers["cache-control"]) == ("60", "max-age=5")
    assert problem_response(Problem(404, "not_found")).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (413, "Content Too Large"),
        (422, "Unprocessable Content"),
        (404, "Not Found"),
        (499, "Error"),
    ],
)
def test_titles_are_the_same_on_every_python(status: int, title: str) -> None:
    assert Problem(status, "some_code").title == title


@pytest.mark.parametrize("status", [200, 399, 600, 0])
def test_a_problem_has_the_status_of_an_error(status: int) -> None:
    with pytest.raises(ValueError, match=f"{status} is not the status of an error"):
        Problem(status, "fine")


def test_extra_members_cannot_replace_those_with_a_meaning() -> None:
    with pytest.raises(ValueError, match="not extra: code, status"):
        Problem(400, "bad", extra={"status": 200, "code": "fine", "other": 1})


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        pytest.param(FULL, 429, FULL.body(), id="a problem"),
        pytest.param(
            HTTPException(413, detail="over 1 MiB", headers={"x-limit": "1"}),
            413,
            {"code": "content_too_large", "detail": "over 1 MiB"},
            id="what Starlette raises",
        ),
        pytest.param(HTTPException(404), 404, {"code": "not_found"}, id="without a detail"),
        pytest.param(ValueError("password hunter2"), 500, {"code": "internal"}, id="the unforeseen"),
        pytest.param(ExceptionGroup("hunter2", [KeyError("hunter2")]), 500, {"code": "internal"}, id="a group"),
    ],
)
async def test_whatever_an_endpoint_raises_is_answered_as_a_problem(
    serving: Serving, http: aiohttp.ClientSession, error: Exception, status: int, told: dict[str, object]
) -> None:
    async with serving(app(tea=raising(error))) as url, http.get(f"{url}/tea") as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")
        body = await response.json(content_type=None)
        assert {**body, **told} == body
        assert body["status"] == status
        assert ("detail" in body) == ("detail" in told or status == 500)
        assert "hunter2" not in await response.text()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/coffee", 404, "not_found"), ("POST", "/tea", 405, "method_not_allowed")],
)
async def test_what_is_not_there_is_a_problem_too(
    serving: Serving, http: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    async with serving(app(tea=raising(FULL))) as url, http.request(method, url + path) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (status, code)
        allowed = set(response.headers.get("allow", "").split(", "))
        assert allowed == ({"GET", "HEAD"} if status == 405 else {""})


@pytest.mark.parametrize("path", ["/coffee", "/tea"])
async def test_a_path_that_is_not_there_is_answered_with_a_hint(
    serving: Serving, http: aiohttp.ClientSession, path: str
) -> None:
    made = Starlette(routes=[Route("/tea", raising(HTTPException(404)))])
    install(made, hint="there is tea at /pot")
    async with serving(made) as url, http.get(url + path) as response:
        body = await response.json(content_type=None)
        assert (body["status"], body["code"]) == (404, "not_found")
        assert body["detail"] == "there is nothing at this path; there is tea at /pot"


async def test_an_answer_that_is_not_an_error_passes(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with (
        serving(app(tea=raising(HTTPException(304)))) as url,
        http.get(f"{url}/tea", allow_redirects=False) as response,
    ):
        assert (response.status, await response.read()) == (304, b"")


async def test_the_unforeseen_is_logged_once_with_its_traceback_and_without_the_query(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    with capture_logs() as logs:
        async with serving(app(tea=raising(ValueError("spilt")))) as url, http.get(f"{url}/tea?clientId=anna"):
            pass
    (failed,) = (entry for entry in logs if entry["log_level"] == "error")
    assert (failed["event"], failed["method"], failed["path"]) == ("request failed", "GET", "/tea")
    assert failed["exc_info"]
    assert "anna" not in str(logs)


async def test_a_peer_that_left_is_no_error(serving: Serving, http: aiohttp.ClientSession) -> None:
    with capture_logs() as logs:
        async with serving(app(tea=raising(ClientDisconnect()))) as url:
            with pytest.raises(aiohttp.ClientResponseError):
                (await http.get(f"{url}/tea")).raise_for_status()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_an_answer_that_breaks_in_the_middle_does_not_look_whole(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async def endpoint(_: Request) -> Response:
        async def parts() -> Any:
            yield b"half of "
            raise ValueError("spilt")

        return StreamingResponse(parts())

    async with serving(app(tea=endpoint)) as url, http.get(f"{url}/tea") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        pytest.param(FULL, 429, "too_many_cups", id="a problem"),
        pytest.param(HTTPException(404), 404, "not_found", id="what Starlette raises"),
        pytest.param(ValueError("hunter2"), 500, "internal", id="the unforeseen"),
    ],
)
async def test_a_handshake_is_denied_by_the_problem(serving: Serving, error: Exception, status: int, code: str) -> None:
    async with serving(app(tea=raising(error))) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}/ws/tea")
    response = refused.value.response
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(response.body or b"")["code"] == code
    assert b"hunter2" not in (response.body or b"")


async def test_an_endpoint_may_deny_by_itself(serving: Serving) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await deny(websocket, FULL)

    async with serving(app(tea=endpoint)) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}/ws/tea")
    assert refused.value.response.headers["retry-after"] == "60"


async def test_a_handshake_at_a_path_that_is_not_there_is_told_so(serving: Serving) -> None:
    async with serving(app()) as url:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url.replace('http', 'ws')}/ws/coffee")
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["code"] == "not_found"


async def test_a_peer_that_leaves_before_it_is_denied_is_no_error(serving: Serving) -> None:
    asked, denied = asyncio.Event(), asyncio.Event()

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.receive()
        asked.set()
        assert (await websocket.receive())["type"] == "websocket.disconnect"
        await deny(websocket, FULL)
        denied.set()

    with capture_logs() as logs:
        async with asyncio.timeout(60), serving(app(tea=endpoint)) as url:
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(
                b"GET /ws/tea HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await asked.wait()
            writer.transport.abort()
            await denied.wait()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize(
    "error",
    [FULL, HTTPException(404), ValueError("hunter2")],
    ids=["a problem", "what Starlette raises", "the unforeseen"],
)
async def test_an_open_websocket_is_closed_as_our_fault(serving: Serving, error: Exception) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        raise error

    async with serving(app(tea=endpoint)) as url, connect(f"{url.replace('http', 'ws')}/ws/tea") as websocket:
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert (websocket.close_code, websocket.close_reason) == (1011, "internal")


async def test_a_server_without_denial_responses_can_only_close() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await answer({"type": "websocket", "extensions": {}}, receive, send, FULL)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "too_many_cups"}]


async def test_a_good_answer_is_left_alone(serving: Serving, http: aiohttp.ClientSession) -> None:
    async def endpoint(_: Request) -> Response:
        return PlainTextResponse("tea")

    async with serving(app(tea=endpoint)) as url, http.get(f"{url}/tea") as response:
        assert (response.status, await response.text()) == (200, "tea")
