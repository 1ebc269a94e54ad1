"""A way to the store that a test can hold up: requests, replies and notices stop here for as long as it likes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Valve:
    """What flows while its events are set."""

    requests: asyncio.Event = field(default_factory=asyncio.Event)
    replies: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Let everything through, also what was held up."""
        self.requests.set()
        self.replies.set()


class Gate:
    """Stands between a pool and its store.

    Attributes:
        url: where it listens.
        valve: holds up the connections that are made while it stands here; put another in its place to spare the next.
        drops_notices: whether notices are lost.
        notices_dropped: how many were.
        requests: how many writes have come from the pool.
    """

    def __init__(self, store_url: str) -> None:
        address = urlsplit(store_url)
        self._store = (address.hostname or "127.0.0.1", address.port or 6379)
        self.url = ""
        self.valve = Valve()
        self.drops_notices = False
        self.notices_dropped = 0
        self.requests = 0
        self._request_came = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()

    async def next_request(self) -> None:
        """Wait until the pool writes again."""
        self._request_came.clear()
        await self._request_came.wait()

    def cut(self) -> None:
        """Break all connections; those that are made from now on find the way open."""
        self.valve = Valve()
        for connection in self._connections:
            connection.cancel()

    async def close(self) -> None:
        """Break all connections, for ever."""
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, until both sides have said all."""
        valve = self.valve
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(asyncio.CancelledError):  # asyncio complains of a server's task that ends by it
                await self._carry(reader, writer, valve)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, valve: Valve) -> None:
        store_reader, store_writer = await asyncio.open_connection(*self._store)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, store_writer, valve))
                both.create_task(self._return(store_reader, writer, valve))
        finally:
            store_writer.close()

    async def _forward(self, pool: asyncio.StreamReader, store: asyncio.StreamWriter, valve: Valve) -> None:
        while words := await _read(pool):
            self.requests += 1
            self._request_came.set()
            await valve.requests.wait()
            store.write(words)
        store.write_eof()

    async def _return(self, store: asyncio.StreamReader, pool: asyncio.StreamWriter, valve: Valve) -> None:
        while words := await _read(store):
            await valve.replies.wait()
            if self.drops_notices and b"\r\nmessage\r\n" in words:
                self.notices_dropped += 1
            elif not pool.is_closing():
                pool.write(words)


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1 << 20)
    except ConnectionError:
        return b""


@asynccontextmanager
async def open_gate(store_url: str) -> AsyncIterator[Gate]:
    """Open a gate in front of a store for the length of a `with` block."""
    gate = Gate(store_url)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.url = "redis://{}:{}/0".format(*server.sockets[0].getsockname())
    try:
        yield gate
    finally:
        server.close()
        await gate.close()
