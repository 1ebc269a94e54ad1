"""The public keys of an issuer, refreshed in the background."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Never

from servicekit.logs import get_logger
from servicekit.tasks import FullJitterBackoff, is_worth_logging
from servicekit.tokens.keys import Keys, KeySetError, KeysUnavailable, TokenKey, read_keys

Fetch = Callable[[], Awaitable[bytes]]
"""Fetches the current key set of the issuer, within bounds of time and size. Raises KeySetError."""

FIRST_RETRY_SECONDS = 0.2

_log = get_logger(__name__)


class KeySet:
    """The public keys of an issuer.

    `run` must be kept running. It fetches the keys at the start, when they are old, and when a token names an unknown
    one. While the issuer can't be reached, the last good keys are kept.

    Args:
        fetch: fetches the key set.
        refresh_seconds: how old keys may become.
        cooldown_seconds: the least time from one fetch to the next that a token causes, and the longest pause after
            a failed one.
        jitter: a number in [0, 1), fresh at each call.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        refresh_seconds: float = 300.0,
        cooldown_seconds: float = 10.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._fetch = fetch
        self._retries = FullJitterBackoff(FIRST_RETRY_SECONDS, cooldown_seconds, jitter)
        self._refresh_seconds = refresh_seconds
        self._cooldown_seconds = cooldown_seconds
        self._keys: Keys = {}
        self._failures = 0
        self._wanted = asyncio.Event()

    def ready(self) -> bool:
        """Say whether keys have been fetched."""
        return bool(self._keys)

    def find(self, key_id: str | None, algorithm: str) -> TokenKey | None:
        """See `PublicKeys.find`. A token without a key id selects the only key of its algorithm."""
        if not self._keys:
            raise KeysUnavailable
        if key_id is None:
            fitting = [key for (_, its), key in self._keys.items() if its == algorithm]
            return fitting[0] if len(fitting) == 1 else None
        key = self._keys.get((key_id, algorithm))
        if key is None:
            self._wanted.set()
        return key

    async def run(self) -> Never:
        """Fetch until cancelled."""
        while True:
            self._wanted.clear()
            await self._refresh()
            if self._failures:
                await asyncio.sleep(self._retries.pause_seconds(self._failures))
            else:
                await asyncio.sleep(self._cooldown_seconds)
                await self._until_old_or_wanted()

    async def _until_old_or_wanted(self) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._refresh_seconds - self._cooldown_seconds)):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _refresh(self) -> None:
        try:
            keys = read_keys(await self._fetch())
        except Exception as exc:  # noqa: BLE001 - the task must go on, nothing restarts it
            self._failures += 1
            if is_worth_logging(self._failures):
                unforeseen = not isinstance(exc, KeySetError)
                consequence = "the keys that came last are kept" if self._keys else "no token can be checked by them"
                _log.warning(
                    "token_keys.not_fetched",
                    reason=str(exc),
                    failures=self._failures,
                    consequence=consequence,
                    exc_info=unforeseen,
                )
            return
        if keys.keys() != self._keys.keys():
            _log.info("token_keys.changed", keys=[f"{key_id or '-'} ({algorithm})" for key_id, algorithm in keys])
        self._keys = keys
        self._failures = 0
