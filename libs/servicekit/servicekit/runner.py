"""Runs the servers of one process in one event loop, and ends them in good order.

SIGTERM or SIGINT starts the drain: what the program itself does to finish (readiness off, requests in flight,
connections closed one by one, outbox flushed), bounded by one budget. Only then do the servers close; uvicorn
by itself would drop every socket at the first signal. A second signal ends at once, with a close frame for each
WebSocket whose peer reads it. A signal before anything is served ends the start.
"""

import asyncio
import contextlib
import gc
import logging
import math
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

import uvicorn

from servicekit.bounded_http import answer_refusals, bounded
from servicekit.capacity import Capacity, raise_descriptor_limit
from servicekit.heap import return_freed_memory
from servicekit.listener import Address, Bound, CannotListen, Listener, bind_all
from servicekit.logs import get_logger
from servicekit.signals import StopSignals, leave_with, stop_signals

__all__ = ["EXIT_FAILURE", "EXIT_OK", "GC_THRESHOLDS", "Address", "Drain", "Listener", "Ready", "run", "serve"]

EXIT_OK = 0
EXIT_FAILURE = 1

GC_THRESHOLDS = (2_000, 500, 20)
"""How many new objects the garbage collector waits for, and how often it looks at new ones before older ones.

Nothing else runs while it looks. With 50,000 new objects at a time, a busy pod stood still for 20 to 65 ms. Older ones
are looked at once in a million new ones. Python's own thresholds (700, 10, 10) make it look at all of them all the time
while connections are accepted, which makes many objects that live on: that was measured 1.75 times slower."""

CLOSE_SECONDS = 5.0
GOODBYE_SECONDS = 0.5
"""How long connections that are told to close may take to do so, when there is no time for a good end."""
TURNS = 25
ABORT_SECONDS = 1.0
"""How long a request that was cut off may take to clean up."""

Drain = Callable[[], Awaitable[bool]]
"""Finishes the work of the program; True when nothing is left over."""

Ready = Callable[[Sequence[Address]], None]
"""Told once, when every listener listens, the real addresses in the order of the listeners."""

_log = get_logger(__name__)


async def serve(
    listeners: Sequence[Listener],
    drain: Drain,
    drain_seconds: float,
    *,
    ready: Ready | None = None,
    stop: asyncio.Event | None = None,
    close_seconds: float = CLOSE_SECONDS,
    max_connections: int | None = None,
) -> int:
    """Serve all `listeners` until a signal (or `stop`), then drain and close; return the exit code.

    Args:
        listeners: what to serve. One that cannot listen stops them all, with one line on standard error.
        drain: finishes the work of the program.
        drain_seconds: how long it may take; then it is cancelled.
        ready: told the real addresses when all listen.
        stop: ends the serving like a signal does, for programs that end by themselves.
        close_seconds: after the drain, how long responses that are still being sent may take (whole seconds).
        max_connections: how many connections there may be at all ports together; None: as many as the limit of file
            descriptors leaves, and never more than that.

    Returns:
        0 when all ended in good order; 1 when a port was taken, a server failed, the drain left something
        over, failed or took too long, or a second signal came.
    """
    try:
        bound = bind_all(listeners)
    except CannotListen as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_FAILURE
    capacity = Capacity(max_connections)
    servers = [_Server(one, close_seconds, capacity) for one in bound]
    running = [asyncio.create_task(server.serve_bound(), name=server.name) for server in servers]
    ending: asyncio.Task[bool] | None = None
    try:
        with stop_signals() as signals, signals.claimed(stop):
            await _until_listening(servers, running, ready)
            await _first(signals.first, *running)
            failed = _report_failed(running)
            ending = asyncio.create_task(_drain_and_close(servers, running, drain, drain_seconds), name="drain")
            await _first(signals.second, ending)
            if not ending.done():
                _log.warning("second signal: leaving at once")
                return EXIT_FAILURE
            return EXIT_FAILURE if failed or not ending.result() else EXIT_OK
    finally:
        await _cut_off(servers, [*running, *([ending] if ending else [])])


def run(main: Coroutine[Any, Any, int] | Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the program `main` in an event loop made for servers and return its exit code.

    uvloop where it can be imported, a garbage collector whose pauses are short (see `GC_THRESHOLDS`), and as many file
    descriptors as there may be. What `main` raises is raised here too. A signal before `serve` cancels `main`, and the
    exit code is 0.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    return_freed_memory()
    raise_descriptor_limit()
    code = EXIT_FAILURE
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(_stoppable(main))
    finally:
        leave_with(code)
    return code


async def _stoppable(main: Coroutine[Any, Any, int] | Callable[[], Coroutine[Any, Any, int]]) -> int:
    program = asyncio.current_task()
    assert program is not None  # noqa: S101 - a coroutine runs in a task

    with StopSignals() as signals:

        def stop_before_serving(_: object) -> None:
            if not signals.is_claimed:
                _log.info("stopped before serving")
                program.cancel()

        signals.first.add_done_callback(stop_before_serving)
        try:
            return await (main if isinstance(main, Coroutine) else main())
        except asyncio.CancelledError:
            if signals.first.done() and not signals.is_claimed:
                return EXIT_OK
            raise


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals and the end of the process to us."""

    def __init__(self, bound: Bound, close_seconds: float, capacity: Capacity) -> None:
        super().__init__(_config(bound.listener, close_seconds, capacity))
        capacity.add_port(self.server_state.connections)
        self.name = bound.listener.name
        self.bound = bound
        self.listening = asyncio.Event()

    async def serve_bound(self) -> None:
        await self.serve(list(self.bound.sockets))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def cut_off(self) -> None:
        """Drop what a good end would have finished, with a word where that is possible; nothing to do after one."""
        for server in getattr(self, "servers", []):
            server.close()
        self.bound.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(TURNS):
            if not self.server_state.connections:
                break
            await asyncio.sleep(GOODBYE_SECONDS / TURNS)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        requests = list(self.server_state.tasks)
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests, timeout=ABORT_SECONDS)


def _config(listener: Listener, close_seconds: float, capacity: Capacity) -> uvicorn.Config:
    return uvicorn.Config(
        answer_refusals(listener.app),
        host=listener.host,
        port=listener.port,
        http=bounded(listener, capacity),
        ws=listener.ws or "none",
        ws_max_size=listener.ws_max_bytes,
        ws_ping_interval=listener.ws_ping_seconds,
        ws_ping_timeout=listener.ws_pong_seconds,
        # Voice and video get no smaller, and compressing 100 KB was measured 25 times slower than sending it.
        ws_per_message_deflate=False,
        lifespan="off",
        # Logs go where servicekit.logs sends them.
        log_config=None,
        log_level=logging.WARNING,  # its info lines hold the query of each connection, which names the client
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here acts on addresses of clients, and uvicorn believes FORWARDED_ALLOW_IPS
        workers=1,
        timeout_graceful_shutdown=math.ceil(close_seconds),
    )


async def _until_listening(
    servers: Sequence[_Server], running: Sequence[asyncio.Task[None]], ready: Ready | None
) -> None:
    for server, task in zip(servers, running, strict=True):
        listening = asyncio.create_task(server.listening.wait())
        await _first(listening, task)
        if not listening.done():
            listening.cancel()
            return
    addresses = [server.bound.address for server in servers]
    _log.info("listening", **{address.name: str(address) for address in addresses})
    if ready is not None:
        ready(addresses)


def _report_failed(running: Sequence[asyncio.Task[None]]) -> bool:
    failed = [task for task in running if task.done()]
    for task in failed:
        _log.error("a server ended by itself", server=task.get_name(), exc_info=task.exception())
    return bool(failed)


async def _drain_and_close(
    servers: Sequence[_Server], running: Sequence[asyncio.Task[None]], drain: Drain, drain_seconds: float
) -> bool:
    clean = await _drain(drain, drain_seconds)
    for server in servers:
        server.should_exit = True
    await asyncio.wait(running)
    return clean


async def _drain(drain: Drain, drain_seconds: float) -> bool:
    _log.info("draining", budget_seconds=drain_seconds)
    try:
        async with asyncio.timeout(drain_seconds):
            clean = await drain()
    except TimeoutError:
        _log.warning("the drain took longer than its budget", budget_seconds=drain_seconds)
        return False
    except Exception:  # noqa: BLE001 - whatever it is, the servers must still be closed
        _log.exception("the drain failed")
        return False
    if clean:
        _log.info("drained")  # the proof that nothing was left, for whoever did not see the exit code
    else:
        _log.warning("the drain left something over")
    return clean


async def _cut_off(servers: Sequence[_Server], tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(server.cut_off() for server in servers))


async def _first(*awaited: asyncio.Future[Any]) -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - it does not exist on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
