"""What a pool logs of itself, and when it is open."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import PoolClosed, PoolUnavailable
from permits.redis import PoolOperator, RedisPool, open_pool
from permits.redis.channel import Subscription
from permits.redis.grant_listener import GrantListener
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold, until


async def test_an_operator_reads_once_that_a_pool_learns_and_once_of_each_capacity_set_by_hand(
    open_pod: OpenPod, store: "Redis", name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def logged(words: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if words in record.getMessage()]

    pool = await open_pod(capacity=3, learns=True, lease_seconds=1.5)
    await until(pool, lambda state: state.learning_seconds == 0)
    for number, capacity in enumerate((7, 8), 1):
        await PoolOperator(name, store).set_capacity(capacity)
        async with asyncio.timeout(SECONDS):
            while len(logged("the settings of this pod say 3")) < number:  # noqa: ASYNC110 - a log can only be read
                await asyncio.sleep(0.01)
    assert pool.condition() is None
    assert ["of 7," in words for words in logged("has a capacity of")] == [True, False]
    assert len(logged("grants nothing new")) == 1


async def until_it_entered(store: "Redis", name: str) -> None:
    while not await store.exists(f"permits:{{{name}}}:2:pods"):  # noqa: ASYNC110 - a store can only be asked
        await asyncio.sleep(0.01)


async def test_a_pool_that_is_open_hears_notices(
    open_pod: OpenPod, store: "Redis", name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_subscribe = asyncio.Event()
    subscribe = Subscription.open

    async def subscribe_late(subscription: Subscription) -> None:
        await may_subscribe.wait()
        await subscribe(subscription)

    monkeypatch.setattr(Subscription, "open", subscribe_late)
    opening = asyncio.ensure_future(open_pod(learns=True, lease_seconds=60))
    async with asyncio.timeout(SECONDS):
        await until_it_entered(store, name)
        await asyncio.wait([opening], timeout=0.3)
        assert not opening.done()
        may_subscribe.set()
        assert (await opening).ready()
    assert len(await store.pubsub_channels(f"*{name}*")) == 1


async def test_a_pool_that_ends_well_logs_nothing(redis_url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Redis.from_url(redis_url) as redis:
        await PoolOperator(name, redis).begin()
        async with RedisPool(name, redis=redis, capacity=1) as pool:
            await hold(pool, "anna")
    assert caplog.records == []


@pytest.mark.parametrize("task", ["permits-{}", "permits-{}-notices"])
async def test_a_pool_whose_task_somebody_cancelled_is_not_ready(open_pod: OpenPod, name: str, task: str) -> None:
    pool = await open_pod()
    assert pool.ready()
    (found,) = [each for each in asyncio.all_tasks() if each.get_name() == task.format(name)]
    found.cancel()
    await asyncio.wait([found])
    assert not pool.ready()
    assert pool.condition() == PoolUnavailable.code


async def named(store: "Redis", name: str) -> list[Any]:
    """Return the connections of a client of this name."""
    return [client for client in await store.client_list() if client["name"] == name]


@pytest.mark.parametrize("turns", [None, 0, 1, 2, 3], ids=["once", *(f"again after {turns}" for turns in range(4))])
async def test_an_opening_that_is_cancelled_leaves_no_connection(
    redis_url: str, store: "Redis", name: str, monkeypatch: pytest.MonkeyPatch, turns: int | None
) -> None:
    subscribing = asyncio.Event()
    subscribe = Subscription.open

    async def subscribe_and_hang(subscription: Subscription) -> None:
        await subscribe(subscription)
        subscribing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Subscription, "open", subscribe_and_hang)
    async with Redis.from_url(redis_url, client_name=name) as redis:
        pool = RedisPool(name, redis=redis, capacity=1, lease_seconds=60)
        opening = asyncio.create_task(pool.__aenter__())
        await subscribing.wait()
        await until_it_entered(store, name)
        assert len(await named(store, name)) == 2
        opening.cancel()
        if turns is not None:
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(SECONDS):
            while await named(store, name):  # noqa: ASYNC110 - a store can only be asked
                await asyncio.sleep(0.01)
        with pytest.raises(PoolClosed):
            await pool.acquire("anna", wait_seconds=0)


@pytest.mark.parametrize("times", [1, 1_000_000], ids=["once", "again and again, as anyio does"])
async def test_a_pool_that_is_cancelled_while_it_asks_gives_everything_back(
    redis_url: str, store: "Redis", name: str, times: int
) -> None:
    operator = PoolOperator(name, store)
    await operator.begin()
    asks = asyncio.Event()

    async def work() -> None:
        async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, capacity=1) as pool:
            await hold(pool, "anna")
            pool.request("ben", wait_seconds=SECONDS, settled=lambda _: None)
            asks.set()
            await asyncio.sleep(SECONDS)

    for turns in range(5):
        working = asyncio.ensure_future(work())
        await asks.wait()
        asks.clear()
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(times):
            if not working.cancel():
                break
            await asyncio.sleep(0)
        await asyncio.wait([working], timeout=SECONDS)
        assert working.cancelled()
        assert (await operator.show()).pods == []


async def test_a_dead_subscription_is_given_up_within_a_lease(
    redis_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silences: list[float] = []

    class Recorded(GrantListener):
        def __init__(self, *args: Any, silence_seconds: float, **others: Any) -> None:
            super().__init__(*args, silence_seconds=silence_seconds, **others)
            silences.append(silence_seconds)

    monkeypatch.setattr(open_pool, "GrantListener", Recorded)
    async with Redis.from_url(redis_url) as redis, RedisPool(name, redis=redis, capacity=1, lease_seconds=60):
        pass
    (silence_seconds,) = silences
    assert 2 * silence_seconds < 60  # it is asked for a sign of life after one, and given up after another
