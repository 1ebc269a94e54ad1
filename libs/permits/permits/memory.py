"""A pool of one process: the same rules without a store. Tests use it in place of the pool in Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Self

from permits.arguments import check_callable, check_pool_name, check_request, check_seconds, check_terms
from permits.base import Outlook, PermitRequest, PoolState, Verdict
from permits.errors import ClientLimitReached, LineFull, PermitError, PermitTimeout, PoolClosed, Reason, WaitReplaced
from permits.memory_permit import MemoryPermit
from permits.memory_positions import SavedPosition, SavedPositions
from permits.memory_queue import MemoryQueue, Waiter
from permits.memory_request import MemoryRequest
from permits.observer import OutcomeReporter, PoolObserver
from permits.permit_block import PermitBlock
from permits.pool import Pool


class MemoryPool(Pool):
    """Grants permits within this process.

    Args:
        name: its name in metrics.
        capacity: how many permits may be held, at least 1.
        per_client: how many one client may hold and wait for together; None: no limit.
        max_waiting: how many requests may be queued.
        lease_seconds: how long a position is kept for its wait id after its wait. Permits have no lease here.
        observer: is told the outcome of each request.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        per_client: int | None = None,
        max_waiting: int = 1000,
        lease_seconds: float = 15.0,
        observer: PoolObserver | None = None,
    ) -> None:
        check_pool_name(name)
        check_terms(capacity=capacity, per_client=per_client, max_waiting=max_waiting)
        check_seconds("lease_seconds", lease_seconds)
        super().__init__(name)
        self._reporter = OutcomeReporter(name, observer)
        self._capacity = capacity
        self._per_client = per_client
        self._max_waiting = max_waiting
        self._lease_seconds = lease_seconds
        self._places = SavedPositions()
        self._tickets = 0  # the last ticket
        self._held = 0
        self._high_water = 0
        self._held_by: Counter[str] = Counter()
        self._queue = MemoryQueue()
        self._closed = False

    def ready(self) -> bool:
        """See `PermitPool.ready`."""
        return self._is_ours() and not self._closed

    def condition(self) -> Reason | None:
        """See `PermitPool.condition`."""
        if not self._is_ours():
            return Reason.LIMITS_UNAVAILABLE
        return Reason.DRAINING if self._closed else None

    def learning_seconds(self) -> float:
        """See `PermitPool.learning_seconds`. This pool never learns."""
        return 0.0

    async def acquire(self, client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> MemoryPermit:
        """See `PermitPool.acquire`."""
        begun_at = self._check_use().time()
        check_request(client_id, wait_seconds, wait_id)
        try:
            permit = self._grant_now(client_id, wait_seconds, wait_id)
            queued = permit is None
            if permit is None:
                permit = await self._wait(self._enqueue(client_id, wait_seconds, wait_id), wait_seconds)
        except PermitError as exc:
            self._reporter.refused(begun_at, exc)
            raise
        self._reporter.granted(begun_at, queued=queued)
        return permit

    def permit(self, client_id: str, *, wait_seconds: float) -> PermitBlock[MemoryPermit]:
        """See `Pool.permit`. The type of the permit has `lose`, for tests."""
        return PermitBlock(partial(self.acquire, client_id, wait_seconds=wait_seconds))

    def request(
        self,
        client_id: str,
        *,
        wait_seconds: float,
        settled: Callable[[PermitRequest], None],
        wait_id: str | None = None,
    ) -> PermitRequest:
        """See `PermitPool.request`."""
        check_callable("settled", settled)
        loop = self._check_use()
        begun_at = loop.time()
        check_request(client_id, wait_seconds, wait_id)
        request = MemoryRequest(self._queue, self._reporter, begun_at, settled)
        try:
            permit = self._grant_now(client_id, wait_seconds, wait_id)
        except PermitError as exc:
            request.settle(exc)
            return request
        if permit is None:
            request.wait(self._enqueue(client_id, wait_seconds, wait_id), wait_seconds)
        else:
            request.settle(permit)
        return request

    def _grant_now(self, client_id: str, wait_seconds: float, wait_id: str | None) -> MemoryPermit | None:
        """Return a permit; None: the request must be queued. Raises PermitError."""
        place = self._place_of(client_id, wait_id)
        if place is not None and wait_seconds > 0 and (earlier := self._queue.with_ticket(place.ticket)) is not None:
            self._queue.leave(earlier)
            if not earlier.granted.done():
                earlier.granted.set_exception(WaitReplaced())
        outlook = self._look(client_id, wait_id)
        if outlook.verdict is Verdict.CLIENT_LIMIT:
            raise ClientLimitReached
        if outlook.verdict is Verdict.GRANTED:
            self._places.drop(client_id, wait_id)
            return self._grant(client_id, self._next_ticket() if place is None else place.ticket)
        if wait_seconds <= 0:
            raise PermitTimeout(outlook.place)
        if outlook.verdict is Verdict.LINE_FULL:
            raise LineFull
        return None

    def _enqueue(self, client_id: str, wait_seconds: float, wait_id: str | None) -> Waiter:
        now = asyncio.get_running_loop().time()
        place = self._place_of(client_id, wait_id)
        waiter = self._queue.join(self._next_ticket() if place is None else place.ticket, client_id, wait_id)
        if wait_id is not None:
            since = now if place is None else place.since
            kept = SavedPosition(waiter.ticket, since, now + wait_seconds + self._lease_seconds)
            self._places.keep(client_id, wait_id, kept, most=len(self._queue) + self._max_waiting, now=now)
        return waiter

    def _place_of(self, client_id: str, wait_id: str | None) -> SavedPosition | None:
        return self._places.find(client_id, wait_id, asyncio.get_running_loop().time())

    def _next_ticket(self) -> int:
        """Return a ticket above all earlier ones of this pool, and, by the clock, above those of an earlier process."""
        self._tickets = max(self._tickets + 1, time.time_ns() // 1000)
        return self._tickets

    async def _wait(self, waiter: Waiter, wait_seconds: float) -> MemoryPermit:
        granted = waiter.granted
        try:
            async with asyncio.timeout(wait_seconds):
                return await granted
        except TimeoutError:
            if granted.done() and not granted.cancelled():
                return granted.result()  # granted and timed out in the same iteration of the loop
            raise PermitTimeout(self._queue.place(waiter.ticket)) from None
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()
            raise
        finally:
            self._queue.leave(waiter)

    async def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """See `PermitPool.peek`."""
        self._check_use()
        check_request(client_id, 0, wait_id)
        return self._look(client_id, wait_id)

    def _look(self, client_id: str, wait_id: str | None) -> Outlook:
        if self._closed:
            raise PoolClosed
        place = self._place_of(client_id, wait_id)
        if place is None:
            return Outlook(*self._meets(client_id, 0, len(self._queue) + 1, self._max_waiting))
        stands = self._queue.with_ticket(place.ticket) is not None
        number = self._queue.place(place.ticket)
        now = asyncio.get_running_loop().time()
        return Outlook(
            *self._meets(client_id, int(stands), number, 2 * self._max_waiting),
            waited_seconds=now - place.since,
            kept_seconds=place.kept_until - now,
        )

    def _meets(self, client_id: str, replaced: int, number: int, max_waiting: int) -> tuple[Verdict, int]:
        """Return the verdict on a request that replaces so many of this client's, and its position in the queue."""
        asked = self._held_by[client_id] + self._queue.count(client_id) - replaced
        if self._per_client is not None and asked >= self._per_client:
            return Verdict.CLIENT_LIMIT, 0
        if self._held < self._capacity and not self._queue:
            return Verdict.GRANTED, 0
        return Verdict.LINE_FULL if len(self._queue) >= max_waiting else Verdict.WAIT, number

    async def state(self, *, clients: bool = True) -> PoolState:
        """See `PermitPool.state`."""
        self._check_use()
        held_by = +self._held_by if clients else {}
        return PoolState(self._held, self._capacity, self._high_water, len(self._queue), held_by)

    async def close(self) -> None:
        """See `PermitPool.close`."""
        self._check_loop()
        self._closed = True
        while self._queue:
            granted = self._queue.pop_head().granted
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
        return MemoryPermit(client_id, ticket, give_back=self._give_back, report_lost=self._reporter.lost)

    def _give_back(self, permit: MemoryPermit) -> None:
        if self._owner is None or self._owner.thread == get_ident():
            self._take_back(permit)
        else:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._owner.loop.call_soon_threadsafe(self._take_back, permit)

    def _take_back(self, permit: MemoryPermit) -> None:
        self._held -= 1
        self._held_by[permit.client_id] -= 1
        if not self._held_by[permit.client_id]:
            del self._held_by[permit.client_id]
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Grant free permits to the head of the queue. Waiters that give up remove themselves."""
        while self._held < self._capacity and self._queue:
            waiter = self._queue.pop_head()
            if not waiter.granted.done():
                self._places.drop(waiter.client_id, waiter.wait_id)
                waiter.granted.set_result(self._grant(waiter.client_id, waiter.ticket))
