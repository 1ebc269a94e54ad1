"""Exchanges in SQLite."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

import aiosqlite

from frameproto.history import Direction, InsertResult
from history_service.model import Message, MessageId, Session, StoredExchange
from history_service.stores.base import replacement
from history_service.stores.encoding import microseconds
from history_service.stores.sqlite.database import SqliteDatabase
from history_service.stores.sqlite.erasures import insert_erasure
from history_service.stores.sqlite.rows import (
    COLUMNS,
    INSERT_EXCHANGE,
    INSERT_WORD,
    exchange_row,
    read_exchange,
    word_rows,
)
from history_service.stores.sqlite.sessions import is_late

FIND_ANSWER: Final = f"SELECT {COLUMNS} FROM exchanges WHERE client_id = ? AND message_id = ?"


class SqliteExchanges:
    """The exchanges of the store."""

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def add(self, exchanges: Sequence[StoredExchange]) -> list[InsertResult]:
        """See `ExchangeStore.add`."""
        async with self._db.transaction() as writer:
            counted = await writer.execute(
                "UPDATE arrivals SET last_position = last_position + ? RETURNING last_position", (len(exchanges),)
            )
            rows = list(await counted.fetchall())
            first = rows[0][0] - len(exchanges) + 1
            return [await _add(writer, exchange, position) for position, exchange in enumerate(exchanges, first)]

    async def find(self, exchange_id: UUID, *, client_id: str | None) -> StoredExchange | None:
        """See `ExchangeStore.find`."""
        rows = await self._db.read(
            f"SELECT {COLUMNS} FROM exchanges WHERE id = ? AND messages > 0", (exchange_id.bytes,)
        )
        found = read_exchange(rows[0]) if rows else None
        return found if found is not None and client_id in {None, found.client_id} else None

    async def find_answer(self, client_id: str, message_id: UUID) -> StoredExchange | None:
        """See `ExchangeStore.find_answer`."""
        rows = await self._db.read(FIND_ANSWER, (client_id, message_id.bytes))
        return read_exchange(rows[0]) if rows else None

    async def claim(self, exchange: StoredExchange, *, rank: int) -> bool:
        """See `ExchangeStore.claim`."""
        async with self._db.transaction() as writer:
            done = await writer.execute(
                "UPDATE exchanges SET rank = max(rank, ?) WHERE id = ? AND client_id = ? AND reply <> 'null'",
                (rank, exchange.id.bytes, exchange.client_id),
            )
            return done.rowcount > 0

    async def page(self, session: Session, *, start: UUID | None, backward: bool, limit: int) -> list[StoredExchange]:
        """See `ExchangeStore.page`."""
        comparison, order = ("<=", "DESC") if backward else (">=", "ASC")
        condition, values = ("", []) if start is None else (f"AND id {comparison} ?", [start.bytes])
        rows = await self._db.read(
            f"SELECT {COLUMNS} FROM exchanges WHERE session_id = ? AND messages > 0 {condition}"
            f" ORDER BY id {order} LIMIT ?",
            (session.id.bytes, *values, limit),
        )
        return [read_exchange(row) for row in rows]

    async def arrivals(self, session: Session, *, after: int, limit: int) -> list[tuple[int, StoredExchange]]:
        """See `ExchangeStore.arrivals`. Positions are counted for the whole file, whose one writer commits in order."""
        rows = await self._db.read(
            f"SELECT position, {COLUMNS} FROM exchanges WHERE session_id = ? AND position > ? AND messages > 0"
            " ORDER BY position LIMIT ?",
            (session.id.bytes, after, limit),
        )
        return [(row[0], read_exchange(row[1:])) for row in rows]

    async def last_arrival(self, session: Session) -> int:
        """See `ExchangeStore.last_arrival`."""
        del session
        return int((await self._db.read("SELECT last_position FROM arrivals", ()))[0][0])

    async def search(
        self, client_id: str, words: Sequence[str], *, before: MessageId | None, limit: int
    ) -> list[Message]:
        """See `ExchangeStore.search`."""
        first, *others = words
        conditions, values = "", [client_id, first]
        for word in others:
            conditions += (
                " AND EXISTS (SELECT 1 FROM words o WHERE o.client_id = w.client_id AND o.word = ?"
                " AND o.exchange_id = w.exchange_id AND o.is_reply = w.is_reply)"
            )
            values.append(word)
        if before is not None:
            conditions += " AND (w.exchange_id, w.is_reply) < (?, ?)"
        key: list[Any] = [] if before is None else [before.exchange_id.bytes, before.direction is Direction.REPLY]
        rows = await self._db.read(
            f"SELECT w.is_reply, {COLUMNS} FROM"
            f" (SELECT exchange_id, is_reply FROM words w WHERE w.client_id = ? AND w.word = ? {conditions}"
            "   ORDER BY w.exchange_id DESC, w.is_reply DESC LIMIT ?) w"
            " JOIN exchanges ON id = w.exchange_id ORDER BY w.exchange_id DESC, w.is_reply DESC",
            (*values, *key, limit),
        )
        return [_message(read_exchange(row[1:]), is_reply=bool(row[0])) for row in rows]

    async def media_keys(self, client_id: str, exchange_ids: Collection[UUID]) -> set[str]:
        """See `ExchangeStore.media_keys`."""
        found = [await self.find(each, client_id=client_id) for each in exchange_ids]
        return {m.key for exchange in found if exchange for each in exchange.messages() for m in each.content.media}


async def _add(writer: aiosqlite.Connection, exchange: StoredExchange, position: int) -> InsertResult:
    received_us = microseconds(exchange.received_at)
    if await is_late(writer, exchange.client_id, exchange.session_id, received_us):
        return InsertResult.ERASED
    if exchange.message_id is not None:
        known = await writer.execute_fetchall(
            f"{FIND_ANSWER} OR id = ?", (exchange.client_id, exchange.message_id.bytes, exchange.id.bytes)
        )
        others = [read_exchange(row) for row in known]
        if any(other.id == exchange.id for other in others):
            return InsertResult.DUPLICATE
        for earlier in others:
            if exchange.precedence < earlier.precedence:
                return InsertResult.SUPERSEDED
            exchange = await _replace(writer, exchange, earlier)
    # A missing or deleted session is created by the next exchange.
    await writer.execute(
        "INSERT INTO sessions (id, client_id, time_zone, started_us) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET alive = 1, title = NULL, time_zone = excluded.time_zone,"
        " started_us = excluded.started_us WHERE NOT alive",
        (exchange.session_id.bytes, exchange.client_id, exchange.time_zone, received_us),
    )
    done = await writer.execute(INSERT_EXCHANGE, exchange_row(exchange, position))
    if not done.rowcount:
        return InsertResult.DUPLICATE
    words = word_rows(exchange.client_id, exchange.id.bytes, exchange.request, exchange.reply)
    await writer.executemany(INSERT_WORD, words)
    return InsertResult.STORED


async def _replace(writer: aiosqlite.Connection, exchange: StoredExchange, earlier: StoredExchange) -> StoredExchange:
    """Delete an earlier answer; return the exchange as its replacement."""
    kept, erasure = replacement(exchange, earlier)
    await writer.execute("DELETE FROM exchanges WHERE id = ?", (earlier.id.bytes,))
    if erasure is not None:
        await insert_erasure(writer, erasure)
    return kept


def _message(exchange: StoredExchange, *, is_reply: bool) -> Message:
    direction = Direction.REPLY if is_reply else Direction.REQUEST
    return next(message for message in exchange.messages() if message.id.direction is direction)
