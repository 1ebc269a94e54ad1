"""What all tests share: real servers, started once for a whole run and only when a test asks for them."""

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from functools import cache

import pytest
from botocore.loaders import JSONFileLoader

pytest_plugins = ["tests.support.stores"]


def pytest_sessionstart() -> None:
    """Keep looptime from making an event loop when it looks for the current one: nobody would close it."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def reads_descriptions_of_s3_once() -> Iterator[None]:
    """Keep what botocore parses for each new client, which takes a tenth of a second: tests make hundreds."""
    parsed = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: parsed(path))
        yield


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
