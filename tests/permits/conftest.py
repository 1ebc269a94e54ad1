"""Pools of several pods on one real store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from permits.redis import PoolOperator, RedisPool

OpenPod = Callable[..., Awaitable[RedisPool]]


@pytest.fixture
def name() -> str:
    """Return the name of a pool that nobody used before."""
    return f"test-{uuid4().hex}"


@pytest.fixture
async def open_pod(request: pytest.FixtureRequest, name: str) -> AsyncIterator[OpenPod]:
    """Open one more pod of the pool, or of `pool=`; `url=` says where its store is, the rest is as for `RedisPool`.

    The store is new, and the test vouches that it has forgotten nothing; with `learns=True` the pool finds that out.
    """
    async with AsyncExitStack() as stack:

        async def open_one(
            url: str | None = None, *, pool: str = name, capacity: int = 1, learns: bool = False, **terms: Any
        ) -> RedisPool:
            redis = Redis.from_url(url or request.getfixturevalue("redis_url"))
            stack.push_async_callback(redis.aclose)
            opened = await stack.enter_async_context(RedisPool(pool, redis=redis, capacity=capacity, **terms))
            if not learns and opened.ready():
                await PoolOperator(pool, redis).trust()
            return opened

        yield open_one


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator["Redis"]:
    """Return a client that sees what the pools have stored."""
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis
