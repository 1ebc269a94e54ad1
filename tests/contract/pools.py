"""The permit pools that the contract suites run against."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Protocol
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from devtools.redis_servers import WANTED, found_servers
from devtools.valkey import run_valkey
from permits.memory import MemoryPool
from permits.pool import Pool
from permits.redis import PoolOperator, RedisPool


class Opener(Protocol):
    """Opens a pool that is closed as the test ends."""

    async def __call__(
        self, capacity: int, *, per_client: int | None = None, max_waiting: int = 1000, lease_seconds: float = 15.0
    ) -> Pool: ...


@pytest.fixture(scope="session")
def store_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return what tells the address of a server, which is started when it is first asked for."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def url_of(name: str) -> str:
            if name not in urls:
                running = run_valkey(tmp_path_factory.mktemp(name), binary=found_servers()[name])
                urls[name] = stack.enter_context(running).url
            return urls[name]

        yield url_of


@pytest.fixture(params=["memory", "valkey", *(name for name in WANTED if name in found_servers())])
async def open_pool(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def fresh(
            capacity: int, *, per_client: int | None = None, max_waiting: int = 1000, lease_seconds: float = 15.0
        ) -> Pool:
            name = f"test-{uuid4().hex}"
            terms: dict[str, Any] = {
                "capacity": capacity,
                "per_client": per_client,
                "max_waiting": max_waiting,
                "lease_seconds": lease_seconds,
            }
            if request.param == "memory":
                pool: Pool = MemoryPool(name, **terms)
            else:
                url = request.getfixturevalue("redis_url" if request.param == "valkey" else "store_urls")
                redis = Redis.from_url(url if isinstance(url, str) else url(request.param))
                stack.push_async_callback(redis.aclose)
                pool = RedisPool(name, redis=redis, **terms)
                await stack.enter_async_context(pool)
                await PoolOperator(name, redis).trust()  # the store is new, and has forgotten nothing
                return pool
            return await stack.enter_async_context(pool)

        yield fresh
