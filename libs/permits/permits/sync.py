"""Pools for threads: Django, Celery, scripts.

    from permits.sync import SyncPool

    pool = SyncPool(lambda: RedisPool("reports", redis=Redis.from_url(URL), capacity=10))

    with pool.permit("anna", wait_seconds=5) as permit:
        ...

One background thread runs an event loop with a pool on it; heartbeats go on there while the threads work. The promises
are those of the pool: what a caller was granted and cannot take any more, because of Ctrl-C, a time limit of Celery or
any other exception in its thread, is given back.

A pool opens with its first use, in each process anew: a fork begins without it, and opens its own. It closes with
`close`, at the end of a `with` block, or as the interpreter ends.
"""

import asyncio
import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar, cast
from weakref import WeakSet, ref

from permits.base import Outlook, PoolState
from permits.errors import PoolClosed, PoolMisuse, PoolUnavailable
from permits.pool import ClientOf, HeldPermit, Pool, client_of, name_of

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 30.0
"""Beyond what a caller waits for: a loop that is silent for longer is stuck."""
CLOSE_SECONDS: Final = 10.0
FORK_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
"""How often a thread that waits looks whether the pool's is alive, and the pool's for permits that nobody has."""

Make = Callable[[], AbstractAsyncContextManager[Pool]]
Function = TypeVar("Function", bound=Callable[..., Any])
T = TypeVar("T")


class SyncPermit:
    """A permit that a thread holds. Every method may be called from any thread."""

    __slots__ = ("__weakref__", "_permit", "_released", "_worker", "client_id", "ticket")

    def __init__(self, permit: HeldPermit, worker: "_Worker") -> None:
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
            self._worker.tell(partial(self._worker.let_go, self._permit))
            self._released = True  # only now: an exception may come in between, and the next call makes good for it


class SyncPool:
    """A pool that threads share.

    Args:
        make: makes the pool, and the client of its store with it; or returns another `async with` block that yields a
            pool. Called in the background thread, once in each process.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False
        _pools.add(self)

    def open(self) -> None:
        """Open the pool now rather than with its first use.

        Raises:
            PoolMisuse: called on an event loop, or by a callback of this pool.
            PoolClosed: it was closed.
        """
        self._opened()

    def ready(self) -> bool:
        """See `PermitPool.ready`. False before the first use."""
        worker = self._worker
        return worker is not None and worker.pool is not None and worker.pool.ready()

    def acquire(
        self, client_id: str, *, wait_seconds: float, on_lost: Callable[[SyncPermit], object] | None = None
    ) -> SyncPermit:
        """Return a permit, waiting in line for it; as `PermitPool.acquire`, and it blocks its thread only.

        Args:
            client_id: who asks.
            wait_seconds: how long to wait; 0: now or never.
            on_lost: called when the permit is lost, in the background thread, so it must be quick and ask nothing of
                the pool.

        Raises:
            PermitError: as `PermitPool.acquire`.
            PoolMisuse: as `open`.
        """
        worker = self._opened()

        async def take(pool: Pool) -> SyncPermit:
            return worker.hold(await pool.acquire(client_id, wait_seconds=wait_seconds), on_lost)

        return worker.call(take, wait_seconds=wait_seconds, undo=SyncPermit.release)

    @contextmanager
    def permit(
        self, client_id: str, *, wait_seconds: float, on_lost: Callable[[SyncPermit], object] | None = None
    ) -> Iterator[SyncPermit]:
        """Hold a permit for the length of a `with` block. A thread cannot be cancelled: ask `valid()`, or be told.

        Arguments and errors are those of `acquire`.
        """
        permit = self.acquire(client_id, wait_seconds=wait_seconds, on_lost=on_lost)
        try:
            yield permit
        finally:
            permit.release()

    def limited(self, client_id: ClientOf, *, wait_seconds: float) -> Callable[[Function], Function]:
        """Return a decorator: each call of the function holds a permit, and a generator until it is closed.

        Args:
            client_id: who asks; or a function that is called with the arguments of the call and returns that.
            wait_seconds: how long to wait, as for `acquire`.

        Raises:
            TypeError: what is decorated is not a plain function or generator.
            PermitError: from a call of the function, as from `acquire`.
        """

        def decorate(function: Function) -> Function:
            if iscoroutinefunction(function) or isasyncgenfunction(function) or not callable(function):
                raise TypeError(
                    f"limited() of a SyncPool needs a plain function, and {name_of(function)} is none; "
                    "an `async def` is decorated by the limited() of an async pool"
                )
            if isgeneratorfunction(function):

                @wraps(function)
                def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401 - as the function
                    with self.permit(client_of(client_id, args, kwargs), wait_seconds=wait_seconds):
                        return (yield from function(*args, **kwargs))

                return cast(Function, generate)

            @wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the function
                with self.permit(client_of(client_id, args, kwargs), wait_seconds=wait_seconds):
                    return function(*args, **kwargs)

            return cast(Function, call)

        return decorate

    def peek(self, client_id: str) -> Outlook:
        """See `PermitPool.peek`."""
        return self._opened().call(lambda pool: pool.peek(client_id))

    def state(self) -> PoolState:
        """See `PermitPool.state`."""
        return self._opened().call(lambda pool: pool.state())

    def close(self) -> None:
        """Grant no more, tell those who wait, and give everything back; what threads still hold is lost for them.

        The pool is not opened again. Returns within bounded time, with a store that is away, too.
        """
        _refuse_on_a_loop()
        with self._lock:
            self._closed = True
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()

    def __enter__(self) -> Self:
        """Open the pool."""
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool."""
        self.close()

    def _opened(self) -> "_Worker":
        _refuse_on_a_loop()
        worker = self._worker
        if worker is not None and worker.alive():
            return worker
        with self._lock:
            if self._closed:
                raise PoolClosed
            if self._worker is None or not self._worker.alive():
                worker = _Worker(self._make)
                worker.start()
                self._worker = worker
            return self._worker

    def settle(self) -> None:
        """Wait until no pool is being opened: what its thread imports or locks meanwhile would be locked in a fork."""
        if self._lock.acquire(timeout=FORK_SECONDS):
            self._lock.release()

    def forget(self) -> None:
        """Begin again, in a process that was just forked: its parent goes on with what was."""
        self._lock = threading.Lock()
        if self._worker is not None:
            _of_the_parent.append(self._worker)
            self._worker = None


class _Held(NamedTuple):
    """What the pool's thread knows of a permit that a thread holds: the thread's own, and who waits for its loss."""

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


class _Outcome(Generic[T]):
    """What one call comes to. The pool's thread settles or abandons it; the thread that called waits and takes it.

    A bare lock tells of it. An exception may come at any moment in a thread that waits, and of all there is to wait
    with only the lock is in one piece: it is taken or it is not.

    Args:
        undo: what to do with a value that nobody takes.
    """

    def __init__(self, undo: Callable[[T], object] | None = None) -> None:
        self._undo = undo
        self._latch = threading.Lock()
        self._latch.acquire()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._abandoned = False
        self.settled = False
        self.task: asyncio.Task[None] | None = None

    def succeed(self, value: T) -> None:
        """There is a value."""
        if not self._abandoned:
            self._value = value
            self._settle()
        elif self._undo is not None:
            self._undo(value)

    def fail(self, error: BaseException) -> None:
        """There is an error."""
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._latch.release()

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._abandoned = True
        if self.task is not None:
            self.task.cancel()
        if self._value is not None and self._undo is not None:
            self._undo(self._value)

    def take(self, seconds: float, alive: Callable[[], bool]) -> T:
        """Wait for the value and return it; raise the error.

        Raises:
            PoolUnavailable: nothing was heard for so long, or the thread that would tell is not alive.
        """
        over_at = time.monotonic() + seconds
        while True:
            left_seconds = over_at - time.monotonic()
            dead = not alive()
            if self._latch.acquire(timeout=max(0.0, min(left_seconds, LOOK_SECONDS))):
                break
            if dead or left_seconds <= 0:
                raise PoolUnavailable(f"the thread of this pool {'has ended' if dead else 'is stuck'}")
        if self._error is not None:
            raise self._error
        return cast(T, self._value)


class _Worker:
    """The background thread: an event loop with an open pool.

    Args:
        make: makes the pool.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._pid = os.getpid()
        self._started = _Outcome[None]()
        self._thread = threading.Thread(target=self._run, name="permits", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopping = False
        self._held: dict[HeldPermit, _Held] = {}
        self._sweeping = False
        self.pool: Pool | None = None

    def ours(self) -> bool:
        """Whether this is the process in which the thread runs."""
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
        """Have something done in the thread. When that has ended, nothing is left to be done."""
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
        """Return what a coroutine returns that runs in the thread.

        Whatever breaks off the wait, the coroutine is cancelled, or what it has returned is undone.
        """
        outcome = _Outcome(undo)
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

    def _begin(self, ask: Callable[[Pool], Coroutine[Any, Any, T]], outcome: _Outcome[T]) -> None:
        pool = self.pool
        if pool is not None:
            outcome.task = asyncio.get_running_loop().create_task(_answer(ask, pool, outcome))

    def _begin_to_stop(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def hold(self, permit: HeldPermit, on_lost: Callable[[SyncPermit], object] | None) -> SyncPermit:
        """Return a permit for a thread. For the thread of the pool, as `let_go`."""
        held = SyncPermit(permit, self)
        watch = None
        if on_lost is not None:
            watch = asyncio.get_running_loop().create_task(_tell_of_loss(permit, ref(held), on_lost))
        self._held[permit] = _Held(ref(held), watch)
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._sweep)
        return held

    def let_go(self, permit: HeldPermit) -> None:
        """Give a permit back."""
        permit.release()
        held = self._held.pop(permit, None)
        if held is not None and held.watch is not None:
            held.watch.cancel()

    def _sweep(self) -> None:
        """Give back what nobody can release any more, such as the permit of a thread that was broken off."""
        for permit in [permit for permit, held in self._held.items() if held.permit() is None]:
            self.let_go(permit)
        self._sweeping = bool(self._held)
        if self._sweeping:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._sweep)

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
        async with self._make() as pool:
            self.pool = pool
            self._started.succeed(None)
            try:
                await self._loop.create_future()
            finally:
                await pool.close()  # which refuses those who wait
                await asyncio.sleep(0)


async def _answer(ask: Callable[[Pool], Coroutine[Any, Any, T]], pool: Pool, outcome: _Outcome[T]) -> None:
    try:
        outcome.succeed(await ask(pool))
    except Exception as exc:  # noqa: BLE001 - raised by the thread that called
        outcome.fail(exc)


def _refuse_on_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise PoolMisuse(
        "a SyncPool would block this event loop; use an async pool here, or call from a thread (asyncio.to_thread)"
    )


_pools: WeakSet[SyncPool] = WeakSet()
_of_the_parent: list[_Worker] = []
"""Kept as they are: freeing the copy of an event loop would close what the parent goes on with."""


def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _before_fork() -> None:
    for pool in list(_pools):
        pool.settle()


def _forked() -> None:
    for pool in list(_pools):
        pool.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_forked)
