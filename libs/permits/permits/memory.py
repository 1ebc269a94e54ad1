"""The pool of one process: the same rules without a store. It is also the test double of the pool in Redis."""

import asyncio
from collections import Counter, OrderedDict
from types import TracebackType
from typing import Self

from permits.arguments import check_client, check_terms, check_wait
from permits.base import Outlook, PoolState, Verdict
from permits.errors import ClientLimitReached, LineFull, PermitError, PermitTimeout, PoolClosed
from permits.observer import PoolObserver, Report
from permits.pool import Pool


class MemoryPermit:
    """A permit of a `MemoryPool`. Memory forgets nothing, so it is lost only when somebody calls `lose`."""

    __slots__ = ("_lost", "_over", "_pool", "_released", "client_id", "ticket")

    def __init__(self, pool: "MemoryPool", client_id: str, ticket: int) -> None:
        self._pool = pool
        self._released = False
        self._lost = False
        self._over: asyncio.Event | None = None
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

    def release(self) -> None:
        """See `Permit.release`."""
        if not self._released:
            self._released = True
            if not self._lost:
                self._pool._take_back(self)  # noqa: SLF001 - a permit and its pool are one thing in two parts

    def lose(self) -> None:
        """Lose the permit, as happens to one in Redis when the store is away; for tests of what a holder does then."""
        if self.valid():
            self._lost = True
            if self._over is not None:
                self._over.set()
            self._pool._lose(self)  # noqa: SLF001 - see release


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
        self._tickets = 0
        self._held = 0
        self._high_water = 0
        self._held_by: Counter[str] = Counter()
        self._waiting_by: Counter[str] = Counter()
        self._line: OrderedDict[int, tuple[str, asyncio.Future[MemoryPermit]]] = OrderedDict()
        self._closed = False

    def ready(self) -> bool:
        """See `PermitPool.ready`."""
        return self._is_ours() and not self._closed

    def condition(self) -> str:
        """See `PermitPool.condition`."""
        return PoolClosed.code if self._closed else ""

    async def acquire(self, client_id: str, *, wait_seconds: float) -> MemoryPermit:
        """See `PermitPool.acquire`."""
        begun_at = self._check_use().time()
        check_wait(wait_seconds)
        check_client(client_id)
        try:
            permit, in_line = await self._acquire(client_id, wait_seconds)
        except PermitError as refusal:
            self._report.refused(begun_at, refusal)
            raise
        self._report.granted(begun_at, in_line=in_line)
        return permit

    async def _acquire(self, client_id: str, wait_seconds: float) -> tuple[MemoryPermit, bool]:
        """Return a permit, and whether somebody had to stand in line for it."""
        outlook = self._look(client_id)
        if outlook.verdict is Verdict.CLIENT_LIMIT:
            raise ClientLimitReached
        if outlook.verdict is Verdict.GRANTED:
            self._tickets += 1
            return self._grant(client_id, self._tickets), False
        if wait_seconds <= 0:
            raise PermitTimeout(outlook.place)
        if outlook.verdict is Verdict.LINE_FULL:
            raise LineFull
        self._tickets += 1
        return await self._wait(client_id, self._tickets, wait_seconds), True

    async def _wait(self, client_id: str, ticket: int, wait_seconds: float) -> MemoryPermit:
        granted: asyncio.Future[MemoryPermit] = asyncio.get_running_loop().create_future()
        self._line[ticket] = client_id, granted
        self._waiting_by[client_id] += 1
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

    def _leave_line(self, ticket: int) -> None:
        waiter = self._line.pop(ticket, None)
        if waiter is not None:
            self._waiting_by[waiter[0]] -= 1
            if not self._waiting_by[waiter[0]]:
                del self._waiting_by[waiter[0]]

    def _place(self, ticket: int) -> int:
        return 1 + sum(1 for other in self._line if other < ticket)
