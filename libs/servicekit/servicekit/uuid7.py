"""UUIDv7 (RFC 9562, section 5.7): ids that sort by the time they were made. Python has them from 3.14 on."""

import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_COUNTER_BITS: Final = 74
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class IdMint:
    """Makes ids, each greater than the one before, whatever the clock does. Safe to share between threads.

    Millisecond and 74 random bits form one number. When time stands still or goes back, that number counts on from the
    last one instead (method 2 of section 6.2), in steps that are random so that ids cannot be guessed.

    Args:
        after_millisecond: each id is greater than all that were made before this moment, in milliseconds since 1970.
    """

    def __init__(self, *, after_millisecond: int = 0) -> None:
        self._lock = threading.Lock()
        self._last = after_millisecond << _COUNTER_BITS

    def make(self, now: datetime) -> UUID:
        """Return a new id for the given moment.

        Raises:
            ValueError: the moment is before 1970 or is not aware.
        """
        if now.tzinfo is None:
            raise ValueError("the moment must be aware")
        since_1970 = (now - _EPOCH) // _MILLISECOND
        if since_1970 < 0:
            raise ValueError("the moment is before 1970")
        # The highest bit starts as zero, so that counting on has room before it reaches the next millisecond.
        fresh = since_1970 << _COUNTER_BITS | secrets.randbits(_COUNTER_BITS - 1)
        with self._lock:
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(32)
            number = self._last
        random_b = number & ((1 << 62) - 1)
        random_a = number >> 62 & 0xFFF
        return UUID(int=(number >> _COUNTER_BITS) << 80 | 7 << 76 | random_a << 64 | 0b10 << 62 | random_b)


def millisecond(made: UUID) -> int:
    """Return the moment inside an id, in milliseconds since 1970."""
    return made.int >> 80


_of_this_process: Final = IdMint()


def uuid7(now: datetime) -> UUID:
    """Return a new id for the given moment; within this process each is greater than the one before.

    Raises:
        ValueError: the moment is before 1970 or is not aware.
    """
    return _of_this_process.make(now)
