"""What is said or written by somebody else in the name of the store: notices of another epoch, records taken away."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from devtools.watching import eventually
from permits.redis import RedisPool
from permits.redis.keys import keys_of
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold, queue_up, until

LONG = 60.0
"""A lease whose heartbeats come later than a test waits for anything."""


def key(name: str, what: str) -> str:
    """Return one key of a pool."""
    return next(key for key in keys_of(name) if key.endswith(f":{what}"))


async def incarnation_of(store: "Redis", name: str, pod: str) -> str:
    incarnations = await store.zrange(key(name, "leases"), 0, -1)
    return next(str(one) for one in incarnations if str(one).startswith(f"{pod}/"))


async def test_a_notice_of_another_epoch_grants_nothing(open_pod: OpenPod, store: "Redis", name: str) -> None:
    one = await open_pod(lease_seconds=LONG, pod="one")
    two = await open_pod(lease_seconds=LONG, pod="two")
    await hold(one, "holder")
    (waiting,) = await queue_up(two, "anna")
    incarnation = await incarnation_of(store, name, "two")
    (channel,) = [each for each in await store.pubsub_channels() if name in str(each) and "two/" in str(each)]
    line: Any = await store.zrange(key(name, "line"), 0, -1, withscores=True)
    ((permit_id, ticket),) = line
    epoch = str(await store.hget(key(name, "pool"), "epoch"))
    for said, granted in ((epoch + "0", False), (epoch, True)):  # the second shows that the notice was well made
        assert await store.publish(channel, f"{incarnation} {said} {permit_id} {int(ticket)}") == 1
        done, _ = await asyncio.wait([waiting], timeout=SECONDS if granted else 0.3)
        assert bool(done) == granted


async def test_a_permit_whose_record_was_taken_away_is_lost_with_the_next_heartbeat(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    pool = await open_pod(capacity=2, lease_seconds=4, pod="one")
    (permit,) = await hold(pool, "anna")
    await taken_away(store, name, await incarnation_of(store, name, "one"), "anna")
    async with asyncio.timeout(SECONDS):
        await permit.lost()
    assert not permit.valid()
    state = await until(pool, lambda state: state.held == 0)
    assert dict(state.clients) == {}


async def taken_away(store: "Redis", name: str, incarnation: str, client: str) -> None:
    """Take away the one permit of a pod, with all that counts it."""
    async with store.pipeline(transaction=True) as together:
        together.delete(key(name, "permits"))
        together.hdel(key(name, "clients"), client)
        together.hdel(key(name, "pods_held"), incarnation)
        together.hset(key(name, "pool"), "held", 0)
        await together.execute()


async def test_heartbeats_that_agree_take_nothing(open_pod: OpenPod) -> None:
    pool: RedisPool = await open_pod(capacity=2, lease_seconds=8)
    (permit,) = await hold(pool, "anna")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.5):  # two heartbeats
            await permit.lost()
    assert permit.valid()


@pytest.mark.parametrize("many", [1, 6], ids=["one client", "many clients"])
@pytest.mark.parametrize("count", ["?", "1.5"])
async def test_a_count_that_is_no_number_is_noticed_when_it_changes(
    open_pod: OpenPod, store: "Redis", name: str, many: int, count: str
) -> None:
    pool = await open_pod(capacity=12, lease_seconds=4)
    clients = [f"client-{number}" for number in range(many)]
    permits = await hold(pool, *clients, *clients)
    before = await store.hget(key(name, "pool"), "epoch")
    await store.hset(key(name, "clients"), clients[-1], count)
    for permit in permits[:many]:
        permit.release()

    async def noticed() -> bool:
        return bool(await store.hget(key(name, "pool"), "epoch") != before)

    await eventually(noticed, "it is noticed")
    await until(pool, lambda state: dict(state.clients) == dict.fromkeys(clients, 1))
