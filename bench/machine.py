"""The machine that a benchmark runs on."""

import os
import platform
import time
from pathlib import Path

LOOK_SECONDS = 0.4
IDLE_FIELDS = slice(3, 5)  # of a line of /proc/stat: idle, and idle while waiting for a disk


def cores() -> int:
    """Return how many this process may use."""
    return len(os.sched_getaffinity(0))


def processor() -> str:
    """Return what the processor calls itself."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def busy_share() -> float:
    """Look for a moment how much of all cores others use; 0 where the system does not say."""
    before = _ticks()
    time.sleep(LOOK_SECONDS)
    after = _ticks()
    spent = [now - then for then, now in zip(before, after, strict=True)]
    return 1 - sum(spent[IDLE_FIELDS]) / sum(spent) if sum(spent) else 0.0


def _ticks() -> list[int]:
    try:
        return [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    except OSError:
        return []
