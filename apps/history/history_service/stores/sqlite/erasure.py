"""Deleting in SQLite."""

from datetime import datetime
from typing import Final

from history_service.records import Direction, KeptExchange, Message, Session
from history_service.stores.base import microseconds
from history_service.stores.sqlite.exchanges import Exchanges
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


class Erasure(Exchanges):
    """Deletions in the store."""

    async def delete_message(self, message: Message) -> None:
        """See `MessageStore.delete_message`. An exchange without messages stays, as the proof that it was here."""
        side, other = ("request", "reply") if message.id.direction is Direction.REQUEST else ("reply", "request")
        exchange_id = message.id.exchange_id.bytes
        async with self._transaction() as writer:
            await writer.execute(
                f"UPDATE exchanges SET {side} = 'null', messages = ({other} <> 'null') WHERE id = ?", (exchange_id,)
            )
            await writer.execute(
                "DELETE FROM words WHERE exchange_id = ? AND is_reply = ?", (exchange_id, side == "reply")
            )

    async def delete_session(self, session: Session, *, at: datetime) -> None:
        """See `MessageStore.delete_session`."""
        id_, at_us = session.id.bytes, microseconds(at)
        async with self._transaction() as writer:
            await writer.execute(
                "UPDATE sessions SET deleted_us = max(?, coalesce(deleted_us, 0)) WHERE id = ?", (at_us, id_)
            )
            await writer.execute("DELETE FROM exchanges WHERE session_id = ? AND received_us <= ?", (id_, at_us))
            await writer.execute(BURY, (id_,))
            await writer.execute(f"{REVIVE} AND id = ? AND alive", (id_,))

    async def erase_client(self, client_id: str, *, at: datetime) -> None:
        """See `MessageStore.erase_client`."""
        at_us = microseconds(at)
        async with self._transaction() as writer:
            await writer.execute(
                "INSERT INTO erased (client_id, at_us) VALUES (?, ?)"
                " ON CONFLICT (client_id) DO UPDATE SET at_us = max(at_us, excluded.at_us)",
                (client_id, at_us),
            )
            await writer.execute("DELETE FROM exchanges WHERE client_id = ? AND received_us <= ?", (client_id, at_us))
            await writer.execute(
                "DELETE FROM sessions WHERE client_id = ? AND (started_us <= ? OR deleted_us <= ?)"
                " AND NOT EXISTS (SELECT 1 FROM exchanges e WHERE e.session_id = sessions.id)",
                (client_id, at_us, at_us),
            )
            await writer.execute(f"{REVIVE} AND client_id = ? AND started_us <= ?", (client_id, at_us))

    async def expire(self, before: datetime, *, limit: int) -> list[KeptExchange]:
        """See `MessageStore.expire`."""
        before_us = microseconds(before)
        async with self._transaction() as writer:
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
