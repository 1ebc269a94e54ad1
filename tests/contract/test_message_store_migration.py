"""A store that was written by schema 1 is brought up to date with all it holds."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from frameproto import MediaPart, MessageKind
from frameproto.history import InsertResult
from frameproto.kinds import Outcome
from history_service.model import MessageContent, SessionStats, StoredExchange, StoredMedia
from history_service.stores.base import ERASED_AT_ONCE, MessageStore
from history_service.stores.encoding import moment
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from tests.contract.stores import kept, message_count, raw_database

SESSION = UUID("0197b0c8-0000-7000-8000-00000000000a")
STARTED_US = 1_772_000_000_000_000
BEFORE_SYMBOLS = 5  # the schema of SQLite
COUNT = 1203  # more than the migration takes at once

SCHEMA_1 = """
CREATE TABLE sessions (id BLOB PRIMARY KEY, client_id TEXT NOT NULL, time_zone TEXT NOT NULL,
    started_us INTEGER NOT NULL, title TEXT) STRICT;
CREATE INDEX sessions_of_client ON sessions (client_id, started_us DESC, id DESC);
CREATE TABLE exchanges (id BLOB PRIMARY KEY, client_id TEXT NOT NULL,
    session_id BLOB NOT NULL REFERENCES sessions (id), time_zone TEXT NOT NULL, received_us INTEGER NOT NULL,
    answered_us INTEGER NOT NULL, outcome TEXT NOT NULL, request TEXT NOT NULL, reply TEXT NOT NULL) STRICT;
CREATE INDEX exchanges_of_session ON exchanges (session_id, id, answered_us);
PRAGMA user_version = 1;
"""


def document(number: int) -> dict[str, Any]:
    """An exchange as schema 1 had it, by the names that both stores use."""
    voice = {"part": "voice", "key": f"anna/{number}/request.mp3", "size": 42}
    return {
        "id": UUID(int=(7 << 76) + number),
        "client_id": "anna",
        "session_id": SESSION,
        "time_zone": "UTC",
        "received_us": STARTED_US + number,
        "answered_us": STARTED_US + number + 1,
        "outcome": "answered",
        "request": {"kind": "voice", "text": None, "media": [voice]},
        "reply": {"kind": "text", "text": f"Number {number} of Straße in İstanbul 🎉", "media": []},
    }


def fill_sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA_1)
        connection.execute("INSERT INTO sessions VALUES (?, 'anna', 'UTC', ?, NULL)", (SESSION.bytes, STARTED_US))
        for number in range(COUNT):
            values = (
                v.bytes if isinstance(v, UUID) else json.dumps(v) if isinstance(v, dict) else v
                for v in document(number).values()
            )
            connection.execute("INSERT INTO exchanges VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(values))
    connection.close()


def fill_mongodb(url: str, name: str) -> None:
    options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    client: MongoClient[dict[str, Any]] = MongoClient(url)
    with client:
        database = client.get_database(name, codec_options=options)
        database["schema"].insert_one({"_id": "version", "version": 1})
        session = {"_id": SESSION, "client_id": "anna", "time_zone": "UTC", "started_us": STARTED_US, "title": None}
        database["sessions"].insert_one(session)
        documents = [document(number) for number in range(COUNT)]
        database["exchanges"].insert_many([{"_id": one.pop("id"), **one} for one in documents])
        database["exchanges"].create_index(
            [("client_id", 1), ("session_id", 1), ("_id", 1), ("answered_us", 1)], name="of_session"
        )


@pytest.fixture
def name() -> str:
    """The name of the database."""
    return f"test_{uuid4().hex}"


@pytest.fixture(params=["sqlite", "mongodb"])
async def pods(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> AsyncIterator[list[MessageStore]]:
    """Two pods at a store of schema 1 (SQLite has but one)."""
    opened: list[MessageStore]
    if request.param == "sqlite":
        fill_sqlite(tmp_path / "messages.sqlite")
        opened = [SqliteStore(tmp_path / "messages.sqlite")]
    else:
        url = request.getfixturevalue("mongodb_url")
        fill_mongodb(url, name)
        opened = [MongoStore(url, name), MongoStore(url, name)]
    yield opened
    for pod in opened:
        await pod.close()


async def test_a_store_of_schema_1_keeps_all_and_can_be_searched(pods: list[MessageStore]) -> None:
    await asyncio.gather(*(pod.prepare() for pod in pods))
    store = pods[-1]
    session = await store.sessions.find(SESSION, client_id="anna")
    assert session is not None
    assert await store.sessions.stats("anna", [SESSION]) == [SessionStats(2 * COUNT, moment(STARTED_US + COUNT))]
    exchanges = await store.exchanges.page(session, start=None, backward=False, limit=2 * COUNT)
    assert len(exchanges) == COUNT
    assert [each for _, each in await store.exchanges.arrivals(session, after=0, limit=2 * COUNT)] == exchanges
    last = document(COUNT - 1)
    assert exchanges[-1] == StoredExchange(
        id=last["id"],
        session_id=SESSION,
        client_id="anna",
        time_zone="UTC",
        received_at=moment(last["received_us"]),
        answered_at=moment(last["answered_us"]),
        outcome=Outcome.ANSWERED,
        request=MessageContent(
            MessageKind.VOICE, None, (StoredMedia(MediaPart.VOICE, f"anna/{COUNT - 1}/request.mp3", 42),)
        ),
        reply=MessageContent(MessageKind.TEXT, f"Number {COUNT - 1} of Straße in İstanbul 🎉"),
    )
    assert len(await store.exchanges.search("anna", ["number", "strasse"], before=None, limit=2 * COUNT)) == COUNT
    (found,) = await store.exchanges.search("anna", [str(COUNT - 1)], before=None, limit=10)
    await store.deletions.delete_message("anna", found.id)
    await store.prepare()  # whoever starts next changes nothing
    again = await store.sessions.find(SESSION, client_id="anna")
    assert again is not None
    assert await message_count(store, again) == 2 * COUNT - 1
    erased = 0
    while gone := await store.deletions.erase_client("anna", at=moment(STARTED_US + COUNT)):
        erased += len(gone)
        assert len(gone) <= ERASED_AT_ONCE
    assert erased == COUNT
    assert await store.sessions.page("anna", after=None, limit=10) == []


async def test_a_store_of_schema_1_keeps_one_answer_to_each_message_from_now_on(pods: list[MessageStore]) -> None:
    await asyncio.gather(*(pod.prepare() for pod in pods))
    message_id = uuid4()
    answers = [kept(SESSION, message_id=message_id, attempt=attempt) for attempt in (1, 2)]
    assert await pods[0].exchanges.add(answers[::-1]) == [InsertResult.STORED, InsertResult.SUPERSEDED]
    assert await pods[-1].exchanges.find_answer("anna", message_id) == answers[1]
    assert await pods[0].sessions.stats("anna", [SESSION]) == [SessionStats(2 * COUNT + 2, answers[1].answered_at)]


async def test_word_lists_of_an_older_definition_are_written_anew(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, pods: list[MessageStore]
) -> None:
    """Schema 2 of MongoDB and 5 of SQLite knew no symbols, and kept the dots of letters."""
    await asyncio.gather(*(pod.prepare() for pod in pods))
    store = pods[0]
    assert len(await store.exchanges.search("anna", ["istanbul", "🎉"], before=None, limit=2 * COUNT)) == COUNT
    if isinstance(store, MongoStore):
        url: str = request.getfixturevalue("mongodb_url")
        with raw_database(url, name) as database:
            database["exchanges"].update_many({}, {"$set": {"words": ["r:old"]}})
            database["schema"].update_one({"_id": "version"}, {"$set": {"version": 2}})
        again: MessageStore = MongoStore(url, name)
    else:
        await store.close()
        with sqlite3.connect(tmp_path / "messages.sqlite") as connection:
            connection.execute("UPDATE words SET word = 'old' WHERE word = '🎉'")
            connection.execute("DROP INDEX exchanges_by_message_id")
            for column in ("message_id", "rank"):
                connection.execute(f"ALTER TABLE exchanges DROP COLUMN {column}")
            connection.execute(f"PRAGMA user_version = {BEFORE_SYMBOLS}")
        connection.close()
        again = SqliteStore(tmp_path / "messages.sqlite")
    try:
        await again.prepare()
        assert len(await again.exchanges.search("anna", ["istanbul", "🎉"], before=None, limit=2 * COUNT)) == COUNT
    finally:
        await again.close()
