"""The pool of one process: the same rules without a store. It is also the test double of the pool in Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from permits.arguments import check_client, check_terms, check_wait
from permits.base import Outlook, PermitRequest, PoolState, Verdict
from permits.errors import ClientLimitReached, LineFull, PermitError, PermitTimeout, PoolClosed, Reason
from permits.memory_line import Granted, MemoryLine
from permits.memory_permit import MemoryPermit
from permits.memory_request import MemoryRequest
from permits.observer import PoolObserver, Report
from permits.pool import Pool


class MemoryPool(Pool):
    """Hands out permits of this process.

    Args:
        name: what metrics call it.
        capacity: permits there are, at least 1.
        per_client: permits one client may hold and wait for; None: no limit of its own.
        max_waiting: how many may stand in line.
        observer: is told what becomes of those who ask.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        per_client: int | None = None,
        max_waiting: int = 1000,
        observer: PoolObserver | None = None,
    ) -> None:
        check_terms(capacity=capacity, per_client=per_client, max_waiting=max_waiting)
        super().__init__(name)
        self._report = Report(name, observer)
        self._capacity = capacity
        self._per_client = per_client
        self._max_waiting = max_waiting
        self._tickets = 0  # the last one
        self._held = 0
        self._high_water = 0
        self._held_by: Counter[str] = Counter()
        self._line = MemoryLine()
        self._closed = False

    def ready(self) -> bool:
        """See `PermitPool.ready`."""
        return self._is_ours() and not self._closed

    def condition(self) -> Reason | None:
        """See `PermitPool.condition`."""
        return Reason.DRAINING if self._closed else None

    def learning_seconds(self) -> float:
        """See `PermitPool.learning_seconds`. Memory forgets nothing."""
        return 0.0

    async def acquire(self, client_id: str, *, wait_seconds: float) -> MemoryPermit:
        """See `PermitPool.acquire`."""
        begun_at = self._check_use().time()
        check_wait(wait_seconds)
        check_client(client_id)
        try:
            permit = self._grant_now(client_id, wait_seconds)
            in_line = permit is None
            if permit is None:
                permit = await self._wait(*self._join_line(client_id), wait_seconds)
        except PermitError as exc:
            self._report.refused(begun_at, exc)
            raise
        self._report.granted(begun_at, in_line=in_line)
        return permit

    def request(
        self, client_id: str, *, wait_seconds: float, settled: Callable[[PermitRequest], None]
    ) -> PermitRequest:
        """See `PermitPool.request`."""
        loop = self._check_use()
        begun_at = loop.time()
        check_wait(wait_seconds)
        check_client(client_id)
        request = MemoryRequest(self._line, self._report, begun_at, settled)
        try:
            permit = self._grant_now(client_id, wait_seconds)
        except PermitError as exc:
            request.settle(exc)
            return request
        if permit is None:
            request.wait(*self._join_line(client_id), wait_seconds)
        else:
            request.settle(permit)
        return request

    def _grant_now(self, client_id: str, wait_seconds: float) -> MemoryPermit | None:
        """Return a permit, or None: it takes a place in line. Raises PermitError."""
        outlook = self._look(client_id)
        if outlook.verdict is Verdict.CLIENT_LIMIT:
            raise ClientLimitReached
        if outlook.verdict is Verdict.GRANTED:
            return self._grant(client_id, self._next_ticket())
        if wait_seconds <= 0:
            raise PermitTimeout(outlook.place)
        if outlook.verdict is Verdict.LINE_FULL:
            raise LineFull
        return None

    def _join_line(self, client_id: str) -> tuple[int, Granted]:
        ticket = self._next_ticket()
        return ticket, self._line.join(ticket, client_id)

    def _next_ticket(self) -> int:
        """Return a ticket above all before it: of this pool, and by the clock also of the process before this one."""
        self._tickets = max(self._tickets + 1, time.time_ns() // 1000)
        return self._tickets

    async def _wait(self, ticket: int, granted: Granted, wait_seconds: float) -> MemoryPermit:
        try:
            async with asyncio.timeout(wait_seconds):
                return await granted
        except TimeoutError:
            if granted.done() and not granted.cancelled():
                return granted.result()  # the grant and the end of the wait came in the same turn of the loop
            raise PermitTimeout(self._line.place(ticket)) from None
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()
            raise
        finally:
            self._line.leave(ticket)

    async def peek(self, client_id: str) -> Outlook:
        """See `PermitPool.peek`."""
        self._check_use()
        check_client(client_id)
        return self._look(client_id)

    def _look(self, client_id: str) -> Outlook:
        if self._closed:
            raise PoolClosed
        asked = self._held_by[client_id] + self._line.count(client_id)
        if self._per_client is not None and asked >= self._per_client:
            return Outlook(Verdict.CLIENT_LIMIT)
        if self._held < self._capacity and not self._line:
            return Outlook(Verdict.GRANTED)
        place = len(self._line) + 1
        return Outlook(Verdict.LINE_FULL if place > self._max_waiting else Verdict.WAIT, place)

    async def state(self) -> PoolState:
        """See `PermitPool.state`."""
        self._check_use()
        return PoolState(self._held, self._capacity, self._high_water, len(self._line), +self._held_by)

    async def close(self) -> None:
        """See `PermitPool.close`."""
        self._closed = True
        while self._line:
            _, _, granted = self._line.pop_head()
            if not granted.done():
                granted.set_exception(PoolClosed())

    async def __aenter__(self) -> Self:
        """See `PermitPool.__aenter__`."""
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """See `PermitPool.__aexit__`."""
        await self.close()

    def _grant(self, client_id: str, ticket: int) -> MemoryPermit:
        self._held += 1
        self._held_by[client_id] += 1
        self._high_water = max(self._high_water, self._held)
        return MemoryPermit(client_id, ticket, give_back=self._take_back, report_lost=self._report.lost)

    def _take_back(self, permit: MemoryPermit) -> None:
        self._held -= 1
        self._held_by[permit.client_id] -= 1
        if not self._held_by[permit.client_id]:
            del self._held_by[permit.client_id]
        self._serve_line()

    def _serve_line(self) -> None:
        """Hand what is free to the head of the line. A waiter that gave up meanwhile takes itself out."""
        while self._held < self._capacity and self._line:
            ticket, client_id, granted = self._line.pop_head()
            if not granted.done():
                granted.set_result(self._grant(client_id, ticket))
