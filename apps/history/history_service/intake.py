"""How much is taken in at once: so many batches, so many bytes of them. Who comes then waits a moment, outside.

A slow store must not fill this process with what it has not taken yet. A batch that waits has not been read: it stands
in the buffers of its connection, and at last in the outbox that it comes from, which is the place for it.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from servicekit.budget import ByteBudget
from servicekit.problems import Problem


class Intake:
    """The places for batches that are being read, decoded and stored. First come, first served.

    Args:
        max_batches: how many at once.
        max_bytes: how many bytes all of them may have together.
        wait_seconds: how long one waits for its place before it is turned away.
    """

    def __init__(self, *, max_batches: int, max_bytes: int, wait_seconds: float) -> None:
        self._places = asyncio.Semaphore(max_batches)
        self._bytes = ByteBudget(max_bytes)
        self._wait_seconds = wait_seconds
        self.batches = 0
        """Batches in work now."""

    @property
    def size_bytes(self) -> int:
        """Bytes of the batches in work now."""
        return self._bytes.used

    @asynccontextmanager
    async def place(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold a place for a batch of this size for the length of an `async with` block.

        Raises:
            Problem: 429 `ingest_busy`, there was none in time.
        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await held.enter_async_context(self._places)
                    await held.enter_async_context(self._bytes.held(size_bytes))
            except TimeoutError as late:
                detail = "the stores take less than is handed in; hand it in again"
                again = str(max(1, math.ceil(self._wait_seconds)))
                raise Problem(429, "ingest_busy", detail, headers={"Retry-After": again}) from late
            self.batches += 1
            try:
                yield
            finally:
                self.batches -= 1
