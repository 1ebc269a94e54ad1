"""A network between processes and their store, in a thread of its own: it stalls, cuts, and delivers late."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar, cast

PULSE_SECONDS = 0.02
HOST = "127.0.0.1"
T = TypeVar("T")


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, pair: "_Pair") -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.pair.opened(self)

    def data_received(self, data: bytes) -> None:
        self.pair.carry(self, data)

    def connection_lost(self, _: Exception | None) -> None:
        self.pair.ended()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)


class _Pair:
    """A connection from a process, and the one to the store that goes with it."""

    def __init__(self, line: "Line", *, stalled: bool) -> None:
        self.line = line
        self.stalled = stalled
        self.near, self.far = _End(self), _End(self)
        self.kept: list[tuple[_End, bytes]] = []
        self.over = False

    def opened(self, end: _End) -> None:
        if end is self.near:
            self.line.pairs.add(self)
            self.line.connect(self)
        elif not self.stalled:
            self.resume()

    def carry(self, end: _End, data: bytes) -> None:
        other = self.far if end is self.near else self.near
        if self.stalled or other.transport is None:
            self.kept.append((other, data))
        else:
            other.write(data)

    def ended(self) -> None:
        """One side has hung up; the other hears of it when the network carries again."""
        self.over = True
        if not self.stalled:
            self.resume()

    def resume(self) -> None:
        """Carry what was kept, in its order."""
        self.stalled = False
        kept, self.kept = self.kept, []
        for end, data in kept:
            end.write(data)
        if self.over:
            self.line.pairs.discard(self)
            for end in (self.near, self.far):
                if end.transport is not None:
                    end.transport.close()

    def cut(self) -> None:
        self.kept.clear()
        self.over = True
        self.line.pairs.discard(self)
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.abort()


class Line:
    """One way to the store. Its methods may be called from any thread; they return when it is done.

    Attributes:
        port: where it listens.
    """

    def __init__(self, network: "Network", store_port: int) -> None:
        self._network = network
        self._store_port = store_port
        self._stalled = False
        self._connecting: set[asyncio.Task[None]] = set()
        self.pairs: set[_Pair] = set()
        self.port = 0

    async def listen(self) -> asyncio.Server:
        """Begin to take connections."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Pair(self, stalled=self._stalled).near, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def connect(self, pair: _Pair) -> None:
        """Connect the far side of a pair whose near side was opened."""
        task = asyncio.get_running_loop().create_task(self._connect(pair))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, pair: _Pair) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: pair.far, HOST, self._store_port)
        except OSError:
            pair.cut()

    def stall(self) -> None:
        """Hold everything up, also on connections that are made from now on."""

        async def do() -> None:
            self._stalled = True
            for pair in self.pairs:
                pair.stalled = True

        self._network.run(do())

    def hold_back(self) -> None:
        """Hold up what is said on the connections that there are; those that are made from now on flow."""

        async def do() -> None:
            for pair in self.pairs:
                pair.stalled = True

        self._network.run(do())

    def kept(self) -> int:
        """Return how many requests are held up."""

        async def do() -> int:
            return sum(end is pair.far for pair in self.pairs for end, _ in pair.kept)

        return self._network.run(do())

    def flowing(self) -> set[int]:
        """Return the ports from which the store is reached by connections that carry and whose process is there."""

        async def do() -> set[int]:
            carrying = [pair for pair in self.pairs if not pair.stalled and not pair.over]
            ends = [(pair.near.transport, pair.far.transport) for pair in carrying]
            return {far.get_extra_info("sockname")[1] for near, far in ends if near is not None and far is not None}

        return self._network.run(do())

    def hang_up(self) -> None:
        """Break the process's side of what is held up; its last requests arrive with `resume`."""

        async def do() -> None:
            for pair in list(self.pairs):
                if pair.stalled and pair.near.transport is not None:
                    pair.near.transport.abort()

        self._network.run(do())

    def resume(self) -> None:
        """Carry again, and first what was held up."""

        async def do() -> None:
            self._stalled = False
            for pair in list(self.pairs):
                pair.resume()

        self._network.run(do())

    def lead(self, store_port: int) -> None:
        """Lead to another server from now on, over new connections."""

        async def do() -> None:
            self._store_port = store_port
            await self.break_all()

        self._network.run(do())

    def cut(self) -> None:
        """Break all connections; what was on its way is gone."""
        self._network.run(self.break_all())

    async def break_all(self) -> None:
        """Do what `cut` does, from within."""
        for pair in list(self.pairs):
            pair.cut()


class Network:
    """Carries lines in a thread of its own for the length of a `with` block.

    Attributes:
        late: when (monotonic ns) its thread was not run in time, and for how many seconds.
    """

    def __init__(self) -> None:
        self.late: list[tuple[int, float]] = []
        self._lines: list[Line] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="network")

    def open(self, store_port: int) -> Line:
        """Open a line to a store on this machine."""
        line = Line(self, store_port)
        self.run(self._listen(line))
        return line

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the thread of the network."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _listen(self, line: Line) -> None:
        self._servers.append(await line.listen())
        self._lines.append(line)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        pulse = asyncio.create_task(self._pulse())
        self._up.set()
        await self._end.wait()
        pulse.cancel()
        for server in self._servers:
            server.close()
        for line in self._lines:
            await line.break_all()
        await asyncio.sleep(0)  # the transports take their leave in the next turn

    async def _pulse(self) -> None:
        while True:
            due = time.monotonic() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            late = time.monotonic() - due
            if late > PULSE_SECONDS:
                self.late.append((time.monotonic_ns(), late))
