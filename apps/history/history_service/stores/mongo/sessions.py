"""Sessions in MongoDB.

A session that was deleted leaves a document without a start: it says whose id it is, and since when it is deleted.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from history_service.records import Session, Tally
from history_service.stores.base import SessionKey, SessionTaken, foreign_session, microseconds, moment
from history_service.stores.mongo.connection import Connection, errors
from history_service.stores.mongo.documents import read_session


class Sessions(Connection):
    """The sessions of the store."""

    async def bind_session(self, session_id: UUID, *, client_id: str, time_zone: str, started_at: datetime) -> UUID:
        """See `MessageStore.bind_session`."""
        candidates = session_id, foreign_session(session_id, client_id)
        async with errors():
            query = {"client_id": client_id, "_id": {"$in": candidates}}
            owned = {document["_id"] for document in await self._sessions.find(query, ["_id"]).to_list(2)}
            erased = await self._erased.find_one({"_id": client_id, "client_id": client_id})
        for candidate in candidates:
            if candidate in owned:
                return candidate
        if erased is not None and microseconds(started_at) <= erased["at_us"]:
            return session_id
        facts = {"time_zone": time_zone, "started_us": microseconds(started_at), "title": None}
        for candidate in candidates:
            if await self._claim(candidate, client_id, facts):
                return candidate
        raise SessionTaken("the session has the id of a session of another client, and so has its other id")

    async def _claim(self, session_id: UUID, client_id: str, facts: Mapping[str, Any]) -> bool:
        """Make a session that is not there; say whether the id is this client's."""
        async with errors():
            try:
                await self._sessions.update_one(
                    {"_id": session_id, "client_id": client_id}, {"$setOnInsert": facts}, upsert=True
                )
            except DuplicateKeyError:
                return False
        return True

    async def create_session(self, session: Session) -> None:
        """See `MessageStore.create_session`."""
        facts = {
            "time_zone": session.time_zone,
            "started_us": microseconds(session.started_at),
            "title": session.title,
        }
        await self._claim(session.id, session.client_id, facts)

    async def session(self, session_id: UUID, *, client_id: str | None) -> Session | None:
        """See `MessageStore.session`."""
        query: dict[str, Any] = {"_id": session_id, "started_us": {"$type": "number"}}
        if client_id is not None:
            query["client_id"] = client_id
        async with errors():
            document = await self._sessions.find_one(query)
        return read_session(document) if document else None

    async def sessions(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """See `MessageStore.sessions`."""
        query: dict[str, Any] = {"client_id": client_id, "started_us": {"$type": "number"}}
        if after is not None:
            started_us = microseconds(after.started_at)
            query["$or"] = [{"started_us": {"$lt": started_us}}, {"started_us": started_us, "_id": {"$lt": after.id}}]
        async with errors():
            found = self._sessions.find(query).sort([("started_us", DESCENDING), ("_id", DESCENDING)]).limit(limit)
            return [read_session(document) for document in await found.to_list(limit)]

    async def tallies(self, client_id: str, session_ids: Sequence[UUID]) -> list[Tally]:
        """See `MessageStore.tallies`."""
        ids = list(session_ids)
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"client_id": client_id, "session_id": {"$in": ids}, "messages": {"$gt": 0}}},
            {"$group": {"_id": "$session_id", "messages": {"$sum": "$messages"}, "last_us": {"$max": "$answered_us"}}},
        ]
        async with errors():
            counted = await self._exchanges.aggregate(pipeline, hint="in_order").to_list(len(ids))
        tallies = {row["_id"]: Tally(row["messages"], moment(row["last_us"])) for row in counted}
        return [tallies.get(session_id, Tally(0, None)) for session_id in ids]

    async def rename_session(self, session: Session, title: str | None) -> None:
        """See `MessageStore.rename_session`."""
        query = {"_id": session.id, "client_id": session.client_id, "started_us": {"$type": "number"}}
        async with errors():
            await self._sessions.update_one(query, {"$set": {"title": title}})

    async def _revive(self, client_id: str, session_ids: Collection[UUID]) -> None:
        """Make sure that sessions which have exchanges are there, by the first of these."""
        for session_id in session_ids:
            query = {"client_id": client_id, "session_id": session_id, "messages": {"$gt": 0}}
            async with errors():
                first = await self._exchanges.find_one(query, sort=[("_id", 1)])
            if first is None:
                continue
            facts = {"time_zone": first["time_zone"], "started_us": first["received_us"], "title": None}
            await self._claim(session_id, client_id, facts)
            async with errors():
                await self._sessions.update_one(
                    {"_id": session_id, "client_id": client_id, "started_us": None}, {"$set": facts}
                )
