"""Hears of permits that other pods' releases handed to waiters of this pod.

A notice is a courtesy that makes the hand-off quick. The truth is in the store, and the heartbeat compares with it, so
a notice may be lost, late, or doubled.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from redis.asyncio import Redis

from permits.redis.link import StoreLost, Subscription
from permits.redis.patience import Patience

log = logging.getLogger(__name__)


class Notices:
    """Keeps one subscription alive.

    Args:
        redis: a client whose settings are used for the connection.
        channel: where this pod's notices are published.
        hear: takes an incarnation, the epoch, and the ids and tickets that its waiters were handed.
        on_subscribed: called whenever the subscription begins; what was published before is lost.
        patience_seconds: how long it may be silent before it has to answer a ping.
    """

    def __init__(
        self,
        redis: "Redis",
        channel: str,
        *,
        hear: Callable[[str, str, Iterable[tuple[str, int]]], None],
        on_subscribed: Callable[[], None],
        patience_seconds: float,
    ) -> None:
        self._redis = redis
        self._channel = channel
        self._hear = hear
        self._on_subscribed = on_subscribed
        self._patience_seconds = patience_seconds
        self.tried = asyncio.Event()
        """Set when subscribing was tried, with or without success."""

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            subscription = Subscription(self._redis, self._channel)
            patience = Patience(self._patience_seconds)
            try:
                async with asyncio.timeout(self._patience_seconds):
                    await subscription.open()
                self.tried.set()
                self._on_subscribed()
                await self._listen(subscription, patience)
            except (StoreLost, TimeoutError) as error:
                log.info("permits: no notices on %s (%s); trying again", self._channel, str(error) or "no answer")
            finally:
                self.tried.set()
                patience.stop()
                await subscription.close()
            await asyncio.sleep(self._patience_seconds / 2)

    async def _listen(self, subscription: Subscription, patience: Patience) -> None:
        pinged = False
        while True:
            try:
                async with patience:
                    notice = await subscription.next()
            except TimeoutError:
                if pinged:
                    raise
                pinged = True
                await subscription.ping()
                continue
            pinged = False
            if notice is not None:
                incarnation, epoch, *words = notice.split(" ")
                handed = zip(words[::2], map(int, words[1::2]), strict=True)
                self._hear(incarnation, epoch, handed)
