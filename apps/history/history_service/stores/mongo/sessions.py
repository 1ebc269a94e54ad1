"""Sessions in MongoDB.

A deleted session leaves a document without a start, with its client and the time of the deletion.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from pymongo import DESCENDING, ReadPreference
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from history_service.model import Session, SessionStats
from history_service.stores.base import FirstUse, SessionKey, foreign_session
from history_service.stores.encoding import microseconds, moment
from history_service.stores.mongo.database import MongoDatabase, errors, insert_new
from history_service.stores.mongo.documents import read_session
from history_service.stores.mongo.drivers import settled


class MongoSessions:
    """The sessions of the store."""

    def __init__(self, db: MongoDatabase) -> None:
        self._db = db

    async def bind(self, uses: Sequence[FirstUse]) -> list[UUID | None]:
        """See `SessionStore.bind`. One command when all are known, three when some are new.

        A session created concurrently shows up as an existing id, as do ids of other clients.
        """
        bound = await self._owned(self._db.sessions, uses)
        if None not in bound:
            return bound
        erased = await self.erased_at({use.client_id for use in uses})
        for place, use in enumerate(uses):
            if bound[place] is None and microseconds(use.at) <= erased.get(use.client_id, -math.inf):
                bound[place] = use.session_id
        for candidate in (_own_id, _foreign_id):
            places = [place for place, session_id in enumerate(bound) if session_id is None]
            if places:
                claimed = await self._claim_all([(candidate(uses[place]), uses[place]) for place in places])
                for place, session_id in zip(places, claimed, strict=True):
                    bound[place] = session_id
        return bound

    async def _owned(self, sessions: Any, uses: Sequence[FirstUse]) -> list[UUID | None]:  # noqa: ANN401 - a collection
        """Return the ids of sessions that the clients have already."""
        candidates = [(_own_id(use), _foreign_id(use)) for use in uses]
        query = {
            "client_id": {"$in": sorted({use.client_id for use in uses})},
            "_id": {"$in": [each for of_use in candidates for each in of_use]},
        }
        async with errors():
            found = await sessions.find(query, ["client_id"], hint="_id_").to_list(None)
        owned = {(document["_id"], document["client_id"]) for document in found}
        return [
            next((each for each in of_use if (each, use.client_id) in owned), None)
            for use, of_use in zip(uses, candidates, strict=True)
        ]

    async def _claim_all(self, claims: Sequence[tuple[UUID, FirstUse]]) -> list[UUID | None]:
        """Create sessions under these ids. Return the ids under which the clients have them, if any."""
        documents = [
            {
                "_id": session_id,
                "client_id": use.client_id,
                "time_zone": use.time_zone,
                "started_us": microseconds(use.at),
                "title": None,
            }
            for session_id, use in claims
        ]
        async with errors():
            known = sorted(await insert_new(self._db.sessions, documents))
        claimed: list[UUID | None] = [session_id for session_id, _ in claims]
        if known:
            # A conflicting document may be so new that a majority does not have it yet.
            newest = self._db.sessions.with_options(
                read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("local")
            )
            owned = await self._owned(newest, [claims[place][1] for place in known])
            for place, owned_id in zip(known, owned, strict=True):
                claimed[place] = owned_id
        return claimed

    async def erased_at(self, client_ids: Collection[str]) -> dict[str, int]:
        """Return the time of erasure of clients that were erased."""
        async with errors():
            found = await self._db.erased.find({"client_id": {"$in": sorted(client_ids)}}).to_list(None)
        return {document["client_id"]: document["at_us"] for document in found}

    async def _claim(self, session_id: UUID, client_id: str, facts: Mapping[str, Any]) -> bool:
        """Create a missing session. Return whether the id belongs to this client."""
        async with errors():
            try:
                await self._db.sessions.update_one(
                    {"_id": session_id, "client_id": client_id}, {"$setOnInsert": facts}, upsert=True
                )
            except DuplicateKeyError:
                return False
        return True

    async def create(self, session: Session) -> None:
        """See `SessionStore.create`."""
        facts = {
            "time_zone": session.time_zone,
            "started_us": microseconds(session.started_at),
            "title": session.title,
        }
        await self._claim(session.id, session.client_id, facts)

    async def find(self, session_id: UUID, *, client_id: str | None) -> Session | None:
        """See `SessionStore.find`."""
        query: dict[str, Any] = {"_id": session_id, "started_us": {"$type": "number"}}
        if client_id is not None:
            query["client_id"] = client_id
        async with errors():
            document = await self._db.sessions.find_one(query)
        return read_session(document) if document else None

    async def page(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """See `SessionStore.page`."""
        query: dict[str, Any] = {"client_id": client_id, "started_us": {"$type": "number"}}
        if after is not None:
            started_us = microseconds(after.started_at)
            query["$or"] = [{"started_us": {"$lt": started_us}}, {"started_us": started_us, "_id": {"$lt": after.id}}]
        async with errors():
            found = self._db.sessions.find(query).sort([("started_us", DESCENDING), ("_id", DESCENDING)]).limit(limit)
            return [read_session(document) for document in await found.to_list(limit)]

    async def stats(self, client_id: str, session_ids: Sequence[UUID]) -> list[SessionStats]:
        """See `SessionStore.stats`."""
        ids = list(session_ids)
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"client_id": client_id, "session_id": {"$in": ids}, "messages": {"$gt": 0}}},
            {"$group": {"_id": "$session_id", "messages": {"$sum": "$messages"}, "last_us": {"$max": "$answered_us"}}},
        ]
        async with errors():
            found = await settled(self._db.exchanges.aggregate(pipeline, hint="in_order"))
            counted = await found.to_list(None)
        tallies = {row["_id"]: SessionStats(row["messages"], moment(row["last_us"])) for row in counted}
        return [tallies.get(session_id, SessionStats(0, None)) for session_id in ids]

    async def known(self, client_id: str, session_ids: Collection[UUID]) -> set[UUID]:
        """See `SessionStore.known`."""
        query = {"client_id": client_id, "_id": {"$in": list(session_ids)}}
        async with errors():
            found = await self._db.sessions.find(query, ["_id"], hint="_id_").to_list(None)
        return {document["_id"] for document in found}

    async def rename(self, session: Session, title: str | None) -> None:
        """See `SessionStore.rename`."""
        query = {"_id": session.id, "client_id": session.client_id, "started_us": {"$type": "number"}}
        async with errors():
            await self._db.sessions.update_one(query, {"$set": {"title": title}})

    async def ends(
        self, sessions: Collection[tuple[str, UUID]]
    ) -> tuple[dict[tuple[str, UUID], int], set[tuple[str, UUID]], dict[str, int]]:
        """Return for sessions when exchanges are late, which sessions exist, and when clients were erased."""
        clients = {client_id for client_id, _ in sessions}
        erased = await self.erased_at(clients)
        query = {"client_id": {"$in": sorted(clients)}, "_id": {"$in": list({id_ for _, id_ in sessions})}}
        async with errors():
            found = self._db.sessions.find(query, ["client_id", "started_us", "deleted_us"], hint="_id_")
            known = {(document["client_id"], document["_id"]): document for document in await found.to_list(None)}
        ends: dict[tuple[str, UUID], int] = {}
        for session in sessions:
            either = (known.get(session, {}).get("deleted_us"), erased.get(session[0]))
            if given := [at_us for at_us in either if at_us is not None]:
                ends[session] = max(given)
        begun = {session for session, document in known.items() if document.get("started_us") is not None}
        return ends, begun, erased

    async def revive(self, client_id: str, session_ids: Collection[UUID]) -> None:
        """Create missing sessions that have exchanges, with the first exchange's data."""
        for session_id in session_ids:
            query = {"client_id": client_id, "session_id": session_id, "messages": {"$gt": 0}}
            async with errors():
                first = await self._db.exchanges.find_one(query, sort=[("_id", 1)])
            if first is None:
                continue
            facts = {"time_zone": first["time_zone"], "started_us": first["received_us"], "title": None}
            await self._claim(session_id, client_id, facts)
            async with errors():
                await self._db.sessions.update_one(
                    {"_id": session_id, "client_id": client_id, "started_us": None}, {"$set": facts}
                )


def _own_id(use: FirstUse) -> UUID:
    return use.session_id


def _foreign_id(use: FirstUse) -> UUID:
    return foreign_session(use.session_id, use.client_id)
