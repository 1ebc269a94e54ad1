"""A MongoDB database, its transactions, and its errors as ours."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from history_service.stores.base import StoreUnavailable, StoreUnusable
from history_service.stores.mongo.drivers import MongoDriver, open_client, settled
from history_service.stores.mongo.schema import bring_up_to_date
from servicekit.tasks import FullJitterBackoff

Document = dict[str, Any]

T = TypeVar("T")

DUPLICATE_KEY: Final = 11000
TRANSACTION_RETRIES: Final = FullJitterBackoff(first_seconds=0.005, longest_seconds=0.1)
NO_REPLICA_SET: Final = "MongoDB runs without a replica set (--replSet), and history needs one for its transactions"


class TransactionConflict(Exception):
    """A conflicting transaction: try again."""


def check_url(url: str) -> None:
    """Check the address of a MongoDB. The hosts behind `mongodb+srv` are not looked up.

    Raises:
        ValueError: it is invalid. The message shows no part of the address, which may hold a password.
    """
    if url.startswith("mongodb+srv://"):
        return
    if not url.startswith("mongodb://"):
        raise ValueError("must begin with mongodb:// or mongodb+srv://")
    try:
        parse_uri(url)
    except OSError as exc:
        raise ValueError(f"names a file for TLS that cannot be used: {exc.strerror or exc}") from None
    except (PyMongoError, ValueError):
        raise ValueError(
            "must be mongodb://host:port/?option=value; user name and password percent-encoded, options known ones"
        ) from None


class MongoDatabase:
    """The collections of the store, and transactions over them.

    Args:
        url: how to reach the server.
        name: the name of the database.
        wait_seconds: how long to look for a server.
        driver: which driver to use.
    """

    def __init__(self, url: str, name: str, *, wait_seconds: float, driver: MongoDriver) -> None:
        wait_ms = int(wait_seconds * 1000)
        self._transaction_seconds = 4 * wait_seconds
        self._client: Any = open_client(
            driver,
            url,
            serverSelectionTimeoutMS=wait_ms,
            connectTimeoutMS=wait_ms,
            socketTimeoutMS=4 * wait_ms,
            timeoutMS=4 * wait_ms,
            appname="chatbot-history",
        )
        options: CodecOptions[Document] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
        self.database: Any = self._client.get_database(
            name,
            codec_options=options,
            write_concern=WriteConcern("majority"),
            read_concern=ReadConcern("majority"),
        )
        self.sessions: Any = self.database["sessions"]
        self.exchanges: Any = self.database["exchanges"]
        self.erased: Any = self.database["erased"]

    async def prepare(self) -> None:
        """Create indexes, and migrate older data. Raises StoreUnusable."""
        async with errors():
            hello = await self._client.admin.command("hello")
            if "setName" not in hello and hello.get("msg") != "isdbgrid":
                raise StoreUnusable(NO_REPLICA_SET)
            await bring_up_to_date(self.database)

    async def close(self) -> None:
        """Close all connections."""
        await settled(self._client.close())

    async def in_transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run work in a transaction. It is repeated after conflicts."""
        failures = 0
        deadline = time.monotonic() + self._transaction_seconds
        while True:
            try:
                async with errors():
                    return await self._try_transaction(work)
            except TransactionConflict as exc:
                if time.monotonic() > deadline:
                    raise StoreUnavailable("MongoDB did not get through with a transaction in time") from exc
            failures += 1
            await asyncio.sleep(TRANSACTION_RETRIES.pause_seconds(failures))

    async def _try_transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        try:
            async with await settled(self._client.start_session()) as session:
                transaction = session.start_transaction(
                    read_concern=ReadConcern("snapshot"),
                    write_concern=WriteConcern("majority"),
                    read_preference=ReadPreference.PRIMARY,
                )
                async with await settled(transaction):
                    return await work(session)
        except PyMongoError as exc:
            away = isinstance(exc, ServerSelectionTimeoutError)
            if exc.has_error_label("TransientTransactionError") and not away:
                raise TransactionConflict from exc
            raise


async def insert_new(collection: Any, documents: Sequence[Document]) -> set[int]:  # noqa: ANN401 - of the driver
    """Insert documents, and return the indexes of those whose id exists already."""
    try:
        await collection.insert_many(documents, ordered=False)
    except BulkWriteError as exc:
        details = exc.details
        if details["writeConcernErrors"]:
            raise StoreUnavailable("the write was not confirmed by a majority") from exc
        for error in details["writeErrors"]:
            if error["code"] != DUPLICATE_KEY:
                raise StoreUnavailable(f"MongoDB did not take a document (error {error['code']})") from exc
        return {error["index"] for error in details["writeErrors"]}
    return set()


@asynccontextmanager
async def errors() -> AsyncIterator[None]:
    """Translate exceptions of the driver into ours. Only done here."""
    try:
        yield
    except (AutoReconnect, ExecutionTimeout, WTimeoutError) as exc:
        raise StoreUnavailable(f"MongoDB cannot be reached: {_brief(exc)}") from exc
    except OperationFailure as exc:
        if exc.timeout or exc.has_error_label("RetryableWriteError"):
            raise StoreUnavailable(f"MongoDB cannot answer now: {_brief(exc)}") from exc
        raise StoreUnusable(f"MongoDB refused: {_brief(exc)}") from exc
    except PyMongoError as exc:
        raise StoreUnavailable(f"MongoDB cannot be used now: {_brief(exc)}") from exc


def _brief(error: Exception) -> str:
    return str(error)[:200]
