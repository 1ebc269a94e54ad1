"""One pod's calls of the store: over a connection that was lost before, and under way as it breaks."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from permits.redis import PoolOperator
from permits.redis.calls import Call
from permits.redis.channel import Channel
from permits.redis.keys import keys_of
from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest
from permits.redis.scripts import load_scripts
from permits.redis.store import Store, Terms
from tests.permits.parts import SECONDS

POD = "pod/1.1"


@pytest.fixture
def channel(store: "Redis", name: str) -> Channel:
    return Channel(store, load_scripts().all(), name)


@pytest.fixture
async def calls(store: "Redis", channel: Channel, name: str) -> AsyncIterator[Store]:
    """Return the store as a pod calls it."""
    calls = Store(channel, load_scripts(), name, Terms(capacity=3, per_client=None, max_waiting=9, lease_seconds=60))
    yield calls
    await calls.close()
    await store.delete(*keys_of(name))


@pytest.mark.parametrize("breaks", [False, True], ids=["connected", "the connection breaks"])
async def test_every_call_gets_its_own_answer_also_when_the_connection_was_lost_before_the_next(
    calls: Store, channel: Channel, store: "Redis", name: str, breaks: bool
) -> None:
    asks = [AcquireRequest(f"ask-{number}", "anna", None) for number in range(3)]
    lease = Lease(POD, lambda _: None)
    lease.epoch = (await calls.enter(POD, "", news=True)).epoch
    await PoolOperator(name, store).trust()
    await calls.send(Call(lease, asks[:1], beat=False))
    if breaks:
        await channel.close()
    await calls.send(*(Call(lease, [ask], beat=False) for ask in asks[1:]))
    async with asyncio.timeout(SECONDS):
        answers = [answer for _ in asks for answer in (await calls.receive()).answers]
    holdings = await calls.holdings(POD, lease.epoch)
    tickets = [ticket for _, _, ticket, _ in answers]
    assert [ask for ask, *_ in answers] == asks
    assert tickets == sorted(tickets)
    assert channel.generation == 1 + breaks
    assert holdings == ({ask.id for ask in asks}, set())
    assert await calls.holdings(POD, lease.epoch + "0") is None


async def test_a_store_that_has_forgotten_is_told_all_over_a_new_connection(
    calls: Store, channel: Channel, store: "Redis", name: str
) -> None:
    await calls.enter(POD, "", news=True)
    permit = RedisPermit("permit", "anna", 7, Lease(POD, lambda _: None), lambda _: None)
    deadline = asyncio.get_running_loop().time() + 60
    waiters = [AcquireRequest(f"waiter-{number}", "anna", deadline) for number in range(2)]
    for number, waiter in enumerate(waiters, 8):
        waiter.start_waiting(number, place=1)
    await store.delete(*keys_of(name))
    await channel.close()
    entry = await calls.declare(POD, [permit], waiters)
    assert entry is not None
    await channel.close()
    assert await calls.holdings(POD, entry.epoch) == ({permit.id}, {waiter.id for waiter in waiters})
    await PoolOperator(name, store).trust()  # which hands on what is free; a client has no limit of its own
    assert await calls.holdings(POD, entry.epoch) == ({permit.id, *(waiter.id for waiter in waiters)}, set())


async def test_a_pod_leaves_over_a_new_connection(calls: Store, channel: Channel, store: "Redis", name: str) -> None:
    await calls.enter(POD, "", news=True)
    assert [pod.incarnation for pod in (await PoolOperator(name, store).show()).pods] == [1]
    await channel.close()
    await calls.leave(POD)
    assert (await PoolOperator(name, store).show()).pods == []
