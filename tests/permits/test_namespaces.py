"""Several releases on one store, and an upgrade from the layout before: nothing is shared by accident or held twice."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import PermitTimeout
from permits.redis import PoolOperator, RedisPool, find_pools
from tests.permits.command import Cli
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold, until

LEASE_SECONDS = 4


async def test_pools_of_two_prefixes_share_nothing(
    open_pod: OpenPod, store: "Redis", redis_url: str, name: str
) -> None:
    prefixes = ("permits:blue:chat", "permits:green:chat")
    for prefix, capacity in zip(prefixes, (1, 3), strict=True):
        await PoolOperator(name, store, prefix).begin()
        pool = await open_pod(capacity=capacity, learns=True, prefix=prefix)
        await hold(pool, *["anna"] * capacity)
        with pytest.raises(PermitTimeout):
            await hold(pool, "ben")
        assert name in await find_pools(store, prefix)
        shown = await Cli(redis_url)("show", name, "--json", CHAT_PERMITS_PREFIX=prefix)
        assert [(pool["held"], pool["capacity"]) for pool in shown.objects] == [(capacity, capacity)]
    assert name not in await find_pools(store)


async def test_the_log_names_the_command_that_ends_learning(
    open_pod: OpenPod, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await open_pod(learns=True, prefix="mine")
    assert f"`permits trust {name} --prefix mine`" in caplog.text


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "x" * 201], ids=repr)
def test_a_prefix_that_would_make_another_hash_tag_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisPool("pool", redis=Redis(), capacity=1, prefix=prefix)


class OldPods:
    """Pods of layout 1, as they stand in the store."""

    def __init__(self, store: Any, name: str) -> None:
        self._store = store
        self._begin = f"permits:{{{name}}}:"

    async def beat(self, held: int) -> None:
        """Be there, and hold so many permits."""
        now = round(time.time() * 1000)
        await self._store.hset(f"{self._begin}pods", "old/1.1", "1 60000")
        await self._store.delete(f"{self._begin}permits")
        for number in range(held):
            await self._store.hset(f"{self._begin}permits", f"id-{number}", f"{number:032} old/1.1 anna")
        fields = {"layout": 1, "seen": now, "capacity_seed": 4}
        await self._store.hset(f"{self._begin}pool", mapping=fields)
        await self._store.hsetnx(f"{self._begin}pool", "capacity", 4)

    async def capacity(self) -> int:
        """Return how many they may hold."""
        return int(await self._store.hget(f"{self._begin}pool", "capacity") or 0)

    async def leave(self) -> None:
        """Leave in good order."""
        await self._store.delete(f"{self._begin}pods", f"{self._begin}permits")

    async def keys(self) -> list[str]:
        """Return what is left of their pool."""
        return [str(key) async for key in self._store.scan_iter(match=f"{self._begin}[a-z]*", count=10_000)]


@pytest.mark.parametrize("prefix", ["permits", "permits:blue:chat"])
async def test_pods_of_the_layout_before_and_of_this_one_never_hold_more_than_there_are(
    open_pod: OpenPod, store: "Redis", name: str, prefix: str
) -> None:
    old = OldPods(store, name)
    await old.beat(held=3)
    await PoolOperator(name, store, prefix).begin()
    pool = await open_pod(capacity=4, lease_seconds=LEASE_SECONDS, learns=True, prefix=prefix)
    assert await old.capacity() == 2
    await hold(pool, "ben")
    with pytest.raises(PermitTimeout):
        await hold(pool, "ben")
    waiting = [asyncio.create_task(pool.acquire("carl", wait_seconds=SECONDS)) for _ in range(3)]
    await until(pool, lambda state: state.waiting == 3)
    await old.beat(held=1)  # of the two that they may
    await until(pool, lambda state: (state.held, state.waiting) == (2, 2))
    await asyncio.sleep(LEASE_SECONDS / 2)
    assert (await pool.state()).held == 2
    await old.leave()
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*waiting)
    assert (await pool.state()).held == 4
    assert await old.keys() == []


async def test_a_rollback_gives_pods_of_the_layout_before_their_capacity_back(store: "Redis", name: str) -> None:
    old = OldPods(store, name)
    await old.beat(held=1)
    await PoolOperator(name, store).begin()
    one, two = (RedisPool(name, redis=store, capacity=6, pod=pod) for pod in ("one", "two"))
    async with one:
        async with two:
            await hold(two, "anna")
            assert await old.capacity() == 3
        await hold(one, "anna")
        assert await old.capacity() == 3
    assert await old.capacity() == 4
    async with RedisPool(name, redis=store, capacity=4):  # the next upgrade
        assert await old.capacity() == 2
    assert await old.capacity() == 4
    await old.leave()


async def test_old_pods_that_were_killed_are_given_up_after_their_longest_lease(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    old = OldPods(store, name)
    await old.beat(held=4)
    await store.hset(f"permits:{{{name}}}:pool", "seen", round(time.time() * 1000) - 61_000)
    await PoolOperator(name, store).begin()
    pool = await open_pod(capacity=4, learns=True)
    assert len(await hold(pool, *["anna"] * 4)) == 4
    assert await old.keys() == []
