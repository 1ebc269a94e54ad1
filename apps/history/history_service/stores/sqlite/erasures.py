"""Recorded erasures in SQLite."""

import json
from typing import Final
from uuid import UUID

import aiosqlite

from history_service.model import MessageId
from history_service.stores.base import ERASED_AT_ONCE, Erasure
from history_service.stores.encoding import microseconds, moment
from history_service.stores.sqlite.database import SqliteDatabase

FIRST_US: Final = -(1 << 63)


class SqliteErasures:
    """The unfinished erasures."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def begin(self, erasure: Erasure) -> None:
        """See `ErasureStore.begin`."""
        async with self._db.transaction() as writer:
            await insert_erasure(writer, erasure)

    async def pending(self, *, after: Erasure | None = None) -> list[Erasure]:
        """See `ErasureStore.pending`."""
        rows = await self._db.read(
            "SELECT id, client_id, at_us, session_id, message, keys FROM erasures WHERE (at_us, id) > (?, ?)"
            " ORDER BY at_us, id LIMIT ?",
            (*((FIRST_US, b"") if after is None else (microseconds(after.at), after.id.bytes)), ERASED_AT_ONCE),
        )
        return [
            Erasure(
                id=UUID(bytes=id_),
                client_id=client_id,
                at=moment(at_us),
                session_id=None if session is None else UUID(bytes=session),
                message=None if message is None else MessageId.parse(message),
                keys=tuple(json.loads(keys)),
            )
            for id_, client_id, at_us, session, message, keys in rows
        ]

    async def end(self, erasure: Erasure) -> None:
        """See `ErasureStore.end`."""
        async with self._db.transaction() as writer:
            if erasure.session_id is None and erasure.message is None:
                await writer.execute(
                    "DELETE FROM sessions WHERE client_id = ? AND NOT alive AND deleted_us <= ?"
                    " AND NOT EXISTS (SELECT 1 FROM exchanges e WHERE e.session_id = sessions.id)",
                    (erasure.client_id, microseconds(erasure.at)),
                )
            await writer.execute("DELETE FROM erasures WHERE id = ?", (erasure.id.bytes,))


async def insert_erasure(writer: aiosqlite.Connection, erasure: Erasure) -> None:
    """Record an erasure within a transaction."""
    session = None if erasure.session_id is None else erasure.session_id.bytes
    message = None if erasure.message is None else str(erasure.message)
    at_us, keys = microseconds(erasure.at), json.dumps(erasure.keys)
    await writer.execute(
        "INSERT INTO erasures (id, client_id, at_us, session_id, message, keys) VALUES (?, ?, ?, ?, ?, ?)",
        (erasure.id.bytes, erasure.client_id, at_us, session, message, keys),
    )
