"""A pod that is in touch keeps what it holds, on every event loop that a service runs on."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
import uvloop
from redis.asyncio import Redis

from permits.redis import PoolOperator, RedisPool
from tests.permits.parts import ready

LEASE_SECONDS = 3.1  # an eighth of it is no whole number of milliseconds: clocks round it


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_an_idle_pod_keeps_what_it_holds(
    redis_url: str, name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def idle() -> None:
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(Redis.from_url(redis_url))
            pods = [RedisPool(f"{name}-{n}", redis=redis, capacity=1, lease_seconds=LEASE_SECONDS) for n in range(10)]
            for pod in pods:
                await stack.enter_async_context(pod)
                await ready(pod)
                await PoolOperator(pod.name, redis).trust()
            permits = [await pod.acquire("a", wait_seconds=0) for pod in pods]
            lost = [asyncio.create_task(permit.lost()) for permit in permits]
            await asyncio.wait(lost, timeout=1.5 * LEASE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            assert [permit.valid() for permit in permits] == [True] * 10
            assert not any(task.done() for task in lost)
            for task in lost:
                task.cancel()

    loop = new_loop()
    try:
        loop.run_until_complete(idle())
    finally:
        loop.close()
