"""The ids of exchanges: each is greater than all before it in the same data folder, whatever the clock does.

History sorts the messages of a session by these ids. After a restart with an earlier clock they go on from the last
ones, because the folder remembers a moment that no id of the past has reached. It lies up to `AHEAD_MS` ahead, so that
the file is written once in that time and not for each id.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from servicekit.logs import get_logger
from servicekit.uuid7 import IdMint, millisecond

log = get_logger(__name__)

AHEAD_MS: Final = 1000
LAST_MS: Final = 1 << 47  # in the year 6429; an id has 48 bits for its millisecond
DIGITS: Final = 16  # written in place in one call, so the file is never half of one value and half of another


class ExchangeIds:
    """Makes the ids of one process.

    Args:
        path: the file that remembers how far ids got.
        now: the wall clock, which is told from the moments of ids: a message may have waited before it has its id.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        """Go on behind the ids of an earlier process.

        Raises:
            OSError: the file cannot be used.
        """
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        known = os.pread(self._file, DIGITS + 1, 0)
        is_sound = len(known) == DIGITS and known.isdigit() and int(known) < LAST_MS
        if known and not is_sound:
            log.warning("ids.unreadable", file=str(path), consequence="ids follow the clock")
            os.ftruncate(self._file, 0)
        self._reserved_ms = int(known) if is_sound else 0
        self._mint = IdMint(after_millisecond=self._reserved_ms)
        self._is_behind = False
        self._now = now

    def make(self, moment: datetime) -> UUID:
        """Return a new id for the given moment, or for a later one when ids have got that far already."""
        made = self._mint.make(moment)
        made_ms = millisecond(made)
        if made_ms >= self._reserved_ms:
            self._reserve(made_ms + AHEAD_MS)
        self._tell_whether_behind((made_ms - int(self._now().timestamp() * 1000)) / 1000)
        return made

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def _reserve(self, until_ms: int) -> None:
        try:
            os.pwrite(self._file, f"{until_ms:0{DIGITS}}".encode(), 0)
        except OSError as exc:  # without room for the exchange itself it is not kept either
            log.warning("ids.unwritable", reason=exc.strerror)
        self._reserved_ms = until_ms

    def _tell_whether_behind(self, seconds: float) -> None:
        is_behind = seconds > 2 * AHEAD_MS / 1000
        if is_behind and not self._is_behind:
            log.warning(
                "ids.clock_behind",
                seconds=round(seconds, 3),
                consequence="ids go on from the last one and not from the clock, until it has caught up",
            )
        self._is_behind = is_behind
