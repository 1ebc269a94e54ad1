"""The line of the pool of one process: who waits, in the order of arrival."""

import asyncio
from collections import Counter, OrderedDict

from permits.memory_permit import MemoryPermit

Granted = asyncio.Future[MemoryPermit]
"""Settled when the place in line leads to a permit or to an error."""


class MemoryLine:
    """Waiters by ticket, and how many there are of each client."""

    def __init__(self) -> None:
        self._waiters: OrderedDict[int, tuple[str, Granted]] = OrderedDict()
        self._clients: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiters)

    def __contains__(self, ticket: int) -> bool:
        """Say whether this ticket waits."""
        return ticket in self._waiters

    def count(self, client_id: str) -> int:
        """Return how many of a client wait."""
        return self._clients[client_id]

    def join(self, ticket: int, client_id: str) -> Granted:
        """Wait behind all others."""
        granted: Granted = asyncio.get_running_loop().create_future()
        self._waiters[ticket] = client_id, granted
        self._clients[client_id] += 1
        return granted

    def leave(self, ticket: int) -> None:
        """Wait no longer, if this ticket did."""
        waiter = self._waiters.pop(ticket, None)
        if waiter is not None:
            self._clients[waiter[0]] -= 1
            if not self._clients[waiter[0]]:
                del self._clients[waiter[0]]

    def pop_head(self) -> tuple[int, str, Granted]:
        """Take out and return who has waited longest."""
        ticket, (client_id, granted) = next(iter(self._waiters.items()))
        self.leave(ticket)
        return ticket, client_id, granted

    def place(self, ticket: int) -> int:
        """Return the place of a ticket; 1 is next."""
        return 1 + sum(1 for other in self._waiters if other < ticket)
