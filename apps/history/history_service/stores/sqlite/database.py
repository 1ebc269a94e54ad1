"""The connections to an SQLite file, and its errors as ours."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from history_service.stores.base import StoreUnavailable, StoreUnusable
from history_service.stores.sqlite.schema import bring_up_to_date
from servicekit.tasks import finish


class SqliteDatabase:
    """One connection that writes, another that reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()

    async def prepare(self) -> None:
        """Open the file and migrate it. Raises StoreUnusable."""
        if self._reader is not None:
            return
        # A connection that is abandoned while it opens would call back later, perhaps into a closed loop.
        await finish(self._open())

    async def _open(self) -> None:
        async with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            writer = await aiosqlite.connect(self.path, isolation_level=None)
            try:
                await writer.execute("PRAGMA journal_mode = WAL")
                await writer.execute("PRAGMA synchronous = FULL")
                await writer.execute("PRAGMA foreign_keys = ON")
                await bring_up_to_date(writer, self.path)
                reader = await aiosqlite.connect(self.path, isolation_level=None)
            except BaseException:
                await writer.close()
                raise
            await reader.execute("PRAGMA query_only = ON")
            self._writer, self._reader = writer, reader

    async def close(self) -> None:
        """Close both connections."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                await connection.close()
        self._reader = self._writer = None

    async def read(self, sql: str, values: Iterable[Any]) -> list[Any]:
        """Return the rows of a query."""
        async with self._errors():
            if self._reader is None:
                raise StoreUnavailable("the message store is not open yet")
            return list(await self._reader.execute_fetchall(sql, values))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Write in a transaction."""
        async with self._errors(), self._writing:
            if self._writer is None:
                raise StoreUnavailable("the message store is not open yet")
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                await self._writer.rollback()
                raise
            await self._writer.execute("COMMIT")

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Translate exceptions of the driver into ours. Only done here."""
        try:
            yield
        except (sqlite3.OperationalError, OSError, ValueError) as exc:
            raise StoreUnavailable(f"the message store {self.path} cannot be used now: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise StoreUnusable(f"the message store {self.path} is damaged: {exc}") from exc
