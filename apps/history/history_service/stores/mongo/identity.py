"""The identity of the database in MongoDB.

A copy of the data has the same id but is another collection. The server gives each collection a UUID, which is stored
beside the id.
"""

from typing import Any, Final
from uuid import UUID, uuid4

from pymongo.errors import CollectionInvalid, OperationFailure

from history_service.stores.base import STAMPS, Identity, StoreUnusable
from history_service.stores.mongo.database import MongoDatabase, errors

ONE: Final = {"_id": "database"}
COLLECTION: Final = "identity"
NAMESPACE_EXISTS: Final = 48


class MongoIdentity:
    """The identity of the database."""

    def __init__(self, db: MongoDatabase) -> None:
        self._db = db

    async def make(self) -> None:
        """Give the database an identity if it has none."""
        async with errors():
            await _make(self._db.database)
            fresh = await self._fresh()
            await self._db.database[COLLECTION].update_one(ONE, {"$setOnInsert": fresh}, upsert=True)

    async def read(self) -> Identity:
        """See `IdentityStore.read`."""
        async with errors():
            found = await self._db.database[COLLECTION].find_one(ONE)
            place = await self._place()
        if found is None:
            raise StoreUnusable("the database has lost its identity; a pod that starts gives it another")
        return Identity(found["id"], tuple(found["stamps"]), is_copy=found["place"] != place)

    async def add_stamp(self, stamp: UUID) -> None:
        """See `IdentityStore.add_stamp`."""
        async with errors():
            await self._db.database[COLLECTION].update_one(
                ONE, {"$push": {"stamps": {"$each": [stamp], "$slice": -STAMPS}}}
            )

    async def renew(self) -> None:
        """See `IdentityStore.renew`."""
        async with errors():
            await self._db.database[COLLECTION].replace_one(ONE, await self._fresh(), upsert=True)

    async def _fresh(self) -> dict[str, Any]:
        return {"id": uuid4(), "place": await self._place(), "stamps": list[UUID]()}

    async def _place(self) -> str:
        """Return what distinguishes this database from its copies: the UUID, or the name if the server has none."""
        found = await self._db.database.list_collections(filter={"name": COLLECTION})
        about = await found.to_list(1)
        given = about[0]["info"].get("uuid", b"") if about else b""
        return f"{self._db.database.name}/{given if isinstance(given, UUID) else given.hex()}"


async def _make(database: Any) -> None:  # noqa: ANN401 - a database of the driver
    """Create the collection, which gives it a UUID. Another pod may be first."""
    try:
        await database.create_collection(COLLECTION, check_exists=False)
    except CollectionInvalid:
        return
    except OperationFailure as exc:
        if exc.code != NAMESPACE_EXISTS:
            raise
