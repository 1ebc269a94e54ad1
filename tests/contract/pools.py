"""The permit pools that the contract suites run against."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Protocol
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from permits.memory import MemoryPool
from permits.pool import Pool
from permits.redis import PoolOperator, RedisPool


class Opener(Protocol):
    """Opens a pool that is closed as the test ends."""

    async def __call__(self, capacity: int, *, per_client: int | None = None, max_waiting: int = 1000) -> Pool: ...


@pytest.fixture(params=["memory", "redis"])
async def open_pool(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def fresh(capacity: int, *, per_client: int | None = None, max_waiting: int = 1000) -> Pool:
            name = f"test-{uuid4().hex}"
            if request.param == "memory":
                pool: Pool = MemoryPool(name, capacity=capacity, per_client=per_client, max_waiting=max_waiting)
            else:
                redis = Redis.from_url(request.getfixturevalue("redis_url"))
                stack.push_async_callback(redis.aclose)
                pool = RedisPool(name, redis=redis, capacity=capacity, per_client=per_client, max_waiting=max_waiting)
                await stack.enter_async_context(pool)
                await PoolOperator(name, redis).trust()  # the store is new, and has forgotten nothing
                return pool
            return await stack.enter_async_context(pool)

        yield fresh
