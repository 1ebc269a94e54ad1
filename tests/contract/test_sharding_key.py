"""Every command that MongoDB gets names the client, which is the sharding key: a real server's profiler tells."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from history_service.model import Session
from history_service.stores.base import Erasure, SessionKey, Upload
from history_service.stores.mongo import MongoStore
from tests.contract.stores import NOON, begin, bind, kept

BY_AGE = "answered_us"  # what is old is looked for everywhere


@pytest.fixture
async def store(mongodb_url: str) -> AsyncIterator[MongoStore]:
    fresh = MongoStore(mongodb_url, f"test_{uuid4().hex}")
    await fresh.prepare()
    await fresh._database.command("profile", 2)
    yield fresh
    await fresh._database.command("profile", 0)
    await fresh.close()


async def use_everything(store: MongoStore) -> None:
    """Call each method that reads or writes, with the client known."""
    session = await begin(store)
    one, two = kept(session.id, "one"), kept(session.id, "two")
    await store.add([one, two, one])
    await store.create_session(
        Session(
            id=uuid4(),
            client_id="anna",
            time_zone="UTC",
            started_at=NOON,
            title=None,
        )
    )
    await store.sessions("anna", after=SessionKey(NOON, uuid4()), limit=10)
    await store.session_stats("anna", [session.id])
    await store.rename_session(session, "title")
    await store.exchange(one.id, client_id="anna")
    await store.exchanges(session, start=one.id, backward=True, limit=10)
    await store._exchanges.update_one({"_id": two.id, "client_id": "anna"}, {"$unset": {"position": ""}})
    await store.arrivals(session, after=0, limit=10)
    await store.last_arrival(session)
    await store.search("anna", ["one"], before=None, limit=10)
    await store.media_keys("anna", [one.id])
    await store.known_sessions("anna", [session.id])
    upload = Upload(
        id=uuid4(), client_id="anna", session_id=session.id, exchange_id=one.id, received_at=NOON, keys=("a", "b")
    )
    await store.begin_uploads([upload])
    await store.uploads("anna")
    for failed in (True, False):
        await store.end_uploads([upload], failed=failed)
    erasure = Erasure(id=uuid4(), client_id="anna", at=NOON)
    await store.note_erasure(erasure)
    await store.end_erasure(erasure)
    await store.delete_message("anna", next(one.messages()).id)
    await store.expire(NOON, limit=10)
    await store.delete_session("anna", session.id, at=NOON)
    await store.add([one])
    await bind(store, session.id, "bob")
    await store.erase_client("anna", at=NOON)
    await bind(store, session.id)
    await store.add([one])


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


async def test_every_command_names_the_client(store: MongoStore) -> None:
    await use_everything(store)
    profiled = store._database["system.profile"].find({"ns": {"$regex": r"\.(sessions|exchanges|erased|uploads)$"}})
    asked = [(entry["op"], each) for entry in await profiled.to_list(None) for each in questions(entry)]
    assert {op for op, _ in asked} >= {"query", "update", "remove", "command"}
    assert len(asked) > 25
    assert [each for _, each in asked if "client_id" not in each and BY_AGE not in each] == []
