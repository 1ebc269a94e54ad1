"""Recorded uploads in SQLite. A record without an end is removed after a week."""

import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from history_service.stores.base import PendingUpload
from history_service.stores.encoding import microseconds, moment
from history_service.stores.sqlite.database import SqliteDatabase
from history_service.stores.sqlite.sessions import is_late

DAYS_KEPT: Final = 7
AGE: Final = "(julianday('now') - since) * 86400.0"


class SqliteUploads:
    """The unfinished uploads."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def begin(self, uploads: Sequence[PendingUpload]) -> set[UUID]:
        """See `UploadStore.begin`."""
        settled: set[UUID] = set()
        async with self._db.transaction() as writer:
            await writer.execute("DELETE FROM uploads WHERE julianday('now') - since > ?", (DAYS_KEPT,))
            for each in uploads:
                received_us = microseconds(each.received_at)
                await writer.execute(
                    "INSERT INTO uploads (id, client_id, session_id, exchange_id, received_us, keys, since)"
                    " VALUES (?, ?, ?, ?, ?, ?, julianday('now'))",
                    (
                        each.id.bytes,
                        each.client_id,
                        each.session_id.bytes,
                        each.exchange_id.bytes,
                        received_us,
                        json.dumps(each.keys),
                    ),
                )
                found = await writer.execute("SELECT 1 FROM exchanges WHERE id = ?", (each.exchange_id.bytes,))
                if await found.fetchone() or await is_late(writer, each.client_id, each.session_id, received_us):
                    settled.add(each.exchange_id)
        return settled

    async def of_client(self, client_id: str) -> list[PendingUpload]:
        """See `UploadStore.of_client`."""
        rows = await self._db.read(
            f"SELECT id, session_id, exchange_id, received_us, keys, active, {AGE} FROM uploads WHERE client_id = ?",
            (client_id,),
        )
        return [
            PendingUpload(
                id=UUID(bytes=id_),
                client_id=client_id,
                session_id=UUID(bytes=session_id),
                exchange_id=UUID(bytes=exchange_id),
                received_at=moment(received_us),
                keys=tuple(json.loads(keys)),
                active=bool(active),
                age_seconds=age,
            )
            for id_, session_id, exchange_id, received_us, keys, active, age in rows
        ]

    async def end(self, uploads: Sequence[PendingUpload], *, failed: bool) -> None:
        """See `UploadStore.end`."""
        async with self._db.transaction() as writer:
            for each in uploads:
                await writer.execute(
                    "DELETE FROM uploads WHERE client_id = ? AND exchange_id = ? AND NOT active",
                    (each.client_id, each.exchange_id.bytes),
                )
                change = "UPDATE uploads SET active = 0" if failed else "DELETE FROM uploads"
                await writer.execute(f"{change} WHERE id = ?", (each.id.bytes,))
