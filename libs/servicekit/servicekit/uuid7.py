"""UUIDv7 (RFC 9562, section 5.7): ids that sort by the time of creation. Python has them from 3.14 on."""

import os
import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_COUNTER_BITS: Final = 74
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_BLOCK_BYTES: Final = 4096
_FRESH_BYTES: Final = 10
_STEP_BYTES: Final = 4
_FRESH_MASK: Final = (1 << (_COUNTER_BITS - 1)) - 1


class _RandomBytes:
    """Random bytes of the system, in blocks: one system call for about 400 ids. A forked child fetches its own."""

    def __init__(self) -> None:
        self._block = b""
        self._used = 0
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._block = b""
        self._used = 0

    def take(self, count: int) -> int:
        """Return so many bytes as a number. The caller holds a lock."""
        start = self._used
        if start + count > len(self._block):
            self._block, start = secrets.token_bytes(_BLOCK_BYTES), 0
        self._used = start + count
        return int.from_bytes(self._block[start : start + count])


_random: Final = _RandomBytes()
_lock: Final = threading.Lock()


class IdMint:
    """Makes ids, each greater than the one before, whatever the clock does. Thread-safe.

    Millisecond and 74 random bits form one number. When the clock does not advance, a random step is added to the last
    number instead (method 2 of section 6.2), so that ids cannot be guessed.

    Args:
        after_millisecond: each id is greater than all that were made before this moment, in milliseconds since 1970.
    """

    def __init__(self, *, after_millisecond: int = 0) -> None:
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
        with _lock:
            # The highest bit starts as zero, so that counting on has room before it reaches the next millisecond.
            fresh = since_1970 << _COUNTER_BITS | _random.take(_FRESH_BYTES) & _FRESH_MASK
            self._last = fresh if fresh > self._last else self._last + 1 + _random.take(_STEP_BYTES)
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
