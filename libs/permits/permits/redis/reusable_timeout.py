"""A time limit for a task that waits again and again.

`asyncio.timeout` sets and cancels a timer each time, and every call to the store and every notice would pay for that.
Here one timer stands for many waits: when it rings too early for the present one, it is set again.
"""

import asyncio
from types import TracebackType
from typing import Final

LATE_SECONDS: Final = 0.05
GRACE_SECONDS: Final = 0.1


class ReusableTimeout:
    """A `with` block of a task that may not take longer than this; for one task at a time, and not within itself.

    A timer that rings late tells of an event loop that stood still. What was waited for may have come meanwhile and lie
    unread, so the block has a little more time then, once.

    Args:
        seconds: how long.

    Raises:
        TimeoutError: at the end of a block that was broken off for it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._cancels = 0  # of others, when the block began
        self._over_at = 0.0
        self._over = False
        self._had_grace = False
        self._alarm: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        """Count from now."""
        task = self._task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("only a task can be broken off")
        self._cancels = task.cancelling()
        self._over_at = self._loop.time() + self._seconds
        self._over = self._had_grace = False
        if self._alarm is None:
            self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count no longer. When others have cancelled the task as well, that goes first."""
        task, self._task = self._task, None
        if self._over and task is not None and task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def stop(self) -> None:
        """Leave no timer behind."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set(self) -> None:
        self._alarm = self._loop.call_at(self._over_at, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._task is None:
            return
        now = self._loop.time()
        if now - self._over_at > LATE_SECONDS and not self._had_grace:
            self._had_grace = True
            self._over_at = now + GRACE_SECONDS
        if now < self._over_at:
            self._set()
        else:
            self._over = True
            self._task.cancel()
