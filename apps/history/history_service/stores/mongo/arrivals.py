"""The order in which exchanges arrive in MongoDB. Followers read by it (ADR 0011).

The session's document holds the position of its last exchange. A transaction raises it and inserts the exchanges with
the new positions. Two transactions cannot raise it at the same time, so a position becomes visible only after all lower
ones: a reader at a position never misses a later exchange at or below it.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from history_service.model import Session, StoredExchange
from history_service.stores.mongo.answers import Choice, choose, make_room, stored_answers
from history_service.stores.mongo.database import DUPLICATE_KEY, Document, MongoDatabase, TransactionConflict, errors
from history_service.stores.mongo.documents import exchange_document, read_exchange

BY_ARRIVAL: Final = "by_arrival"
ADOPTED_AT_ONCE: Final = 1000


class ArrivalOrder:
    """Inserts exchanges in the order of their arrival, and reads them in it."""

    def __init__(self, db: MongoDatabase) -> None:
        self._db = db

    async def read(self, session: Session, *, after: int, limit: int) -> list[tuple[int, StoredExchange]]:
        """See `ExchangeStore.arrivals`."""
        await self._adopt(session)
        query = {**_of(session), "position": {"$gt": after}, "messages": {"$gt": 0}}
        async with errors():
            found = self._db.exchanges.find(query, hint=BY_ARRIVAL).sort("position", 1).limit(limit)
            return [(document["position"], read_exchange(document)) for document in await found.to_list(limit)]

    async def last(self, session: Session) -> int:
        """See `ExchangeStore.last_arrival`."""
        await self._adopt(session)
        async with errors():
            document = await self._db.sessions.find_one({"_id": session.id, "client_id": session.client_id})
        return int((document or {}).get("last_position", 0))

    async def insert(self, exchanges: Sequence[StoredExchange]) -> Choice:
        """Insert exchanges with new ids, one for each message id, and return the results."""
        clients = sorted({exchange.client_id for exchange in exchanges})
        ids = list({exchange.id for exchange in exchanges})
        in_the_way: set[UUID] = set()  # stored where the query does not look, such as under another client

        async def insert(transaction: Any) -> Choice:  # noqa: ANN401 - a session of the driver
            query = {"client_id": {"$in": clients}, "_id": {"$in": ids}}
            found = self._db.exchanges.find(query, ["_id"], hint="_id_", session=transaction)
            known = in_the_way | {document["_id"] for document in await found.to_list(None)}
            choice = choose(exchanges, known, await stored_answers(self._db, exchanges, transaction))
            await make_room(self._db, choice, transaction)
            fresh = [exchange_document(exchange) for exchange in choice.fresh.values()]
            if fresh:
                await self._number(fresh, transaction)
                try:
                    await self._db.exchanges.insert_many(fresh, session=transaction)
                except BulkWriteError as exc:
                    doubles = [each for each in exc.details["writeErrors"] if each["code"] == DUPLICATE_KEY]
                    if not doubles:
                        raise
                    # The next attempt sees another answer that was inserted meanwhile.
                    in_the_way.update(
                        fresh[each["index"]]["_id"] for each in doubles if "message_id" not in each["keyPattern"]
                    )
                    raise TransactionConflict from exc
            return choice

        return await self._db.in_transaction(insert)

    async def _number(self, documents: Sequence[Document], transaction: Any) -> None:  # noqa: ANN401
        """Assign the next positions of their sessions to exchanges, in order.

        The first position of a session is the time in microseconds, so a session that is erased and used again starts
        above all positions that followers have read.
        """
        by_session: dict[tuple[str, UUID], list[Document]] = defaultdict(list)
        for document in documents:
            by_session[document["client_id"], document["session_id"]].append(document)
        now_us = time.time_ns() // 1000
        await self._db.sessions.bulk_write(
            [
                UpdateOne(
                    {"_id": session_id, "client_id": client_id},
                    [{"$set": {"last_position": {"$add": [{"$ifNull": ["$last_position", now_us]}, len(theirs)]}}}],
                    upsert=True,
                )
                for (client_id, session_id), theirs in sorted(by_session.items())  # sorted, for fewer conflicts
            ],
            session=transaction,
        )
        query = {
            "client_id": {"$in": sorted({client_id for client_id, _ in by_session})},
            "_id": {"$in": [session_id for _, session_id in by_session]},
        }
        found = self._db.sessions.find(query, ["client_id", "last_position"], hint="_id_", session=transaction)
        for session in await found.to_list(None):
            theirs = by_session[session["client_id"], session["_id"]]
            for position, document in enumerate(theirs, session["last_position"] - len(theirs) + 1):
                document["position"] = position

    async def _adopt(self, session: Session) -> None:
        """Assign positions to exchanges that an older version inserted without one."""
        query = {**_of(session), "position": None}

        async def adopt(transaction: Any) -> bool:  # noqa: ANN401
            found = self._db.exchanges.find(query, ["client_id", "session_id"], session=transaction)
            documents = await found.sort("_id", 1).limit(ADOPTED_AT_ONCE).to_list(ADOPTED_AT_ONCE)
            if documents:
                await self._number(documents, transaction)
                await self._db.exchanges.bulk_write(
                    [
                        UpdateOne(
                            {"_id": document["_id"], "client_id": document["client_id"]},
                            {"$set": {"position": document["position"]}},
                        )
                        for document in documents
                    ],
                    session=transaction,
                )
            return len(documents) == ADOPTED_AT_ONCE

        async with errors():
            left = await self._db.exchanges.find_one(query, ["_id"], hint=BY_ARRIVAL) is not None
        while left:
            left = await self._db.in_transaction(adopt)


def _of(session: Session) -> Document:
    return {"client_id": session.client_id, "session_id": session.id}
