"""What one call of a thread comes to, handed from the thread of the pool to the thread that waits."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar, cast

from permits.errors import PoolUnavailable

T = TypeVar("T")

LOOK_SECONDS: Final = 1.0
"""How often a thread that waits looks whether the pool's is alive."""


class CallFuture(Generic[T]):
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
