"""Messages that take long to arrive: bytes are a sign of life, down to a least rate."""

import asyncio
import time
from collections.abc import Callable

import pytest

from frameproto import Request, RequestKind, decode_response, encode_request
from tests.chat.conversation_parts import limits
from tests.chat.server_parts import RunningServer, eventually, masked, open_server, upgrade
from tests.support.websocket_peer import Peer

SLICE_BYTES = 200


def message(size: int) -> bytes:
    return encode_request(Request(RequestKind.TEXT, b"x" * (size - 1)))


def in_one_frame(payload: bytes) -> list[bytes]:
    """The header alone, then the frame in slices."""
    frame = masked(payload)
    return [frame[:14], *(frame[at : at + SLICE_BYTES] for at in range(14, len(frame), SLICE_BYTES))]


def in_fragments(payload: bytes) -> list[bytes]:
    """One fragment a slice."""
    parts = [payload[at : at + SLICE_BYTES] for at in range(0, len(payload), SLICE_BYTES)]
    opcodes = [0x02, *[0x00] * (len(parts) - 2), 0x80]
    return [
        bytes([opcode, 0xFE]) + len(part).to_bytes(2) + bytes(4) + part
        for opcode, part in zip(opcodes, parts, strict=True)
    ]


async def let_in(server: RunningServer) -> Peer:
    """A peer that answers no pings, as one cannot in the middle of a frame."""
    peer = await Peer.open(server.port)
    await peer.write(upgrade())
    assert await peer.status() == 101
    return peer


@pytest.mark.parametrize("slices", [in_one_frame, in_fragments])
async def test_an_upload_that_takes_longer_than_every_time_out_arrives(slices: Callable[[bytes], list[bytes]]) -> None:
    bounds = limits(max_frame_bytes=20_000, max_text_bytes=20_000, first_message_seconds=0.5)
    async with open_server(changed=bounds, ping_seconds=0.2, pong_seconds=2, min_upload_bytes_per_second=50) as server:
        peer = await let_in(server)
        began = time.monotonic()
        for part in slices(message(10_000)):
            await peer.write(part)
            await asyncio.sleep(0.1)
        assert time.monotonic() - began > 0.2 + 2 + 2
        assert len(decode_response(await peer.message()).text) == len("you said ") + 9_999
        peer.close()


@pytest.mark.parametrize("payload", [message(1000), b""], ids=["one frame", "fragments of one byte"])
async def test_a_drip_is_closed_with_4000(payload: bytes) -> None:
    async with open_server(changed=limits(first_message_seconds=600), pong_seconds=0.5) as server:
        peer = await let_in(server)
        closing = asyncio.create_task(peer.close_code())
        drops = [bytes([byte]) for byte in masked(payload)[:500]] if payload else _one_byte_fragments()
        for drop in drops:
            await peer.write(drop)
            await asyncio.wait([closing], timeout=0.05)
            if closing.done():
                break
        assert await closing == 4000
        await eventually(server, held=0)
        assert server.closed(4000) == 1
        peer.close()


def _one_byte_fragments() -> list[bytes]:
    return [bytes([2 if number == 0 else 0, 0x81]) + bytes(4) + b"x" for number in range(500)]


async def test_a_message_that_breaks_off_is_closed_with_4000() -> None:
    async with open_server(changed=limits(first_message_seconds=600), pong_seconds=0.5) as server:
        peer = await let_in(server)
        await peer.write(masked(message(900))[:600])
        assert await peer.close_code() == 4000
        peer.close()


async def test_what_we_do_not_read_is_not_too_slow() -> None:
    bounds = limits(window=1, max_frame_bytes=20_000, max_text_bytes=20_000)
    async with open_server(
        changed=bounds, ping_seconds=0.2, pong_seconds=0.3, min_upload_bytes_per_second=1000
    ) as server:
        peer = await let_in(server)
        voice = masked(encode_request(Request(RequestKind.VOICE, b"1.5")))
        last = masked(message(5000))
        await peer.write(voice + voice + last[:1000])
        assert decode_response(await peer.message()).text == "you said voice"
        await peer.write(last[1000:])
        assert decode_response(await peer.message()).text == "you said voice"
        assert len(decode_response(await peer.message()).text) > 4000
        peer.close()


async def test_frames_between_messages_are_no_upload() -> None:
    async with open_server(changed=limits(first_message_seconds=1.5), pong_seconds=0.2) as server:
        peer = await let_in(server)
        closing = asyncio.create_task(peer.close_code())
        while not closing.done():
            await peer.write(b"\x8a\x81\0\0\0\0x")  # a pong to no ping
            await asyncio.wait([closing], timeout=0.05)
        assert closing.result() == 4000
        assert server.closed(4000) == 1
        peer.close()


async def test_pongs_within_a_message_are_no_upload() -> None:
    async with open_server(changed=limits(first_message_seconds=600), pong_seconds=0.2) as server:
        peer = await let_in(server)
        closing = asyncio.create_task(peer.close_code())
        await peer.write(bytes([2, 0x81]) + bytes(4) + b"x")  # the first fragment of a message that never goes on
        for _ in range(200):
            await peer.write(b"\x8a\xfd" + bytes(4) + bytes(125))
            await asyncio.wait([closing], timeout=0.05)
            if closing.done():
                break
        assert closing.done()
        assert closing.result() == 4000
        peer.close()
