"""A budget of bytes: how much may be held in memory at once, shared first come, first served."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Bytes that are acquired before something is held in memory, and released afterwards.

    Requests are served in order: a small item never overtakes a large one that waits. An item larger than the
    whole limit is admitted when nothing else is held, since it would otherwise wait for ever. For one event loop; not
    for threads.

    Args:
        limit_bytes: the most that may be held at once, at least 1.

    Raises:
        ValueError: the limit is below 1.
    """

    __slots__ = ("_limit", "_line", "_used")

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes < 1:
            raise ValueError(f"a byte budget must be at least 1 byte, not {limit_bytes}")
        self._limit = limit_bytes
        self._used = 0
        self._line: OrderedDict[asyncio.Future[None], int] = OrderedDict()

    @property
    def limit(self) -> int:
        """The most bytes that may be held at once (an oversized item alone may exceed it)."""
        return self._limit

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._line)

    def try_acquire(self, size_bytes: int) -> bool:
        """Take `size_bytes` if that is possible at once without overtaking anyone; say whether it was.

        Raises:
            ValueError: the size is negative.
        """
        _check_size(size_bytes)
        if self._line or not self._fits(size_bytes):
            return False
        self._used += size_bytes
        return True

    def charge(self, size_bytes: int) -> None:
        """Take `size_bytes` without waiting, beyond the limit if necessary: for what is in memory already.

        Raises:
            ValueError: the size is negative.
        """
        _check_size(size_bytes)
        self._used += size_bytes

    async def acquire(self, size_bytes: int) -> None:
        """Wait until `size_bytes` fit, in order of arrival, and take them. A cancelled wait takes nothing.

        Raises:
            ValueError: the size is negative.
        """
        if self.try_acquire(size_bytes):
            return
        turn = asyncio.get_running_loop().create_future()
        self._line[turn] = size_bytes
        try:
            await turn
        except asyncio.CancelledError:
            self._line.pop(turn, None)
            if turn.done() and not turn.cancelled():
                # Cancelled after the grant, before this task ran: release the bytes.
                self._used -= size_bytes
            self._serve_queue()
            raise

    def release(self, size_bytes: int) -> None:
        """Release `size_bytes` and serve waiting callers. Synchronous, so it is safe in any `finally`.

        Raises:
            ValueError: the size is negative, or more than is held (a bug of the caller).
        """
        _check_size(size_bytes)
        if size_bytes > self._used:
            raise ValueError(f"cannot give back {size_bytes} bytes: only {self._used} are held")
        self._used -= size_bytes
        self._serve_queue()

    @asynccontextmanager
    async def held(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold `size_bytes` for the length of an `async with` block."""
        await self.acquire(size_bytes)
        try:
            yield
        finally:
            self.release(size_bytes)

    def _fits(self, size_bytes: int) -> bool:
        return self._used == 0 or self._used + size_bytes <= self._limit

    def _serve_queue(self) -> None:
        while self._line:
            turn, size_bytes = next(iter(self._line.items()))
            if turn.cancelled():
                # Its task is cancelled but has not run yet. It must not block the callers behind it.
                del self._line[turn]
                continue
            if not self._fits(size_bytes):
                return
            del self._line[turn]
            self._used += size_bytes
            turn.set_result(None)


def _check_size(size_bytes: int) -> None:
    if size_bytes < 0:
        raise ValueError(f"a size in bytes cannot be negative: {size_bytes}")
