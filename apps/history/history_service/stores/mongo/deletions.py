"""Deleting in MongoDB.

A deletion of several documents is first marked where `MongoExchanges.add` checks, and then done. If it is interrupted,
the rest stays visible, and a repeated request continues.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pymongo.errors import DuplicateKeyError

from frameproto.history import Direction
from history_service.model import MessageId, StoredExchange
from history_service.stores.base import ERASED_AT_ONCE
from history_service.stores.encoding import microseconds
from history_service.stores.mongo.database import MongoDatabase, errors
from history_service.stores.mongo.documents import MARKS, read_exchange
from history_service.stores.mongo.sessions import MongoSessions

FACTS: Final = {"started_us": "", "time_zone": "", "title": ""}
"""The fields of a session that is not deleted."""

LEFT: Final[dict[str, Any]] = {
    "$add": [{"$cond": [{"$eq": [f"${side.value}", None]}, 0, 1]} for side in Direction],
}
"""How many messages an exchange has left."""


class MongoDeletions:
    """Deletions in the store."""

    def __init__(self, db: MongoDatabase, sessions: MongoSessions) -> None:
        self._db = db
        self._sessions = sessions

    async def delete_message(self, client_id: str, message: MessageId) -> None:
        """See `DeletionStore.delete_message`. An exchange without messages stays, as the proof that it was here."""
        direction = message.direction
        others = {"$ne": [{"$substrCP": ["$$this", 0, 1]}, MARKS[direction]]}
        async with errors():
            await self._db.exchanges.update_one(
                {"_id": message.exchange_id, "client_id": client_id},
                [
                    {"$set": {direction.value: None, "words": {"$filter": {"input": "$words", "cond": others}}}},
                    {"$set": {"messages": LEFT}},
                ],
            )

    async def delete_session(self, client_id: str, session_id: UUID, *, at: datetime) -> list[StoredExchange]:
        """See `DeletionStore.delete_session`."""
        at_us = microseconds(at)
        async with errors():
            await self._db.sessions.update_one(
                {"_id": session_id, "client_id": client_id}, {"$max": {"deleted_us": at_us}}
            )
        gone = await self._delete_some({"client_id": client_id, "session_id": session_id}, at_us)
        if len(gone) < ERASED_AT_ONCE:
            await self._write_tombstones(client_id, [session_id])
        return gone

    async def erase_client(self, client_id: str, *, at: datetime) -> list[StoredExchange]:
        """See `DeletionStore.erase_client`. Its sessions are hidden here, and forgotten by `end_erasure`."""
        at_us = microseconds(at)
        async with errors():
            try:
                await self._mark_erased(client_id, at_us)
            except DuplicateKeyError:  # by another erasure; MongoDB tries again by itself only where _id stands alone
                await self._mark_erased(client_id, at_us)
        gone = await self._delete_some({"client_id": client_id}, at_us)
        if len(gone) < ERASED_AT_ONCE:
            async with errors():
                await self._db.sessions.update_many(
                    {"client_id": client_id, "started_us": {"$lte": at_us}},
                    {"$unset": FACTS, "$max": {"deleted_us": at_us}},
                )
                left = await self._db.exchanges.distinct("session_id", {"client_id": client_id, "messages": {"$gt": 0}})
            await self._sessions.revive(client_id, left)
        return gone

    async def _mark_erased(self, client_id: str, at_us: int) -> None:
        """Write down when a client is erased."""
        which = {"_id": client_id, "client_id": client_id}
        await self._db.erased.update_one(which, {"$max": {"at_us": at_us}}, upsert=True)

    async def _delete_some(self, of: Mapping[str, Any], at_us: int) -> list[StoredExchange]:
        """Delete exchanges that were received up to then, and return them."""
        query = {**of, "received_us": {"$lte": at_us}}
        async with errors():
            found = await self._db.exchanges.find(query).limit(ERASED_AT_ONCE).to_list(ERASED_AT_ONCE)
            ids = [document["_id"] for document in found]
            await self._db.exchanges.delete_many({"client_id": of["client_id"], "_id": {"$in": ids}})
        return [read_exchange(document) for document in found]

    async def count_expired(self, before: datetime) -> tuple[int, int]:
        """See `DeletionStore.count_expired`."""
        async with errors():
            expired = await self._db.exchanges.count_documents({"answered_us": {"$lt": microseconds(before)}})
            return expired, max(expired, await self._db.exchanges.estimated_document_count())

    async def expire(self, before: datetime, *, limit: int) -> list[StoredExchange]:
        """See `DeletionStore.expire`. The only query without a client: it goes to all shards."""
        query = {"answered_us": {"$lt": microseconds(before)}}
        async with errors():
            found = self._db.exchanges.find(query).sort("answered_us", 1).limit(limit)
            expired = [read_exchange(document) for document in await found.to_list(limit)]
        by_client: dict[str, list[StoredExchange]] = defaultdict(list)
        for exchange in expired:
            by_client[exchange.client_id].append(exchange)
        for client_id, theirs in by_client.items():
            async with errors():
                ids = [exchange.id for exchange in theirs]
                await self._db.exchanges.delete_many({"client_id": client_id, "_id": {"$in": ids}})
            await self._write_tombstones_of_empty(client_id, {exchange.session_id for exchange in theirs}, before)
        return expired

    async def _write_tombstones_of_empty(self, client_id: str, session_ids: Collection[UUID], before: datetime) -> None:
        """Delete the fields of sessions that began before then and have no messages left."""
        query = {"client_id": client_id, "session_id": {"$in": list(session_ids)}, "messages": {"$gt": 0}}
        old = {"_id": {"$in": list(session_ids)}, "started_us": {"$lt": microseconds(before)}}
        async with errors():
            filled = set(await self._db.exchanges.distinct("session_id", query))
            found = await self._db.sessions.find({"client_id": client_id, **old}, ["_id"]).to_list(None)
        await self._write_tombstones(client_id, [each["_id"] for each in found if each["_id"] not in filled])

    async def _write_tombstones(self, client_id: str, session_ids: Collection[UUID]) -> None:
        """Delete the fields of sessions. Exchanges added meanwhile restore them."""
        query = {"client_id": client_id, "_id": {"$in": list(session_ids)}}
        async with errors():
            await self._db.sessions.update_many(query, {"$unset": FACTS})
        await self._sessions.revive(client_id, session_ids)
