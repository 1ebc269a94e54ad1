"""Heads of requests, written to a socket: what HTTP and WebSocket do not allow is refused, before any application."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from servicekit.listener import Address
from servicekit.runner import Listener, serve

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY)


@dataclass
class Answer:
    """What came back, up to the end of the connection or of the first answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json"
        code: str = json.loads(self.body)["code"]
        return code


@dataclass
class Server:
    """An application that tells what it was asked, spoken to by hand."""

    port: int

    async def ask(self, line: str, *headers: str) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write("\r\n".join([line, *headers, "", ""]).encode("latin-1"))
        async with asyncio.timeout(60):
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            found = dict(one.lower().split(": ", 1) for one in lines)
            body = await reader.readexactly(int(found.get("content-length", "0")))
        writer.close()
        return Answer(int(status.split()[1]), found, body)


async def tell(request: Request) -> Response:
    told: dict[str, Any] = {"url": str(request.url), "hosts": request.headers.getlist("host")}
    return JSONResponse({**told, "body": (await request.body()).decode(), "late": request.headers.get("x-late")})


async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with open_server() as opened:
        yield opened


@asynccontextmanager
async def open_server(**options: Any) -> AsyncIterator[Server]:
    app = Starlette(routes=[Route("/tell", tell, methods=["GET", "POST"]), WebSocketRoute("/talk", talk)])
    listener = Listener(app=app, host="127.0.0.1", port=0, ws="websockets-sansio", **options)
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def drain() -> bool:
        return True

    running = asyncio.create_task(
        serve([listener], drain, 5, ready=lambda at: listening.set_result(at[0]), stop=stop, close_seconds=1)
    )
    try:
        yield Server((await listening).port)
    finally:
        stop.set()
        await running


HOSTS = {
    "none": [],
    "two": ["Host: a", "Host: b"],
    "two alike": ["Host: a", "Host: a"],
    "empty": ["Host:"],
    "a space": ["Host: a b"],
    "a path": ["Host: a/b"],
    "a user": ["Host: anna@a"],
    "a port that is none": ["Host: a:http"],
    "two ports": ["Host: a:1:2"],
}


@pytest.mark.parametrize("upgrade", [(), UPGRADE], ids=["plain", "handshake"])
@pytest.mark.parametrize("hosts", HOSTS.values(), ids=HOSTS)
async def test_a_request_needs_one_host(server: Server, hosts: list[str], upgrade: tuple[str, ...]) -> None:
    answer = await server.ask(f"GET {'/talk' if upgrade else '/tell'} HTTP/1.1", *hosts, *upgrade)
    assert answer.status == 400
    assert answer.code == ("host_malformed" if hosts else "host_missing")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "host", ["a", "A.example", "a_b.svc:8000", "127.0.0.1:80", "[::1]", "[::1]:8000", "a:", "b%C3%BC"]
)
async def test_what_is_a_host_is_taken(server: Server, host: str) -> None:
    answer = await server.ask("GET /tell HTTP/1.1", f"Host: {host}")
    assert answer.status == 200
    assert json.loads(answer.body)["hosts"] == [host]


async def test_http_1_0_needs_no_host(server: Server) -> None:
    assert (await server.ask("GET /tell HTTP/1.0")).status == 200
    assert (await server.ask("GET /tell HTTP/1.0", "Host: a", "Host: b")).code == "host_malformed"


async def test_an_absolute_target_works_like_a_path(server: Server) -> None:
    answer = await server.ask("GET http://There.example:81/tell?a=b HTTP/1.1", "X-A: b", "Host: elsewhere")
    told = json.loads(answer.body)
    assert (told["url"].lower(), told["hosts"]) == ("http://there.example:81/tell?a=b", ["There.example:81"])
    assert (await server.ask("GET http://there/talk HTTP/1.1", "Host: there", *UPGRADE)).status == 101
    assert (await server.ask("GET WS://there/talk?a=b HTTP/1.1", "Host: there", *UPGRADE)).status == 101
    assert (await server.ask("GET http://there HTTP/1.1", "Host: there")).status == 404
    assert (await server.ask("GET http://there?a HTTP/1.1", "Host: there")).status == 404


@pytest.mark.parametrize("target", ["ftp://there/tell", "http:///tell", "http://anna@there/tell", "http://a b/tell"])
async def test_another_target_is_refused(server: Server, target: str) -> None:
    assert (await server.ask(f"GET {target} HTTP/1.1", "Host: there")).status == 400


@pytest.mark.parametrize("versions", [["12"], ["14"], ["13, 8"], ["13", "8"], [""], []])
async def test_another_version_of_websocket_is_told_which_is_spoken(server: Server, versions: list[str]) -> None:
    headers = [*(f"Sec-WebSocket-Version: {version}" for version in versions), UPGRADE[0], UPGRADE[1], KEY]
    answer = await server.ask("GET /talk HTTP/1.1", "Host: x", *headers)
    assert (answer.status, answer.code) == (426, "websocket_version_unsupported")
    assert (answer.headers["sec-websocket-version"], answer.headers["upgrade"]) == ("13", "websocket")


@pytest.mark.parametrize(
    "keys", [[], [KEY, KEY], [KEY[:-4]], [KEY.replace("dGhl", "dGh-")], ["Sec-WebSocket-Key: AAAA"]]
)
async def test_a_handshake_needs_one_key(server: Server, keys: list[str]) -> None:
    answer = await server.ask("GET /talk HTTP/1.1", "Host: x", *UPGRADE[:3], *keys)
    assert (answer.status, answer.code) == (400, "websocket_key_malformed")


async def test_lists_may_stand_in_several_headers(server: Server) -> None:
    answer = await server.ask("GET /talk HTTP/1.1", "Host: x", "Connection: keep-alive", *UPGRADE, "Connection: x")
    assert answer.status == 101


async def test_http_1_0_and_other_methods_have_no_upgrade(server: Server) -> None:
    assert (await server.ask("GET /talk HTTP/1.0", "Host: x", *UPGRADE)).status == 404  # as without it
    assert (await server.ask("POST /talk HTTP/1.1", "Host: x", *UPGRADE)).status == 404
    assert (await server.ask("GET /tell HTTP/1.0", "Host: x", *UPGRADE)).status == 200


@pytest.mark.parametrize("version", ["2.0", "0.9"])
async def test_another_version_of_http_is_refused(server: Server, version: str) -> None:
    answer = await server.ask(f"GET /talk HTTP/{version}", "Host: x", *UPGRADE)
    assert (answer.status, answer.code) == (505, "http_version_unsupported")


async def test_an_upgrade_to_something_else_is_passed_over(server: Server) -> None:
    """Clients of Java and curl ask for h2c with their first request, whatever it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    h2c = "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    for _ in range(2):
        writer.write(f"POST /tell HTTP/1.1\r\n{h2c}Content-Length: 3\r\n\r\nabc".encode())
        assert b'"body":"abc"' in await reader.readuntil(b"}")
    writer.write(f"GET /tell HTTP/1.1\r\n{h2c}\r\n".encode() * 2)
    for _ in range(2):
        assert b'"body":""' in await reader.readuntil(b"}")
    writer.close()


async def test_a_header_behind_the_body_is_none_of_the_head(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /tell HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: yes\r\n\r\n")
    assert b'"late":null' in await reader.readuntil(b"}")
    writer.close()


SMUGGLED = {
    "two lengths": ["Content-Length: 3", "Content-Length: 3"],
    "a list of lengths": ["Content-Length: 3, 3"],
    "a signed length": ["Content-Length: +3"],
    "a length beyond 64 bits": ["Content-Length: 99999999999999999999"],
    "a length beside chunks": ["Content-Length: 3", "Transfer-Encoding: chunked"],
    "a coding behind chunked": ["Transfer-Encoding: chunked, gzip"],
    "another coding": ["Transfer-Encoding: xchunked"],
    "a folded line": ["X-A: b", " c"],
    "a space before the colon": ["Transfer-Encoding : chunked"],
    "a line without CR": ["X-A: b\nTransfer-Encoding: chunked"],
    "a CR alone": ["X-A: b\rc"],
    "a zero byte": ["X-A: b\0c"],
    "no colon": ["X-A"],
}


@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED)
async def test_what_two_servers_could_read_differently_is_refused(server: Server, headers: list[str]) -> None:
    answer = await server.ask("GET /tell HTTP/1.1", "Host: x", *headers)
    assert (answer.status, answer.code) == (400, "request_malformed")


async def test_a_handshake_behind_a_request_that_is_not_answered_yet_has_to_come_again(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    handshake = "\r\n".join(["GET /talk HTTP/1.1", "Host: x", *UPGRADE, "", ""])
    writer.write(f"GET /tell HTTP/1.1\r\nHost: x\r\n\r\n{handshake}".encode())
    async with asyncio.timeout(60):
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert b"HTTP/1.1 101 " not in answers
    writer.close()
