"""Calls that are under way together, when the connection breaks between them."""

import asyncio
from uuid import uuid4

from redis.asyncio import Redis

from permits.redis import PoolOperator
from permits.redis.calls import Call
from permits.redis.channel import Channel
from permits.redis.keys import keys_of
from permits.redis.lease import Lease
from permits.redis.requests import AcquireRequest
from permits.redis.scripts import load_scripts
from permits.redis.store import Store, Terms
from tests.permits.parts import SECONDS


async def test_every_call_gets_its_own_answer_when_the_connection_was_lost_before_the_next(store: "Redis") -> None:
    name = f"calls-{uuid4().hex}"
    channel = Channel(store, load_scripts().all(), name)
    one = Store(channel, load_scripts(), name, Terms(capacity=3, per_client=None, max_waiting=9, lease_seconds=60))
    asks = [AcquireRequest(f"ask-{number}", "anna", None) for number in range(3)]
    try:
        lease = Lease("pod/1.1", lambda _: None)
        lease.epoch = (await one.enter(lease.incarnation, "", news=True)).epoch
        await PoolOperator(name, store).trust()
        await one.send(Call(lease, asks[:1], beat=False))
        await channel.close()
        await one.send(*(Call(lease, [ask], beat=False) for ask in asks[1:]))
        async with asyncio.timeout(SECONDS):
            answers = [answer for _ in asks for answer in (await one.receive()).answers]
        holdings = await one.holdings(lease.incarnation, lease.epoch)
        other_epoch = await one.holdings(lease.incarnation, lease.epoch + "0")
    finally:
        await one.close()
        await store.delete(*keys_of(name))
    tickets = [ticket for _, _, ticket, _ in answers]
    assert [ask for ask, *_ in answers] == asks
    assert tickets == sorted(tickets)
    assert holdings == ({ask.id for ask in asks}, set())
    assert other_epoch is None
