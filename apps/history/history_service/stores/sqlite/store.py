"""The message store in an SQLite file."""

from pathlib import Path

from history_service.stores.sqlite.database import SqliteDatabase
from history_service.stores.sqlite.deletions import SqliteDeletions
from history_service.stores.sqlite.erasures import SqliteErasures
from history_service.stores.sqlite.exchanges import SqliteExchanges
from history_service.stores.sqlite.identity import SqliteIdentity
from history_service.stores.sqlite.sessions import SqliteSessions
from history_service.stores.sqlite.uploads import SqliteUploads


class SqliteStore:
    """The message store in one file: one connection writes, another reads.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._db = db = SqliteDatabase(path)
        self.sessions = SqliteSessions(db)
        self.exchanges = SqliteExchanges(db)
        self.deletions = SqliteDeletions(db)
        self.erasures = SqliteErasures(db)
        self.uploads = SqliteUploads(db)
        self.identity = SqliteIdentity(db)

    async def prepare(self) -> None:
        """See `MessageStore.prepare`."""
        await self._db.prepare()
        await self.identity.make()

    async def close(self) -> None:
        """See `MessageStore.close`."""
        await self._db.close()
