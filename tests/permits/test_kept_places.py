"""A place in line over several pods, and through what may happen to them and to the store."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import Permit, PermitTimeout, Verdict, WaitReplaced
from permits.pool import Pool
from permits.redis import PoolOperator, RedisPool
from permits.redis.keys import keys_of
from tests.permits.conftest import OpenPod
from tests.permits.gate import open_gate
from tests.permits.parts import SECONDS, hold, queue_up, until

WAIT = "6f6b7d5e-0f0a-4c0c-9b36-6d0a3a9c1d02"


def key(name: str, what: str) -> str:
    """Return one key of a pool."""
    return next(key for key in keys_of(name) if key.endswith(f":{what}"))


async def waited_in_vain(pool: Pool) -> None:
    with pytest.raises(PermitTimeout):
        await pool.acquire("anna", wait_seconds=0.05, wait_id=WAIT)


async def came_back(pool: Pool, waiting: int) -> "asyncio.Task[Permit]":
    """Ask for the place, and return once so many stand in line."""
    task: asyncio.Task[Permit] = asyncio.create_task(pool.acquire("anna", wait_seconds=SECONDS, wait_id=WAIT))
    await until(pool, lambda state: task.done() or state.waiting == waiting)
    return task


async def test_a_place_is_kept_from_pod_to_pod(open_pod: OpenPod, store: "Redis", name: str) -> None:
    one, two = await open_pod(), await open_pod()
    (permit,) = await hold(one, "holder")
    await waited_in_vain(one)
    (ben,) = await queue_up(one, "ben")
    anna = await came_back(two, waiting=2)
    assert [(await pod.peek("anna", wait_id=WAIT)).place for pod in (one, two)] == [1, 1]
    permit.release()
    (await anna).release()
    (await ben).release()
    await until(one, lambda state: state.held == 0)
    assert not await store.exists(key(name, "places"), key(name, "places_until"))


async def test_a_place_outlives_its_pod(open_pod: OpenPod, redis_url: str, name: str) -> None:
    one = await open_pod()
    (permit,) = await hold(one, "holder")
    async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, capacity=1) as ends:
        waiting = await came_back(ends, waiting=1)
        (ben,) = await queue_up(one, "ben")
    waiting.cancel()
    await until(one, lambda state: state.waiting == 1)
    anna = await came_back(one, waiting=2)
    permit.release()
    (await anna).release()
    (await ben).release()


async def test_who_was_replaced_hears_so_though_the_notice_is_lost(open_pod: OpenPod, redis_url: str) -> None:
    async with open_gate(redis_url) as gate:
        one = await open_pod(gate.url, lease_seconds=4)
        two = await open_pod()
        (permit,) = await hold(two, "holder")
        first = await came_back(one, waiting=1)
        gate.drops_notices = True
        second = await came_back(two, waiting=1)
        with pytest.raises(WaitReplaced):
            await asyncio.wait_for(first, SECONDS)
        assert gate.notices_dropped == 1
        assert (await two.peek("anna", wait_id=WAIT)).place == 1
        permit.release()
        assert (await asyncio.wait_for(second, SECONDS)).valid()


async def test_a_store_that_forgets_keeps_the_places_of_those_who_wait(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    pool = await open_pod(lease_seconds=4)
    (permit,) = await hold(pool, "holder")
    anna = await came_back(pool, waiting=1)
    (ben,) = await queue_up(pool, "ben")
    with pytest.raises(PermitTimeout):
        await pool.acquire("clara", wait_seconds=0.05, wait_id=WAIT)
    await store.delete(*keys_of(name))
    await until(pool, lambda state: state.waiting == 2 and state.learning_seconds > 0)
    outlook = await pool.peek("anna", wait_id=WAIT)
    assert (outlook.verdict, outlook.place, outlook.waited_seconds is None) == (Verdict.LEARNING, 1, False)
    assert (await pool.peek("clara", wait_id=WAIT)).waited_seconds is None
    anna.cancel()
    await until(pool, lambda state: state.waiting == 1)
    anna = await came_back(pool, waiting=2)
    await PoolOperator(name, store).trust()
    permit.release()
    (await asyncio.wait_for(anna, SECONDS)).release()
    (await asyncio.wait_for(ben, SECONDS)).release()


@pytest.mark.parametrize("what", ["places", "places_until"])
@pytest.mark.parametrize("change", ["deleted", "another type", "garbage"])
async def test_what_a_hand_has_done_to_places_harms_nobody(
    open_pod: OpenPod, store: "Redis", name: str, what: str, change: str
) -> None:
    pool = await open_pod(lease_seconds=4)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool)
    (ben,) = await queue_up(pool, "ben")
    await changed(store, key(name, what), change)
    clara = asyncio.create_task(pool.acquire("clara", wait_seconds=SECONDS, wait_id=WAIT))
    await until(pool, lambda state: state.waiting == 2)
    anna = await came_back(pool, waiting=3)
    permit.release()
    async with asyncio.timeout(SECONDS):
        for one in asyncio.as_completed([anna, ben, clara]):
            (await one).release()
    await until(pool, lambda state: state.held == 0)
    async with asyncio.timeout(SECONDS):
        while await store.exists(key(name, "places"), key(name, "places_until")):  # noqa: ASYNC110 - it can only be asked
            await asyncio.sleep(0.05)
    assert (await pool.state()).learning_seconds == 0


async def changed(store: "Redis", which: str, change: str) -> None:
    """Do to a key what only a hand would."""
    of: Any = store
    if change == "deleted":
        await of.delete(which)
    elif change == "another type":
        await of.delete(which)
        await of.set(which, "nonsense")
    elif which.endswith("_until"):
        await of.zadd(which, {"nonsense": 1e18})
    else:
        await of.hset(which, "nonsense", "nonsense")
