"""Messages in an SQLite file: durable, on one machine."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiosqlite

from history_service.records import KeptExchange, Session
from history_service.stores.base import (
    Added,
    SessionKey,
    SessionTaken,
    StoreUnavailable,
    StoreUnusable,
    foreign_session,
    microseconds,
    moment,
    read_outcome,
    read_side,
    side_document,
)

SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE sessions (
    id BLOB PRIMARY KEY,
    client_id TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    title TEXT
) STRICT;
CREATE INDEX sessions_of_client ON sessions (client_id, started_us DESC, id DESC);
CREATE TABLE exchanges (
    id BLOB PRIMARY KEY,
    client_id TEXT NOT NULL,
    session_id BLOB NOT NULL REFERENCES sessions (id),
    time_zone TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    answered_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    request TEXT NOT NULL,
    reply TEXT NOT NULL
) STRICT;
CREATE INDEX exchanges_of_session ON exchanges (session_id, id, answered_us);
"""

COLUMNS: Final = "id, client_id, session_id, time_zone, received_us, answered_us, outcome, request, reply"
SESSION: Final = """
SELECT s.id, s.client_id, s.time_zone, s.started_us, s.title,
    (SELECT count(*) FROM exchanges e WHERE e.session_id = s.id),
    (SELECT max(e.answered_us) FROM exchanges e WHERE e.session_id = s.id)
FROM sessions s
"""


class SqliteStore:
    """The message store in one file: one connection writes, another reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None
        self._writing = asyncio.Lock()

    async def prepare(self) -> None:
        """See `MessageStore.prepare`."""
        if self._reader is not None:
            return
        opening = asyncio.create_task(self._open())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A connection that is given up while it opens answers from its thread later, perhaps to a closed loop.
            while not opening.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([opening])
            if not opening.cancelled():
                opening.exception()  # nobody is left to be told
            raise

    async def _open(self) -> None:
        async with self._errors():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writer = await aiosqlite.connect(self._path, isolation_level=None)
            try:
                await writer.execute("PRAGMA journal_mode = WAL")
                await writer.execute("PRAGMA synchronous = FULL")
                await writer.execute("PRAGMA foreign_keys = ON")
                await self._migrate(writer)
                reader = await aiosqlite.connect(self._path, isolation_level=None)
            except BaseException:
                await writer.close()
                raise
            await reader.execute("PRAGMA query_only = ON")
            self._writer, self._reader = writer, reader

    async def _migrate(self, writer: aiosqlite.Connection) -> None:
        row = await (await writer.execute("PRAGMA user_version")).fetchone()
        version = row[0] if row else 0
        if version > SCHEMA_VERSION:
            raise StoreUnusable(
                f"{self._path} was written by a newer version (schema {version}; this one knows {SCHEMA_VERSION})"
            )
        if version == 0:
            await writer.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    async def close(self) -> None:
        """See `MessageStore.close`."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                await connection.close()
        self._reader = self._writer = None

    async def bind_session(self, session_id: UUID, *, client_id: str, time_zone: str, started_at: datetime) -> UUID:
        """See `MessageStore.bind_session`."""
        for candidate in (session_id, foreign_session(session_id, client_id)):
            async with self._transaction() as writer:
                await writer.execute(
                    "INSERT INTO sessions (id, client_id, time_zone, started_us) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (id) DO NOTHING",
                    (candidate.bytes, client_id, time_zone, microseconds(started_at)),
                )
                found = await writer.execute("SELECT client_id FROM sessions WHERE id = ?", (candidate.bytes,))
                owner = await found.fetchone()
            if owner is not None and owner[0] == client_id:
                return candidate
        raise SessionTaken("the session has the id of a session of another client, and so has its other id")

    async def add(self, exchanges: Sequence[KeptExchange]) -> list[Added]:
        """See `MessageStore.add`."""
        outcomes = []
        async with self._transaction() as writer:
            for exchange in exchanges:
                done = await writer.execute(
                    f"INSERT INTO exchanges ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                    _row(exchange),
                )
                outcomes.append(Added.STORED if done.rowcount else Added.DUPLICATE)
        return outcomes

    async def exchange(self, exchange_id: UUID) -> KeptExchange | None:
        """See `MessageStore.exchange`."""
        rows = await self._read(f"SELECT {COLUMNS} FROM exchanges WHERE id = ?", (exchange_id.bytes,))
        return _exchange(rows[0]) if rows else None

    async def exchanges(
        self, session: Session, *, start: UUID | None, backward: bool, limit: int
    ) -> list[KeptExchange]:
        """See `MessageStore.exchanges`."""
        comparison, order = ("<=", "DESC") if backward else (">=", "ASC")
        condition, values = ("", []) if start is None else (f"AND id {comparison} ?", [start.bytes])
        rows = await self._read(
            f"SELECT {COLUMNS} FROM exchanges WHERE session_id = ? {condition} ORDER BY id {order} LIMIT ?",
            (session.id.bytes, *values, limit),
        )
        return [_exchange(row) for row in rows]

    async def session(self, session_id: UUID) -> Session | None:
        """See `MessageStore.session`."""
        rows = await self._read(f"{SESSION} WHERE s.id = ?", (session_id.bytes,))
        return _session(rows[0]) if rows else None

    async def sessions(self, client_id: str, *, after: SessionKey | None, limit: int) -> list[Session]:
        """See `MessageStore.sessions`."""
        condition, values = "", []
        if after is not None:
            condition, values = "AND (s.started_us, s.id) < (?, ?)", [microseconds(after.started_at), after.id.bytes]
        rows = await self._read(
            f"{SESSION} WHERE s.client_id = ? {condition} ORDER BY s.started_us DESC, s.id DESC LIMIT ?",
            (client_id, *values, limit),
        )
        return [_session(row) for row in rows]

    async def _read(self, sql: str, values: Iterable[Any]) -> list[Any]:
        async with self._errors():
            if self._reader is None:
                raise StoreUnavailable("the message store is not open yet")
            return list(await self._reader.execute_fetchall(sql, values))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
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
        """Turn foreign exceptions into ours; the only place that does."""
        try:
            yield
        except (sqlite3.OperationalError, OSError, ValueError) as error:
            raise StoreUnavailable(f"the message store {self._path} cannot be used now: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreUnusable(f"the message store {self._path} is damaged: {error}") from error


def _row(exchange: KeptExchange) -> tuple[Any, ...]:
    return (
        exchange.id.bytes,
        exchange.client_id,
        exchange.session_id.bytes,
        exchange.time_zone,
        microseconds(exchange.received_at),
        microseconds(exchange.answered_at),
        exchange.outcome.value,
        json.dumps(side_document(exchange.request), ensure_ascii=False),
        json.dumps(side_document(exchange.reply), ensure_ascii=False),
    )


def _exchange(row: Any) -> KeptExchange:  # noqa: ANN401 - a row of the driver
    return KeptExchange(
        id=UUID(bytes=row[0]),
        client_id=row[1],
        session_id=UUID(bytes=row[2]),
        time_zone=row[3],
        received_at=moment(row[4]),
        answered_at=moment(row[5]),
        outcome=read_outcome(row[6]),
        request=read_side(json.loads(row[7])),
        reply=read_side(json.loads(row[8])),
    )


def _session(row: Any) -> Session:  # noqa: ANN401 - a row of the driver
    return Session(
        id=UUID(bytes=row[0]),
        client_id=row[1],
        time_zone=row[2],
        started_at=moment(row[3]),
        title=row[4],
        message_count=2 * row[5],
        last_message_at=None if row[6] is None else moment(row[6]),
    )
