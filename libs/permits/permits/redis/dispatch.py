"""Sends what the tasks of this process ask for, and receives the answers: one queue, one connection.

Everything that is asked for in one turn of the event loop travels at once, in the order of the calls. The next write
waits for the replies. So tickets follow the order of the calls, a release is synchronous, and a busy pod is spared
nearly all of the cost of a call. The heartbeat travels the same way, behind what is asked, so that its count of waiters
can be compared with ours.

When the connection breaks, what was under way is sent again, once and at once, under a new connection generation: every
operation may be repeated, and what the old connection may still deliver is refused. When that fails too, requests
are refused; releases are kept. What the pod holds stays its own for as long as its session does (`session.py`).
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from permits.errors import PermitTimeout, PoolUnavailable
from permits.redis.calls import Call
from permits.redis.channel import StoreLost
from permits.redis.clock import Clock, lease_clock
from permits.redis.lease import Lease, RedisPermit
from permits.redis.pending import PendingRequests
from permits.redis.replies import CallResult, Condition
from permits.redis.requests import AcquireRequest, Query
from permits.redis.reusable_timeout import ReusableTimeout
from permits.redis.session import PodSession
from permits.redis.store import Store
from permits.redis.throughput import first_share, split_releases

log = logging.getLogger(__name__)

ANSWERS_PER_LEASE = 4  # an answer that takes longer than one of these parts is given up
FIRST_BACKOFF_SECONDS = 0.02


class Dispatch:
    """Carries requests to the store and answers back.

    Args:
        store: where they go.
        pod: this process in this pool.
        lease_seconds: how long the store lets it be silent.
        answer_seconds: how long to wait for the store at most; a quarter of the lease is the limit.
        on_lost: hears how many permits were lost, whenever a lease ends.
        on_fault: called after each unexpected error.
        on_news: hears of the condition of the pool, with each heartbeat.
        clock: by which leases are counted.

    Attributes:
        pending: the requests that have no answer yet.
        session: what it holds in the store.
        failing: whether the last attempt to work ended in an unexpected error.
        tried: set when it was tried to enter, with or without success.
    """

    def __init__(
        self,
        store: Store,
        pod: str,
        *,
        lease_seconds: float,
        answer_seconds: float,
        on_lost: Callable[[int], None],
        on_fault: Callable[[], None],
        on_news: Callable[[Condition], None] = lambda _: None,
        clock: Clock = lease_clock,
    ) -> None:
        self._store = store
        self._on_fault = on_fault
        self._answer_seconds = min(answer_seconds, lease_seconds / ANSWERS_PER_LEASE)
        self._loop = asyncio.get_running_loop()  # kept, for in Python 3.11 each look-up is a system call
        self._wake = asyncio.Event()
        self.pending = PendingRequests(store.under_way, on_deadline=self._leave_line, wake=self._wake.set)
        self.session = PodSession(
            store,
            self.pending,
            pod,
            lease_seconds=lease_seconds,
            on_lost=on_lost,
            on_news=on_news,
            wake=self._wake.set,
            clock=clock,
        )
        self._down: Exception | None = None
        self._failures = 0
        self.failing = False
        self.tried = asyncio.Event()

    @property
    def out_of_touch(self) -> bool:
        """Whether the store cannot be asked, as far as we know."""
        return self._down is not None

    async def acquire(self, request: AcquireRequest) -> RedisPermit:
        """Ask for a permit, and queue for it until the deadline of the request.

        Raises:
            PermitError: there is none.
        """
        if self._down is not None:
            raise PoolUnavailable from self._down
        self.pending.begin(request)
        try:
            await request.settled(self._loop)
        except asyncio.CancelledError:
            self.pending.abandon(request)
            raise
        permit = request.permit
        return permit if permit is not None else request.result()

    def begin(self, request: AcquireRequest) -> None:
        """Ask for a permit; the request itself tells when it is granted or refused.

        Raises:
            PoolUnavailable: the store cannot be asked.
        """
        if self._down is not None:
            raise PoolUnavailable from self._down
        self.pending.begin(request)

    def query(self, query: Query) -> None:
        """Ask about the pool."""
        if self._down is not None:
            query.tell(None)
        else:
            self.pending.put(query)

    def _leave_line(self, request: AcquireRequest) -> None:
        """Refuse a request that has waited long enough, unless a permit comes at the last moment."""
        if self._down is not None:
            self.pending.withdraw(request, PermitTimeout(request.place))
        else:
            self.pending.leave_queue(request)

    async def run(self) -> None:
        """Work until cancelled. Nothing that is raised ends this; requests are refused, and it is tried again."""
        time_limit = ReusableTimeout(self._answer_seconds)
        self._wake.set()
        try:
            while True:
                try:
                    if not self._store.busy:
                        await self._wake.wait()
                        self._wake.clear()
                    with time_limit:
                        await self._turn()
                except (StoreLost, TimeoutError) as exc:
                    await self._begin_again(exc)
                except Exception as exc:
                    log.exception("permits: an unexpected error; refusing, and trying again")
                    self.failing = True
                    self._on_fault()
                    await self._begin_again(exc)
                else:
                    self._in_touch()
        finally:
            self._down = self._down or StoreLost("the pool has stopped")
            self.pending.stop()
            self.session.stop()
            self.tried.set()
            time_limit.stop()

    async def leave(self) -> None:
        """Give everything back, once `run` works no more. Raises as `PodSession.leave`."""
        await self.session.leave(answer_seconds=self._answer_seconds)

    async def _turn(self) -> None:
        """Send what is asked, unless something is under way already; wait for the first replies, and act on them.

        What comes back is taken in before anything else is waited for, so that nothing is in the hands of this function
        only when it is broken off.
        """
        if not self._store.busy:
            lease = await self.session.ready()
            if not lease.valid():
                return
            await self._send(lease)
        if self._store.busy:
            await self._hand_out(await self._store.receive())

    async def _send(self, lease: Lease) -> None:
        """Send all that is asked; releases first, so that the store can serve the queue once for all of them."""
        beat, self.session.beat_due = self.session.beat_due, False
        if self._down is not None:  # whatever is wrong with the store, a heartbeat mends it
            await self._store.send(Call(lease, [], beat=True))
            return
        self._wake.clear()
        releases, others = self.pending.take_queue()
        first, releases = split_releases(releases, somebody_waits=self.pending.somebody_waits)
        calls = [Call(lease, some, beat=False) for some in first]
        if releases or others or beat:
            calls.append(Call(lease, [*releases, *others], beat))
        if calls:
            await self._store.send(*calls)

    async def _hand_out(self, result: CallResult) -> None:
        """Take in what came back, and send what those who got answers ask next."""
        self.pending.take_answers(result.answers)
        if share := first_share(result, busy=self._store.busy):
            self.pending.answer(result.lease, share)
            try:
                await self._ask_on(result.lease)
            finally:
                self._take_in(result)
        else:
            self._take_in(result)
        await self._ask_on(result.lease)

    def _take_in(self, result: CallResult) -> None:
        self.pending.answer(result.lease)
        self.session.take_in(result)

    async def _ask_on(self, lease: Lease) -> None:
        await asyncio.sleep(0)
        if self.pending.queued and self.session.may_send(lease):
            await self._send(lease)

    async def _begin_again(self, error: Exception) -> None:
        with suppress(Exception):  # whatever is wrong with it, there will be a new one
            await self._store.close()
        self._lose_touch(error)
        await asyncio.sleep(self._backoff_seconds())
        self._wake.set()

    def _lose_touch(self, error: Exception) -> None:
        """Refuse requests, and keep what must be told to the store once it is back."""
        if self._down is None:
            log.warning(
                "permits: the store is out of reach (%s); refusing, and trying again", str(error) or "no answer"
            )
        self._down = error
        self._failures += 1
        self.session.lose_touch()
        self.tried.set()
        self.pending.refuse_out_of_touch()
        self._store.give_up()

    def _in_touch(self) -> None:
        if self._down is not None:
            log.warning("permits: the store is back")
            self._wake.set()
        self._down = None
        self.failing = False
        self._failures = 0
        self.tried.set()

    def _backoff_seconds(self) -> float:
        longest = FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures, 10)
        most = min(longest, self.session.beat_seconds / 2)
        return most * random.uniform(0.5, 1)  # noqa: S311 - spreads pods, hides nothing
