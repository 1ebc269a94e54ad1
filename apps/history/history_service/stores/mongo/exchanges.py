"""Exchanges in MongoDB."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from frameproto.history import Direction, InsertResult
from history_service.model import Message, MessageId, Session, StoredExchange
from history_service.stores.encoding import microseconds
from history_service.stores.mongo.answers import BY_MESSAGE_ID
from history_service.stores.mongo.arrivals import ArrivalOrder
from history_service.stores.mongo.database import MongoDatabase, errors
from history_service.stores.mongo.documents import MARKS, marked, read_exchange
from history_service.stores.mongo.sessions import MongoSessions


class MongoExchanges:
    """The exchanges of the store."""

    def __init__(self, db: MongoDatabase, sessions: MongoSessions) -> None:
        self._db = db
        self._sessions = sessions
        self._order = ArrivalOrder(db)

    async def add(self, exchanges: Sequence[StoredExchange]) -> list[InsertResult]:
        """See `ExchangeStore.add`.

        Erasures are checked after the exchanges are written, and an erasure is recorded before it deletes. So the later
        of the two sees what the other did.
        """
        if not exchanges:
            return []
        choice = await self._order.insert(exchanges)
        inserted = set(choice.fresh)
        late = await self._reject_late(exchanges)
        outcomes: list[InsertResult] = []
        for exchange in exchanges:
            if exchange.id in late:
                outcomes.append(InsertResult.ERASED)
            elif exchange.id in choice.superseded:
                outcomes.append(InsertResult.SUPERSEDED)
            else:
                outcomes.append(InsertResult.STORED if exchange.id in inserted else InsertResult.DUPLICATE)
                inserted.discard(exchange.id)  # a second one in the same call is a duplicate
        return outcomes

    async def _reject_late(self, exchanges: Sequence[StoredExchange]) -> set[UUID]:
        """Delete exchanges that came too late, and ensure that the others have sessions. Return the late ones."""
        by_session: dict[tuple[str, UUID], list[StoredExchange]] = defaultdict(list)
        for exchange in exchanges:
            by_session[exchange.client_id, exchange.session_id].append(exchange)
        ends, begun, erased = await self._sessions.ends(by_session)
        late: dict[str, list[StoredExchange]] = defaultdict(list)
        homeless: dict[str, list[UUID]] = defaultdict(list)
        for (client_id, session_id), theirs in by_session.items():
            end = ends.get((client_id, session_id))
            before = [] if end is None else [one for one in theirs if microseconds(one.received_at) <= end]
            if before:
                late[client_id] += before
            if len(before) < len(theirs) and (client_id, session_id) not in begun:
                homeless[client_id].append(session_id)
        for client_id, theirs in late.items():
            await self._undo(client_id, theirs, erased.get(client_id))
        for client_id, session_ids in homeless.items():
            await self._sessions.revive(client_id, session_ids)
        return {exchange.id for theirs in late.values() for exchange in theirs}

    async def _undo(self, client_id: str, exchanges: Sequence[StoredExchange], erased_us: int | None) -> None:
        """Delete exchanges that came too late, and sessions that were made for them while their client was erased."""
        ids = [exchange.id for exchange in exchanges]
        sessions = {exchange.session_id for exchange in exchanges}
        async with errors():
            await self._db.exchanges.delete_many({"client_id": client_id, "_id": {"$in": ids}})
            if erased_us is None:
                return
            made = {"$or": [{"started_us": {"$lte": erased_us}}, {"started_us": None, "deleted_us": None}]}
            await self._db.sessions.delete_many({"client_id": client_id, "_id": {"$in": list(sessions)}, **made})
        await self._sessions.revive(client_id, sessions)

    async def find(self, exchange_id: UUID, *, client_id: str | None) -> StoredExchange | None:
        """See `ExchangeStore.find`."""
        query: dict[str, Any] = {"_id": exchange_id, "messages": {"$gt": 0}}
        if client_id is not None:
            query["client_id"] = client_id
        async with errors():
            document = await self._db.exchanges.find_one(query)
        return read_exchange(document) if document else None

    async def find_answer(self, client_id: str, message_id: UUID) -> StoredExchange | None:
        """See `ExchangeStore.find_answer`."""
        async with errors():
            document = await self._db.exchanges.find_one(
                {"client_id": client_id, "message_id": message_id}, hint=BY_MESSAGE_ID
            )
        return read_exchange(document) if document else None

    async def claim(self, exchange: StoredExchange, *, rank: int) -> bool:
        """See `ExchangeStore.claim`."""
        query = {"_id": exchange.id, "client_id": exchange.client_id, "reply": {"$ne": None}}
        async with errors():
            done = await self._db.exchanges.update_one(query, {"$max": {"rank": rank}})
        return bool(done.matched_count)

    async def page(self, session: Session, *, start: UUID | None, backward: bool, limit: int) -> list[StoredExchange]:
        """See `ExchangeStore.page`."""
        query: dict[str, Any] = {"client_id": session.client_id, "session_id": session.id, "messages": {"$gt": 0}}
        if start is not None:
            query["_id"] = {"$lte" if backward else "$gte": start}
        async with errors():
            # With another index, such as that of ids, the time would depend on the size of other sessions.
            found = self._db.exchanges.find(query, hint="in_order").sort("_id", -1 if backward else 1).limit(limit)
            return [read_exchange(document) for document in await found.to_list(limit)]

    async def arrivals(self, session: Session, *, after: int, limit: int) -> list[tuple[int, StoredExchange]]:
        """See `ExchangeStore.arrivals`."""
        return await self._order.read(session, after=after, limit=limit)

    async def last_arrival(self, session: Session) -> int:
        """See `ExchangeStore.last_arrival`."""
        return await self._order.last(session)

    async def search(
        self, client_id: str, words: Sequence[str], *, before: MessageId | None, limit: int
    ) -> list[Message]:
        """See `ExchangeStore.search`."""
        query: dict[str, Any] = {
            "client_id": client_id,
            "$or": [{"words": {"$all": marked(direction, words)}} for direction in Direction],
        }
        if before is not None:
            query["_id"] = {"$lte": before.exchange_id}
        async with errors():
            # One more, because the previous page may have included a message of the first one.
            found = self._db.exchanges.find(query).sort("_id", -1).limit(limit + 1)
            documents = await found.to_list(limit + 1)
        matches = [message for document in documents for message in _matches(document, words)]
        return [message for message in matches if before is None or message.id.key < before.key][:limit]

    async def media_keys(self, client_id: str, exchange_ids: Collection[UUID]) -> set[str]:
        """See `ExchangeStore.media_keys`."""
        query = {"client_id": client_id, "_id": {"$in": list(exchange_ids)}}
        async with errors():
            found = self._db.exchanges.find(query, [f"{side.value}.media.key" for side in Direction])
            documents = await found.to_list(None)
        sides = [document.get(side.value) or {} for document in documents for side in Direction]
        return {media["key"] for side in sides for media in side.get("media", ())}


def _matches(document: Mapping[str, Any], words: Sequence[str]) -> list[Message]:
    """Return the messages of an exchange that hold all words, the reply first."""
    there = set(document["words"])
    messages = read_exchange(dict(document)).messages()
    matching = [each for each in messages if there.issuperset(MARKS[each.id.direction] + word for word in words)]
    return matching[::-1]
