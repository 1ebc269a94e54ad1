"""The open connections of a pod: which there are, and how they end when the pod goes away."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chat_service.connection import Connection

LONGEST_PAUSE_SECONDS: Final = 0.1  # between two closes of a shutdown, so that a pod of few connections is gone at once


class ConnectionRegistry:
    """Knows every open connection of the pod, and every handshake that waits for a slot.

    Args:
        max_open: connections that this pod may have open, whatever the cluster allows; 0: no limit of its own.

    Attributes:
        is_draining: nobody is let in any more.
    """

    def __init__(self, *, max_open: int = 0) -> None:
        self.is_draining = False
        self._max_open = max_open
        self._open: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._on_drain: set[Callable[[], None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether this pod has as many connections open as it may have."""
        return 0 < self._max_open <= len(self._open)

    def add(self, connection: "Connection") -> None:
        """A connection is opened."""
        self._open.add(connection)
        self._empty.clear()

    def discard(self, connection: "Connection") -> None:
        """A connection is closed, and nothing works on a message of it."""
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    def on_drain(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the drain begins."""
        self._on_drain.add(tell)

    def off_drain(self, tell: Callable[[], None]) -> None:
        """Do so no longer."""
        self._on_drain.discard(tell)

    async def drain(self, *, spread_seconds: float) -> None:
        """Let nobody in any more, and let connections finish, one after the other, over at most `spread_seconds`.

        Returns when all have ended; bound it with a time-out.
        """
        self.is_draining = True
        for tell in list(self._on_drain):
            tell()
        connections = list(self._open)
        for connection in connections:
            connection.drain()
            await asyncio.sleep(min(spread_seconds / len(connections), LONGEST_PAUSE_SECONDS))
        await self.wait_until_empty()

    async def wait_until_empty(self) -> None:
        """Return when no connection is open."""
        await self._empty.wait()

    def abort(self) -> None:
        """Close every connection that is still open, whatever it is waiting for."""
        for connection in list(self._open):
            connection.abort()
