"""One timer for all who wait.

A timer of the event loop for each of them would cost more than the rest of a wait, and nearly all of them are granted
long before it rings.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

from permits.redis.requests import AcquireRequest

FEW = 64


class WaitDeadlines:
    """Calls a function for each waiter whose deadline has passed.

    Args:
        on_over: told of each request whose deadline has passed while it was waiting.
    """

    def __init__(self, on_over: Callable[[AcquireRequest], None]) -> None:
        self._on_over = on_over
        self._waiting: dict[str, AcquireRequest] = {}
        self._heap: list[tuple[float, int, str]] = []  # of ids, so that no request is kept that waits no more
        self._order = count()  # tells apart those of the same moment
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def anybody(self) -> bool:
        """Whether requests wait."""
        return bool(self._waiting)

    def add(self, deadline: float, request: AcquireRequest) -> None:
        """Watch one more, until this event loop time."""
        self._waiting[request.id] = request
        heappush(self._heap, (deadline, next(self._order), request.id))
        if self._alarm is None or deadline < self._alarm.when():
            self._arm()

    def discard(self, request: AcquireRequest) -> None:
        """Watch one no longer, if it was watched."""
        if self._waiting.pop(request.id, None) is None:
            return
        if len(self._heap) > 2 * len(self._waiting) + FEW:
            self._heap = [entry for entry in self._heap if entry[2] in self._waiting]
            heapify(self._heap)

    def stop(self) -> None:
        """Watch no requests any more."""
        self._waiting.clear()
        self._heap.clear()
        self._arm()

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2] not in self._waiting):
            _, _, id_ = heappop(self._heap)
            request = self._waiting.pop(id_, None)
            if request is not None:
                self._on_over(request)
        self._arm()

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap:
            self._alarm = asyncio.get_running_loop().call_at(self._heap[0][0], self._ring)
