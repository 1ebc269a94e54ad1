"""How many connections a process accepts: fewer than file descriptors, so that the others can be answered.

A process without free descriptors cannot accept: new connections are reset, or wait. So some are reserved for files,
stores and workers, and for connections that are only told that there is no room.
"""

import resource
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol

MAX_DESCRIPTORS: Final = 65_536
MAX_RESERVE: Final = 512
MIN_RESERVE: Final = 64


def raise_descriptor_limit() -> None:
    """Raise the soft limit of file descriptors to the hard one. The usual 1024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < most:
        with suppress(OSError, ValueError):  # some systems enforce a lower limit than they report
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Holder(Protocol):
    """A connection that may be closed to make room."""

    def make_room(self) -> None:
        """Close at once: there is no request under way."""


class Capacity:
    """The connections of a process.

    When it is full, the connection that has been idle for longest is closed for a new one: it may never send a request.
    When all have requests, the new connection gets a refusal. Few refusals are in progress at once; beyond that
    the oldest of them is closed.

    Args:
        limit: how many connections there may be; None: as many as the limit of file descriptors leaves, and never more.
    """

    def __init__(self, limit: int | None = None) -> None:
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        reserve = min(MAX_RESERVE, max(MIN_RESERVE, descriptors // 2))
        available = max(1, descriptors - reserve)
        self.limit = available if limit is None else min(limit, available)
        self._most_told = reserve // 4
        self._ports: list[Collection[object]] = []
        self._idle: OrderedDict[Holder, None] = OrderedDict()
        self._told: OrderedDict[Holder, None] = OrderedDict()
        self._leaving: set[Holder] = set()

    def add_port(self, connections: Collection[object]) -> None:
        """Count the connections of a port, whatever protocol they speak."""
        self._ports.append(connections)

    @property
    def used(self) -> int:
        """The number of connections."""
        return sum(map(len, self._ports)) - len(self._told) - len(self._leaving)

    def admit(self, newcomer: Holder) -> bool:
        """Say whether there is room for a new connection, which is counted already. It begins idle."""
        if self.used > self.limit:
            if not self._idle:
                self._told[newcomer] = None
                if len(self._told) > self._most_told:
                    self._leave(self._told.popitem(last=False)[0])
                return False
            self._leave(self._idle.popitem(last=False)[0])
        self._idle[newcomer] = None
        return True

    def idle(self, connection: Holder) -> None:
        """A connection has no request under way."""
        if connection not in self._told:
            self._idle[connection] = None

    def busy(self, connection: Holder) -> None:
        """A connection has a request under way, or speaks another protocol now."""
        self._idle.pop(connection, None)

    def gone(self, connection: Holder) -> None:
        """A connection is no more."""
        self._idle.pop(connection, None)
        self._told.pop(connection, None)
        self._leaving.discard(connection)

    def _leave(self, connection: Holder) -> None:
        self._leaving.add(connection)
        connection.make_room()
