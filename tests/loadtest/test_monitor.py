"""The watcher ends when it is told to, whatever it is doing at that moment."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from loadtest import monitor
from loadtest.monitor import Monitor
from loadtest.target import Target


async def test_a_watcher_ends_though_a_look_swallows_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = asyncio.Event()

    async def swallow(*_: Any) -> dict[str, dict[str, float]]:
        """Do as the Redis client does when it is about to put a connection back."""
        assert not looking.is_set(), "it looks again"
        looking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(monitor, "scrape", swallow)
    target = Target(chat=(), history="", redis_url="redis://127.0.0.1:9/0", metrics={})
    watching = asyncio.create_task(Monitor(target, lambda _: None).run())
    await looking.wait()
    watching.cancel()
    await asyncio.wait({watching})
    assert watching.cancelled()
