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
            b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            b"X-A: b\r\n" * 128,
            id="trailers",
        ),
        pytest.param(
            b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            b"x" * KILOBYTE,
            id="a chunk extension",
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
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b'"code":"head_too_large"' in answer
        writer.close()


LIMIT = 2 * KILOBYTE
BEHIND = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "a request": b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n",
    "a body": b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\na\r\n\r\nb\r\n\r",
    "chunks": b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "trailers": b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
    "an upgrade to something else": b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
@pytest.mark.parametrize("piece_bytes", [1 << 20, 100, 1], ids=["at once", "in pieces", "byte by byte"])
async def test_the_limit_of_a_head_is_exact(behind: bytes, piece_bytes: int) -> None:
    begin, end = b"GET /count HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: ", b"\r\n\r\n"
    room = LIMIT - len(begin) - len(end) - (len(behind) if behind == BEHIND["an empty line"] else 0)
    async with served(max_head_bytes=LIMIT) as connect:
        for letters, status in ((room, b"200"), (room + 1, b"431")):
            reader, writer = await connect()
            sent = behind + begin + b"x" * letters + end
            with suppress(ConnectionError):
                for at in range(0, len(sent), piece_bytes):
                    writer.write(sent[at : at + piece_bytes])
                    if piece_bytes > 1 or at % 256 == 0 or at > len(sent) - 8:
                        await writer.drain()
                        await asyncio.sleep(0)
            answers = await reader.read()
            if status == b"431" and behind not in {b"", BEHIND["an empty line"]}:
                # Behind an answer that was still being sent there may be none.
                assert answers.count(b"HTTP/1.1 200 ") == 1
                assert answers.count(b"HTTP/1.1 431 ") <= 1
            else:
                assert answers.split(b"HTTP/1.1 ")[-1].startswith(status)
                assert answers.count(b"HTTP/1.1 ") == (1 if behind in {b"", BEHIND["an empty line"]} else 2)
            writer.close()


async def test_behind_requests_that_are_whole_what_is_none_does_not_spoil_their_answers() -> None:
    async with served() as connect:
        reader, writer = await connect()
        writer.write(BEHIND["a request"] * 3 + b"nonsense\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 3
        writer.close()


async def test_a_body_that_is_none_is_told_so() -> None:
    async with served() as connect:
        reader, writer = await connect()
        writer.write(b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 4") == 1
        assert b'"code":"request_malformed"' in answer
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
