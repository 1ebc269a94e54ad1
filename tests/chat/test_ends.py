"""How connections that a peer ended, or that just broke, are counted."""

import asyncio
import contextlib
import socket
import struct

import pytest
from structlog.testing import capture_logs

from frameproto import Request, RequestKind, encode_request
from tests.chat.conversation_parts import limits
from tests.chat.server_parts import RunningServer, eventually, masked, open_server, upgrade
from tests.support.websocket_peer import Peer


async def let_in(server: RunningServer) -> Peer:
    peer = await Peer.open(server.port)
    await peer.write(upgrade())
    assert await peer.status() == 101
    await eventually(server, held=1)
    return peer


async def test_an_unanswered_ping_ends_the_connection_without_a_close_frame_as_1006() -> None:
    async with open_server(ping_seconds=0.1, pong_seconds=0.1) as server:
        peer = await let_in(server)
        frames = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frames.append(await peer.frame())
        assert {opcode for opcode, _ in frames} == {9}
        await eventually(server, held=0)
        assert server.closed(1006) == 1
        peer.close()


@pytest.mark.parametrize("how", ["EOF", "reset"])
async def test_a_peer_that_vanishes_is_counted_as_1006(how: str) -> None:
    async with open_server() as server:
        peer = await let_in(server)
        if how == "reset":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await eventually(server, held=0)
        assert server.closed(1006) == 1


@pytest.mark.parametrize(
    ("close", "code"),
    [
        pytest.param(b"\x88\x82\0\0\0\0\x03\xe8", 1000, id="goodbye"),
        pytest.param(b"\x88\x80\0\0\0\0", 1005, id="without a code"),
        pytest.param(b"\x88\x82\0\0\0\0\x03\xe9", 1001, id="going away"),
    ],
)
async def test_a_close_frame_is_counted_by_its_code(close: bytes, code: int) -> None:
    async with open_server() as server:
        peer = await let_in(server)
        await peer.write(close)
        peer.close()
        await eventually(server, held=0)
        assert server.closed(code) == 1


async def test_a_goodbye_is_one_though_replies_are_still_on_their_way() -> None:
    """The window is full, so the close frame has been read by the socket only when the reply cannot be sent."""
    async with open_server(changed=limits(window=1)) as server:
        peer = await let_in(server)
        voice = masked(encode_request(Request(RequestKind.VOICE, b"0.3")))
        await peer.write(voice + voice + b"\x88\x82\0\0\0\0\x03\xe8")
        await eventually(server, held=0)
        assert server.closed(1000) == 1
        peer.close()


async def test_a_client_that_is_still_sending_reads_that_the_server_goes_away() -> None:
    async with open_server(changed=limits(window=1)) as server:
        peer = await let_in(server)
        voice = masked(encode_request(Request(RequestKind.VOICE, b"0.5")))
        text = masked(encode_request(Request(RequestKind.TEXT, b"x" * 900)))
        writing = asyncio.create_task(peer.write(voice + text * 20_000))
        async with asyncio.timeout(60):
            while not server.media.working:  # noqa: ASYNC110 - the server is another task's
                await asyncio.sleep(0.005)
    assert await peer.close_code() == 1012
    peer.close()
    await asyncio.wait([writing])


async def test_the_log_tells_what_was_wrong_with_what_a_client_sent() -> None:
    with capture_logs() as logged:
        async with open_server() as server:
            peer = await let_in(server)
            await peer.write(b"\x82\x06\x00hello")
            assert await peer.close_code() == 1002
            peer.close()
    (closed,) = (event for event in logged if event["event"] == "connection.closed")
    assert (closed["close_code"], closed["reason"]) == (1002, "incorrect masking")
