"""The pod's session with the store: its lease, and whether both sides agree on who holds and who waits.

A session is one incarnation after the other. A lease ends by its deadline or by word of the store. Then its permits are
lost, its waiters are refused, its releases are moot, and the pod enters again as a new incarnation.

A store that has lost its memory says so. If its lease still counts, the pod declares what it holds and who waits, and
goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from enum import IntEnum

from permits.redis.clock import Clock, lease_clock
from permits.redis.lease import Lease
from permits.redis.pending import PendingRequests
from permits.redis.replies import CallResult, Condition, Entry, Renewal
from permits.redis.requests import Release
from permits.redis.store import Store

log = logging.getLogger(__name__)

BEATS_PER_LEASE = 8
UNKNOWN = ""  # the epoch for a pod that declares, until it hears that it was taken in


class Matter(IntEnum):
    """What must be settled when nothing is under way any more; the greater one goes first, and `NONE` is false."""

    NONE = 0
    DRIFTED = 1
    FORGOTTEN = 2
    GONE = 3


class PodSession:
    """Enters, renews, declares, reconciles.

    Args:
        store: what is entered.
        pending: the requests whose answers hang on the lease.
        pod: this process in this pool; its incarnations are numbered after it.
        lease_seconds: how long the store lets it be silent.
        on_lost: hears how many permits were lost, whenever a lease ends.
        on_news: hears of the condition of the pool, with each heartbeat.
        wake: called when there is something to do.
        clock: by which leases are counted.

    Attributes:
        beat_due: whether the lease is to be renewed now.
        beat_seconds: from one heartbeat to the next.
        entered: set when the store has let this pod in for the first time.
    """

    def __init__(
        self,
        store: Store,
        pending: PendingRequests,
        pod: str,
        *,
        lease_seconds: float,
        on_lost: Callable[[int], None],
        on_news: Callable[[Condition], None],
        wake: Callable[[], None],
        clock: Clock = lease_clock,
    ) -> None:
        self._store = store
        self._pending = pending
        self._pod = pod
        self._on_lost = on_lost
        self._on_news = on_news
        self._wake = wake
        self._clock = clock
        self._lease: Lease | None = None
        self._incarnations = 0
        self._matter = Matter.NONE
        self._beat_alarm: asyncio.TimerHandle | None = None
        self.beat_seconds = lease_seconds / BEATS_PER_LEASE
        self.beat_due = False
        self.entered = asyncio.Event()

    async def ready(self) -> Lease:
        """Return the lease to call with: enter if need be, and settle what had to wait until nothing was under way.

        The lease may have ended meanwhile.

        Raises:
            StoreLost: there was no answer.
        """
        lease = self._lease
        if lease is None or not lease.valid():
            lease = await self._enter()
        if self._matter:
            await self._settle(self._matter, lease)
        return lease

    async def _settle(self, matter: Matter, lease: Lease) -> None:
        if matter is Matter.FORGOTTEN:
            self._pending.queue_again()
            self.beat_due = True
            await self._declare(lease)
        elif matter is Matter.DRIFTED:
            await self._reconcile(lease)
        self._matter = Matter.NONE

    def may_send(self, lease: Lease) -> bool:
        """Say whether more may be sent under this lease, while calls are under way."""
        return not self._matter and self._is_current(lease)

    def _is_current(self, lease: Lease) -> bool:
        return lease is self._lease and lease.valid()

    def beat_soon(self) -> None:
        """Renew the lease now; that finds permits whose notice was missed."""
        self.beat_due = True
        self._wake()

    def hear(self, incarnation: str, epoch: str, handed: Iterable[tuple[str, int]]) -> None:
        """Take in that waiters of this pod were handed permits: their ids and tickets.

        What was handed in another epoch does not count: the store has forgotten it, and may have been told that they
        still wait.
        """
        lease = self._lease
        if lease is not None and lease.incarnation == incarnation and lease.epoch == epoch and lease.valid():
            self._pending.hand_over(lease, handed)

    def take_in(self, result: CallResult) -> None:
        """Take in what came back besides answers."""
        if result.only_answers and not self._matter:
            return
        lease = result.lease
        if self._is_current(lease):
            self._pending.hand_over(lease, result.handed)
        if result.renewal is not None:
            self._renewed(lease, result.renewal)
        if result.more:
            self.beat_soon()
        if lease is not self._lease or lease.over.is_set():
            return
        self._pending.set_aside(result.unserved)
        self._matter = max(self._matter, self._matter_of(result))
        if self._matter is Matter.GONE and not self._store.busy:
            log.warning("permits: %s is over; what it held is lost", lease.incarnation)
            self._pending.ask_next_incarnation()
            lease.end()
        if self._matter:
            self._wake()

    def _matter_of(self, result: CallResult) -> Matter:
        if result.gone:
            return Matter.GONE
        if result.forgotten:
            return Matter.FORGOTTEN
        drifted = result.renewal is not None and self._drifted(result.lease, result.renewal)
        return Matter.DRIFTED if drifted else Matter.NONE

    def lose_touch(self) -> None:
        """Nothing is under way any more. The store will say again what is to be settled."""
        self.beat_due = True  # it may have been under way, and then its alarm rings no more
        self._matter = Matter.NONE

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._beat_alarm is not None:
            self._beat_alarm.cancel()

    async def leave(self, *, answer_seconds: float) -> None:
        """Give everything back.

        Raises:
            StoreLost: the store did not hear it; what is held comes back when the lease is over.
            TimeoutError: the same.
        """
        lease = self._lease
        if lease is not None:
            lease.end()
            async with asyncio.timeout(answer_seconds):
                await self._store.leave(lease.incarnation)

    async def _enter(self) -> Lease:
        """Become a new incarnation."""
        before = "" if self._lease is None else self._lease.incarnation
        self._incarnations += 1
        lease = Lease(f"{self._pod}.{self._incarnations}", self._lease_ended, clock=self._clock)
        entry = await self._store.enter(lease.incarnation, before, news=not self.entered.is_set())
        self._lease = lease
        self._count_on(lease, entry)
        self.beat_due |= entry.more
        self.entered.set()
        return lease

    async def _declare(self, lease: Lease) -> None:
        """Tell a store that has lost its memory what is held and who waits; lose it all if it is too late for that."""
        if not lease.valid():
            return
        log.warning("permits: the store has lost its memory; %s declares what it holds", lease.incarnation)
        lease.epoch = UNKNOWN
        entry = await self._store.declare(lease.incarnation, list(lease.held.values()), self._pending.waiters())
        if entry is None:
            lease.end()
        else:
            self._count_on(lease, entry)

    def _drifted(self, lease: Lease, renewal: Renewal) -> bool:
        """Say whether the store may not have the same permits and waiters for this pod as the pod itself.

        A hand-off that was not heard of yet turns a waiter into a permit, so the sum is compared. What is
        about to be given back is still in the store. Being wrong here costs no more than a closer look.
        """
        ours = len(lease.held) + len(self._pending.waiters()) + len(self._pending.releases())
        return renewal.held + renewal.waiters != ours

    async def _reconcile(self, lease: Lease) -> None:
        """Give back what only the store knows; lose everything when there is something that only we know."""
        if not lease.valid():
            return
        known = set(lease.held)
        holdings = await self._store.holdings(lease.incarnation, lease.epoch)
        if holdings is None:  # the store has lost its memory since; the next heartbeat hears so
            self.beat_soon()
            return
        if not lease.valid():  # it ended while the store was asked, and nothing of it counts any more
            return
        held, waiting = holdings
        giving_back = {release.id for release in self._pending.queued_releases()}
        ours = self._pending.ids() | lease.held.keys() | giving_back
        leaked = (held | waiting) - ours
        if leaked:
            log.warning(
                "permits: giving back %d of %s, which nobody holds: %.200s", len(leaked), lease.incarnation, leaked
            )
        for each in leaked:
            self._pending.put(Release(each))
        if (known & lease.held.keys()) - held:
            log.error("permits: the store does not know all that %s holds; it is lost", lease.incarnation)
            lease.end()

    def _renewed(self, lease: Lease, renewal: Renewal) -> None:
        self._count_on(lease, Entry(renewal.sent_at, renewal.lease_seconds, lease.epoch, renewal.condition))
        withdrawn = sum(release.withdrawn for release in self._pending.releases())
        missing = len(self._pending.waiters()) + withdrawn - renewal.waiters
        if missing > 0:
            self._pending.search(missing)

    def _count_on(self, lease: Lease, entry: Entry) -> None:
        self._on_news(entry.condition)
        lease.epoch = entry.epoch
        lease.renewed(entry.sent_at, entry.lease_seconds)
        if self._beat_alarm is not None:
            self._beat_alarm.cancel()
        left = entry.sent_at + self.beat_seconds - self._clock()
        self._beat_alarm = asyncio.get_running_loop().call_later(max(0.0, left), self.beat_soon)

    def _lease_ended(self, lease: Lease) -> None:
        self._on_lost(len(lease.held))
        if lease is self._lease:
            self._matter = Matter.NONE
            self._pending.end_lease()
