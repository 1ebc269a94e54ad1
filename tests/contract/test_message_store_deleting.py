"""What every message store promises of deleting: what is gone stays gone, and nothing else goes."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from frameproto.history import InsertResult
from history_service.model import Session, StoredExchange
from history_service.stores.base import MessageStore, foreign_session
from tests.contract.stores import NOON, begin, bind, kept, message_count

LATER = NOON + timedelta(hours=1)


async def everything(store: MessageStore, session: Session) -> list[StoredExchange]:
    return await store.exchanges.page(session, start=None, backward=False, limit=100)


async def delete(store: MessageStore, exchange: StoredExchange, side: str) -> None:
    request, reply = exchange.messages()
    await store.deletions.delete_message(exchange.client_id, (request if side == "request" else reply).id)


@pytest.mark.parametrize("side", ["request", "reply"])
async def test_a_deleted_message_leaves_the_other(store: MessageStore, side: str) -> None:
    session = await begin(store)
    exchange, other = kept(session.id, "fine day"), kept(session.id, "fine night", at=LATER)
    await store.exchanges.add([exchange, other])
    await delete(store, exchange, side)
    left = replace(exchange, request=None) if side == "request" else replace(exchange, reply=None)
    assert await store.exchanges.find(exchange.id, client_id="anna") == left
    assert await everything(store, session) == [left, other]
    found = await store.exchanges.search("anna", ["fine"], before=None, limit=10)
    assert len(found) == (2 if side == "request" else 1)
    again = await store.sessions.find(session.id, client_id="anna")
    assert again is not None
    assert await message_count(store, again) == 3
    assert await store.exchanges.add([exchange]) == [InsertResult.DUPLICATE]
    assert await store.exchanges.find(exchange.id, client_id="anna") == left


async def test_an_exchange_without_messages_is_gone_and_does_not_come_back(store: MessageStore) -> None:
    session = await begin(store)
    exchanges = [kept(session.id, str(number), at=NOON + timedelta(seconds=number)) for number in range(4)]
    await store.exchanges.add(exchanges)
    await asyncio.gather(*(delete(store, exchanges[2], side) for side in ("request", "reply")))
    await delete(store, exchanges[2], "reply")  # again is fine
    assert await store.exchanges.add([exchanges[2]]) == [InsertResult.DUPLICATE]
    assert await store.exchanges.find(exchanges[2].id, client_id="anna") is None
    assert await everything(store, session) == [exchanges[0], exchanges[1], exchanges[3]]
    onward = await store.exchanges.page(session, start=exchanges[2].id, backward=False, limit=5)
    assert onward == [exchanges[3]]
    again = await store.sessions.find(session.id, client_id="anna")
    assert again is not None
    assert await message_count(store, again) == 6


async def test_a_deleted_session_is_gone_with_its_exchanges_and_turns_late_ones_away(store: MessageStore) -> None:
    session, other = await begin(store), await begin(store)
    mine, late, others = kept(session.id, "mine"), kept(session.id, "late"), kept(other.id, "other")
    await store.exchanges.add([mine, others])
    await store.deletions.delete_session("anna", session.id, at=LATER)
    assert await store.sessions.find(session.id, client_id="anna") is None
    assert await store.exchanges.find(mine.id, client_id="anna") is None
    assert [one.id for one in await store.sessions.page("anna", after=None, limit=10)] == [other.id]
    for _ in range(2):
        bound = await bind(store, session.id)
        assert bound == session.id
        assert await store.exchanges.add([late, mine, others]) == [
            InsertResult.ERASED,
            InsertResult.ERASED,
            InsertResult.DUPLICATE,
        ]
    assert await store.sessions.find(session.id, client_id="anna") is None
    assert await store.exchanges.find(late.id, client_id="anna") is None
    assert await store.exchanges.search("anna", ["late"], before=None, limit=10) == []
    assert await everything(store, other) == [others]


async def test_what_is_said_after_a_session_was_deleted_is_kept(store: MessageStore) -> None:
    session = await begin(store)
    await store.exchanges.add([kept(session.id)])
    await store.sessions.rename(session, "a title")
    await store.deletions.delete_session("anna", session.id, at=LATER)
    old, new = kept(session.id, "old", at=LATER), kept(session.id, "new", at=LATER + timedelta(microseconds=1))
    assert await store.exchanges.add([old, new]) == [InsertResult.ERASED, InsertResult.STORED]
    again = await store.sessions.find(session.id, client_id="anna")
    assert again is not None
    assert (again.started_at, again.title, again.time_zone) == (new.received_at, None, "Europe/Berlin")
    assert await message_count(store, again) == 2
    assert await store.sessions.page("anna", after=None, limit=10) == [again]
    assert await everything(store, again) == [new]


async def test_what_came_while_a_session_was_being_deleted_is_kept(store: MessageStore) -> None:
    session = await begin(store)
    old, new = kept(session.id, "old"), kept(session.id, "new", at=LATER)
    await store.exchanges.add([old, new])
    await store.sessions.rename(session, "a title")
    await store.deletions.delete_session("anna", session.id, at=LATER - timedelta(seconds=1))
    again = await store.sessions.find(session.id, client_id="anna")
    assert again is not None
    assert (again.started_at, again.title) == (LATER, None)
    assert await everything(store, again) == [new]


async def test_a_deleted_session_keeps_its_id_from_others(store: MessageStore) -> None:
    session = await begin(store)
    await store.deletions.delete_session("anna", session.id, at=LATER)
    bound = await bind(store, session.id, "bob", at=LATER)
    assert bound == foreign_session(session.id, "bob")


async def test_an_erased_client_is_gone_and_no_late_delivery_brings_anything_back(store: MessageStore) -> None:
    sessions = [await begin(store) for _ in range(3)]
    bobs = await begin(store, "bob")
    exchanges = [kept(session.id, f"word{at}") for at, session in enumerate(sessions)]
    bob = kept(bobs.id, client_id="bob")
    await store.exchanges.add([*exchanges, bob])
    await store.deletions.delete_session("anna", sessions[2].id, at=NOON)
    for _ in range(2):
        await store.deletions.erase_client("anna", at=LATER)
        assert await store.sessions.page("anna", after=None, limit=10) == []
        assert [await store.exchanges.find(one.id, client_id=None) for one in exchanges] == [None] * 3
        assert await store.exchanges.search("anna", ["word0"], before=None, limit=10) == []
        for exchange in exchanges:
            await bind(store, exchange.session_id)
        assert await store.exchanges.add([*exchanges, bob]) == [InsertResult.ERASED] * 3 + [InsertResult.DUPLICATE]
        assert await store.sessions.page("anna", after=None, limit=10) == []
    assert await everything(store, bobs) == [bob]


async def test_an_erased_client_may_come_again(store: MessageStore) -> None:
    session = await begin(store)
    old, new = kept(session.id, "old"), kept(session.id, "new", at=LATER + timedelta(seconds=1))
    await store.deletions.erase_client("anna", at=LATER)
    # One batch, of which the oldest binds the session.
    bound = await bind(store, session.id, at=old.received_at)
    assert bound == session.id
    assert await store.exchanges.add([old, new]) == [InsertResult.ERASED, InsertResult.STORED]
    (again,) = await store.sessions.page("anna", after=None, limit=10)
    assert (again.id, again.started_at) == (session.id, new.received_at)
    assert await everything(store, again) == [new]


async def test_erasing_an_unknown_client_is_fine(store: MessageStore) -> None:
    await store.deletions.erase_client("nobody", at=NOON)
    assert await store.sessions.page("nobody", after=None, limit=10) == []


async def test_several_may_erase_a_client_at_once(store: MessageStore) -> None:
    clients = [f"client-{number}" for number in range(8)]
    for client in clients:
        await store.exchanges.add([kept((await begin(store, client)).id, client_id=client)])
    gone = await asyncio.gather(
        *(store.deletions.erase_client(client, at=LATER) for client in clients for _ in range(12))
    )
    assert {each.client_id for some in gone for each in some} == set(clients)  # more than one may be told of a message


async def test_deliveries_and_an_erasure_at_once_leave_nothing_old_and_lose_nothing_new(store: MessageStore) -> None:
    session = await begin(store)
    old = [kept(session.id, f"old {number}") for number in range(30)]
    new = [kept(session.id, f"new {number}", at=LATER + timedelta(seconds=number + 1)) for number in range(30)]

    async def deliver(at: int) -> None:
        pair = [old[at], new[at]]
        await bind(store, session.id)
        await store.exchanges.add(pair)

    await asyncio.gather(
        *(deliver(at) for at in range(15)),
        store.deletions.erase_client("anna", at=LATER),
        store.deletions.delete_session("anna", session.id, at=LATER),
        *(deliver(at) for at in range(15, 30)),
    )
    (again,) = await store.sessions.page("anna", after=None, limit=10)
    assert (again.id, await message_count(store, again)) == (session.id, 60)
    assert await everything(store, again) == new


async def test_the_old_expires_in_parts_and_takes_empty_sessions_along(store: MessageStore) -> None:
    gone, partly, fresh = await begin(store), await begin(store), await begin(store, "bob", at=LATER)
    old = [kept(gone.id, at=NOON + timedelta(seconds=number)) for number in range(3)]
    mixed = [kept(partly.id), kept(partly.id, at=LATER)]
    bobs = kept(fresh.id, at=LATER, client_id="bob")
    await store.exchanges.add([*old, *mixed, bobs])
    expired = []
    while found := await store.deletions.expire(LATER, limit=2):
        assert len(found) <= 2
        expired += found
    assert sorted(expired, key=lambda one: one.id) == sorted([*old, mixed[0]], key=lambda one: one.id)
    assert [one.id for one in await store.sessions.page("anna", after=None, limit=10)] == [partly.id]
    assert await everything(store, partly) == [mixed[1]]
    assert await everything(store, fresh) == [bobs]
    assert await store.exchanges.search("anna", ["hello"], before=None, limit=10) == list(mixed[1].messages())[1:]


async def test_what_would_expire_can_be_counted_beforehand(store: MessageStore) -> None:
    assert await store.deletions.count_expired(NOON) == (0, 0)
    session = await begin(store)
    await store.exchanges.add([kept(session.id, str(n), at=NOON + timedelta(days=n)) for n in range(5)])
    assert await store.deletions.count_expired(NOON + timedelta(days=2)) == (2, 5)
    assert len(await store.deletions.expire(NOON + timedelta(days=2), limit=10)) == 2
    assert await store.deletions.count_expired(NOON + timedelta(days=2)) == (0, 3)
