"""A line between clients and a server that breaks every connection sooner or later, at a random byte."""

import asyncio
from collections import Counter
from contextlib import suppress
from enum import Enum
from random import Random
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024
HANDSHAKE_BYTES: Final = 500
"""About as many as a handshake has, in either direction."""


class Fault(Enum):
    """What happens to a connection."""

    CUT = "cut"  # both sides are reset, behind a whole chunk or in the middle of it
    CLOSE = "close"  # both sides see an end of file
    STALL = "stall"  # nothing is carried for a while, then it is cut
    SILENCE = "silence"  # nothing is carried any more, and nobody is told


WEIGHTS: Final = {Fault.CUT: 60, Fault.CLOSE: 20, Fault.STALL: 16, Fault.SILENCE: 4}


class _Pair:
    """A connection of a client, and the one to the server that goes with it."""

    def __init__(self, proxy: "FaultProxy", near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        random = proxy.random
        self._writers = {True: far, False: near}  # by whether it goes to the server
        self._to_server = random.random() < 0.5
        early = random.random() < proxy.early_share
        self._left = (
            random.randrange(HANDSHAKE_BYTES) if early else HANDSHAKE_BYTES + random.randrange(proxy.most_bytes)
        )
        self._fault = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        self._stall_seconds = random.uniform(0.01, 0.2)
        self._broken = asyncio.Event()

    async def carry(self, reader: asyncio.StreamReader, *, to_server: bool) -> None:
        """Carry one direction until the fault, or until a side hangs up."""
        writer = self._writers[to_server]
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if to_server is self._to_server and self._proxy.breaking:
                    if len(chunk) >= self._left:
                        writer.write(chunk[: self._left])
                        await self._break()
                        return
                    self._left -= len(chunk)
                writer.write(chunk)
                await writer.drain()
        self.close()

    async def _break(self) -> None:
        self._proxy.faults[self._fault] += 1
        match self._fault:
            case Fault.CUT:
                self.abort()
            case Fault.CLOSE:
                self.close()
            case Fault.STALL:
                for writer in self._writers.values():
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket
                await asyncio.sleep(self._stall_seconds)
                self.abort()
            case Fault.SILENCE:
                for writer in self._writers.values():
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # the same
                await asyncio.sleep(self._proxy.silence_seconds)
                self.abort()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def abort(self) -> None:
        for writer in self._writers.values():
            writer.transport.abort()


class FaultProxy:
    """Leads to a server on this machine for the length of an `async with` block.

    Args:
        port: of the server.
        seed: of what happens.
        most_bytes: behind its handshake, a connection carries at most so many in the direction that breaks.
        early_share: of connections that break during the handshake.
        silence_seconds: how long a connection that has fallen silent stays open.

    Attributes:
        port: where clients connect.
        breaking: connections break from the moment when this is set.
        faults: how often each happened.
    """

    def __init__(
        self, port: int, *, seed: int, most_bytes: int = 4000, early_share: float = 0.1, silence_seconds: float = 30.0
    ) -> None:
        self.random = Random(seed)
        self.most_bytes = most_bytes
        self.early_share = early_share
        self.silence_seconds = silence_seconds
        self.breaking = False
        self.faults: Counter[Fault] = Counter()
        self.port = 0
        self._server_port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(HOST, self._server_port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(self, writer, far)
        try:
            await asyncio.gather(pair.carry(reader, to_server=True), pair.carry(far_reader, to_server=False))
        finally:
            pair.abort()
