"""Wall-clock time as a dependency.

Monotonic time is the event loop's own; only code that needs a date takes a `Now`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Gives the current moment as an aware datetime in UTC."""


def utc_now() -> datetime:
    """Return the current moment by the machine's clock, aware and in UTC."""
    return datetime.now(UTC)
