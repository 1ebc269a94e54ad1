"""Recorded uploads in MongoDB. A TTL index removes a record without an end after a week."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pymongo import UpdateOne

from history_service.stores.base import PendingUpload
from history_service.stores.encoding import microseconds, moment
from history_service.stores.mongo.database import MongoDatabase, errors
from history_service.stores.mongo.drivers import settled
from history_service.stores.mongo.sessions import MongoSessions


class MongoUploads:
    """The unfinished uploads."""

    def __init__(self, db: MongoDatabase, sessions: MongoSessions) -> None:
        self._db = db
        self._sessions = sessions

    async def begin(self, uploads: Sequence[PendingUpload]) -> set[UUID]:
        """See `UploadStore.begin`."""
        if not uploads:
            return set()
        clients = sorted({each.client_id for each in uploads})
        ids = [each.exchange_id for each in uploads]
        async with errors():
            await self._db.database["uploads"].bulk_write([_note(each) for each in uploads], ordered=False)
            found = self._db.exchanges.find({"client_id": {"$in": clients}, "_id": {"$in": ids}}, ["_id"], hint="_id_")
            settled: set[UUID] = {document["_id"] for document in await found.to_list(None)}
        ends, _, _ = await self._sessions.ends({(each.client_id, each.session_id) for each in uploads})
        for each in uploads:
            end = ends.get((each.client_id, each.session_id))
            if end is not None and microseconds(each.received_at) <= end:
                settled.add(each.exchange_id)
        return settled

    async def of_client(self, client_id: str) -> list[PendingUpload]:
        """See `UploadStore.of_client`. The age is by the clock of the server, which wrote the start."""
        age = {"$subtract": ["$$NOW", "$since"]}
        pipeline: list[dict[str, Any]] = [{"$match": {"client_id": client_id}}, {"$addFields": {"age_ms": age}}]
        async with errors():
            cursor = await settled(self._db.database["uploads"].aggregate(pipeline))
            found = await cursor.to_list(None)
        return [
            PendingUpload(
                id=document["_id"],
                client_id=document["client_id"],
                session_id=document["session_id"],
                exchange_id=document["exchange_id"],
                received_at=moment(document["received_us"]),
                keys=tuple(document["keys"]),
                active=document["active"],
                age_seconds=document["age_ms"] / 1000,
            )
            for document in found
        ]

    async def end(self, uploads: Sequence[PendingUpload], *, failed: bool) -> None:
        """See `UploadStore.end`."""
        clients = {"client_id": {"$in": sorted({each.client_id for each in uploads})}}
        ours: dict[str, Any] = {"_id": {"$in": [each.id for each in uploads]}}
        earlier = {"exchange_id": {"$in": [each.exchange_id for each in uploads]}, "active": False}
        async with errors():
            await self._db.database["uploads"].delete_many({**clients, "$or": [earlier] if failed else [earlier, ours]})
            if failed:
                await self._db.database["uploads"].update_many({**clients, **ours}, {"$set": {"active": False}})


def _note(upload: PendingUpload) -> UpdateOne:
    note = {
        "session_id": upload.session_id,
        "exchange_id": upload.exchange_id,
        "received_us": microseconds(upload.received_at),
        "keys": list(upload.keys),
        "active": True,
    }
    which = {"_id": upload.id, "client_id": upload.client_id}
    return UpdateOne(which, {"$setOnInsert": note, "$currentDate": {"since": True}}, upsert=True)
