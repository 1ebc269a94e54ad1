"""The observer port: a pool tells what becomes of those who ask it, for metrics and the like."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from permits.errors import PermitError, PermitTimeout, Reason

log = logging.getLogger(__name__)


REFUSED_REASONS: Final = tuple(reason for reason in Reason if reason not in (Reason.CLUSTER_FULL, Reason.PERMIT_LOST))
"""What `PoolObserver.refused` may be told. A time-out and a loss have calls of their own."""


class PoolObserver(Protocol):
    """Is told at once, in the event loop, so it must be quick. `pool` is the name of the pool that tells.

    Cancelled waiters are not reported.
    """

    def granted(self, pool: str, *, waited_seconds: float, in_line: bool) -> None:
        """Hear that a permit was granted: at once, or to somebody who had to stand in line."""

    def timed_out(self, pool: str, *, waited_seconds: float) -> None:
        """Hear that nothing became free in time."""

    def refused(self, pool: str, reason: Reason) -> None:
        """Hear of a refusal for any other reason; each is one of `REFUSED_REASONS`."""

    def lost(self, pool: str, permits: int) -> None:
        """Hear that permits were lost while they were held."""

    def failed(self, pool: str) -> None:
        """Hear of a fault that nobody foresaw; the pool refuses, and tries again."""


class Report:
    """What one pool has to tell. A fault of the observer is logged and harms nobody who holds or wants a permit.

    Args:
        pool: its name.
        observer: who is told; None: nobody.
    """

    def __init__(self, pool: str, observer: PoolObserver | None) -> None:
        self._pool = pool
        self._observer = observer

    def granted(self, begun_at: float, *, in_line: bool) -> None:
        """Tell of a permit that was asked for at this event loop time."""
        if (observer := self._observer) is not None:
            waited_seconds = _since(begun_at)
            self._tell(lambda: observer.granted(self._pool, waited_seconds=waited_seconds, in_line=in_line))

    def refused(self, begun_at: float, refusal: PermitError) -> None:
        """Tell why there is no permit."""
        if (observer := self._observer) is None:
            return
        if isinstance(refusal, PermitTimeout):
            waited_seconds = _since(begun_at)
            self._tell(lambda: observer.timed_out(self._pool, waited_seconds=waited_seconds))
        else:
            self._tell(lambda: observer.refused(self._pool, refusal.code))

    def lost(self, permits: int) -> None:
        """Tell that so many permits were lost, if any."""
        if (observer := self._observer) is not None and permits:
            self._tell(lambda: observer.lost(self._pool, permits))

    def failed(self) -> None:
        """Tell of a fault of ours."""
        if (observer := self._observer) is not None:
            self._tell(lambda: observer.failed(self._pool))

    def _tell(self, news: Callable[[], None]) -> None:
        try:
            news()
        except Exception:
            log.exception("permits: the observer of pool %s failed", self._pool)


def _since(begun_at: float) -> float:
    return asyncio.get_running_loop().time() - begun_at
