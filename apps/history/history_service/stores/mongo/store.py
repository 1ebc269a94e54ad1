"""The message store in MongoDB.

One document per exchange. `_id` is the exchange id, so a second delivery is just a duplicate key. Times are
microseconds, as on the wire. Every query names the client, which is the sharding key, if it is known; docs/scaling.md
lists the others.
"""

from history_service.stores.mongo.database import MongoDatabase, check_url
from history_service.stores.mongo.deletions import MongoDeletions
from history_service.stores.mongo.drivers import MongoDriver
from history_service.stores.mongo.erasures import MongoErasures
from history_service.stores.mongo.exchanges import MongoExchanges
from history_service.stores.mongo.identity import MongoIdentity
from history_service.stores.mongo.sessions import MongoSessions
from history_service.stores.mongo.uploads import MongoUploads

__all__ = ["MongoStore", "check_url"]


class MongoStore:
    """The message store in a MongoDB database.

    Args:
        url: how to reach it, `mongodb://` or `mongodb+srv://`, with credentials and TLS as it says.
        database: the name of the database.
        wait_seconds: how long to look for a server, or to wait for an answer.
        driver: Motor, or PyMongo's own asynchronous client.
    """

    def __init__(self, url: str, database: str, *, wait_seconds: float = 5.0, driver: MongoDriver = "motor") -> None:
        self._db = db = MongoDatabase(url, database, wait_seconds=wait_seconds, driver=driver)
        self.sessions = MongoSessions(db)
        self.exchanges = MongoExchanges(db, self.sessions)
        self.deletions = MongoDeletions(db, self.sessions)
        self.erasures = MongoErasures(db, self.sessions)
        self.uploads = MongoUploads(db, self.sessions)
        self.identity = MongoIdentity(db)

    async def prepare(self) -> None:
        """See `MessageStore.prepare`."""
        await self._db.prepare()
        await self.identity.make()

    async def close(self) -> None:
        """See `MessageStore.close`."""
        await self._db.close()
