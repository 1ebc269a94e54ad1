"""Recorded erasures in MongoDB."""

from typing import Any

from history_service.model import MessageId
from history_service.stores.base import ERASED_AT_ONCE, Erasure
from history_service.stores.encoding import microseconds, moment
from history_service.stores.mongo.database import Document, MongoDatabase, errors
from history_service.stores.mongo.sessions import MongoSessions


class MongoErasures:
    """The unfinished erasures."""

    def __init__(self, db: MongoDatabase, sessions: MongoSessions) -> None:
        self._db = db
        self._sessions = sessions

    async def begin(self, erasure: Erasure) -> None:
        """See `ErasureStore.begin`."""
        async with errors():
            await self._db.database["erasures"].insert_one(erasure_document(erasure))

    async def pending(self, *, after: Erasure | None = None) -> list[Erasure]:
        """See `ErasureStore.pending`."""
        query: dict[str, Any] = {}
        if after is not None:
            at_us = microseconds(after.at)
            query["$or"] = [{"at_us": {"$gt": at_us}}, {"at_us": at_us, "_id": {"$gt": after.id}}]
        async with errors():
            found = self._db.database["erasures"].find(query).sort([("at_us", 1), ("_id", 1)]).limit(ERASED_AT_ONCE)
            documents = await found.to_list(ERASED_AT_ONCE)
        return [
            Erasure(
                id=document["_id"],
                client_id=document["client_id"],
                at=moment(document["at_us"]),
                session_id=document["session_id"],
                message=None if document["message"] is None else MessageId.parse(document["message"]),
                keys=tuple(document["keys"]),
            )
            for document in documents
        ]

    async def end(self, erasure: Erasure) -> None:
        """See `ErasureStore.end`."""
        client_id, at_us = erasure.client_id, microseconds(erasure.at)
        async with errors():
            if erasure.session_id is None and erasure.message is None:
                hidden = {"started_us": None, "deleted_us": {"$lte": at_us}}
                await self._db.sessions.delete_many({"client_id": client_id, **hidden})
                left = await self._db.exchanges.distinct("session_id", {"client_id": client_id, "messages": {"$gt": 0}})
                await self._sessions.revive(client_id, left)
            await self._db.database["erasures"].delete_one({"_id": erasure.id, "client_id": client_id})


def erasure_document(erasure: Erasure) -> Document:
    """Return an erasure as it is written down."""
    return {
        "_id": erasure.id,
        "client_id": erasure.client_id,
        "at_us": microseconds(erasure.at),
        "session_id": erasure.session_id,
        "message": None if erasure.message is None else str(erasure.message),
        "keys": list(erasure.keys),
    }
