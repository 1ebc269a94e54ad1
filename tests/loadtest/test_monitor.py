"""The watcher ends when it is told to, whatever it is doing at that moment."""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from loadtest import monitor
from loadtest.monitor import POOLS, Monitor, check_store
from loadtest.target import Target
from permits.redis import PoolOperator, RedisPool


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


async def test_a_run_that_would_see_no_limits_is_refused(redis_url: str) -> None:
    prefix = f"permits:{uuid4().hex}:talk"
    async with Redis.from_url(redis_url) as redis:
        for name in POOLS:
            await PoolOperator(name, redis, prefix).begin()
    await check_store(redis_url, prefix)
    with pytest.raises(ValueError, match=f"--permits-prefix: there are no limits below permits:nobody .*{prefix}"):
        await check_store(redis_url, "permits:nobody")
    with pytest.raises(ValueError, match="--redis: the store of the limits does not answer"):
        await check_store("redis://127.0.0.1:9/0", prefix)


async def test_a_monitor_sees_the_limits_below_its_prefix(redis_url: str) -> None:
    prefix = f"permits:{uuid4().hex}:talk"
    lines: list[str] = []
    async with Redis.from_url(redis_url) as redis:
        for name in POOLS:
            await PoolOperator(name, redis, prefix).begin()
        async with RedisPool("connections", redis=redis, capacity=3, prefix=prefix):
            target = Target(chat=(), history="", redis_url=redis_url, metrics={}, permits_prefix=prefix)
            watching = Monitor(target, lines.append)
            watching.stop()
            await watching.run()
    assert watching.latest["connections"].capacity == 3
