"""The background thread of a pool for threads, and the permits that threads hold."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from weakref import ref

from permits.call_future import CallFuture
from permits.errors import PoolClosed, PoolUnavailable
from permits.permit_block import HeldPermit
from permits.pool import Pool

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 30.0
"""Added to the caller's wait. A loop that has not replied by then is stuck."""
CLOSE_SECONDS: Final = 10.0
SWEEP_SECONDS: Final = 1.0
"""How often the thread looks for abandoned permits."""

Make = Callable[[], AbstractAsyncContextManager[Pool]]
T = TypeVar("T")


class SyncPermit:
    """A permit that a thread holds. Every method may be called from any thread."""

    __slots__ = ("__weakref__", "_permit", "_released", "_worker", "client_id", "ticket")

    def __init__(self, permit: HeldPermit, worker: "Worker") -> None:
        self._permit = permit
        self._worker = worker
        self._released = False
        self.client_id = permit.client_id
        self.ticket = permit.ticket

    def valid(self) -> bool:
        """See `Permit.valid`. Never true in a process that was forked since."""
        return not self._released and self._worker.ours() and self._permit.counts()

    def release(self) -> None:
        """See `Permit.release`."""
        if not self._released:
            self._worker.tell(partial(self._worker.release, self._permit))
            self._released = True  # last: if an exception interrupts this, the next call does it again


class _Held(NamedTuple):
    """A permit as the pool's thread knows it: the object that a thread holds, and the callback for its loss."""

    permit: "ref[SyncPermit]"
    watch: "asyncio.Task[None] | None"


async def _tell_of_loss(permit: HeldPermit, held: "ref[SyncPermit]", on_lost: Callable[[SyncPermit], object]) -> None:
    await permit.lost()
    loser = held()
    if loser is not None:
        try:
            on_lost(loser)
        except Exception:
            log.exception("permits: on_lost failed, for a permit of client %s", loser.client_id)


class Worker:
    """The background thread: an event loop with an open pool.

    Args:
        make: creates the pool.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._pid = os.getpid()
        self._started = CallFuture[None]()
        self._thread = threading.Thread(target=self._run, name="permits", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopping = False
        self._held: dict[HeldPermit, _Held] = {}
        self._sweeping = False
        self.pool: Pool | None = None

    def ours(self) -> bool:
        """Whether the thread runs in this process."""
        return self._pid == os.getpid()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start, and return when the pool is open. Raises what making and opening the pool raise."""
        self._thread.start()
        try:
            self._started.take(threading.TIMEOUT_MAX, self.alive)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close the pool and end the thread, in bounded time."""
        self._stopping = True
        self.tell(self._begin_to_stop)
        self._thread.join(CLOSE_SECONDS)
        if self.alive():
            log.warning("permits: the thread of a pool does not end; its lease will")

    def tell(self, what: Callable[[], object]) -> None:
        """Call a function in the thread. After the thread has ended this does nothing."""
        if self._loop is not None and self.ours():
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(what)

    def call(
        self,
        ask: Callable[[Pool], Coroutine[Any, Any, T]],
        *,
        wait_seconds: float = 0,
        undo: Callable[[T], object] | None = None,
    ) -> T:
        """Run a coroutine in the thread and return its result.

        If an exception interrupts the wait, the coroutine is cancelled, or its result is undone.
        """
        outcome = CallFuture(undo)
        try:
            self.tell(lambda: self._begin(ask, outcome))
            return outcome.take(wait_seconds + ANSWER_SECONDS, self.alive)
        except PoolUnavailable:
            if self._stopping:
                raise PoolClosed from None
            raise
        finally:
            if not outcome.settled:
                self.tell(outcome.abandon)

    def _begin(self, ask: Callable[[Pool], Coroutine[Any, Any, T]], outcome: CallFuture[T]) -> None:
        pool = self.pool
        if pool is not None:
            outcome.task = asyncio.get_running_loop().create_task(_answer(ask, pool, outcome))

    def _begin_to_stop(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def hold(self, permit: HeldPermit, on_lost: Callable[[SyncPermit], object] | None) -> SyncPermit:
        """Return a permit for a thread. Called in the pool's thread, as `release`."""
        held = SyncPermit(permit, self)
        watch = None
        if on_lost is not None:
            watch = asyncio.get_running_loop().create_task(_tell_of_loss(permit, ref(held), on_lost))
        self._held[permit] = _Held(ref(held), watch)
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        return held

    def release(self, permit: HeldPermit) -> None:
        """Release a permit."""
        permit.release()
        held = self._held.pop(permit, None)
        if held is not None and held.watch is not None:
            held.watch.cancel()

    def _sweep(self) -> None:
        """Release permits that no thread can release any more, such as those of interrupted threads."""
        for permit in [permit for permit, held in self._held.items() if held.permit() is None]:
            self.release(permit)
        self._sweeping = bool(self._held)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:
            if not self._started.settled:
                self._started.fail(exc)
            elif not isinstance(exc, asyncio.CancelledError):
                log.exception("permits: the thread of a pool has ended")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        if self._stopping:
            return
        made: object = self._make()
        if not isinstance(made, AbstractAsyncContextManager):
            raise TypeError(f"make must return a pool or an async context manager that yields one, not {made!r}")
        async with made as pool:
            if not isinstance(pool, Pool):
                raise TypeError(f"make must yield a pool, not {pool!r}")
            self.pool = pool
            self._started.succeed(None)
            try:
                await self._loop.create_future()
            finally:
                await pool.close()  # refuses the waiting requests
                await asyncio.sleep(0)


async def _answer(ask: Callable[[Pool], Coroutine[Any, Any, T]], pool: Pool, outcome: CallFuture[T]) -> None:
    try:
        outcome.succeed(await ask(pool))
    except Exception as exc:  # noqa: BLE001 - raised again in the calling thread
        outcome.fail(exc)
