"""What a client sends before its handshake is answered: processed in order, or refused in words; never swallowed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from frameproto import Request, RequestKind, decode_response, encode_request
from tests.chat.conversation_parts import limits
from tests.chat.server_parts import MAX_EARLY_BYTES, RunningServer, eventually, masked, open_server, upgrade
from tests.support.websocket_peer import Peer

SEGMENTS = pytest.mark.parametrize("segments", [1, 2], ids=["the same segment", "the next segment"])
WAITING = pytest.mark.parametrize("waits", [False, True], ids=["let in at once", "after waiting in the queue"])


def text(words: str) -> bytes:
    return masked(encode_request(Request(RequestKind.TEXT, words.encode())))


@pytest.fixture(autouse=True)
def _no_trouble(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client sends is an event for an operator."""
    with caplog.at_level(logging.WARNING):
        yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@asynccontextmanager
async def sent_early(early: bytes, segments: int, *, waits: bool) -> AsyncIterator[tuple[RunningServer, Peer]]:
    """A client that sent `early` right behind its handshake, and got a place at once or after waiting for one."""
    async with open_server(capacity=1, wait_seconds=60) as server:
        holder = await server.visit("holder") if waits else None
        peer = await Peer.open(server.port)
        if segments == 1:
            await peer.write(upgrade() + early)
        else:
            await peer.write(upgrade())
            if waits:
                await eventually(server, held=1, waiting=1)
            await peer.write(early)
        if holder is not None:
            await eventually(server, held=1, waiting=1)
            await holder.close()
        yield server, peer
        peer.close()


@SEGMENTS
@WAITING
async def test_messages_behind_the_handshake_are_answered_in_order(segments: int, waits: bool) -> None:
    early = b"".join(text(f"early {number}") for number in range(3))
    async with sent_early(early, segments, waits=waits) as (_, peer):
        assert await peer.status() == 101
        await peer.write(text("in time"))
        said = [decode_response(await peer.message()).text for _ in range(4)]
        assert said == ["you said early 0", "you said early 1", "you said early 2", "you said in time"]


@SEGMENTS
@WAITING
async def test_a_message_of_which_half_came_early_is_put_together(segments: int, waits: bool) -> None:
    whole = text("x" * 1000)
    async with sent_early(whole[:500], segments, waits=waits) as (_, peer):
        assert await peer.status() == 101
        await peer.write(whole[500:])
        assert decode_response(await peer.message()).text == f"you said {'x' * 1000}"


@pytest.mark.parametrize(
    "early",
    [
        pytest.param(b"\x82\x06\x00hello", id="unmasked"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\xff", id="garbage"),
        pytest.param(b"GET /connect HTTP/1.1\r\nHost: x\r\n\r\n", id="another request"),
    ],
)
@SEGMENTS
@WAITING
async def test_bytes_that_are_no_frame_are_closed_with_1002_after_the_accept(
    early: bytes, segments: int, waits: bool
) -> None:
    async with sent_early(early, segments, waits=waits) as (server, peer):
        assert await peer.status() == 101
        assert await peer.close_code() == 1002
        await eventually(server, held=0)


@SEGMENTS
async def test_a_client_that_leaves_the_queue_after_sending_is_noticed(segments: int) -> None:
    async with open_server(capacity=1, wait_seconds=60) as server, server.visit("holder"):
        peer = await Peer.open(server.port)
        for part in [upgrade() + text("early")] if segments == 1 else [upgrade(), text("early")]:
            await peer.write(part)
            await eventually(server, held=1, waiting=1)
        peer.close()
        await eventually(server, held=1, waiting=0)


async def test_a_goodbye_that_came_early_is_a_goodbye() -> None:
    goodbye = b"\x88\x82\0\0\0\0\x03\xe8"
    async with sent_early(text("one") + goodbye, 1, waits=True) as (server, peer):
        assert await peer.status() == 101
        assert await peer.close_code() == 1000
        await eventually(server, held=0)


async def test_a_large_message_waits_in_the_sockets_until_its_sender_is_let_in() -> None:
    size = 16_000_000
    bounds = limits(max_frame_bytes=size, max_text_bytes=size, max_bytes=2 * size)
    async with open_server(changed=bounds, capacity=1, wait_seconds=60) as server:
        holder = await server.visit("holder")
        peer = await Peer.open(server.port)
        writing = asyncio.create_task(peer.write(upgrade() + text("x" * (size - 1))))
        await eventually(server, held=1, waiting=1)
        async with asyncio.timeout(60):
            while server.pod_bytes.used < MAX_EARLY_BYTES:  # noqa: ASYNC110 - the server is another task's
                await asyncio.sleep(0.005)
        kept = server.pod_bytes.used
        assert kept < size / 16
        assert not writing.done()
        await holder.close()
        assert await peer.status() == 101
        assert len(decode_response(await peer.message()).text) == size - 1 + len("you said ")
        await writing
        peer.close()
        await eventually(server, held=0)
        assert server.pod_bytes.used == 0


async def test_when_a_pod_has_no_memory_left_who_sends_early_is_refused_in_words() -> None:
    async with open_server(capacity=1, wait_seconds=60, max_pod_bytes=2000) as server, server.visit("holder"):
        patient, greedy = await Peer.open(server.port), await Peer.open(server.port)
        await patient.write(upgrade() + text("x" * 1500))
        await eventually(server, held=1, waiting=1)
        await greedy.write(upgrade() + text("x" * 1500))
        assert await greedy.status() == 503
        assert b"no memory left for what is sent before a handshake is answered" in await greedy.rest()
        await eventually(server, held=1, waiting=1)
        patient.close()
        await eventually(server, held=1, waiting=0)
        assert server.pod_bytes.used == 0
        greedy.close()


@pytest.mark.parametrize("size", [10, 3_000_000], ids=["a little", "more than is kept"])
async def test_a_client_that_sent_early_reads_why_it_was_not_let_in(size: int) -> None:
    async with open_server(capacity=1, wait_seconds=0.5) as server, server.visit("holder"):
        peer = await Peer.open(server.port)
        writing = asyncio.create_task(peer.write(upgrade() + b"\x82" * size))
        assert await peer.status() == 503
        assert b'"code":"cluster_full"' in await peer.rest()
        peer.close()
        await asyncio.wait([writing])


async def test_a_handshake_behind_a_request_that_is_not_answered_mixes_up_no_answers() -> None:
    """The connection closes behind the answer to the first, which tells a client to ask again (RFC 9112, 9.3.2)."""
    async with open_server() as server:
        peer = await Peer.open(server.port)
        plain = b"GET /connect?clientId=anna&timeZone=UTC HTTP/1.1\r\nHost: x\r\n\r\n"
        await peer.write(plain + upgrade() + text("early"))
        assert await peer.status() == 426
        rest = await peer.rest()
        assert rest.count(b"HTTP/1.1") == 0
        assert b"upgrade_required" in rest
        assert (await server.connections.state()).high_water == 0
        peer.close()


async def test_plain_requests_behind_each_other_are_answered_in_order() -> None:
    async with open_server() as server:
        peer = await Peer.open(server.port)
        plain = b"GET /connect?clientId=%s&timeZone=UTC HTTP/1.1\r\nHost: x\r\n\r\n"
        await peer.write(plain % b"anna" + plain % b"--bad")
        answers = await peer.until(b"client_id_malformed")
        assert answers.index(b"HTTP/1.1 426 ") < answers.index(b"HTTP/1.1 400 ")
        await peer.write(upgrade() + text("hello"))
        assert b" 101 " in await peer.until(b"\x82")
        peer.close()
