"""Whether and when a client connects again: a pure function of what went wrong, and of how often it did."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from chat_client.errors import UNAUTHORIZED, ClientError, ConnectionLost, Refused, Unreachable, WrongAnswer
from frameproto.connection import CloseCode, Reconnect

LONGEST_DOUBLING: Final = 16
"""Bounds the exponent. The longest pause is reached before."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: doubled each time up to a longest one. Chance takes up to half of each away.

    Attributes:
        first_seconds: the longest pause after the first failure.
        longest_seconds: the longest pause of all.
        jitter: a number in [0, 1), fresh at each call.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    jitter: Callable[[], float] = random.random

    def pause_seconds(self, failures: int) -> float:
        """Return the pause after so many failures in a row, at least one."""
        doubled = self.first_seconds * float(2 ** min(failures - 1, LONGEST_DOUBLING))
        return min(self.longest_seconds, doubled) * (1 - self.jitter() / 2)

    def at_once_seconds(self) -> float:
        """Return the pause of a client that should come at once, and not together with all others."""
        return self.first_seconds * self.jitter()

    def not_before(self, seconds: float) -> float:
        """Return a pause that is a little longer than this one."""
        return seconds * (1 + self.jitter() / 4)


@dataclass(frozen=True, slots=True)
class Again:
    """Connect again after a pause; `fresh_token`: with another token than the last one."""

    seconds: float
    fresh_token: bool = False


class Stop(Enum):
    """There is no attempt by itself."""

    WHEN_READY = auto()  # until there is something to say
    GIVE_UP = auto()  # the time for attempts is over; a later message begins anew
    NEVER = auto()  # the same client would meet the same again


class Attempts:
    """Counts failures in a row, and decides about the next attempt.

    Args:
        backoff: the pauses.
        patience_seconds: how long to try without getting on; 0: not at all.
        can_refresh: a refused or expired token can be replaced.
    """

    def __init__(self, backoff: Backoff, patience_seconds: float, *, can_refresh: bool) -> None:
        self._backoff = backoff
        self._patience_seconds = patience_seconds
        self._can_refresh = can_refresh
        self._since: float | None = None
        self._refreshed = False
        self._has_connected = False
        self.failures = 0

    def connected(self) -> None:
        """A connection is open. The failures count on until it is of use."""
        self._has_connected = True

    def made_progress(self) -> None:
        """A message was answered, or there was none to answer: what comes is not in a row with what was."""
        self._since, self._refreshed, self.failures = None, False, 0

    def after(self, why: ClientError, now: float, *, has_work: bool) -> Again | Stop:
        """Decide what follows a failure.

        Args:
            why: the attempt failed, or the connection ended.
            now: of a clock that only grows, in seconds.
            has_work: messages wait for their answers.
        """
        self.failures += 1
        if self._since is None:
            self._since = now
        step = self._step(why, has_work=has_work)
        if isinstance(step, Again):
            if step.fresh_token:
                self._refreshed = True
            if now - self._since >= self._patience_seconds:
                return Stop.GIVE_UP
        return step

    def _step(self, why: ClientError, *, has_work: bool) -> Again | Stop:
        match why:
            case ConnectionLost():
                return self._after_close(why, has_work=has_work)
            case Refused():
                return self._after_denial(why)
            case WrongAnswer():
                return Stop.NEVER
            case Unreachable() if self._has_connected:
                return Again(self._backoff.pause_seconds(self.failures))
            case _:
                return Stop.NEVER

    def _after_close(self, lost: ConnectionLost, *, has_work: bool) -> Again | Stop:
        later = Again(self._backoff.pause_seconds(self.failures))
        match lost.reconnect:
            case Reconnect.NEVER:  # a message that was too large has failed by now; the others have not
                return later if lost.code == CloseCode.TOO_LARGE else Stop.NEVER
            case Reconnect.AT_ONCE:
                return Again(self._backoff.at_once_seconds()) if self.failures == 1 else later
            case Reconnect.LATER:
                return later
            case Reconnect.WHEN_READY:
                return later if has_work else Stop.WHEN_READY
            case Reconnect.FRESH_TOKEN:
                return self._with_fresh_token()

    def _after_denial(self, refused: Refused) -> Again | Stop:
        if refused.status == UNAUTHORIZED:
            return Stop.NEVER if self._refreshed else self._with_fresh_token()
        if not refused.is_temporary:
            return Stop.NEVER
        if refused.kept_seconds:  # its position is kept only while it waits
            return Again(self._backoff.at_once_seconds())
        if refused.retry_after_seconds is not None:
            return Again(self._backoff.not_before(refused.retry_after_seconds))
        return Again(self._backoff.pause_seconds(self.failures))

    def _with_fresh_token(self) -> Again | Stop:
        if not self._can_refresh:
            return Stop.NEVER
        return Again(0.0 if self.failures == 1 else self._backoff.pause_seconds(self.failures), fresh_token=True)
