"""A permit of the pool of one process."""

import asyncio
from collections.abc import Callable


class MemoryPermit:
    """A permit of a `MemoryPool`. It is lost only when `lose` is called."""

    __slots__ = ("_give_back", "_lost", "_on_lost", "_over", "_released", "_report_lost", "client_id", "ticket")

    def __init__(
        self,
        client_id: str,
        ticket: int,
        *,
        give_back: Callable[["MemoryPermit"], None],
        report_lost: Callable[[int], None],
    ) -> None:
        self._give_back = give_back
        self._report_lost = report_lost
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
                self._give_back(self)

    def lose(self) -> None:
        """Lose the permit, as happens with Redis when the store is unavailable. For tests of holders."""
        if self.valid():
            self._lost = True
            if self._over is not None:
                self._over.set()
            asyncio.get_running_loop().call_soon(self._tell)
            self._report_lost(1)
            self._give_back(self)
