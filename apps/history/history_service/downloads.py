"""How many media are sent at once: each holds a connection to the store for as long as its reader takes."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from servicekit.problems import Problem


class Downloads:
    """The places for media that are being sent. First come, first served, each client within its own share.

    Args:
        most: how many at once.
        per_client: how many of one client.
        wait_seconds: how long a download waits for its place before it is turned away.
    """

    def __init__(self, *, most: int, per_client: int, wait_seconds: float) -> None:
        self._places = asyncio.Semaphore(most)
        self._per_client = per_client
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._wait_seconds = wait_seconds
        self.under_way = 0
        """Media that are being sent now."""

    @asynccontextmanager
    async def place(self, client_id: str) -> AsyncIterator[None]:
        """Hold a place for the length of an `async with` block.

        Raises:
            Problem: 503 `downloads_busy`, there was none in time.
        """
        share = self._shares.get(client_id)
        if share is None:
            share = self._shares[client_id] = asyncio.Semaphore(self._per_client)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await held.enter_async_context(share)
                    await held.enter_async_context(self._places)
            except TimeoutError as late:
                detail = "as many media are being sent as can be at once; come again"
                again = str(max(1, math.ceil(self._wait_seconds)))
                raise Problem(503, "downloads_busy", detail, headers={"Retry-After": again}) from late
            self.under_way += 1
            try:
                yield
            finally:
                self.under_way -= 1
