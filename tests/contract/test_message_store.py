"""What every message store promises: SQLite in a file, and MongoDB on a real server."""

import asyncio
import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from chat_service.settings import MAX_TEXT_BYTES
from devtools.mongod import run_mongod
from devtools.ports import free_port
from frameproto import MessageKind
from frameproto.history import InsertResult
from frameproto.kinds import Outcome
from history_service.model import MessageContent, Session, SessionStats
from history_service.stores.base import (
    FirstUse,
    MessageStore,
    SessionKey,
    StoreUnavailable,
    StoreUnusable,
    foreign_session,
)
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from tests.contract.stores import NOON, begin, bind, kept, raw_database


async def test_an_exchange_comes_back_as_it_went_in(store: MessageStore) -> None:
    session = await begin(store)
    exchange = kept(session.id, 'Grüße, "你好" 🎉 \\ \u0000 \u2028 $where {"$gt": 1}')
    exchange = replace(exchange, outcome=Outcome.FAILED)
    assert await store.exchanges.add([exchange]) == [InsertResult.STORED]
    assert await store.exchanges.find(exchange.id, client_id=None) == exchange
    assert await store.exchanges.find(uuid4(), client_id=None) is None


async def test_the_longest_texts_that_chat_may_let_through_are_kept(store: MessageStore) -> None:
    text = "x" * MAX_TEXT_BYTES
    exchange = kept((await begin(store)).id, text)
    exchange = replace(exchange, request=MessageContent(MessageKind.TEXT, text))
    assert await store.exchanges.add([exchange]) == [InsertResult.STORED]
    assert await store.exchanges.find(exchange.id, client_id=None) == exchange


async def test_handed_in_again_it_is_kept_once(store: MessageStore) -> None:
    session = await begin(store)
    old, new = kept(session.id, "old"), kept(session.id, "new")
    await store.exchanges.add([old])
    other = replace(old, reply=MessageContent(MessageKind.TEXT, "another text under the same id"))
    assert await store.exchanges.add([new, other, new]) == [
        InsertResult.STORED,
        InsertResult.DUPLICATE,
        InsertResult.DUPLICATE,
    ]
    assert await store.exchanges.find(old.id, client_id=None) == old
    assert await store.exchanges.page(session, start=None, backward=False, limit=10) == [old, new]


async def test_delivered_by_two_relays_at_once_it_is_kept_once(store: MessageStore) -> None:
    session = await begin(store)
    batch = [kept(session.id, str(number)) for number in range(40)]
    outcomes = await asyncio.gather(*(store.exchanges.add(batch) for _ in range(4)))
    for each in zip(*outcomes, strict=True):
        assert sorted(each) == [InsertResult.DUPLICATE] * 3 + [InsertResult.STORED]
    assert await store.exchanges.page(session, start=None, backward=False, limit=100) == batch


async def test_nothing_at_all_is_a_batch_too(store: MessageStore) -> None:
    session = await begin(store)
    assert await store.exchanges.page(session, start=None, backward=True, limit=10) == []


async def test_a_session_is_made_once_and_keeps_its_first_facts(store: MessageStore) -> None:
    session_id = uuid4()
    for hour in range(3):
        at = NOON + timedelta(hours=hour)
        assert await bind(store, session_id, at=at, time_zone=f"zone{hour}") == session_id
    session = await store.sessions.find(session_id, client_id=None)
    assert session is not None
    assert (session.time_zone, session.started_at, session.title) == ("zone0", NOON, None)
    assert await store.sessions.stats("anna", [session_id]) == [SessionStats(0, None)]
    assert await store.sessions.find(uuid4(), client_id=None) is None


async def test_another_clients_session_id_means_another_session(store: MessageStore) -> None:
    annas = await begin(store, "anna")
    bobs = foreign_session(annas.id, "bob")
    for _ in range(2):
        assert await bind(store, annas.id, "bob") == bobs
    assert [session.id for session in await store.sessions.page("bob", after=None, limit=10)] == [bobs]
    assert [session.id for session in await store.sessions.page("anna", after=None, limit=10)] == [annas.id]


async def test_a_session_whose_both_ids_are_other_clients_cannot_be_had(store: MessageStore) -> None:
    annas = await begin(store, "anna")
    await bind(store, foreign_session(annas.id, "bob"), "carl")
    assert await bind(store, annas.id, "bob") is None
    assert await store.sessions.page("bob", after=None, limit=10) == []


async def test_sessions_of_all_kinds_are_bound_together(store: MessageStore) -> None:
    known, annas, erased = await begin(store, "bob"), await begin(store, "anna"), await begin(store, "eve")
    taken, shared, new = await begin(store, "anna"), uuid4(), uuid4()
    await bind(store, foreign_session(taken.id, "bob"), "carl")
    await store.deletions.erase_client("eve", at=NOON)
    wanted = [
        (known.id, "bob"),
        (annas.id, "bob"),
        (taken.id, "bob"),
        (shared, "bob"),
        (shared, "carl"),
        (new, "anna"),
        (erased.id, "eve"),
    ]
    uses = [FirstUse(session_id=each, client_id=client, time_zone="UTC", at=NOON) for each, client in wanted]
    bound = await store.sessions.bind(uses)
    assert bound[:3] == [known.id, foreign_session(annas.id, "bob"), None]
    assert bound[3:] == [shared, foreign_session(shared, "carl"), new, erased.id]
    assert await store.sessions.bind(uses) == bound
    assert await store.sessions.page("eve", after=None, limit=10) == []
    assert {one.id for one in await store.sessions.page("bob", after=None, limit=10)} == {known.id, bound[1], shared}


async def test_new_sessions_bound_by_several_relays_at_once_are_each_one(store: MessageStore) -> None:
    uses = [FirstUse(session_id=uuid4(), client_id="anna", time_zone="UTC", at=NOON) for _ in range(40)]
    bound = await asyncio.gather(*(store.sessions.bind(uses) for _ in range(6)))
    assert bound == [[use.session_id for use in uses]] * 6


async def test_one_session_id_used_by_two_clients_at_once_binds_each_for_good(store: MessageStore) -> None:
    session_id = uuid4()
    clients = ["anna", "bob", "carl", "dora"]
    bound = await asyncio.gather(*(bind(store, session_id, client) for client in clients for _ in range(3)))
    by_client = {client: set(bound[at * 3 : at * 3 + 3]) for at, client in enumerate(clients)}
    assert all(len(ids) == 1 for ids in by_client.values())
    assert len(set(bound)) == 4
    assert sum(ids == {session_id} for ids in by_client.values()) == 1


async def test_count_and_last_message_are_derived(store: MessageStore) -> None:
    session = await begin(store)
    exchanges = [kept(session.id, at=NOON + timedelta(minutes=minute)) for minute in range(5)]
    await store.exchanges.add(exchanges)
    empty, other = await begin(store), await begin(store)
    one = kept(other.id, at=NOON + timedelta(minutes=9))
    await store.exchanges.add([one])
    tallies = await store.sessions.stats("anna", [other.id, empty.id, session.id])
    assert tallies == [
        SessionStats(2, one.answered_at),
        SessionStats(0, None),
        SessionStats(10, exchanges[-1].answered_at),
    ]
    assert await store.sessions.stats("anna", []) == []


async def test_sessions_are_listed_latest_first_page_by_page_without_gaps(store: MessageStore) -> None:
    same_start = [await begin(store, at=NOON) for _ in range(4)]
    later = [await begin(store, at=NOON + timedelta(seconds=second)) for second in (1, 2, 3)]
    await begin(store, "bob")
    expected = [s.id for s in reversed(later)] + sorted((s.id for s in same_start), reverse=True)
    seen: list[UUID] = []
    after: SessionKey | None = None
    while page := await store.sessions.page("anna", after=after, limit=2):
        seen += [session.id for session in page]
        after = SessionKey(page[-1].started_at, page[-1].id)
        await begin(store, at=NOON + timedelta(days=1))  # newer ones do not disturb the older pages
    assert seen == expected


async def test_exchanges_page_both_ways_from_any_start(store: MessageStore) -> None:
    session, other = await begin(store), await begin(store)
    exchanges = [kept(session.id, str(number), at=NOON + timedelta(seconds=number)) for number in range(9)]
    await store.exchanges.add([*reversed(exchanges), kept(other.id)])

    async def page(start: UUID | None, *, backward: bool, limit: int = 3) -> list[str | None]:
        found = await store.exchanges.page(session, start=start, backward=backward, limit=limit)
        return [exchange.reply.text if exchange.reply else None for exchange in found]

    assert await page(None, backward=False) == ["0", "1", "2"]
    assert await page(None, backward=True) == ["8", "7", "6"]
    assert await page(exchanges[4].id, backward=False) == ["4", "5", "6"]
    assert await page(exchanges[4].id, backward=True) == ["4", "3", "2"]
    gone = UUID(int=exchanges[4].id.int + 1)  # an id that is not there (any more)
    assert await page(gone, backward=False) == ["5", "6", "7"]
    assert await page(gone, backward=True) == ["4", "3", "2"]
    assert await page(exchanges[8].id, backward=False) == ["8"]


async def test_a_lookup_by_another_client_finds_nothing(store: MessageStore) -> None:
    session = await begin(store)
    exchange = kept(session.id)
    await store.exchanges.add([exchange])
    assert await store.sessions.find(session.id, client_id="anna") is not None
    assert await store.exchanges.find(exchange.id, client_id="anna") == exchange
    assert await store.sessions.find(session.id, client_id="bob") is None
    assert await store.exchanges.find(exchange.id, client_id="bob") is None


async def test_a_session_can_be_made_and_renamed_before_there_are_messages(store: MessageStore) -> None:
    made = Session(
        id=uuid4(),
        client_id="anna",
        time_zone="Asia/Tokyo",
        started_at=NOON,
        title="Über \U0001f389",
    )
    await store.sessions.create(made)
    assert await store.sessions.page("anna", after=None, limit=10) == [made]
    assert await bind(store, made.id) == made.id
    for title in ("another", None):
        await store.sessions.rename(made, title)
        assert await store.sessions.find(made.id, client_id="anna") == replace(made, title=title)
    await store.deletions.delete_session("anna", made.id, at=NOON)
    await store.sessions.rename(made, "a ghost")
    assert await store.sessions.page("anna", after=None, limit=10) == []


async def test_the_media_that_exchanges_point_at(store: MessageStore) -> None:
    session = await begin(store)
    one, two, other = kept(session.id), kept(session.id), kept(session.id)
    await store.exchanges.add([one, two, other])
    key = f"anna/{session.id}/{{}}/request.mp3"
    assert await store.exchanges.media_keys("anna", [one.id, two.id, uuid4()]) == {
        key.format(one.id),
        key.format(two.id),
    }
    assert await store.exchanges.media_keys("bob", [one.id]) == set()


async def test_preparing_twice_changes_nothing(store: MessageStore) -> None:
    session = await begin(store)
    await store.prepare()
    assert await store.sessions.find(session.id, client_id=None) == session


async def test_mongodb_that_is_not_there_is_unavailable() -> None:
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}", "test", wait_seconds=0.2)
    for attempt in (
        store.prepare,
        lambda: store.exchanges.find(uuid4(), client_id=None),
        lambda: store.exchanges.add([kept(uuid4())]),
    ):
        with pytest.raises(StoreUnavailable, match="MongoDB cannot be"):
            await attempt()
    await store.close()


async def test_mongodb_without_a_replica_set_is_refused(tmp_path: Path) -> None:
    """It has no transactions."""
    with run_mongod(tmp_path, replica_set=False) as url:
        store = MongoStore(url, "test")
        with pytest.raises(StoreUnusable, match="--replSet"):
            await store.prepare()
        await store.close()


async def test_mongodb_of_a_newer_version_is_refused(mongodb_url: str) -> None:
    database = f"test_{uuid4().hex}"
    store = MongoStore(mongodb_url, database)
    await store.prepare()
    with raw_database(mongodb_url, database) as raw:
        raw["schema"].update_one({"_id": "version"}, {"$set": {"version": 99}})
    with pytest.raises(StoreUnusable, match="newer version"):
        await store.prepare()
    await store.close()


async def test_an_sqlite_file_survives_reopening(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "messages.sqlite")
    await first.prepare()
    session = await begin(first)
    exchange = kept(session.id)
    await first.exchanges.add([exchange])
    await first.close()
    second = SqliteStore(tmp_path / "messages.sqlite")
    with pytest.raises(StoreUnavailable, match="not open yet"):
        await second.exchanges.find(exchange.id, client_id=None)
    await second.prepare()
    assert await second.exchanges.find(exchange.id, client_id=None) == exchange
    await second.close()


@pytest.mark.parametrize("steps", range(8))
def test_giving_up_while_an_sqlite_file_is_opened_leaves_nothing_behind(tmp_path: Path, steps: int) -> None:
    async def give_up() -> None:
        store = SqliteStore(tmp_path / "messages.sqlite")
        preparing = asyncio.create_task(store.prepare())
        for _ in range(steps):
            await asyncio.sleep(0)
        preparing.cancel()
        await asyncio.wait([preparing])
        await store.close()

    before = set(threading.enumerate())
    asyncio.run(give_up())
    for thread in set(threading.enumerate()) - before:
        thread.join()  # one that fails, because its loop is closed, is a warning, and so an error


async def test_an_sqlite_file_that_is_none_or_newer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreUnusable, match="damaged"):
        await SqliteStore(tmp_path / "garbage").prepare()
    newer = SqliteStore(tmp_path / "newer.sqlite")
    await newer.prepare()
    await newer.close()
    with sqlite3.connect(tmp_path / "newer.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreUnusable, match="newer version"):
        await SqliteStore(tmp_path / "newer.sqlite").prepare()


async def test_an_sqlite_folder_that_cannot_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot be used now"):
        await SqliteStore(tmp_path / "file" / "messages.sqlite").prepare()
