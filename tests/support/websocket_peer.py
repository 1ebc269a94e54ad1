"""A WebSocket peer that writes bytes as it likes and reads what a server answers, frame by frame."""

import asyncio
import socket
from contextlib import suppress
from typing import Self, cast

SECONDS = 60.0


class Peer:
    """One raw connection to a server on loopback. Everything it waits for is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def write(self, data: bytes) -> None:
        """Write, and wait until the kernel has taken it."""
        self._writer.write(data)
        with suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                await self._writer.drain()

    async def status(self) -> int:
        """Read the head of an HTTP response, and return its status."""
        head = await self.until(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1])

    async def until(self, mark: bytes) -> bytes:
        """Read up to `mark`."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Read until the server ends the connection in good order."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read()

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame: its opcode and its payload."""
        async with asyncio.timeout(SECONDS):
            first, size = await self._reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def message(self) -> bytes:
        """Read the next binary message; pings and pongs are passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 2:
                return payload
            assert opcode in {9, 10}, f"opcode {opcode}, {payload!r}"

    async def close_code(self) -> int:
        """Read up to the server's close, and return its code; 1006 when the connection breaks without one."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcode, payload = await self.frame()
                if opcode == 8:
                    return int.from_bytes(payload[:2])
        return 1006

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for its options."""
        found = self._writer.get_extra_info("socket")
        assert found is not None
        return cast("socket.socket", found)

    def reset(self) -> None:
        """Break off at once, without a word."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()
