"""Deleting in MongoDB.

A deletion that spans documents first says so where `Exchanges.add` looks, and then deletes. What is stopped half-way is
still visible, and goes on when it is asked for again.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from history_service.records import Direction, KeptExchange, Message, Session
from history_service.stores.base import microseconds
from history_service.stores.mongo.connection import errors
from history_service.stores.mongo.documents import MARKS, read_exchange
from history_service.stores.mongo.exchanges import Exchanges

LEFT: Final[dict[str, Any]] = {
    "$add": [{"$cond": [{"$eq": [f"${side.value}", None]}, 0, 1]} for side in Direction],
}
"""How many messages an exchange has left."""


class Erasure(Exchanges):
    """Deletions in the store."""

    async def delete_message(self, message: Message) -> None:
        """See `MessageStore.delete_message`. An exchange without messages stays, as the proof that it was here."""
        direction = message.id.direction
        others = {"$ne": [{"$substrCP": ["$$this", 0, 1]}, MARKS[direction]]}
        async with errors():
            await self._exchanges.update_one(
                {"_id": message.id.exchange_id, "client_id": message.exchange.client_id},
                [
                    {"$set": {direction.value: None, "words": {"$filter": {"input": "$words", "cond": others}}}},
                    {"$set": {"messages": LEFT}},
                ],
            )

    async def delete_session(self, session: Session, *, at: datetime) -> None:
        """See `MessageStore.delete_session`."""
        one = {"_id": session.id, "client_id": session.client_id}
        async with errors():
            await self._sessions.update_one(one, {"$max": {"deleted_us": microseconds(at)}})
            await self._exchanges.delete_many(
                {
                    "client_id": session.client_id,
                    "session_id": session.id,
                    "received_us": {"$lte": microseconds(at)},
                }
            )
        await self._bury(session.client_id, [session.id])

    async def erase_client(self, client_id: str, *, at: datetime) -> None:
        """See `MessageStore.erase_client`."""
        at_us = microseconds(at)
        async with errors():
            await self._erased.update_one(
                {"_id": client_id, "client_id": client_id}, {"$max": {"at_us": at_us}}, upsert=True
            )
            await self._exchanges.delete_many({"client_id": client_id, "received_us": {"$lte": at_us}})
            # Those without a start were deleted before.
            begun = {"$or": [{"started_us": {"$lte": at_us}}, {"started_us": None, "deleted_us": {"$lte": at_us}}]}
            await self._sessions.delete_many({"client_id": client_id, **begun})
            left = await self._exchanges.distinct("session_id", {"client_id": client_id, "messages": {"$gt": 0}})
        await self._revive(client_id, left)

    async def expire(self, before: datetime, *, limit: int) -> list[KeptExchange]:
        """See `MessageStore.expire`. What is old is asked of all shards, the only question without a client."""
        query = {"answered_us": {"$lt": microseconds(before)}}
        async with errors():
            found = self._exchanges.find(query).sort("answered_us", 1).limit(limit)
            expired = [read_exchange(document) for document in await found.to_list(limit)]
        by_client: dict[str, list[KeptExchange]] = defaultdict(list)
        for exchange in expired:
            by_client[exchange.client_id].append(exchange)
        for client_id, theirs in by_client.items():
            async with errors():
                ids = [exchange.id for exchange in theirs]
                await self._exchanges.delete_many({"client_id": client_id, "_id": {"$in": ids}})
            await self._bury_empty(client_id, {exchange.session_id for exchange in theirs}, before)
        return expired

    async def _bury_empty(self, client_id: str, session_ids: Collection[UUID], before: datetime) -> None:
        """Drop the facts of sessions that began before then and have no messages left."""
        query = {"client_id": client_id, "session_id": {"$in": list(session_ids)}, "messages": {"$gt": 0}}
        old = {"_id": {"$in": list(session_ids)}, "started_us": {"$lt": microseconds(before)}}
        async with errors():
            filled = set(await self._exchanges.distinct("session_id", query))
            found = await self._sessions.find({"client_id": client_id, **old}, ["_id"]).to_list(None)
        await self._bury(client_id, [each["_id"] for each in found if each["_id"] not in filled])

    async def _bury(self, client_id: str, session_ids: Collection[UUID]) -> None:
        """Drop the facts of sessions; what has come for them meanwhile brings them back under new ones."""
        query = {"client_id": client_id, "_id": {"$in": list(session_ids)}}
        async with errors():
            await self._sessions.update_many(query, {"$unset": {"started_us": "", "time_zone": "", "title": ""}})
        await self._revive(client_id, session_ids)
