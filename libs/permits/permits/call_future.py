"""The result of one call, passed from the pool's thread to the thread that called."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from permits.errors import PoolUnavailable

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a waiting thread checks whether the pool's thread is alive."""


class CallFuture(Generic[T]):
    """The result of one call. The pool's thread settles or abandons it; the calling thread waits and takes it.

    It is signalled by a bare lock. Ctrl-C and time limits raise exceptions at any point of a waiting thread, and of the
    primitives of `threading` only a lock is atomic under that: it is acquired or it is not.

    Args:
        undo: called with a value that the thread no longer takes.
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
        """Settle with a value."""
        if not self._abandoned:
            self._value = value
            self._settle()
        elif self._undo is not None:
            self._undo(value)

    def fail(self, error: BaseException) -> None:
        """Settle with an error."""
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._latch.release()

    def abandon(self) -> None:
        """Give up: the calling thread no longer waits."""
        self._abandoned = True
        if self.task is not None:
            self.task.cancel()
        if self._value is not None and self._undo is not None:
            self._undo(self._value)

    def take(self, seconds: float, alive: Callable[[], bool]) -> T:
        """Wait for the value and return it; raise the error.

        Raises:
            PoolUnavailable: there was no result in time, or the pool's thread is not alive.
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
