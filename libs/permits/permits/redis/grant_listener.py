"""Receives notices: permits that waiters of this pod were granted when other pods released them.

Notices only make the hand-off quick. Each heartbeat compares with the store, so a notice may be lost, late, or doubled.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import Final

from permits.redis.channel import StoreLost, Subscription
from permits.redis.clients import Client
from permits.redis.reusable_timeout import ReusableTimeout

log = logging.getLogger(__name__)

FAILURES_TOLD = 2
"""After so many failed attempts in a row there is a warning. One is only a connection that broke."""
SENSELESS_LOG_SECONDS: Final = 10.0
"""Invalid notices are logged no more often, because everyone with the right to publish could fill the log."""


class GrantListener:
    """Keeps one subscription alive.

    Args:
        redis: a client whose settings are used for the connection.
        channel: where this pod's notices are published.
        hear: takes an incarnation, the epoch, and the ids and tickets that its waiters were handed.
        on_fault: called after each unexpected error.
        on_subscribed: called whenever the subscription begins; what was published before is lost.
        silence_seconds: how long it may be silent before it has to answer a ping.
    """

    def __init__(
        self,
        redis: Client,
        channel: str,
        *,
        hear: Callable[[str, str, Iterable[tuple[str, int]]], None],
        on_fault: Callable[[], None],
        on_subscribed: Callable[[], None],
        silence_seconds: float,
    ) -> None:
        self._redis = redis
        self._channel = channel
        self._hear = hear
        self._on_fault = on_fault
        self._on_subscribed = on_subscribed
        self._silence_seconds = silence_seconds
        self._senseless = 0  # notices that were not logged
        self._senseless_logged_at = -math.inf  # event loop time
        self.tried = asyncio.Event()
        """Set when subscribing was tried, with or without success."""

    async def run(self) -> None:
        """Work until cancelled."""
        failures = 0
        while True:
            subscription = Subscription(self._redis, self._channel)
            time_limit = ReusableTimeout(self._silence_seconds)
            try:
                async with asyncio.timeout(self._silence_seconds):
                    await subscription.open()
                failures = 0
                self.tried.set()
                self._on_subscribed()
                await self._listen(subscription, time_limit)
            except (StoreLost, TimeoutError) as exc:
                failures += 1
                log.log(
                    logging.WARNING if failures == FAILURES_TOLD else logging.INFO,
                    "permits: no notices on %s (%s); waiters hear of permits with heartbeats only; trying again",
                    self._channel,
                    str(exc) or "no answer",
                )
            except Exception:
                log.exception("permits: an unexpected error, on %s; trying again", self._channel)
                self._on_fault()
            finally:
                self.tried.set()
                time_limit.stop()
                await subscription.close()
            await asyncio.sleep(self._silence_seconds / 2)

    async def _listen(self, subscription: Subscription, time_limit: ReusableTimeout) -> None:
        pinged = False
        while True:
            try:
                with time_limit:
                    notice = await subscription.next()
            except TimeoutError:
                if pinged:
                    raise
                pinged = True
                await subscription.ping()
                continue
            pinged = False
            if notice is not None:
                self._take_in(notice)

    def _take_in(self, notice: bytes) -> None:
        """Pass a notice on. An invalid one is ignored; a heartbeat finds the permits that it should have named."""
        try:
            incarnation, epoch, *words = notice.decode().split(" ")
            handed = list(zip(words[::2], map(int, words[1::2]), strict=True))
        except ValueError:
            self._log_senseless(notice)
            return
        self._hear(incarnation, epoch, handed)

    def _log_senseless(self, notice: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._senseless_logged_at < SENSELESS_LOG_SECONDS:
            self._senseless += 1
            return
        log.warning(
            "permits: a notice on %s makes no sense and is left out, as were %d since the last such line: %.200r",
            self._channel,
            self._senseless,
            notice,
        )
        self._senseless = 0
        self._senseless_logged_at = now
