"""Deleting in SQLite."""

from datetime import datetime
from typing import Final
from uuid import UUID

import aiosqlite

from frameproto.history import Direction
from history_service.model import MessageId, StoredExchange
from history_service.stores.base import ERASED_AT_ONCE
from history_service.stores.encoding import microseconds
from history_service.stores.sqlite.database import SqliteDatabase
from history_service.stores.sqlite.rows import COLUMNS, read_exchange

BURY: Final = """
UPDATE sessions SET alive = 0, title = NULL, time_zone = '', started_us = 0
WHERE id = ? AND NOT EXISTS (SELECT 1 FROM exchanges e WHERE e.session_id = sessions.id AND e.messages > 0)
"""
REVIVE: Final = """
UPDATE sessions SET title = NULL, (time_zone, started_us) =
    (SELECT e.time_zone, e.received_us FROM exchanges e
     WHERE e.session_id = sessions.id AND e.messages > 0 ORDER BY e.id LIMIT 1)
WHERE EXISTS (SELECT 1 FROM exchanges e WHERE e.session_id = sessions.id AND e.messages > 0)
"""


class SqliteDeletions:
    """Deletions in the store."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def delete_message(self, client_id: str, message: MessageId) -> None:
        """See `DeletionStore.delete_message`. An exchange without messages stays, as the proof that it was here."""
        side, other = ("request", "reply") if message.direction is Direction.REQUEST else ("reply", "request")
        exchange_id = message.exchange_id.bytes
        async with self._db.transaction() as writer:
            await writer.execute(
                f"UPDATE exchanges SET {side} = 'null', messages = ({other} <> 'null') WHERE id = ? AND client_id = ?",
                (exchange_id, client_id),
            )
            await writer.execute(
                "DELETE FROM words WHERE exchange_id = ? AND is_reply = ? AND client_id = ?",
                (exchange_id, side == "reply", client_id),
            )

    async def delete_session(self, client_id: str, session_id: UUID, *, at: datetime) -> list[StoredExchange]:
        """See `DeletionStore.delete_session`."""
        id_, at_us = session_id.bytes, microseconds(at)
        async with self._db.transaction() as writer:
            await writer.execute(
                "UPDATE sessions SET deleted_us = max(?, coalesce(deleted_us, 0)) WHERE id = ? AND client_id = ?",
                (at_us, id_, client_id),
            )
            gone = await _delete_some(writer, "session_id = ? AND client_id = ?", id_, client_id, at_us)
            await writer.execute(BURY, (id_,))
            await writer.execute(f"{REVIVE} AND id = ? AND alive", (id_,))
        return gone

    async def erase_client(self, client_id: str, *, at: datetime) -> list[StoredExchange]:
        """See `DeletionStore.erase_client`. Its sessions are hidden here, and forgotten by `end_erasure`."""
        at_us = microseconds(at)
        async with self._db.transaction() as writer:
            await writer.execute(
                "INSERT INTO erased (client_id, at_us) VALUES (?, ?)"
                " ON CONFLICT (client_id) DO UPDATE SET at_us = max(at_us, excluded.at_us)",
                (client_id, at_us),
            )
            gone = await _delete_some(writer, "client_id = ?", client_id, at_us)
            if len(gone) < ERASED_AT_ONCE:
                await writer.execute(
                    "UPDATE sessions SET alive = 0, title = NULL, time_zone = '', started_us = 0,"
                    " deleted_us = max(?, coalesce(deleted_us, 0)) WHERE client_id = ? AND started_us <= ?"
                    " AND NOT EXISTS (SELECT 1 FROM exchanges e WHERE e.session_id = sessions.id)",
                    (at_us, client_id, at_us),
                )
                await writer.execute(f"{REVIVE} AND client_id = ? AND started_us <= ?", (client_id, at_us))
        return gone

    async def count_expired(self, before: datetime) -> tuple[int, int]:
        """See `DeletionStore.count_expired`."""
        query = "SELECT (SELECT count(*) FROM exchanges WHERE answered_us < ?), (SELECT count(*) FROM exchanges)"
        ((expired, total),) = await self._db.read(query, (microseconds(before),))
        return expired, total

    async def expire(self, before: datetime, *, limit: int) -> list[StoredExchange]:
        """See `DeletionStore.expire`."""
        before_us = microseconds(before)
        async with self._db.transaction() as writer:
            rows = await writer.execute_fetchall(
                f"SELECT {COLUMNS} FROM exchanges WHERE answered_us < ? ORDER BY answered_us LIMIT ?",
                (before_us, limit),
            )
            expired = [read_exchange(row) for row in rows]
            for exchange in expired:
                await writer.execute("DELETE FROM exchanges WHERE id = ?", (exchange.id.bytes,))
            for session_id in {exchange.session_id for exchange in expired}:
                await writer.execute(f"{BURY} AND started_us < ?", (session_id.bytes, before_us))
        return expired


async def _delete_some(writer: aiosqlite.Connection, condition: str, *values: object) -> list[StoredExchange]:
    """Delete exchanges that were received up to a time, the last of the values, and return them."""
    rows = await writer.execute_fetchall(
        f"SELECT {COLUMNS} FROM exchanges WHERE {condition} AND received_us <= ? LIMIT ?", (*values, ERASED_AT_ONCE)
    )
    gone = [read_exchange(row) for row in rows]
    await writer.executemany("DELETE FROM exchanges WHERE id = ?", [(exchange.id.bytes,) for exchange in gone])
    return gone
