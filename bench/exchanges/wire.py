"""The client of the benchmark: as little Python as can be for one exchange, so that the server is what is measured.

Frames are built once and sent as they are. Their mask is zero, which a server must apply as any other.
"""

import asyncio
import base64
import os
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Self, cast
from urllib.parse import urlencode

from bench.exchanges.cores import clock_us
from bench.exchanges.services.floor import SIZES
from frameproto.v2 import ENVELOPE_BYTES, ServerType

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
MASKED: Final = 0x80
SHORT, MEDIUM, LONG = 125, 126, 127
ERROR_KIND: Final = 3
SPEAKING: Final = b"HTTP/1.1 101 "
OnReply = Callable[["Peer"], None]


class RequestRefused(Exception):
    """The server did not do as it was asked; the message is what it said."""


def client_frame(first: int, body: bytes) -> bytes:
    """Return a frame as clients send it."""
    size = len(body)
    if size <= SHORT:
        head = bytes((first, MASKED | size))
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, MASKED | MEDIUM, size)
    else:
        head = struct.pack(">BBQ", first, MASKED | LONG, size)
    return head + bytes(4) + body


class Peer(asyncio.Protocol):
    """One connection. `on_reply` is called with each reply; `sent_us` holds the moments of what is not answered yet."""

    def __init__(self) -> None:
        self.on_reply: OnReply | None = None
        self.sent_us: deque[float] = deque()
        self.closed = asyncio.get_running_loop().create_future()
        self._opened = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._open = False
        self._ended = False

    @classmethod
    async def websocket(cls, port: int, client_id: str, subprotocol: str = "") -> Self:
        """Connect as a client of the chat service does. Raises RequestRefused."""
        _, peer = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        offer = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        query = urlencode({"clientId": client_id, "timeZone": "UTC"})
        key = base64.b64encode(os.urandom(16)).decode()
        peer.write(
            f"GET /connect?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n".encode()
        )
        await peer._opened  # noqa: SLF001 - of our own class
        return peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the base class
        self.write = self._transport.write

    def send(self, frame: bytes, at_us: float | None = None) -> None:
        """Send a frame, whose reply is awaited from then on, or from the moment given."""
        self.sent_us.append(clock_us() if at_us is None else at_us)
        self.write(frame)

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        if not self._open:
            self._buffer = self._handshake(data)
            return
        at, size = 0, len(data)
        while size - at >= 2:  # noqa: PLR2004 - the shortest head
            first, short = data[at], data[at + 1]
            begin = at + 2 + (0 if short <= SHORT else 2 if short == MEDIUM else 8)
            length = short if short <= SHORT else int.from_bytes(data[at + 2 : begin], "big")
            if begin > size or begin + length > size:
                break
            if first == BINARY:
                self._binary(data, begin, length)
            else:
                self._control(first, data[begin : begin + length])
            at = begin + length
        self._buffer = data[at:]

    def close(self) -> None:
        """Say goodbye and close."""
        self._ended = True
        if self._transport.is_closing():
            return
        self.write(client_frame(CLOSE, struct.pack(">H", 1000)))
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone; before `close` that is a failure."""
        if not self._ended:
            self._fail(f"the connection was lost: {exc}")
        elif not self.closed.done():
            self.closed.set_result(None)

    def _handshake(self, data: bytes) -> bytes:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return data
        if not head.startswith(SPEAKING):
            self._ended = True
            if not self._opened.done():  # cancelled, since another one was refused before
                self._opened.set_exception(RequestRefused(data.decode(errors="replace")))
            self._transport.close()
            return b""
        self._open = True
        self._opened.set_result(None)
        return rest

    def _binary(self, data: bytes, begin: int, length: int) -> None:
        if length and data[begin] == ERROR_KIND:
            self._fail(data[begin + 9 : begin + length].decode(errors="replace"))
        self._replied()

    def _replied(self) -> None:
        if self.on_reply is not None:
            self.on_reply(self)

    def _control(self, first: int, body: bytes) -> None:
        if first == PING:
            self.write(client_frame(PONG, body))
        elif first == CLOSE:
            self._fail(f"closed by the server: {int.from_bytes(body[:2], 'big')} {body[2:].decode(errors='replace')}")

    def _fail(self, why: str) -> None:
        self._ended = True
        if not self._opened.done():
            self._opened.set_exception(RequestRefused(why))
        if not self.closed.done():
            self.closed.set_exception(RequestRefused(why))
        self._transport.abort()


class PeerV2(Peer):
    """The same over `chatbot.v2`. Pieces and statuses are passed over."""

    def _binary(self, data: bytes, begin: int, length: int) -> None:
        if data[begin] == ServerType.RESPONSE:
            super()._binary(data, begin + ENVELOPE_BYTES, length - ENVELOPE_BYTES)


class FloorPeer(Peer):
    """The same over bare TCP, where replies have one size and nothing around them."""

    def __init__(self) -> None:
        super().__init__()
        self._reply_size = 0
        self._read = 0

    @classmethod
    async def floor(cls, port: int, request_size: int, reply_size: int) -> Self:
        """Connect and agree on the sizes."""
        _, peer = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        peer._reply_size = reply_size  # noqa: SLF001 - of our own class
        peer.write(SIZES.pack(request_size, reply_size))
        await peer._opened  # noqa: SLF001 - as above
        return peer

    def data_received(self, data: bytes) -> None:
        """Count replies."""
        if not self._open:
            self._open = True
            self._opened.set_result(None)
            return
        count, self._read = divmod(self._read + len(data), self._reply_size)
        for _ in range(count):
            self._replied()

    def close(self) -> None:
        """Close without a word."""
        self._ended = True
        self._transport.close()
