"""Wall-clock time as a dependency.

Monotonic time is the event loop's own; only code that needs a date takes a `Now`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Returns the current time as an aware datetime in UTC."""


def utc_now() -> datetime:
    """Return the current time of the system clock, aware and in UTC."""
    return datetime.now(UTC)
