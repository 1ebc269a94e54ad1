"""One timer for all who wait.

A timer of the event loop for each of them would cost more than the rest of a wait, and nearly all of them are granted
long before it rings.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from permits.redis.requests import Ask


class Deadlines:
    """Says when the time of somebody in line is over.

    Args:
        on_over: told of each ask whose deadline has passed, unless it was over before.
    """

    def __init__(self, on_over: Callable[[Ask], None]) -> None:
        self._on_over = on_over
        self._heap: list[tuple[float, int, Ask]] = []
        self._order = count()  # tells apart those of the same moment
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def anybody(self) -> bool:
        """Whether somebody waits."""
        self._drop_settled()
        return bool(self._heap)

    def add(self, deadline: float, ask: Ask) -> None:
        """Watch one more, until this event loop time."""
        self._drop_settled()
        heappush(self._heap, (deadline, next(self._order), ask))
        if self._alarm is None or deadline < self._alarm.when():
            self._arm()

    def stop(self) -> None:
        """Watch nobody any more."""
        self._heap.clear()
        self._arm()

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            _, _, ask = heappop(self._heap)
            if not ask.over:
                self._on_over(ask)
        self._drop_settled()
        self._arm()

    def _drop_settled(self) -> None:
        """Forget those at the front who wait no more. First come is first served, so those are nearly all of them."""
        while self._heap and self._heap[0][2].over:
            heappop(self._heap)

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._heap:
            self._alarm = asyncio.get_running_loop().call_at(self._heap[0][0], self._ring)
