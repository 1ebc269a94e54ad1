"""What all tests share: real servers, started once for a whole run and only when a test asks for them."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.support.stores"]


def pytest_sessionstart() -> None:
    """Keep looptime from making an event loop when it looks for the current one: nobody would close it."""
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def stays_an_ordinary_process() -> Iterator[None]:
    """No test leaves this process with real-time priority: what it starts would inherit that and starve all else."""
    yield
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    if policy not in {None, 0}:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail(f"the scheduling policy of the test process has become {policy}")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB: the disk is full for whoever writes more."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    signal.signal(signal.SIGXFSZ, handler)
