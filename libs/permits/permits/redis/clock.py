"""The clock by which a pod counts its leases."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

Clock = Callable[[], float]
"""Seconds since some moment; never goes back."""


def _choose() -> Clock:
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_MONOTONIC"):  # macOS, where it counts sleep and `time.monotonic` does not
        return partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    return time.monotonic


lease_clock: Final[Clock] = _choose()
"""It runs on while the machine sleeps, where there is such a clock: the store counts that time as well."""
