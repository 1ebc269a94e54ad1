"""A pending request to the pool of one process, without a task."""

import asyncio
from collections.abc import Callable

from permits.base import PermitRequest
from permits.errors import PermitError, PermitTimeout, PoolClosed
from permits.memory_permit import MemoryPermit
from permits.memory_queue import Granted, MemoryQueue, Waiter
from permits.observer import OutcomeReporter


class MemoryRequest:
    """See `PermitRequest`."""

    __slots__ = ("_begun_at", "_cancelled", "_queue", "_reporter", "_result", "_settled", "_timer", "_waiter")

    def __init__(
        self, queue: MemoryQueue, reporter: OutcomeReporter, begun_at: float, settled: Callable[[PermitRequest], None]
    ) -> None:
        self._queue = queue
        self._reporter = reporter
        self._begun_at = begun_at
        self._settled = settled
        self._cancelled = False
        self._waiter: Waiter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._result: MemoryPermit | PermitError | None = None

    def wait(self, waiter: Waiter, seconds: float) -> None:
        """Settle when the waiter does, or after so many seconds."""
        self._waiter = waiter
        waiter.granted.add_done_callback(self._granted)
        self._timer = waiter.granted.get_loop().call_later(seconds, self._over, waiter)

    def _granted(self, granted: Granted) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._cancelled:
            if granted.exception() is None:
                granted.result().release()
        elif self._result is None:
            error = granted.exception()
            self._result = granted.result() if error is None else error if isinstance(error, PermitError) else None
            self._tell()

    def _over(self, waiter: Waiter) -> None:
        if waiter in self._queue:
            self._result = PermitTimeout(self._queue.place(waiter.ticket))
            self._queue.leave(waiter)
            self._tell()

    def settle(self, result: MemoryPermit | PermitError) -> None:
        """Settle at once."""
        self._result = result
        asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if not self._cancelled:
            if isinstance(self._result, PermitError):
                self._reporter.refused(self._begun_at, self._result)
            else:
                self._reporter.granted(self._begun_at, queued=self._waiter is not None)
            self._settled(self)

    def result(self) -> MemoryPermit:
        """See `PermitRequest.result`."""
        if isinstance(self._result, MemoryPermit):
            return self._result
        raise self._result or PoolClosed()

    def cancel(self) -> None:
        """See `PermitRequest.cancel`."""
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
        if self._waiter is not None:
            self._queue.leave(self._waiter)
        if isinstance(self._result, MemoryPermit):
            self._result.release()
