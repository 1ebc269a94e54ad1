"""Following a session: what is added comes once and in one order, however many add at once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from frameproto.history import InsertResult
from history_service.model import Session, StoredExchange
from history_service.stores.base import MessageStore
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from tests.contract.stores import NOON, begin, bind, kept, raw_database

ADDERS = 6
BATCHES = 12


@pytest.fixture(params=["sqlite", "mongodb"])
async def pods(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[MessageStore]]:
    """Two pods at one store; in one process where it is a file."""
    opened: list[MessageStore]
    if request.param == "sqlite":
        opened = [SqliteStore(tmp_path / "messages.sqlite")] * 2
    else:
        url, name = request.getfixturevalue("mongodb_url"), f"test_{uuid4().hex}"
        opened = [MongoStore(url, name), MongoStore(url, name)]
    for pod in opened:
        await pod.prepare()
    yield opened
    for pod in opened:
        await pod.close()


class Follower:
    """Reads a session by arrival, and notes the ids in their order."""

    def __init__(self, store: MessageStore, session: Session, *, after: int = 0, limit: int = 5) -> None:
        self.ids: list[UUID] = []
        self._store, self._session, self._after, self._limit = store, session, after, limit

    async def read(self) -> bool:
        """Read on; say whether there was something."""
        found = await self._store.exchanges.arrivals(self._session, after=self._after, limit=self._limit)
        positions = [position for position, _ in found]
        assert positions == sorted(set(positions))
        assert all(position > self._after for position in positions)
        self.ids += [exchange.id for _, exchange in found]
        self._after = positions[-1] if positions else self._after
        return bool(found)

    async def read_until(self, done: asyncio.Event) -> None:
        while not done.is_set():
            await self.read()
        while await self.read():
            pass


async def test_a_follower_gets_everything_once_while_many_pods_add(pods: list[MessageStore]) -> None:
    session, other = await begin(pods[0]), await begin(pods[0], "ben")
    noise = Random(1)
    mine: list[StoredExchange] = []
    batches: list[list[StoredExchange]] = []
    for number in range(ADDERS * BATCHES):
        at = NOON + timedelta(seconds=noise.randrange(-1000, 1000))  # ids in any order, as from pods with other clocks
        batch = [kept(session.id, str(number), at=at) for _ in range(noise.randrange(1, 4))]
        mine += batch
        strangers = [kept(other.id, str(number), client_id="ben")]
        batches.append([*batch, *strangers, *noise.sample(mine, min(len(mine), 2))])  # some of them once more
    done = asyncio.Event()
    followers = [Follower(pod, session, limit=limit) for pod in pods for limit in (1, 7)]

    async def add(number: int) -> None:
        for batch in batches[number::ADDERS]:
            await pods[number % 2].exchanges.add(batch)

    following = [asyncio.create_task(follower.read_until(done)) for follower in followers]
    await asyncio.gather(*(add(number) for number in range(ADDERS)))
    done.set()
    await asyncio.gather(*following)
    assert len(followers[0].ids) == len({exchange.id for exchange in mine})
    for follower in followers:
        assert set(follower.ids) == {exchange.id for exchange in mine}
        assert follower.ids == followers[0].ids, "all see the same order"


async def test_a_late_exchange_comes_to_a_follower_though_it_is_older_than_what_was_read(store: MessageStore) -> None:
    session = await begin(store)
    late, early = kept(session.id, "late", at=NOON - timedelta(hours=1)), kept(session.id, "early")
    follower = Follower(store, session)
    for each in (early, late):
        await store.exchanges.add([each])
        await follower.read()
    assert follower.ids == [early.id, late.id]
    assert await store.exchanges.page(session, start=None, backward=False, limit=9) == [late, early], "pages go by time"


async def test_from_the_last_arrival_on_only_what_comes_later_is_read(store: MessageStore) -> None:
    session = await begin(store)
    assert await Follower(store, session).read() is False
    await store.exchanges.add([kept(session.id, "before") for _ in range(3)])
    follower = Follower(store, session, after=await store.exchanges.last_arrival(session))
    assert not await follower.read()
    after = [kept(session.id, "after") for _ in range(3)]
    await store.exchanges.add(after)
    await follower.read()
    assert follower.ids == [each.id for each in after]


async def test_an_exchange_that_is_delivered_again_does_not_come_again(store: MessageStore) -> None:
    session = await begin(store)
    one, two = kept(session.id, "one"), kept(session.id, "two")
    follower = Follower(store, session)
    await store.exchanges.add([one])
    await follower.read()
    assert await store.exchanges.add([one, two, two]) == [
        InsertResult.DUPLICATE,
        InsertResult.STORED,
        InsertResult.DUPLICATE,
    ]
    while await follower.read():
        pass
    assert follower.ids == [one.id, two.id]


@pytest.mark.parametrize("how", ["delete the session", "erase the client", "expire"])
async def test_a_session_that_begins_anew_goes_on_behind_what_was_read(store: MessageStore, how: str) -> None:
    session = await begin(store)
    old = [kept(session.id, str(number)) for number in range(5)]
    await store.exchanges.add(old)
    follower = Follower(store, session, limit=100)
    await follower.read()
    if how == "delete the session":
        await store.deletions.delete_session("anna", session.id, at=NOON)
    elif how == "erase the client":
        await store.deletions.erase_client("anna", at=NOON)
    else:
        await store.deletions.expire(NOON + timedelta(hours=1), limit=100)
    assert not await follower.read()
    new = kept(session.id, "new", at=NOON + timedelta(hours=2))
    assert await bind(store, session.id, at=new.received_at) == session.id
    assert await store.exchanges.add([new]) == [InsertResult.STORED]
    await follower.read()
    assert follower.ids == [*(each.id for each in old), new.id]


async def test_a_deleted_message_leaves_the_places_of_the_others(store: MessageStore) -> None:
    session = await begin(store)
    exchanges = [kept(session.id, str(number)) for number in range(3)]
    await store.exchanges.add(exchanges)
    for message in exchanges[1].messages():
        await store.deletions.delete_message("anna", message.id)
    follower = Follower(store, session, limit=1)
    while await follower.read():
        pass
    assert follower.ids == [exchanges[0].id, exchanges[2].id]


async def test_an_id_of_another_client_is_a_duplicate(store: MessageStore) -> None:
    session, other = await begin(store), await begin(store, "ben")
    one = kept(session.id, "one")
    await store.exchanges.add([one])
    stolen = replace(one, session_id=other.id, client_id="ben")
    fresh = kept(other.id, "fresh", client_id="ben")
    assert await store.exchanges.add([stolen, fresh]) == [InsertResult.DUPLICATE, InsertResult.STORED]
    follower = Follower(store, other)
    await follower.read()
    assert follower.ids == [fresh.id]


async def test_what_an_older_version_adds_without_a_position_comes_to_followers_too(mongodb_url: str) -> None:
    """Old pods go on while an upgrade replaces them one by one."""
    name = f"test_{uuid4().hex}"
    store = MongoStore(mongodb_url, name)
    await store.prepare()
    session = await begin(store)
    follower = Follower(store, session, limit=1500)
    expected: list[UUID] = []
    for count in (3, 1200, 1):
        exchanges = [kept(session.id, str(number)) for number in range(count)]
        await store.exchanges.add(exchanges)
        with raw_database(mongodb_url, name) as database:
            old = {"_id": {"$in": [each.id for each in exchanges]}}
            database["exchanges"].update_many(old, {"$unset": {"position": ""}})
        new = kept(session.id, "of a new pod")
        await store.exchanges.add([new])
        while await follower.read():
            pass
        expected += [new.id, *(each.id for each in exchanges)]
    assert follower.ids == expected
    await store.close()
