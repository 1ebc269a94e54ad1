"""The pod's conversation with the store: one queue, one connection, one lease.

Everything that the tasks of this process ask for in one turn of the event loop travels at once, in the order of the
calls, and the next waits for its replies; when they are many, for half of them. That makes tickets follow the
order of the calls, lets a release be synchronous, and spares a busy pod nearly all of the cost of a call. The heartbeat
travels the same way, behind what is asked, so that its count of waiters can be compared with ours.

When the connection breaks, what was under way is sent again, once and at once, under a new connection generation: every
operation may be repeated, and what the old connection may still deliver is refused. When that fails too, whoever asks
is refused; releases are kept. When the lease ends, by its deadline or by word of the store, its permits are lost, its
waiters refused, its releases moot; the pod enters again as a new incarnation.

A store that has lost its memory says so. As long as its own deadline has not passed, the pod then declares what it
holds and who waits, and goes on as if nothing had been.

Each ask that is not answered yet is in exactly one place: in the queue, under way, set aside until nothing is under way
any more, about to be answered, or in line. `places` says where; the tests ask it after every step. Whatever goes wrong,
those who are not in line are refused, and those who are have a time-out of their own.
"""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import IntEnum
from heapq import nsmallest
from itertools import count
from uuid import uuid4

from permits.errors import ClientLimitReached, PermitError, PermitTimeout, PoolUnavailable
from permits.redis.channel import StoreLost
from permits.redis.clock import Clock, lease_clock
from permits.redis.deadlines import Deadlines
from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, CancelWait, Operation, Query, Release, Request, refusal_of
from permits.redis.reusable_timeout import ReusableTimeout
from permits.redis.scripts import Code
from permits.redis.store import Answer, Call, Condition, Entry, Renewal, Store, Turn

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 8
ANSWERS_PER_LEASE = 4  # an answer that takes longer than one of these parts is given up
MANY_ANSWERS = 16  # in one turn: enough to hand them out in two parts
FEW_RELEASES = 8  # in one call, while somebody stands in line
MOST_SEARCHED = 200  # asked about with one heartbeat, in search of a lost notice
MAX_ATTEMPTS = 3  # of an ask that meets one forgotten incarnation after the other
FIRST_BACKOFF_SECONDS = 0.02
UNKNOWN = ""  # the epoch for a pod that declares, until it hears that it was taken in


class Matter(IntEnum):
    """What must be settled when nothing is under way any more; the greater one goes first."""

    NONE = 0
    DRIFTED = 1
    FORGOTTEN = 2
    GONE = 3


class Dispatch:
    """Carries requests to the store and answers back.

    Args:
        store: where they go.
        pod: this process in this pool; its incarnations are numbered after it.
        lease_seconds: how long the store lets it be silent.
        answer_seconds: how long to wait for the store at most; a quarter of the lease is the limit.
        on_lost: hears how many permits were lost, whenever a lease ends.
        on_fault: hears of each fault that nobody foresaw.
        on_news: hears of the condition of the pool, with each heartbeat.
        clock: by which leases are counted.

    Attributes:
        failing: whether the last attempt to work ended in a fault that nobody foresaw.
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
        self._on_lost = on_lost
        self._on_fault = on_fault
        self._on_news = on_news
        self._clock = clock
        self.failing = False
        self._pod = pod
        self._beat_seconds = lease_seconds / BEATS_PER_LEASE
        self._answer_seconds = min(answer_seconds, lease_seconds / ANSWERS_PER_LEASE)
        self._queue: deque[Request] = deque()
        self._set_aside: list[Operation] = []
        self._unsaid: deque[Answer] = deque()
        self._matter = Matter.NONE
        self._id_prefix = uuid4().hex[:16]
        self._numbers = count(1)  # with the prefix, ids that nobody else has, for a twentieth of what a UUID costs
        self._asks: dict[str, AcquireRequest] = {}
        self._deadlines = Deadlines(self._leave_line)
        self._lease: Lease | None = None
        self._incarnations = 0
        self._wake = asyncio.Event()
        self._beat_due = False
        self._beat_alarm: asyncio.TimerHandle | None = None
        self._down: Exception | None = None
        self._failures = 0
        self.entered = asyncio.Event()
        """Set when the store has let this pod in for the first time."""
        self.tried = asyncio.Event()
        """Set when that was tried, with or without success."""

    def new_ask(self, client_id: str, deadline: float | None) -> AcquireRequest:
        """Return an ask that nobody has made before, by whatever process; the deadline is event loop time."""
        return AcquireRequest(f"{self._id_prefix}-{next(self._numbers):x}", client_id, deadline)

    async def acquire(self, ask: AcquireRequest) -> RedisPermit:
        """Ask for a permit, and wait in line for it until the deadline of the ask.

        Raises:
            PermitError: there is none.
        """
        self.begin(ask)
        try:
            await ask.settled()
        except asyncio.CancelledError:
            self.abandon(ask)
            raise
        return ask.result()

    def begin(self, ask: AcquireRequest) -> None:
        """Ask for a permit; the ask itself tells when it is granted or refused.

        Raises:
            PoolUnavailable: the store cannot be asked.
        """
        if self._down is not None:
            raise PoolUnavailable from self._down
        self._asks[ask.id] = ask
        self._put(ask)

    def query(self, query: Query) -> None:
        """Ask about the pool."""
        if self._down is not None:
            query.tell(None)
        else:
            self._put(query)

    def places(self) -> dict[AcquireRequest, Counter[str]]:
        """Return where each ask is that has no answer yet, and how often."""
        where: dict[AcquireRequest, Counter[str]] = {ask: Counter() for ask in self._asks.values()}
        under_way = [request for call in self._store.calls for request in call.requests]
        for place, requests in (("queue", self._queue), ("under way", under_way), ("set aside", self._set_aside)):
            for request in requests:
                if isinstance(request, AcquireRequest) and request in where:
                    where[request][place] += 1
        for ask, *_ in self._unsaid:
            if ask in where:
                where[ask]["about to be answered"] += 1
        for ask, places in where.items():
            if ask.in_line:
                places["in line"] += 1
        return where

    def _leave_line(self, ask: AcquireRequest) -> None:
        """Refuse one who waited long enough, unless a permit comes at the last moment."""
        if self._down is not None:
            self._withdraw(ask, PermitTimeout(ask.place))
        else:
            ask.leaving = True
            self._put(CancelWait(ask))

    def abandon(self, ask: AcquireRequest) -> None:
        """Nobody waits for this any more: give back what came or may come of it."""
        if ask.permit is not None:
            ask.permit.release()
        else:
            self._withdraw(ask, PoolUnavailable())

    def hear(self, incarnation: str, epoch: str, handed: Iterable[tuple[str, int]]) -> None:
        """Take in that waiters of this pod were handed permits: their ids and tickets.

        What was handed in another epoch does not count: the store has forgotten it, and may have been told that they
        still wait.
        """
        lease = self._lease
        if lease is not None and lease.incarnation == incarnation and lease.epoch == epoch:
            self._hand_over(lease, handed)

    def _hand_over(self, lease: Lease, handed: Iterable[tuple[str, int]]) -> None:
        if lease is self._lease and lease.valid():
            for permit_id, ticket in handed:
                ask = self._asks.get(permit_id)
                if ask is None:
                    continue
                if ticket:
                    self._grant(ask, lease, ticket)
                else:
                    self._refuse(ask, ClientLimitReached())

    def beat_soon(self) -> None:
        """Renew the lease now; that finds permits whose notice was missed."""
        self._beat_due = True
        self._wake.set()

    def refuse_all(self, error: Callable[[], PermitError]) -> None:
        """Refuse everybody who waits for a permit."""
        for ask in list(self._asks.values()):
            self._withdraw(ask, error())

    async def run(self) -> None:
        """Work until cancelled. Nothing that is raised ends this; whoever asks is refused, and it is tried again."""
        time_limit = ReusableTimeout(self._answer_seconds)
        self._wake.set()
        try:
            while True:
                try:
                    if not self._store.calls:
                        await self._wake.wait()
                        self._wake.clear()
                    async with time_limit:
                        await self._turn()
                except (StoreLost, TimeoutError) as exc:
                    await self._begin_again(exc)
                except Exception as exc:
                    log.exception("permits: a fault that nobody foresaw; refusing, and trying again")
                    self.failing = True
                    self._on_fault()
                    await self._begin_again(exc)
                else:
                    self._in_touch()
        finally:
            self._down = self._down or StoreLost("the pool has stopped")
            self.refuse_all(PoolUnavailable)
            for request in self._pending():
                if isinstance(request, Query):
                    request.tell(None)
            self.tried.set()
            time_limit.stop()
            self._deadlines.stop()
            if self._beat_alarm is not None:
                self._beat_alarm.cancel()

    async def _begin_again(self, error: Exception) -> None:
        with suppress(Exception):  # whatever is wrong with it, there will be a new one
            await self._store.close()
        self._lose_touch(error)
        await asyncio.sleep(self._backoff_seconds())
        self._wake.set()

    async def say_goodbye(self) -> None:
        """Give everything back, once `run` works no more.

        Raises:
            StoreLost: the store did not hear it; what is held comes back when the lease is over.
            TimeoutError: the same.
        """
        lease = self._lease
        if lease is not None:
            lease.end()
            if self._store.calls:  # their replies are still to come, and must not be taken for the one to this
                await self._store.close()
            async with asyncio.timeout(self._answer_seconds):
                await self._store.leave(lease.incarnation)

    async def _turn(self) -> None:
        """Send what is asked, unless something is under way already; wait for the first replies, and act on them.

        What comes back is taken in before anything else is waited for, so that nothing is in the hands of this function
        only when it is broken off.
        """
        if not self._store.calls:
            lease = self._lease
            if lease is None or not lease.valid():
                lease = await self._enter()
            await self._settle(lease)
            if not lease.valid():
                return
            await self._send(lease)
        if self._store.calls:
            lease = self._store.calls[0].lease
            turn = await self._store.receive()
            await self._hand_out(lease, turn)

    async def _settle(self, lease: Lease) -> None:
        """Do what had to wait until nothing was under way."""
        matter = self._matter
        if matter is Matter.FORGOTTEN:
            self._queue.extendleft(reversed(self._set_aside))
            self._set_aside.clear()
            self._beat_due = True
            await self._declare(lease)
        elif matter is Matter.DRIFTED:
            await self._reconcile(lease)
        self._matter = Matter.NONE

    async def _send(self, lease: Lease) -> None:
        """Send all that is asked; releases first, so that the store can serve the line once for all of them.

        When somebody stands in line, many releases are more than one call, so that the first who are handed a permit
        can use it while the store serves the next.
        """
        if self._down is not None:  # whatever is wrong with the store, a heartbeat mends it
            self._beat_due = False
            await self._store.send(Call(lease, [], beat=True))
            return
        releases: list[Request] = []
        others: list[Request] = []
        for request in self._queue:
            if (ask := request.ask) is None:
                (releases if isinstance(request, Release) else others).append(request)
            elif not ask.over:
                ask.sent = True
                others.append(request)
        self._queue.clear()
        self._wake.clear()
        beat, self._beat_due = self._beat_due, False
        calls = []
        while len(releases) > FEW_RELEASES and self._deadlines.anybody:
            calls.append(Call(lease, releases[:FEW_RELEASES], beat=False))
            del releases[:FEW_RELEASES]
        if releases or others or beat:
            calls.append(Call(lease, releases + others, beat))
        if calls:
            await self._store.send(*calls)

    async def _hand_out(self, lease: Lease, turn: Turn) -> None:
        """Take in answers, and send what those who got them ask next.

        Many who were answered at once ask again at once. Then they are handed their answers in two halves, so that the
        store works for one half while we work for the other.
        """
        self._unsaid.extend(turn.answers)
        many = len(turn.answers)
        if many >= MANY_ANSWERS and not turn.handed and not self._store.calls and not turn.unserved:
            self._say(lease, many // 2)
            try:
                await self._ask_on(lease)
            finally:
                self._take_in(lease, turn)
        else:
            self._take_in(lease, turn)
        await self._ask_on(lease)

    def _say(self, lease: Lease, answers: int) -> None:
        for _ in range(answers):
            answer = self._unsaid.popleft()
            self._answered(lease, answer)

    async def _ask_on(self, lease: Lease) -> None:
        await asyncio.sleep(0)
        if self._queue and self._matter is Matter.NONE and lease is self._lease and lease.valid():
            await self._send(lease)

    async def _enter(self) -> Lease:
        """Become a new incarnation."""
        before = "" if self._lease is None else self._lease.incarnation
        self._incarnations += 1
        lease = Lease(f"{self._pod}.{self._incarnations}", self._lease_ended, clock=self._clock)
        entry = await self._store.enter(lease.incarnation, before, news=not self.entered.is_set())
        self._lease = lease
        self._count_on(lease, entry)
        self._beat_due |= entry.more
        self.entered.set()
        return lease

    async def _declare(self, lease: Lease) -> None:
        """Tell a store that has lost its memory what is held and who waits; lose it all if it is too late for that."""
        if not lease.valid():
            return
        log.warning("permits: the store has lost its memory; %s declares what it holds", lease.incarnation)
        lease.epoch = UNKNOWN
        waiting = [ask for ask in self._asks.values() if ask.in_line]
        entry = await self._store.declare(lease.incarnation, list(lease.held.values()), waiting)
        if entry is None:
            lease.end()
        else:
            self._count_on(lease, entry)

    def _drifted(self, lease: Lease, turn: Turn) -> bool:
        """Say whether the store may not have the same permits and waiters for this pod as the pod itself.

        A hand-off that was not heard of yet moves one from the line to the permits, so the sum is compared. What is
        about to be given back is still in the store. Being wrong here costs no more than a closer look.
        """
        if turn.renewal is None:
            return False
        giving_back = sum(isinstance(request, Release) for request in self._pending())
        in_line = sum(ask.in_line for ask in self._asks.values())
        return turn.renewal.held + turn.renewal.waiters != len(lease.held) + in_line + giving_back

    async def _reconcile(self, lease: Lease) -> None:
        """Give back what only the store knows; lose everything when there is something that only we know."""
        if not lease.valid():
            return
        known = set(lease.held)
        holdings = await self._store.holdings(lease.incarnation, lease.epoch)
        if holdings is None:  # the store has lost its memory since; the next heartbeat hears so
            self.beat_soon()
            return
        held, waiting = holdings
        giving_back = {request.id for request in self._queue if isinstance(request, Release)}
        ours = self._asks.keys() | lease.held.keys() | giving_back
        for leaked in (held | waiting) - ours:
            log.warning("permits: giving back %s, which nobody holds", leaked)
            self._put(Release(leaked))
        if (known & lease.held.keys()) - held:
            log.error("permits: the store does not know all that %s holds; it is lost", lease.incarnation)
            lease.end()

    def _take_in(self, lease: Lease, turn: Turn) -> None:
        self._say(lease, len(self._unsaid))
        self._hand_over(lease, turn.handed)
        if turn.renewal is not None:
            self._renewed(lease, turn.renewal)
        if turn.more:
            self.beat_soon()
        if lease is not self._lease or lease.over.is_set():
            return
        self._set_aside.extend(turn.unserved)
        if turn.gone:
            self._matter = Matter.GONE
        elif turn.forgotten:
            self._matter = max(self._matter, Matter.FORGOTTEN)
        elif self._drifted(lease, turn):
            self._matter = max(self._matter, Matter.DRIFTED)
        if self._matter is Matter.GONE and not self._store.calls:
            self._lose(lease)
        if self._matter is not Matter.NONE:
            self._wake.set()

    def _lose(self, lease: Lease) -> None:
        """The store has let go of this incarnation; those who had no answer yet ask as the next one."""
        log.warning("permits: %s is over; what it held is lost", lease.incarnation)
        for request in self._set_aside:
            if isinstance(request, AcquireRequest):
                request.attempts += 1
                request.sent = request.in_line or request.attempts >= MAX_ATTEMPTS  # a place in line is lost, too
        asks = [request for request in self._set_aside if isinstance(request, AcquireRequest) and not request.sent]
        self._set_aside.clear()
        self._queue.extendleft(reversed(asks))
        lease.end()

    def _answered(self, lease: Lease, answer: Answer) -> None:
        ask, code, ticket, place = answer
        if ask.over:
            return
        match code:
            case Code.GRANTED:
                self._grant(ask, lease, ticket)
            case Code.WAITING:
                if ask.deadline is not None and not ask.in_line:
                    self._deadlines.add(ask.deadline, ask)
                ask.join_line(ticket, place)
            case Code.LEARNING:  # its ticket is for how long yet
                self._refuse(ask, refusal_of(code, place=place, left_ms=ticket))
            case _:
                self._refuse(ask, refusal_of(code, place=place or ask.place, left_ms=0))

    def _renewed(self, lease: Lease, renewal: Renewal) -> None:
        self._count_on(lease, Entry(renewal.sent_at, renewal.lease_seconds, lease.epoch, renewal.condition))
        waiting = [ask for ask in self._asks.values() if ask.in_line]
        withdrawn = sum(isinstance(request, Release) and request.withdrawn for request in self._pending())
        missing = len(waiting) + withdrawn - renewal.waiters
        if missing > 0:
            self._search(waiting, missing)

    def _search(self, waiting: list[AcquireRequest], missing: int) -> None:
        """Ask again for the first in line, because up to `missing` of them have missed a notice.

        The store hands permits to the lowest tickets, so the waiters that missed a notice are the first of this pod.
        They are asked for with every heartbeat until the numbers agree: an answer may be lost as a notice may. A waiter
        that is about to leave learns it from the answer to that.
        """
        candidates = (ask for ask in waiting if not ask.leaving)
        asked = nsmallest(min(missing, MOST_SEARCHED), candidates, key=lambda ask: ask.ticket)
        queued = {request for request in self._queue if isinstance(request, AcquireRequest)}
        self._queue.extend(ask for ask in asked if ask not in queued)
        self._wake.set()

    def _count_on(self, lease: Lease, entry: Entry) -> None:
        self._on_news(entry.condition)
        lease.epoch = entry.epoch
        lease.renewed(entry.sent_at, entry.lease_seconds)
        if self._beat_alarm is not None:
            self._beat_alarm.cancel()
        left = entry.sent_at + self._beat_seconds - self._clock()
        self._beat_alarm = asyncio.get_running_loop().call_later(max(0.0, left), self.beat_soon)

    def _lease_ended(self, lease: Lease) -> None:
        self._on_lost(len(lease.held))
        if lease is self._lease:
            for ask in [ask for ask in self._asks.values() if ask.sent]:
                self._refuse(ask, PoolUnavailable())
            kept = [request for request in self._queue if isinstance(request, AcquireRequest | Query)]
            self._queue = deque(kept)
            self._set_aside.clear()
            self._matter = Matter.NONE
            self._wake.set()

    def _lose_touch(self, error: Exception) -> None:
        """Refuse whoever asks, and keep what must be told to the store once it is back."""
        if self._down is None:
            log.warning(
                "permits: the store is out of reach (%s); refusing, and trying again", str(error) or "no answer"
            )
        self._down = error
        self._failures += 1
        self._beat_due = True  # it may have been under way, and then its alarm rings no more
        self._matter = Matter.NONE  # the store will say it again
        self.tried.set()
        requests = self._pending()
        self._store.calls.clear()
        self._queue.clear()
        self._set_aside.clear()
        self._unsaid.clear()
        self._queue.extend(request for request in requests if isinstance(request, Release))
        for request in requests:
            if isinstance(request, Query):
                request.tell(None)
        for ask in list(self._asks.values()):
            if ask.leaving:
                self._withdraw(ask, PermitTimeout(ask.place))
            elif not ask.in_line:
                self._withdraw(ask, PoolUnavailable())

    @property
    def out_of_touch(self) -> bool:
        """Whether the store cannot be asked, as far as we know."""
        return self._down is not None

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
        return min(longest, self._beat_seconds / 2) * random.uniform(0.5, 1)  # noqa: S311 - spreads pods, hides nothing

    def _pending(self) -> list[Request]:
        """What the store has not answered yet, in the order in which it was asked."""
        under_way = [request for call in self._store.calls for request in call.requests]
        return [*self._set_aside, *under_way, *self._queue]

    def _put(self, request: Request) -> None:
        self._queue.append(request)
        self._wake.set()

    def _grant(self, ask: AcquireRequest, lease: Lease, ticket: int) -> None:
        if lease.valid():  # when that ends it just now, the ask is refused with all the others
            self._forget(ask)
            ask.grant(RedisPermit(ask.id, ask.client_id, ticket, lease, self._release))

    def _release(self, permit: RedisPermit) -> None:
        self._put(Release(permit.id))

    def _refuse(self, ask: AcquireRequest, error: PermitError) -> None:
        self._forget(ask)
        ask.refuse(error)

    def _forget(self, ask: AcquireRequest) -> None:
        self._asks.pop(ask.id, None)
        if ask.in_line:
            self._deadlines.discard(ask)

    def _withdraw(self, ask: AcquireRequest, error: PermitError) -> None:
        """Refuse an ask that the store may know of, or grant yet."""
        if not ask.over:
            self._refuse(ask, error)
            if ask.sent:
                self._put(Release(ask.id, withdrawn=True))
