"""The identity of the database in SQLite.

A copy of the file has the same id. The path distinguishes the two, as long as both exist.
"""

import asyncio
import json
from pathlib import Path
from uuid import UUID, uuid4

from history_service.stores.base import STAMPS, Identity, StoreUnusable
from history_service.stores.sqlite.database import SqliteDatabase


class SqliteIdentity:
    """The identity of the database."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def make(self) -> None:
        """Create an identity if there is none. If the old path is empty, the file was moved, and is the same."""
        async with self._db.transaction() as writer:
            rows = list(await writer.execute_fetchall("SELECT place FROM identity"))
            if not rows:
                await writer.execute("INSERT INTO identity (id, place, stamps) VALUES (?, ?, '[]')", self._fresh())
            elif not await asyncio.to_thread(_is_there, Path(rows[0][0])):
                await writer.execute("UPDATE identity SET place = ?", (self._place(),))

    async def read(self) -> Identity:
        """See `IdentityStore.read`."""
        rows = await self._db.read("SELECT id, place, stamps FROM identity", ())
        if not rows:
            raise StoreUnusable("the database has lost its identity; starting again gives it another")
        id_, place, stamps = rows[0]
        known = tuple(UUID(stamp) for stamp in json.loads(stamps))
        return Identity(UUID(bytes=id_), known, is_copy=place != self._place())

    async def add_stamp(self, stamp: UUID) -> None:
        """See `IdentityStore.add_stamp`."""
        async with self._db.transaction() as writer:
            rows = list(await writer.execute_fetchall("SELECT stamps FROM identity"))
            stamps = [*json.loads(rows[0][0]), str(stamp)][-STAMPS:] if rows else [str(stamp)]
            await writer.execute("UPDATE identity SET stamps = ?", (json.dumps(stamps),))

    async def renew(self) -> None:
        """See `IdentityStore.renew`."""
        async with self._db.transaction() as writer:
            await writer.execute("DELETE FROM identity")
            await writer.execute("INSERT INTO identity (id, place, stamps) VALUES (?, ?, '[]')", self._fresh())

    def _fresh(self) -> tuple[bytes, str]:
        return uuid4().bytes, self._place()

    def _place(self) -> str:
        return str(self._db.path.resolve())


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # unknown
