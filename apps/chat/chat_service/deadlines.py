"""One timer for all deadlines of a pod.

A timer of the event loop for each connection would be set anew with each message. Here a deadline is an entry in a
heap, and one timer rings for the earliest of them. An entry that is cancelled stays in the heap until its time or until
there are many of them.
"""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from servicekit.logs import get_logger

log = get_logger(__name__)

FEW: Final = 64


class Deadline:
    """One moment and what is called then; `cancel` takes it back."""

    __slots__ = ("_call", "_owner", "when")

    def __init__(self, owner: "Deadlines", when: float, call: Callable[[], None]) -> None:
        self._owner = owner
        self.when = when
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Call nothing. Idempotent."""
        if self._call is not None:
            self._call = None
            self._owner.forget()

    def take(self) -> Callable[[], None] | None:
        """Return what is to be called, once."""
        call, self._call = self._call, None
        return call

    @property
    def is_cancelled(self) -> bool:
        """Whether nothing will be called any more."""
        return self._call is None


class Deadlines:
    """The deadlines of one event loop. A call that raises is logged and disturbs no other."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._order = count()
        self._cancelled = 0
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0  # uvloop's handle of a timer that is due does not tell

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, when: float, call: Callable[[], None]) -> Deadline:
        """Call `call` at this event loop time, or soon when it is past."""
        deadline = Deadline(self, when, call)
        heappush(self._heap, (when, next(self._order), deadline))
        if self._timer is None or when < self._rings_at:
            self._arm()
        return deadline

    def forget(self) -> None:
        """Count an entry that was cancelled."""
        self._cancelled += 1
        if self._cancelled > len(self._heap) // 2 + FEW:
            self._heap = [entry for entry in self._heap if not entry[2].is_cancelled]
            heapify(self._heap)
            self._cancelled = 0
            self._arm()

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            call = heappop(self._heap)[2].take()
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except Exception:
                log.exception("deadline.bug")
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._rings_at = self._heap[0][0]
            self._timer = asyncio.get_running_loop().call_at(self._rings_at, self._ring)
