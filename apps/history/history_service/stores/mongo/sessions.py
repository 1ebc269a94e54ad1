"""Sessions in MongoDB.

A session that was deleted leaves a document without a start: it says whose id it is, and since when it is deleted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from pymongo import DESCENDING, ReadPreference
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from history_service.model import Session, SessionStats
from history_service.stores.base import FirstUse, SessionKey, foreign_session, microseconds, moment
from history_service.stores.mongo.connection import errors, insert_new
from history_service.stores.mongo.documents import read_session
from history_service.stores.mongo.identity import DatabaseIdentity


class Sessions(DatabaseIdentity):
    """The sessions of the store."""

    async def bind_sessions(self, uses: Sequence[FirstUse]) -> list[UUID | None]:
        """See `MessageStore.bind_sessions`. One command when all are known, three when some are new.

        A session that somebody else makes meanwhile is met as an id that is there; ids of other clients are, too.
        """
        bound = await self._owned(self._sessions, uses)
        if None not in bound:
            return bound
        erased = await self._erasures({use.client_id for use in uses})
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
        """Return the ids under which clients have these sessions already."""
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
        """Make sessions under these ids; return under which ids these clients have them now, if they do."""
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
            known = sorted(await insert_new(self._sessions, documents))
        claimed: list[UUID | None] = [session_id for session_id, _ in claims]
        if known:
            # What was in the way may be so new that a majority does not have it yet.
            sessions: Any = self._sessions
            newest = sessions.with_options(read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("local"))
            owned = await self._owned(newest, [claims[place][1] for place in known])
            for place, owned_id in zip(known, owned, strict=True):
                claimed[place] = owned_id
        return claimed

    async def _erasures(self, client_ids: Collection[str]) -> dict[str, int]:
        """Return when clients were erased, of those that were."""
        async with errors():
            found = await self._erased.find({"client_id": {"$in": sorted(client_ids)}}).to_list(None)
        return {document["client_id"]: document["at_us"] for document in found}

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

    async def session_stats(self, client_id: str, session_ids: Sequence[UUID]) -> list[SessionStats]:
        """See `MessageStore.tallies`."""
        ids = list(session_ids)
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"client_id": client_id, "session_id": {"$in": ids}, "messages": {"$gt": 0}}},
            {"$group": {"_id": "$session_id", "messages": {"$sum": "$messages"}, "last_us": {"$max": "$answered_us"}}},
        ]
        async with errors():
            counted = await self._exchanges.aggregate(pipeline, hint="in_order").to_list(len(ids))
        tallies = {row["_id"]: SessionStats(row["messages"], moment(row["last_us"])) for row in counted}
        return [tallies.get(session_id, SessionStats(0, None)) for session_id in ids]

    async def known_sessions(self, client_id: str, session_ids: Collection[UUID]) -> set[UUID]:
        """See `MessageStore.known_sessions`."""
        query = {"client_id": client_id, "_id": {"$in": list(session_ids)}}
        async with errors():
            found = await self._sessions.find(query, ["_id"], hint="_id_").to_list(None)
        return {document["_id"] for document in found}

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


def _own_id(use: FirstUse) -> UUID:
    return use.session_id


def _foreign_id(use: FirstUse) -> UUID:
    return foreign_session(use.session_id, use.client_id)
