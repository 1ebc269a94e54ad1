"""Every command that MongoDB gets names the client, which is the sharding key: a real server's profiler tells."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo.database import Database

from history_service.model import Session
from history_service.stores.base import Erasure, PendingUpload, SessionKey
from history_service.stores.mongo import MongoStore
from tests.contract.stores import NOON, begin, bind, kept, raw_database

BY_AGE = "answered_us"  # what is old is looked for everywhere


@pytest.fixture
def database(mongodb_url: str) -> Iterator[Database[dict[str, Any]]]:
    with raw_database(mongodb_url, f"test_{uuid4().hex}") as opened:
        yield opened


@pytest.fixture
async def store(mongodb_url: str, database: Database[dict[str, Any]]) -> AsyncIterator[MongoStore]:
    fresh = MongoStore(mongodb_url, database.name)
    await fresh.prepare()
    database.command("profile", 2)
    yield fresh
    database.command("profile", 0)
    await fresh.close()


async def use_everything(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    """Call each method that reads or writes, with the client known."""
    session = await begin(store)
    one, two = kept(session.id, "one"), kept(session.id, "two")
    await store.exchanges.add([one, two, one])
    message_id = uuid4()
    for attempt in (1, 3, 2):
        await store.exchanges.add([kept(session.id, message_id=message_id, attempt=attempt)])
    answer = await store.exchanges.find_answer("anna", message_id)
    assert answer is not None
    assert await store.exchanges.claim(answer, rank=9)
    await store.sessions.create(
        Session(
            id=uuid4(),
            client_id="anna",
            time_zone="UTC",
            started_at=NOON,
            title=None,
        )
    )
    await store.sessions.page("anna", after=SessionKey(NOON, uuid4()), limit=10)
    await store.sessions.stats("anna", [session.id])
    await store.sessions.rename(session, "title")
    await store.exchanges.find(one.id, client_id="anna")
    await store.exchanges.page(session, start=one.id, backward=True, limit=10)
    database["exchanges"].update_one({"_id": two.id, "client_id": "anna"}, {"$unset": {"position": ""}})
    await store.exchanges.arrivals(session, after=0, limit=10)
    await store.exchanges.last_arrival(session)
    await store.exchanges.search("anna", ["one"], before=None, limit=10)
    await store.exchanges.media_keys("anna", [one.id])
    await store.sessions.known("anna", [session.id])
    upload = PendingUpload(
        id=uuid4(), client_id="anna", session_id=session.id, exchange_id=one.id, received_at=NOON, keys=("a", "b")
    )
    await store.uploads.begin([upload])
    await store.uploads.of_client("anna")
    for failed in (True, False):
        await store.uploads.end([upload], failed=failed)
    erasure = Erasure(id=uuid4(), client_id="anna", at=NOON)
    await store.erasures.begin(erasure)
    await store.erasures.end(erasure)
    await store.deletions.delete_message("anna", next(one.messages()).id)
    await store.deletions.expire(NOON, limit=10)
    await store.deletions.delete_session("anna", session.id, at=NOON)
    await store.exchanges.add([one])
    await bind(store, session.id, "bob")
    await store.deletions.erase_client("anna", at=NOON)
    await bind(store, session.id)
    await store.exchanges.add([one])


def questions(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a profiled command asks for: the conditions by which a router would choose shards."""
    command = entry["command"]
    if entry["op"] == "query":
        return [command["filter"]]
    if entry["op"] in {"update", "remove"}:
        return [command["q"]]
    if "pipeline" in command:
        return [command["pipeline"][0]["$match"]]
    return [command["query"]] if "query" in command else []


async def test_every_command_names_the_client(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    await use_everything(store, database)
    profiled = database["system.profile"].find({"ns": {"$regex": r"\.(sessions|exchanges|erased|uploads)$"}})
    asked = [(entry["op"], each) for entry in profiled.to_list() for each in questions(entry)]
    assert {op for op, _ in asked} >= {"query", "update", "remove", "command"}
    assert len(asked) > 25
    assert [each for _, each in asked if "client_id" not in each and BY_AGE not in each] == []
