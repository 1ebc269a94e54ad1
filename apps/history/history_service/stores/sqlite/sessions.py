"""Sessions in SQLite."""

from collections.abc import Collection, Sequence
from uuid import UUID

import aiosqlite

from history_service.model import Session, SessionStats
from history_service.stores.base import FirstUse, SessionKey, foreign_session
from history_service.stores.encoding import microseconds, moment
from history_service.stores.sqlite.database import SqliteDatabase
from history_service.stores.sqlite.rows import SESSION, TALLY, read_session


class SqliteSessions:
    """The sessions of the store."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def bind(self, uses: Sequence[FirstUse]) -> list[UUID | None]:
        """See `SessionStore.bind`."""
        async with self._db.transaction() as writer:
            return [await _bind(writer, use) for use in uses]

    async def create(self, session: Session) -> None:
        """See `SessionStore.create`."""
        started_us = microseconds(session.started_at)
        async with self._db.transaction() as writer:
            await writer.execute(
                "INSERT INTO sessions (id, client_id, time_zone, started_us, title) VALUES (?, ?, ?, ?, ?)",
                (session.id.bytes, session.client_id, session.time_zone, started_us, session.title),
            )

    async def find(self, session_id: UUID, *, client_id: str | None) -> Session | None:
        """See `SessionStore.find`."""
        rows = await self._db.read(f"{SESSION} AND s.id = ?", (session_id.bytes,))
        found = read_session(rows[0]) if rows else None
        return found if found is not None and client_id in {None, found.client_id} else None

    async def page(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """See `SessionStore.page`."""
        condition, values = "", []
        if after is not None:
            condition, values = "AND (s.started_us, s.id) < (?, ?)", [microseconds(after.started_at), after.id.bytes]
        rows = await self._db.read(
            f"{SESSION} AND s.client_id = ? {condition} ORDER BY s.started_us DESC, s.id DESC LIMIT ?",
            (client_id, *values, limit),
        )
        return [read_session(row) for row in rows]

    async def stats(self, client_id: str, session_ids: Sequence[UUID]) -> list[SessionStats]:
        """See `SessionStore.stats`."""
        del client_id  # here a session has one client
        rows = [(await self._db.read(TALLY, (session_id.bytes,)))[0] for session_id in session_ids]
        return [SessionStats(messages, None if last_us is None else moment(last_us)) for messages, last_us in rows]

    async def known(self, client_id: str, session_ids: Collection[UUID]) -> set[UUID]:
        """See `SessionStore.known`."""
        known: set[UUID] = set()
        for session_id in session_ids:
            values = (session_id.bytes, client_id)
            if await self._db.read("SELECT 1 FROM sessions WHERE id = ? AND client_id = ?", values):
                known.add(session_id)
        return known

    async def rename(self, session: Session, title: str | None) -> None:
        """See `SessionStore.rename`."""
        async with self._db.transaction() as writer:
            await writer.execute("UPDATE sessions SET title = ? WHERE id = ? AND alive", (title, session.id.bytes))


async def _bind(writer: aiosqlite.Connection, use: FirstUse) -> UUID | None:
    candidates = use.session_id, foreign_session(use.session_id, use.client_id)
    owners = {candidate: await _owner(writer, candidate) for candidate in candidates}
    for candidate in candidates:
        if owners[candidate] == use.client_id:
            return candidate
    if await is_late(writer, use.client_id, use.session_id, microseconds(use.at)):
        return use.session_id
    for candidate in candidates:
        if owners[candidate] is None:
            await writer.execute(
                "INSERT INTO sessions (id, client_id, time_zone, started_us) VALUES (?, ?, ?, ?)",
                (candidate.bytes, use.client_id, use.time_zone, microseconds(use.at)),
            )
            return candidate
    return None


async def _owner(writer: aiosqlite.Connection, session_id: UUID) -> str | None:
    """Return the client that owns this id."""
    row = await (await writer.execute("SELECT client_id FROM sessions WHERE id = ?", (session_id.bytes,))).fetchone()
    return None if row is None else str(row[0])


async def is_late(writer: aiosqlite.Connection, client_id: str, session_id: UUID, received_us: int) -> bool:
    """Say whether the client was erased, or the session deleted, after something was received."""
    found = await writer.execute(
        "SELECT 1 FROM erased WHERE client_id = ? AND at_us >= ?"
        " UNION ALL SELECT 1 FROM sessions WHERE id = ? AND client_id = ? AND deleted_us >= ?",
        (client_id, received_us, session_id.bytes, client_id, received_us),
    )
    return await found.fetchone() is not None
