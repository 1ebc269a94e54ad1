"""Which core runs what: what is measured has one of its own, and all else shares the others."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

MICROSECONDS = 1_000_000
NANOSECONDS_IN_MICROSECOND = 1000
AVAILABLE = sorted(os.sched_getaffinity(0))  # before this process leaves the first to what is measured


def split() -> tuple[set[int], set[int]]:
    """Return the core for what is measured, and those for all else; both the same one where there is only one."""
    first, *others = AVAILABLE
    return {first}, set(others) or {first}


@contextmanager
def only(cores: set[int]) -> Iterator[None]:
    """Start processes on these cores for the length of a `with` block."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def cpu_us(pid: int) -> float:
    """Return the CPU time that all threads of a process have used, to the nanosecond where the system says it so."""
    try:
        stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
        return sum(int(stat.read_text(encoding="ascii").split()[0]) for stat in stats) / NANOSECONDS_IN_MICROSECOND
    except (OSError, IndexError, ValueError):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system) * MICROSECONDS


def clock_us() -> float:
    """Return a time that only goes forward."""
    return time.perf_counter() * MICROSECONDS
