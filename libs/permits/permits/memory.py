"""The pool of one process: the same rules without a store. It is also the test double of the pool in Redis."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from permits.arguments import check_client, check_terms, check_wait
from permits.base import Outlook, PermitRequest, PoolState, Verdict
from permits.errors import ClientLimitReached, LineFull, PermitError, PermitTimeout, PoolClosed, Reason
from permits.observer import PoolObserver, Report
from permits.pool import Pool


class MemoryPermit:
    """A permit of a `MemoryPool`. Memory forgets nothing, so it is lost only when somebody calls `lose`."""

    __slots__ = ("_lost", "_on_lost", "_over", "_pool", "_released", "client_id", "ticket")

    def __init__(self, pool: "MemoryPool", client_id: str, ticket: int) -> None:
        self._pool = pool
        self._released = False
        self._lost = False
        self._over: asyncio.Event | None = None
        self._on_lost: Callable[[], None] | None = None
        self.client_id = client_id
        self.ticket = ticket

    def valid(self) -> bool:
        """See `Permit.valid`."""
        return not self._released and not self._lost

    def counts(self) -> bool:
        """See `HeldPermit.counts`."""
        return self.valid()

    async def lost(self) -> None:
        """See `Permit.lost`."""
        if not self._lost:
            self._over = self._over or asyncio.Event()
            await self._over.wait()
        if self._released:
            await asyncio.get_running_loop().create_future()

    def on_lost(self, tell: Callable[[], None]) -> None:
        """See `Permit.on_lost`."""
        self._on_lost = tell
        if self._lost:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self._on_lost is not None and not self._released:
            tell, self._on_lost = self._on_lost, None
            tell()

    def release(self) -> None:
        """See `Permit.release`."""
        if not self._released:
            self._released = True
            self._on_lost = None
            if not self._lost:
                self._pool._take_back(self)  # noqa: SLF001 - a permit and its pool are one thing in two parts

    def lose(self) -> None:
        """Lose the permit, as happens to one in Redis when the store is away; for tests of what a holder does then."""
        if self.valid():
            self._lost = True
            if self._over is not None:
                self._over.set()
            asyncio.get_running_loop().call_soon(self._tell)
            self._pool._lose(self)  # noqa: SLF001 - see release


class _MemoryRequest:
    """See `PermitRequest`."""

    __slots__ = ("_begun_at", "_cancelled", "_pool", "_result", "_settled", "_ticket", "_timer")

    def __init__(self, pool: "MemoryPool", begun_at: float, settled: Callable[[PermitRequest], None]) -> None:
        self._pool = pool
        self._begun_at = begun_at
        self._settled = settled
        self._cancelled = False
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._result: MemoryPermit | PermitError | None = None

    def wait(self, ticket: int, granted: "asyncio.Future[MemoryPermit]", seconds: float) -> None:
        """Settle when the place in line leads to something, or after so many seconds."""
        self._ticket = ticket
        granted.add_done_callback(self._granted)
        self._timer = granted.get_loop().call_later(seconds, self._over)

    def _granted(self, granted: "asyncio.Future[MemoryPermit]") -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._cancelled:
            if granted.exception() is None:
                granted.result().release()
        elif self._result is None:
            error = granted.exception()
            self._result = granted.result() if error is None else error if isinstance(error, PermitError) else None
            self._tell()

    def _over(self) -> None:
        if self._pool._is_in_line(self._ticket):  # noqa: SLF001 - a request and its pool are one thing in two parts
            self._result = PermitTimeout(self._pool._place(self._ticket))  # noqa: SLF001 - see above
            self._pool._leave_line(self._ticket)  # noqa: SLF001 - see above
            self._tell()

    def settle(self, result: MemoryPermit | PermitError) -> None:
        """It is settled already."""
        self._result = result
        asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if not self._cancelled:
            report = self._pool._report  # noqa: SLF001 - see above
            if isinstance(self._result, PermitError):
                report.refused(self._begun_at, self._result)
            else:
                report.granted(self._begun_at, in_line=self._ticket > 0)
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
        self._pool._leave_line(self._ticket)  # noqa: SLF001 - see above
        if isinstance(self._result, MemoryPermit):
            self._result.release()


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
        self._waiting_by: Counter[str] = Counter()
        self._line: OrderedDict[int, tuple[str, asyncio.Future[MemoryPermit]]] = OrderedDict()
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
        request = _MemoryRequest(self, begun_at, settled)
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

    def _join_line(self, client_id: str) -> "tuple[int, asyncio.Future[MemoryPermit]]":
        ticket = self._next_ticket()
        granted: asyncio.Future[MemoryPermit] = asyncio.get_running_loop().create_future()
        self._line[ticket] = client_id, granted
        self._waiting_by[client_id] += 1
        return ticket, granted

    def _next_ticket(self) -> int:
        """Return a ticket above all before it: of this pool, and by the clock also of the process before this one."""
        self._tickets = max(self._tickets + 1, time.time_ns() // 1000)
        return self._tickets

    async def _wait(self, ticket: int, granted: "asyncio.Future[MemoryPermit]", wait_seconds: float) -> MemoryPermit:
        try:
            async with asyncio.timeout(wait_seconds):
                return await granted
        except TimeoutError:
            if granted.done() and not granted.cancelled():
                return granted.result()  # the grant and the end of the wait came in the same turn of the loop
            raise PermitTimeout(self._place(ticket)) from None
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().release()
            raise
        finally:
            self._leave_line(ticket)

    async def peek(self, client_id: str) -> Outlook:
        """See `PermitPool.peek`."""
        self._check_use()
        check_client(client_id)
        return self._look(client_id)

    def _look(self, client_id: str) -> Outlook:
        if self._closed:
            raise PoolClosed
        asked = self._held_by[client_id] + self._waiting_by[client_id]
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
        for ticket, (_, granted) in list(self._line.items()):
            if not granted.done():
                granted.set_exception(PoolClosed())
            self._leave_line(ticket)

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
        return MemoryPermit(self, client_id, ticket)

    def _lose(self, permit: MemoryPermit) -> None:
        self._report.lost(1)
        self._take_back(permit)

    def _take_back(self, permit: MemoryPermit) -> None:
        self._held -= 1
        self._held_by[permit.client_id] -= 1
        if not self._held_by[permit.client_id]:
            del self._held_by[permit.client_id]
        self._serve_line()

    def _serve_line(self) -> None:
        """Hand what is free to the head of the line. A waiter that gave up meanwhile takes itself out."""
        while self._held < self._capacity and self._line:
            ticket, (client_id, granted) = next(iter(self._line.items()))
            self._leave_line(ticket)
            if not granted.done():
                granted.set_result(self._grant(client_id, ticket))

    def _is_in_line(self, ticket: int) -> bool:
        return ticket in self._line

    def _leave_line(self, ticket: int) -> None:
        waiter = self._line.pop(ticket, None)
        if waiter is not None:
            self._waiting_by[waiter[0]] -= 1
            if not self._waiting_by[waiter[0]]:
                del self._waiting_by[waiter[0]]

    def _place(self, ticket: int) -> int:
        return 1 + sum(1 for other in self._line if other < ticket)
