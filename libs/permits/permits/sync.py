"""Pools for threads: Django, Celery, scripts.

    from permits.sync import SyncPool

    pool = SyncPool(lambda: RedisPool("reports", redis=Redis.from_url(URL), capacity=10))

    with pool.permit("anna", wait_seconds=5) as permit:
        ...

One background thread runs an event loop with the pool, which renews the lease while the threads work. When Ctrl-C, a
time limit of Celery or another exception interrupts a thread that waits, a permit granted meanwhile is released.

A pool opens at its first use, separately in each process: a forked process opens its own. It closes with `close`, at
the end of a `with` block, or when the interpreter or a process of `multiprocessing` exits. A process that ends with
`os._exit`, as Celery's do, has to call `close`; otherwise its permits are free when its lease ends.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from multiprocessing import parent_process
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast
from weakref import WeakSet

from permits.arguments import check_callable, check_request
from permits.base import Outlook, PoolState
from permits.errors import PoolClosed, PoolMisuse, Reason
from permits.pool import ClientOf, Pool, check_limit, client_of, name_of
from permits.sync_worker import Make, SyncPermit, Worker

__all__ = ["SyncPermit", "SyncPool"]

FORK_SECONDS: Final = 5.0
Function = TypeVar("Function", bound=Callable[..., Any])


class SyncPool:
    """A pool that threads share.

    Args:
        make: creates the pool and the client of its store, or another async context manager that yields a pool.
                Called in the background thread, once in each process.
    """

    def __init__(self, make: Make) -> None:
        check_callable("make", make)
        self._make = make
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._closed = False
        _pools.add(self)

    def open(self) -> None:
        """Open the pool now instead of at its first use.

        Raises:
            PoolMisuse: called on an event loop, or by a callback of this pool.
            PoolClosed: it was closed.
        """
        self._opened()

    def ready(self) -> bool:
        """See `PermitPool.ready`. False before the first use."""
        worker = self._worker
        return worker is not None and worker.pool is not None and worker.pool.ready()

    def condition(self) -> Reason | None:
        """See `PermitPool.condition`. `Reason.LIMITS_UNAVAILABLE` before the first use."""
        worker = self._worker
        if worker is None or worker.pool is None:
            return Reason.DRAINING if self._closed else Reason.LIMITS_UNAVAILABLE
        return worker.pool.condition()

    def acquire(
        self,
        client_id: str,
        *,
        wait_seconds: float,
        wait_id: str | None = None,
        on_lost: Callable[[SyncPermit], object] | None = None,
    ) -> SyncPermit:
        """Return a permit, and queue for it if necessary. As `PermitPool.acquire`, but it blocks the calling thread.

        Args:
            client_id: the client.
            wait_seconds: how long to wait; 0: do not wait.
            wait_id: names the position in the queue, as for `PermitPool.acquire`.
            on_lost: called in the background thread when the permit is lost. It must be quick and must not call
                    the pool.

        Raises:
            PermitError: as `PermitPool.acquire`.
            PoolMisuse: as `open`.
        """
        check_request(client_id, wait_seconds, wait_id)
        if on_lost is not None:
            check_callable("on_lost", on_lost)
        worker = self._opened()

        async def take(pool: Pool) -> SyncPermit:
            return worker.hold(await pool.acquire(client_id, wait_seconds=wait_seconds, wait_id=wait_id), on_lost)

        return worker.call(take, wait_seconds=wait_seconds, undo=SyncPermit.release)

    @contextmanager
    def permit(
        self, client_id: str, *, wait_seconds: float, on_lost: Callable[[SyncPermit], object] | None = None
    ) -> Iterator[SyncPermit]:
        """Hold a permit for the length of a `with` block. A thread cannot be cancelled: use `valid()` or `on_lost`.

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
            client_id: the client, or a function that returns it, called with the arguments of the call.
            wait_seconds: how long to wait, as for `acquire`.

        Raises:
            TypeError: an argument is of another type, or what is decorated is not a plain function or generator.
            ValueError: an argument is invalid.
            PermitError: from a call of the function, as from `acquire`.
        """
        check_limit(client_id, wait_seconds)

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

    def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """See `PermitPool.peek`."""
        return self._opened().call(lambda pool: pool.peek(client_id, wait_id=wait_id))

    def state(self, *, clients: bool = True) -> PoolState:
        """See `PermitPool.state`."""
        return self._opened().call(lambda pool: pool.state(clients=clients))

    def close(self) -> None:
        """Grant no more, refuse waiting threads, and release all permits. Permits that threads still hold are lost.

        The pool cannot be opened again. Returns within bounded time, also when the store is unavailable.
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

    def _opened(self) -> Worker:
        _refuse_on_a_loop()
        worker = self._worker
        if worker is not None and worker.alive():
            return worker
        with self._lock:
            if self._closed:
                raise PoolClosed
            if self._worker is None or not self._worker.alive():
                _refuse_green_threads()
                worker = Worker(self._make)
                worker.start()
                self._worker = worker
                _close_with_process()
            return self._worker

    def settle(self) -> None:
        """Wait until no pool is being opened: locks that its thread holds would stay locked in a forked process."""
        if self._lock.acquire(timeout=FORK_SECONDS):
            self._lock.release()

    def forget(self) -> None:
        """Reset the state in a forked process. The parent keeps the old pools."""
        self._lock = threading.Lock()
        if self._worker is not None:
            _of_the_parent.append(self._worker)
            self._worker = None


def _refuse_on_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise PoolMisuse(
        "a SyncPool would block this event loop; use an async pool here, or call from a thread (asyncio.to_thread)"
    )


def _refuse_green_threads() -> None:
    lock = type(threading.Lock())
    if lock.__module__ != "_thread":
        raise PoolMisuse(
            f"a SyncPool needs real threads, and {lock.__module__.partition('.')[0]} has replaced them; "
            "its event loop would stop whenever other code does not yield"
        )


_pools: WeakSet[SyncPool] = WeakSet()
_of_the_parent: list[Worker] = []
"""Never freed: freeing the copy of an event loop would close descriptors that the parent uses."""


def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _close_with_process() -> None:
    """Close the pools when this process ends, also if it is one of `multiprocessing`, where `atexit` calls nothing."""
    if parent_process() is not None:
        Finalize(None, _close_all, exitpriority=0)


def _before_fork() -> None:
    for pool in list(_pools):
        pool.settle()


def _forked() -> None:
    for pool in list(_pools):
        pool.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_forked)
