"""The queue of the pool of one process, in the order of tickets."""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass

from permits.memory_permit import MemoryPermit

Granted = asyncio.Future[MemoryPermit]
"""Settled with a permit or an error when the wait ends."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A queued request. A later request that takes over its position has the same ticket."""

    ticket: int
    client_id: str
    wait_id: str | None
    granted: Granted


class MemoryQueue:
    """Waiters by ticket, and their number for each client."""

    def __init__(self) -> None:
        self._waiters: OrderedDict[int, Waiter] = OrderedDict()
        self._clients: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the length of the queue."""
        return len(self._waiters)

    def __contains__(self, waiter: Waiter) -> bool:
        """Say whether this waiter is queued."""
        return self._waiters.get(waiter.ticket) is waiter

    def with_ticket(self, ticket: int) -> Waiter | None:
        """Return the waiter with this ticket."""
        return self._waiters.get(ticket)

    def count(self, client_id: str) -> int:
        """Return the number of waiters of a client."""
        return self._clients[client_id]

    def join(self, ticket: int, client_id: str, wait_id: str | None) -> Waiter:
        """Queue the waiter behind all with lower tickets."""
        waiter = Waiter(ticket, client_id, wait_id, asyncio.get_running_loop().create_future())
        came_back = bool(self._waiters) and ticket < next(reversed(self._waiters))
        self._waiters[ticket] = waiter
        self._clients[client_id] += 1
        if came_back:
            for later in [other for other in self._waiters if other > ticket]:
                self._waiters.move_to_end(later)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Remove the waiter, if it is queued."""
        if waiter in self:
            del self._waiters[waiter.ticket]
            self._clients[waiter.client_id] -= 1
            if not self._clients[waiter.client_id]:
                del self._clients[waiter.client_id]

    def pop_head(self) -> Waiter:
        """Remove and return the waiter with the lowest ticket."""
        waiter = next(iter(self._waiters.values()))
        self.leave(waiter)
        return waiter

    def place(self, ticket: int) -> int:
        """Return the position of a ticket; 1 is next."""
        return 1 + sum(1 for other in self._waiters if other < ticket)
