"""Messages in MongoDB. The only file that knows which driver that takes, see ADR 0004.

One document per exchange, `_id` the exchange id, so that handing one in again is a duplicate key and nothing else.
Times are microseconds, as they came over the wire.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import DESCENDING, IndexModel, WriteConcern
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from history_service.records import KeptExchange, Session
from history_service.stores.base import (
    Added,
    SessionKey,
    SessionTaken,
    StoreUnavailable,
    StoreUnusable,
    foreign_session,
    microseconds,
    moment,
    read_outcome,
    read_side,
    side_document,
)

SCHEMA_VERSION: Final = 1
DUPLICATE_KEY: Final = 11000
INDEXES: Final[Mapping[str, Sequence[IndexModel]]] = {
    "sessions": [
        IndexModel([("client_id", 1), ("started_us", DESCENDING), ("_id", DESCENDING)], name="of_client"),
    ],
    "exchanges": [
        IndexModel([("client_id", 1), ("session_id", 1), ("_id", 1), ("answered_us", 1)], name="of_session"),
    ],
}


def check_url(url: str) -> None:
    """Pass when this can be the address of a MongoDB; what `mongodb+srv` leads to is known to the DNS only.

    Raises:
        ValueError: it cannot; the message shows nothing of the address, which may hold a password.
    """
    if url.startswith("mongodb+srv://"):
        return
    if not url.startswith("mongodb://"):
        raise ValueError("must begin with mongodb:// or mongodb+srv://")
    try:
        parse_uri(url)
    except (PyMongoError, ValueError):
        raise ValueError(
            "must be mongodb://host:port/?option=value; user name and password percent-encoded, options known ones"
        ) from None


class MongoStore:
    """The message store in a MongoDB database.

    Args:
        url: how to reach it, `mongodb://` or `mongodb+srv://`, with credentials and TLS as it says.
        database: the name of the database.
        wait_seconds: how long to look for a server, or to wait for an answer.
    """

    def __init__(self, url: str, database: str, *, wait_seconds: float = 5.0) -> None:
        wait_ms = int(wait_seconds * 1000)
        self._client: Any = AsyncIOMotorClient(
            url,
            serverSelectionTimeoutMS=wait_ms,
            connectTimeoutMS=wait_ms,
            socketTimeoutMS=4 * wait_ms,
            timeoutMS=4 * wait_ms,
            appname="chatbot-history",
        )
        options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
        self._database: Any = self._client.get_database(
            database,
            codec_options=options,
            write_concern=WriteConcern("majority"),
            read_concern=ReadConcern("majority"),
        )
        self._sessions: AsyncIOMotorCollection[dict[str, Any]] = self._database["sessions"]
        self._exchanges: AsyncIOMotorCollection[dict[str, Any]] = self._database["exchanges"]

    async def prepare(self) -> None:
        """See `MessageStore.prepare`."""
        async with _errors():
            schema = await self._database["schema"].find_one_and_update(
                {"_id": "version"}, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True, return_document=True
            )
            if schema["version"] > SCHEMA_VERSION:
                raise StoreUnusable(
                    f"the database was written by a newer version (schema {schema['version']};"
                    f" this one knows {SCHEMA_VERSION})"
                )
            for collection, indexes in INDEXES.items():
                await self._database[collection].create_indexes(list(indexes))

    async def close(self) -> None:
        """See `MessageStore.close`."""
        self._client.close()

    async def bind_session(self, session_id: UUID, *, client_id: str, time_zone: str, started_at: datetime) -> UUID:
        """See `MessageStore.bind_session`."""
        for candidate in (session_id, foreign_session(session_id, client_id)):
            fresh = {
                "client_id": client_id,
                "time_zone": time_zone,
                "started_us": microseconds(started_at),
                "title": None,
            }
            async with _errors():
                try:
                    await self._sessions.update_one(
                        {"_id": candidate, "client_id": client_id}, {"$setOnInsert": fresh}, upsert=True
                    )
                except DuplicateKeyError:
                    continue  # the id is another client's
            return candidate
        raise SessionTaken("the session has the id of a session of another client, and so has its other id")

    async def add(self, exchanges: Sequence[KeptExchange]) -> list[Added]:
        """See `MessageStore.add`."""
        outcomes = [Added.STORED] * len(exchanges)
        async with _errors():
            try:
                await self._exchanges.insert_many([_document(exchange) for exchange in exchanges], ordered=False)
            except BulkWriteError as failed:
                details = failed.details
                if details["writeConcernErrors"]:
                    raise StoreUnavailable("the write was not confirmed by a majority") from failed
                for error in details["writeErrors"]:
                    if error["code"] != DUPLICATE_KEY:
                        raise StoreUnavailable(f"the store refused a write (code {error['code']})") from failed
                    outcomes[error["index"]] = Added.DUPLICATE
        return outcomes

    async def exchange(self, exchange_id: UUID) -> KeptExchange | None:
        """See `MessageStore.exchange`."""
        async with _errors():
            document = await self._exchanges.find_one({"_id": exchange_id})
        return _exchange(document) if document else None

    async def exchanges(
        self, session: Session, *, start: UUID | None, backward: bool, limit: int
    ) -> list[KeptExchange]:
        """See `MessageStore.exchanges`."""
        query: dict[str, Any] = {"client_id": session.client_id, "session_id": session.id}
        if start is not None:
            query["_id"] = {"$lte" if backward else "$gte": start}
        async with _errors():
            found = self._exchanges.find(query).sort("_id", -1 if backward else 1).limit(limit)
            return [_exchange(document) for document in await found.to_list(limit)]

    async def session(self, session_id: UUID) -> Session | None:
        """See `MessageStore.session`."""
        async with _errors():
            document = await self._sessions.find_one({"_id": session_id})
        if document is None:
            return None
        (session,) = await self._with_counts(document["client_id"], [document])
        return session

    async def sessions(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """See `MessageStore.sessions`."""
        query: dict[str, Any] = {"client_id": client_id}
        if after is not None:
            started_us = microseconds(after.started_at)
            query["$or"] = [{"started_us": {"$lt": started_us}}, {"started_us": started_us, "_id": {"$lt": after.id}}]
        async with _errors():
            found = self._sessions.find(query).sort([("started_us", DESCENDING), ("_id", DESCENDING)]).limit(limit)
            documents = await found.to_list(limit)
        return await self._with_counts(client_id, documents)

    async def _with_counts(self, client_id: str, documents: Sequence[dict[str, Any]]) -> list[Session]:
        """Derive count and last message of sessions from their exchanges, by the index alone."""
        ids = [document["_id"] for document in documents]
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"client_id": client_id, "session_id": {"$in": ids}}},
            {"$group": {"_id": "$session_id", "count": {"$sum": 1}, "last_us": {"$max": "$answered_us"}}},
        ]
        async with _errors():
            counted = await self._exchanges.aggregate(pipeline, hint="of_session").to_list(len(ids))
        counts = {row["_id"]: row for row in counted}
        return [_session(document, counts.get(document["_id"])) for document in documents]


@asynccontextmanager
async def _errors() -> AsyncIterator[None]:
    """Turn foreign exceptions into ours; the only place that does."""
    try:
        yield
    except (AutoReconnect, ExecutionTimeout, WTimeoutError) as error:
        raise StoreUnavailable(f"MongoDB cannot be reached: {_brief(error)}") from error
    except OperationFailure as error:
        if error.timeout or error.has_error_label("RetryableWriteError"):
            raise StoreUnavailable(f"MongoDB cannot answer now: {_brief(error)}") from error
        raise StoreUnusable(f"MongoDB refused: {_brief(error)}") from error
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB cannot be used now: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    return str(error)[:200]


def _document(exchange: KeptExchange) -> dict[str, Any]:
    return {
        "_id": exchange.id,
        "client_id": exchange.client_id,
        "session_id": exchange.session_id,
        "time_zone": exchange.time_zone,
        "received_us": microseconds(exchange.received_at),
        "answered_us": microseconds(exchange.answered_at),
        "outcome": exchange.outcome.value,
        "request": side_document(exchange.request),
        "reply": side_document(exchange.reply),
    }


def _exchange(document: dict[str, Any]) -> KeptExchange:
    return KeptExchange(
        id=document["_id"],
        client_id=document["client_id"],
        session_id=document["session_id"],
        time_zone=document["time_zone"],
        received_at=moment(document["received_us"]),
        answered_at=moment(document["answered_us"]),
        outcome=read_outcome(document["outcome"]),
        request=read_side(document["request"]),
        reply=read_side(document["reply"]),
    )


def _session(document: dict[str, Any], counted: dict[str, Any] | None) -> Session:
    return Session(
        id=document["_id"],
        client_id=document["client_id"],
        time_zone=document["time_zone"],
        started_at=moment(document["started_us"]),
        title=document["title"],
        message_count=2 * counted["count"] if counted else 0,
        last_message_at=moment(counted["last_us"]) if counted else None,
    )
