"""A pod's lease and the permits that depend on it.

What a pod holds is its own until *the time at which it sent its last successful renewal + lease - margin*, by its own
monotonic clock. The store counts the same lease from when the renewal arrived, which is later. The margin covers clocks
that do not run equally fast, and a server whose clock steps forward: pool time is ahead by less (`lua/pool.lua`). So a
permit is invalid here before its place can be given to another.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import get_ident
from weakref import WeakSet

from permits.redis.clock import Clock, lease_clock

MARGIN_SHARE = 0.25  # of the lease: 3/16 for one step of pool time, the rest for clocks that do not run alike


class Lease:
    """One incarnation of a pod: what it was granted as this incarnation is lost all at once.

    Args:
        incarnation: the name that the store knows it by, new for each lease.
        on_end: called once, when the lease ends.
        clock: by which it is counted.

    Attributes:
        epoch: the memory of the store that knows it.
        held: the permits that hang on it, by id.
        deadline: time by its clock until which it counts, unless it is ended before.
        alive: whether it was not ended, and not forked away from; its deadline may have passed.
    """

    def __init__(self, incarnation: str, on_end: Callable[["Lease"], None], *, clock: Clock = lease_clock) -> None:
        self.incarnation = incarnation
        self.epoch = ""
        self.held: dict[str, RedisPermit] = {}
        self.over = asyncio.Event()
        self._on_end = on_end
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self.deadline = clock()
        self.alive = True
        self._alarm: asyncio.TimerHandle | None = None
        _leases.add(self)

    def renewed(self, sent_at: float, lease_seconds: float) -> None:
        """Count on the lease again, from the moment at which its renewal was sent (by its clock)."""
        fresh = self._alarm is None
        if not fresh and not self.valid():
            return
        self.deadline = max(self.deadline, sent_at + lease_seconds * (1 - MARGIN_SHARE))
        self._arm()

    def valid(self) -> bool:
        """Say whether what hangs on this lease is still ours. Once it was not, it never is again."""
        if self.alive and self._clock() < self.deadline:
            return True
        self.end()
        return False

    def counts(self) -> bool:
        """Say the same and change nothing, so that other threads may ask."""
        return self.alive and self._clock() < self.deadline

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(self.deadline - self._clock(), self._ring)

    def _ring(self) -> None:
        if self.valid():  # the timer runs by another clock
            self._arm()

    def end(self) -> None:
        """Lose everything that hangs on this lease. Another thread loses it at once; the event loop tells it."""
        self.alive = False
        if not self.over.is_set() and not self._loop.is_closed():
            self.on_its_loop(self._end)

    def on_its_loop(self, act: Callable[[], None]) -> None:
        """Call a function at once, or, from another thread, soon on the event loop."""
        if get_ident() == self._thread:
            act()
        else:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(act)

    def _end(self) -> None:
        if self.over.is_set():
            return
        self.over.set()
        if self._alarm is not None:
            self._alarm.cancel()
        for permit in self.held.values():
            permit.tell_lost()
        self._on_end(self)


class RedisPermit:
    """A permit of a `RedisPool`."""

    __slots__ = ("_on_lost", "_release", "_released", "client_id", "id", "lease", "ticket")

    def __init__(
        self, permit_id: str, client_id: str, ticket: int, lease: Lease, release: Callable[["RedisPermit"], None]
    ) -> None:
        self.id = permit_id
        self.client_id = client_id
        self.ticket = ticket
        self.lease = lease
        self._release = release
        self._released = False
        self._on_lost: Callable[[], None] | None = None
        lease.held[permit_id] = self

    def valid(self) -> bool:
        """See `Permit.valid`."""
        return not self._released and self.lease.valid()

    def counts(self) -> bool:
        """See `HeldPermit.counts`."""
        return not self._released and self.lease.counts()

    async def lost(self) -> None:
        """See `Permit.lost`."""
        await self.lease.over.wait()
        if self._released:
            await asyncio.get_running_loop().create_future()

    def on_lost(self, tell: Callable[[], None]) -> None:
        """See `Permit.on_lost`."""
        self._on_lost = tell
        if self.lease.over.is_set():
            self.tell_lost()

    def tell_lost(self) -> None:
        """Tell the holder that the lease has ended, unless the permit is released before the holder's turn."""
        if self._on_lost is not None and not self._released:
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
            self.lease.on_its_loop(self._give_back)

    def _give_back(self) -> None:
        self.lease.held.pop(self.id, None)
        if self.lease.alive:
            self._release(self)


_leases: WeakSet[Lease] = WeakSet()


def _disown() -> None:
    """Let no lease count in a process that was forked while it was held: the other one goes on with it."""
    for lease in list(_leases):
        lease.alive = False
        lease.deadline = -inf


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
