"""The semaphores that are compared, each behind the same four calls."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from itertools import count
from typing import Any, Protocol

from redis.asyncio import Redis

from permits.redis import RedisPool

WAIT_SECONDS = 60
EXPIRY_SECONDS = 3600  # of keys that would otherwise vanish in the middle of a run
CLIENT = "bench"
POOL = "bench"  # one for all measurements: in a store that is new to it, a pool may grant nothing for a lease
LEASE_SECONDS = 2.0
Grant = Any


class Semaphore(Protocol):
    """What every contender offers to the measurements."""

    async def acquire(self) -> Grant:
        """Return when a permit is granted."""

    async def release(self, grant: Grant) -> None:
        """Release it."""

    async def settle(self) -> None:
        """Return when no call is in flight any more."""


Open = Callable[[str, str, int, int], AbstractAsyncContextManager[Semaphore]]
"""Opens a semaphore: address of the store, name, capacity, the most tasks that will ask at the same time."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One kind of semaphore.

    Attributes:
        name: what tables and options call it.
        package: its distribution; None for what comes with Python.
        module: what must be importable.
        open: opens one.
        waits: whether its acquire waits for a permit.
        shared: whether several processes can share one.
    """

    name: str
    package: str | None
    module: str
    open: Open
    waits: bool = True
    shared: bool = True

    def version(self) -> str:
        """Return the version of its distribution."""
        return "" if self.package is None else metadata.version(self.package)

    def trouble(self) -> str | None:
        """Return why it cannot run; None: it can."""
        try:
            importlib.import_module(self.module)
        except ImportError as exc:
            return f"{self.package} cannot be imported here ({exc}); ./taskw bench:permits installs it"
        return None


class Ours:
    """`permits.redis`."""

    def __init__(self, pool: RedisPool) -> None:
        self._pool = pool

    async def acquire(self) -> Grant:
        """See `Semaphore`."""
        return await self._pool.acquire(CLIENT, wait_seconds=WAIT_SECONDS)

    async def release(self, grant: Grant) -> None:
        """See `Semaphore`."""
        grant.release()

    async def settle(self) -> None:
        """A query is sent behind all earlier calls."""
        await self._pool.state()


@asynccontextmanager
async def _open_ours(url: str, name: str, capacity: int, tasks: int) -> AsyncIterator[Semaphore]:  # noqa: ARG001
    async with Redis.from_url(url) as redis:
        pool = RedisPool(POOL, redis=redis, capacity=capacity, max_waiting=tasks, lease_seconds=LEASE_SECONDS)
        async with pool:
            yield Ours(pool)


class Bare:
    """The minimum: one call of redis-py to acquire, one to release. It has no waiting."""

    def __init__(self, redis: "Redis", name: str, capacity: int, acquire_sha: str, release_sha: str) -> None:
        self._redis = redis
        self._keys = (f"{{{name}}}:permits", f"{{{name}}}:clients")
        self._capacity = capacity
        self._acquire_sha, self._release_sha = acquire_sha, release_sha
        self._ids = count()

    async def acquire(self) -> Grant:
        """See `Semaphore`."""
        grant = str(next(self._ids))
        if not await self._redis.evalsha(self._acquire_sha, 2, *self._keys, grant, CLIENT, self._capacity):
            raise RuntimeError("no permit is free, and this one cannot wait")
        return grant

    async def release(self, grant: Grant) -> None:
        """See `Semaphore`."""
        await self._redis.evalsha(self._release_sha, 2, *self._keys, grant)

    async def settle(self) -> None:
        """See `Semaphore`."""


@asynccontextmanager
async def _open_bare(url: str, name: str, capacity: int, tasks: int) -> AsyncIterator[Semaphore]:
    async with Redis.from_url(url, max_connections=tasks + 10) as redis:
        shas = [await redis.script_load(script_text(script)) for script in ("acquire", "release")]
        yield Bare(redis, name, capacity, *shas)


class PyRedisSemaphore:
    """`py-redis-semaphore` with its defaults: a list to block on, a heartbeat task for each permit."""

    def __init__(self, redis: "Redis", name: str, capacity: int) -> None:
        self._library = importlib.import_module("redis_semaphore")
        self._redis = redis
        self._config = self._library.SemaphoreConfig(name=name, limit=capacity, acquire_timeout=WAIT_SECONDS)
        self._idle: list[Any] = []

    async def acquire(self) -> Grant:
        """See `Semaphore`. One of its objects stands for one holder; we use each again."""
        semaphore = self._idle.pop() if self._idle else self._library.Semaphore(self._redis, self._config)
        await semaphore.aacquire()
        return semaphore

    async def release(self, grant: Grant) -> None:
        """See `Semaphore`."""
        await grant.arelease()
        self._idle.append(grant)

    async def settle(self) -> None:
        """See `Semaphore`."""


@asynccontextmanager
async def _open_py_redis_semaphore(url: str, name: str, capacity: int, tasks: int) -> AsyncIterator[Semaphore]:
    async with Redis.from_url(url, max_connections=2 * tasks + 10) as redis:
        yield PyRedisSemaphore(redis, name, capacity)


class SelfLimiters:
    """`self-limiters`: in Rust, a list of free permits to block on; a connection for each that waits."""

    def __init__(self, url: str, name: str, capacity: int, tasks: int) -> None:
        library = importlib.import_module("self_limiters")
        self._semaphore = library.Semaphore(
            name=name,
            capacity=capacity,
            max_sleep=WAIT_SECONDS,
            expiry=EXPIRY_SECONDS,
            redis_url=url,
            connection_pool_size=2 * tasks + 10,
        )

    async def acquire(self) -> Grant:
        """See `Semaphore`."""
        await self._semaphore.__aenter__()

    async def release(self, grant: Grant) -> None:  # noqa: ARG002 - its permits have no names
        """See `Semaphore`."""
        await self._semaphore.__aexit__(None, None, None)

    async def settle(self) -> None:
        """See `Semaphore`."""


@asynccontextmanager
async def _open_self_limiters(url: str, name: str, capacity: int, tasks: int) -> AsyncIterator[Semaphore]:
    yield SelfLimiters(url, name, capacity, tasks)


class Local:
    """`asyncio.Semaphore`: the ideal within one process, without a store."""

    def __init__(self, capacity: int) -> None:
        self._semaphore = asyncio.Semaphore(capacity)

    async def acquire(self) -> Grant:
        """See `Semaphore`."""
        await self._semaphore.acquire()

    async def release(self, grant: Grant) -> None:  # noqa: ARG002 - its permits have no names
        """See `Semaphore`."""
        self._semaphore.release()

    async def settle(self) -> None:
        """See `Semaphore`."""


@asynccontextmanager
async def _open_local(url: str, name: str, capacity: int, tasks: int) -> AsyncIterator[Semaphore]:  # noqa: ARG001
    yield Local(capacity)


def script_text(name: str) -> str:
    """Return one of the scripts of this benchmark."""
    return (resources.files("bench.permits") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


OURS = Contender("permits (ours)", "chatbot-permits", "permits.redis", _open_ours)
BARE = Contender("redis-py, bare Lua", "redis", "redis.asyncio", _open_bare, waits=False)
LOCAL = Contender("asyncio.Semaphore", None, "asyncio", _open_local, shared=False)
LIBRARIES = (
    Contender("py-redis-semaphore", "py-redis-semaphore", "redis_semaphore", _open_py_redis_semaphore),
    Contender("self-limiters", "self-limiters", "self_limiters", _open_self_limiters),
)
ALL = (OURS, BARE, *LIBRARIES, LOCAL)
