"""Limits of concurrent work: batches that are ingested, and media that are sent."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from servicekit.budget import ByteBudget


class LimitReached(Exception):
    """No slot became free in time.

    Attributes:
        retry_seconds: when to try again.
    """

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(f"nothing became free within {wait_seconds:g} s")
        self.retry_seconds = max(1, math.ceil(wait_seconds))


class Limiter:
    """Holds a set of resources for the length of an `async with` block. First come, first served.

    Args:
        wait_seconds: how long to wait for all of them together.
    """

    def __init__(self, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self.in_use = 0
        """How often the set is held now."""

    @asynccontextmanager
    async def hold(self, *resources: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
        """Acquire the resources in their order.

        Raises:
            LimitReached: one of them was not free in time. None is held then.
        """
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    for resource in resources:
                        await held.enter_async_context(resource)
            except TimeoutError as exc:
                raise LimitReached(self._wait_seconds) from exc
            self.in_use += 1
            try:
                yield
            finally:
                self.in_use -= 1


class IngestLimiter:
    """Slots for batches that are being read, decoded and stored.

    A slow store must not fill this process with waiting batches. A batch without a slot is not read: it stays in the
    buffers of its connection and in the outbox of the chat pod.

    Args:
        max_batches: how many at once.
        max_bytes: how many bytes they may have in total.
        wait_seconds: how long to wait for a slot.
    """

    def __init__(self, *, max_batches: int, max_bytes: int, wait_seconds: float) -> None:
        self._slots = asyncio.Semaphore(max_batches)
        self._bytes = ByteBudget(max_bytes)
        self._limiter = Limiter(wait_seconds)

    @property
    def batches(self) -> int:
        """The number of batches being processed."""
        return self._limiter.in_use

    @property
    def size_bytes(self) -> int:
        """The bytes of the batches being processed."""
        return self._bytes.used

    def slot(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Hold a slot for a batch of this size. Raises LimitReached."""
        return self._limiter.hold(self._slots, self._bytes.held(size_bytes))


class DownloadLimiter:
    """Slots for media that are being sent. Each holds a connection to the store until its reader is done.

    Args:
        max_downloads: how many at once.
        per_client: how many of one client.
        wait_seconds: how long to wait for a slot.
    """

    def __init__(self, *, max_downloads: int, per_client: int, wait_seconds: float) -> None:
        self._slots = asyncio.Semaphore(max_downloads)
        self._per_client = per_client
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._limiter = Limiter(wait_seconds)

    @property
    def under_way(self) -> int:
        """The number of media being sent."""
        return self._limiter.in_use

    def slot(self, client_id: str) -> AbstractAsyncContextManager[None]:
        """Hold a slot for media of a client. Its own limit is checked first. Raises LimitReached."""
        share = self._shares.get(client_id)
        if share is None:
            share = self._shares[client_id] = asyncio.Semaphore(self._per_client)
        return self._limiter.hold(share, self._slots)
