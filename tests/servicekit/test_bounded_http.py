"""Peers that never come to the point are given up, and take no memory meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from servicekit.listener import Address
from servicekit.runner import Listener, serve

KILOBYTE = 1024
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@asynccontextmanager
async def served(**options: object) -> AsyncIterator[Open]:
    app = Starlette(routes=[Route("/count", count, methods=["GET", "POST"])])
    listener = Listener(app=app, host="127.0.0.1", port=0, **options)  # type: ignore[arg-type]
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def drain() -> bool:
        return True

    running = asyncio.create_task(
        serve([listener], drain, 5, ready=lambda at: listening.set_result(at[0]), stop=stop, close_seconds=1)
    )
    address = await listening
    try:
        async with asyncio.timeout(30):
            yield lambda: asyncio.open_connection(address.host, address.port)
    finally:
        stop.set()
        await running


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"GET /", b"x" * KILOBYTE, id="a path"),
        pytest.param(b"GET /count HTTP/1.1\r\nX-A: ", b"x" * KILOBYTE, id="a header"),
        pytest.param(b"GET /count HTTP/1.1\r\n", b"X-A: b\r\n" * 128, id="headers"),
        pytest.param(
            b"POST /count HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            b"X-A: b\r\n" * 128,
            id="trailers",
        ),
        pytest.param(
            b"POST /count HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * KILOBYTE, id="a chunk extension"
        ),
    ],
)
async def test_what_never_ends_is_cut_off(begin: bytes, more: bytes) -> None:
    async with served(max_head_bytes=16 * KILOBYTE) as connect:
        reader, writer = await connect()
        writer.write(begin)
        with suppress(ConnectionError):
            while not reader.at_eof():  # it would go on for ever
                writer.write(more)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()


async def test_a_head_that_is_too_large_is_told_so() -> None:
    async with served(max_head_bytes=16 * KILOBYTE) as connect:
        reader, writer = await connect()
        writer.write(b"GET /count HTTP/1.1\r\nCookie: " + b"x" * 20 * KILOBYTE)
        assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
        writer.close()


@pytest.mark.parametrize("begin", [b"", b"GET /count HTTP/1.1\r\nX-A: "], ids=["nothing", "half a head"])
async def test_a_connection_that_does_not_come_to_the_point_is_closed(begin: bytes) -> None:
    async with served(head_seconds=0.2) as connect:
        reader, writer = await connect()
        writer.write(begin)
        assert await reader.read() == b""
        writer.close()


async def test_so_is_one_that_stops_in_the_middle_of_its_second_request() -> None:
    async with served(head_seconds=0.2) as connect:
        reader, writer = await connect()
        writer.write(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\nGET /count HTTP/1.1\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 1
        writer.close()


async def test_a_body_may_be_larger_than_a_head_and_come_slowly() -> None:
    async with served(max_head_bytes=KILOBYTE, head_seconds=0.1) as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(20):
                writer.write(b"400\r\n" + bytes(KILOBYTE) + b"\r\n")
                await asyncio.sleep(0.01)
            writer.write(b"0\r\n\r\n")
            assert (await reader.readuntil(b"20480")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
