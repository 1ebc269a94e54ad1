"""Peers that never come to the point are given up, and take no memory meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from servicekit.http_pace import HttpLimits
from servicekit.listener import Address
from servicekit.runner import Listener, serve

KILOBYTE = 1024
Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
LARGE = bytes(64 * KILOBYTE) * 512


async def count(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def count_later(request: Request) -> Response:
    await asyncio.sleep(3)
    return await count(request)


async def large(_: Request) -> Response:
    return StreamingResponse(aslices(LARGE), headers={"content-length": str(len(LARGE))})


async def aslices(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 64 * KILOBYTE):
        yield data[at : at + 64 * KILOBYTE]


@asynccontextmanager
async def served(*, cut: Callable[[str], None] = lambda _: None, **options: object) -> AsyncIterator[Open]:
    app = Starlette(
        routes=[
            Route("/count", count, methods=["GET", "POST"]),
            Route("/later", count_later, methods=["POST"]),
            Route("/large", large),
        ]
    )
    limits = HttpLimits(**options)  # type: ignore[arg-type]
    listener = Listener(app=app, host="127.0.0.1", port=0, http=limits, on_cut=cut)
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def drain() -> bool:
        return True

    running = asyncio.create_task(
        serve([listener], drain, 5, ready=lambda at: listening.set_result(at[0]), stop=stop, close_seconds=1)
    )
    address = await listening
    try:
        async with asyncio.timeout(60):
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


async def test_a_connection_without_a_request_is_closed() -> None:
    async with served(head_seconds=0.2) as connect:
        reader, writer = await connect()
        assert await reader.read() == b""
        writer.close()


async def test_half_a_head_is_told_that_it_took_too_long() -> None:
    cuts: list[str] = []
    async with served(head_seconds=0.2, cut=cuts.append) as connect:
        reader, writer = await connect()
        writer.write(b"GET /count HTTP/1.1\r\nX-A: ")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"head_too_slow"' in answer
        assert cuts == ["head_too_slow"]
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


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes, seconds: float) -> bytes:
    """Send a little again and again until the server closes; return what it sent."""
    reading = asyncio.create_task(read_until_closed(reader))
    with suppress(ConnectionError):
        while not reading.done():
            writer.write(drop)
            await writer.drain()
            await asyncio.wait([reading], timeout=seconds)
    return await reading


async def read_until_closed(reader: asyncio.StreamReader) -> bytes:
    """Return what came before the end, and before a reset too, for which `reader.read()` would drop it."""
    received = b""
    with suppress(ConnectionError):
        while piece := await reader.read(64 * KILOBYTE):
            received += piece
    return received


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"], ids=["length", "chunks"]
)
async def test_an_answered_connection_is_not_held_by_a_body_that_nobody_reads(framing: bytes) -> None:
    async with served(idle_seconds=0.2) as connect:
        reader, writer = await connect()
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\n" + framing)
        assert (await trickle(reader, writer, b"1\r\nx\r\n", 0.05)).startswith(b"HTTP/1.1 404 ")
        writer.close()


async def test_behind_such_a_body_that_does_end_the_connection_is_kept() -> None:
    async with served(idle_seconds=5) as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
            await reader.readuntil(b"Not Found")
            writer.write(b"bc")
        writer.write(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200 " in await reader.readuntil(b"\r\n\r\n0")
        writer.close()


@pytest.mark.parametrize("drop", [b"", b"\r\n"], ids=["nothing", "empty lines"])
async def test_an_idle_connection_is_closed(drop: bytes) -> None:
    async with served(idle_seconds=0.2) as connect:
        reader, writer = await connect()
        writer.write(b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await trickle(reader, writer, drop, 0.05)).count(b"HTTP/1.1 ") == 1
        writer.close()


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"stall_seconds": 0.3, "min_bytes_per_second": 100_000}, id="below the least rate"),
        pytest.param({"body_seconds": 0.3, "min_bytes_per_second": 1}, id="too long in all"),
    ],
)
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"], ids=["length", "chunks"]
)
async def test_a_body_that_takes_too_long_is_told_so(framing: bytes, limits: dict[str, float]) -> None:
    cuts: list[str] = []
    async with served(cut=cuts.append, **limits) as connect:
        reader, writer = await connect()
        writer.write(b"POST /count HTTP/1.1\r\nHost: x\r\n" + framing)
        answer = await trickle(reader, writer, b"1\r\nx\r\n", 0.05)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body_too_slow"' in answer
        assert answer.count(b"HTTP/1.1 4") == 1
        assert cuts == ["body_too_slow"]
        writer.close()


async def test_a_slow_body_above_the_least_rate_arrives() -> None:
    async with served(stall_seconds=0.4, min_bytes_per_second=500) as connect:
        reader, writer = await connect()
        writer.write(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n")
        for _ in range(20):
            writer.write(bytes(200))
            await asyncio.sleep(0.05)
        assert (await reader.readuntil(b"4000")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_body_that_waits_for_us_is_not_too_slow() -> None:
    async with served(body_seconds=2, stall_seconds=1, min_bytes_per_second=100_000) as connect:
        reader, writer = await connect()
        size = 4 * 64 * KILOBYTE
        writer.write(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        assert (await reader.readuntil(b"%d" % size)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_reader_that_stalls_is_cut() -> None:
    cut: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with served(cut=cut.set_result, stall_seconds=0.3) as connect:
        _, writer = await connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await cut == "reader_too_slow"
        writer.transport.abort()


async def test_a_slow_reader_above_the_least_rate_gets_all_of_it() -> None:
    async with served(stall_seconds=0.5, min_bytes_per_second=1_000_000) as connect:
        reader, writer = await connect()
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        left = len(LARGE)
        while left:
            left -= len(await reader.readexactly(min(left, 1024 * KILOBYTE)))
            await asyncio.sleep(0.1)
        writer.close()
