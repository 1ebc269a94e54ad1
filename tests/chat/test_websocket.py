"""Peers at the edge of the protocol: what they do may cost them their connection, and us next to nothing."""

import asyncio
import tracemalloc

import pytest

from frameproto import Request, RequestKind, encode_request
from tests.chat.conversation_parts import limits
from tests.chat.server_parts import masked, open_server, raw_connection, upgrade


@pytest.mark.parametrize(
    ("query", "header", "status"),
    [
        pytest.param("x" * 9000, "", 414, id="long query"),
        pytest.param("", f"Cookie: {'x' * 9000}\r\n", 431, id="long header"),
        pytest.param("", "X-A: b\r\n" * 200, 431, id="many headers"),
        pytest.param("", "Content-Length: 1\r\n", 400, id="body"),
    ],
)
async def test_a_handshake_that_is_too_much_is_answered_and_the_socket_closed(
    query: str, header: str, status: int
) -> None:
    async with open_server() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(upgrade(f"&x={query}", header))
        async with asyncio.timeout(60):
            answer = await reader.read()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        writer.close()


CONVERSATION = [
    b"\x89\x82\0\0\0\0hi",  # a ping
    masked(b"\0one"),
    b"\x82\x84\1\2\3\4" + bytes(letter ^ mask for letter, mask in zip(b"\0two", b"\1\2\3\4", strict=True)),
    b"\x02\x82\0\0\0\0\0t" + b"\x89\x80\0\0\0\0" + b"\x80\x84\0\0\0\0hree",  # fragments, a ping between them
    b"\x82\xfe\0\x05\0\0\0\0\0four",  # a length in more bytes than it needs
    b"\x82\x85\0\0\0\0\0five",
    b"\x82\xfe\0\xc9\0\0\0\0\0" + b"6" * 200,
    b"\x82\x86\0\0\0\0\0seven",
]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 13, 64, 10_000])
async def test_messages_are_the_same_however_they_are_cut(chunk: int) -> None:
    async with open_server(changed=limits(window=20)) as server:
        reader, writer = await raw_connection(server)
        sent = b"".join(CONVERSATION)
        async with asyncio.timeout(60):
            for at in range(0, len(sent), chunk):
                writer.write(sent[at : at + chunk])
                await asyncio.sleep(0)
            while len(server.outbox.kept) < 7:  # noqa: ASYNC110 - the server is another task's
                await asyncio.sleep(0.005)
        texts = ["one", "two", "three", "four", "five", "6" * 200, "seven"]
        assert [bytes(kept.request).decode() for kept in server.outbox.kept] == [f"\0{text}" for text in texts]
        writer.close()
        del reader


async def test_pings_of_a_client_that_does_not_read_are_not_saved_up() -> None:
    async with open_server() as server:
        reader, writer = await raw_connection(server)
        pings = b"\x89\xfd\0\0\0\0" + b"p" * 125
        sent = 0
        for _ in range(120):
            writer.write(pings * 1000)
            sent += 127 * 1000  # of its answers, which have no mask
            await writer.drain()
        writer.write(b"\x89\x84\0\0\0\0last")
        read, end = 0, b""
        async with asyncio.timeout(60):
            while not end.endswith(b"\x8a\x04last"):
                answers = await reader.read(8192)
                read, end = read + len(answers), (end + answers)[-6:]
        assert read < sent
        writer.close()


async def test_nothing_is_read_ahead_of_a_message_that_waits_for_its_turn() -> None:
    size = 16_000_000
    bounds = limits(window=1, max_frame_bytes=size, max_text_bytes=size, max_bytes=2 * size)
    async with open_server(changed=bounds) as server:
        reader, writer = await raw_connection(server)
        writer.write(masked(encode_request(Request(RequestKind.VOICE, b"1"))))
        for _ in range(3):
            writer.write(masked(encode_request(Request(RequestKind.TEXT, b"x" * (size - 1)))))
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"voice")).startswith(b"\x82")
        assert writer.transport.get_write_buffer_size() > size  # one was in hand, some was in the sockets
        writer.close()


async def test_a_text_takes_no_more_memory_than_its_bytes() -> None:
    size = 8_000_000
    async with open_server(changed=limits(max_frame_bytes=size, max_bytes=2 * size)) as server:
        reader, writer = await raw_connection(server)
        face = "\U0001f600".encode()  # with it, each letter of a string takes four bytes
        message = b"\x81\xff" + size.to_bytes(8) + bytes(4) + b"x" * (size - len(face)) + face
        tracemalloc.start()
        try:
            writer.write(message)
            async with asyncio.timeout(60):
                await reader.readuntil(b"not_binary")
            assert tracemalloc.get_traced_memory()[1] < 4 * size
        finally:
            tracemalloc.stop()
        writer.close()
