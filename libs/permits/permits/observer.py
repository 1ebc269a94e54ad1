"""The observer port: a pool reports the outcome of each request, for metrics and the like."""

import asyncio
import logging
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, Protocol

from permits.errors import PermitError, PermitTimeout, Reason

log = logging.getLogger(__name__)

P = ParamSpec("P")

REFUSED_REASONS: Final = tuple(reason for reason in Reason if reason not in (Reason.CLUSTER_FULL, Reason.PERMIT_LOST))
"""The reasons that `PoolObserver.refused` may get. Time-outs and losses have methods of their own."""


class PoolObserver(Protocol):
    """Called at once in the event loop, so it must be quick. `pool` is the name of the pool.

    Cancelled waiters are not reported.
    """

    def granted(self, pool: str, *, waited_seconds: float, queued: bool) -> None:
        """A permit was granted, at once or after a wait in the queue."""

    def timed_out(self, pool: str, *, waited_seconds: float) -> None:
        """A request timed out in the queue."""

    def refused(self, pool: str, reason: Reason) -> None:
        """A request was refused for one of `REFUSED_REASONS`."""

    def lost(self, pool: str, permits: int) -> None:
        """Permits were lost while they were held."""

    def failed(self, pool: str) -> None:
        """An unexpected error occurred. The pool refuses the request, and tries again."""


OBSERVED: Final = ("granted", "timed_out", "refused", "lost", "failed")
"""The methods of a `PoolObserver`."""


class OutcomeReporter:
    """Reports to the observer of one pool. Its exceptions are logged and do not affect requests or permits.

    Args:
        pool: its name.
        observer: who is told; None: nobody.

    Raises:
        TypeError: the observer lacks a method.
    """

    def __init__(self, pool: str, observer: PoolObserver | None) -> None:
        if observer is not None:
            missing = [name for name in OBSERVED if not callable(getattr(observer, name, None))]
            if missing:
                raise TypeError(f"the observer of pool {pool!r} has no {', '.join(missing)}")
        self._pool = pool
        self._observer = observer

    def granted(self, begun_at: float, *, queued: bool) -> None:
        """Report a permit that was requested at this event loop time."""
        if self._observer is not None:
            self._tell(self._observer.granted, waited_seconds=_since(begun_at), queued=queued)

    def refused(self, begun_at: float, refusal: PermitError) -> None:
        """Report a refusal."""
        if self._observer is None:
            return
        if isinstance(refusal, PermitTimeout):
            self._tell(self._observer.timed_out, waited_seconds=_since(begun_at))
        else:
            self._tell(self._observer.refused, refusal.code)

    def lost(self, permits: int) -> None:
        """Report lost permits, if any."""
        if self._observer is not None and permits:
            self._tell(self._observer.lost, permits)

    def failed(self) -> None:
        """Report an unexpected error."""
        if self._observer is not None:
            self._tell(self._observer.failed)

    def _tell(self, tell: Callable[Concatenate[str, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            tell(self._pool, *args, **kwargs)
        except Exception:
            log.exception("permits: the observer of pool %s failed", self._pool)


def _since(begun_at: float) -> float:
    return asyncio.get_running_loop().time() - begun_at
