"""Tables and migrations."""

import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import aiosqlite

from history_service.stores.base import StoreUnusable
from history_service.stores.encoding import read_content
from history_service.stores.sqlite.rows import INSERT_WORD, word_rows

FIRST: Final = """
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

# A session that was deleted stays with `alive = 0`: it says whose id it is, and since when it is deleted.
SECOND: Final = """
ALTER TABLE sessions ADD COLUMN alive INTEGER NOT NULL DEFAULT 1;
ALTER TABLE sessions ADD COLUMN deleted_us INTEGER;
ALTER TABLE exchanges ADD COLUMN messages INTEGER NOT NULL DEFAULT 2;
DROP INDEX exchanges_of_session;
CREATE INDEX exchanges_in_order ON exchanges (session_id, id, answered_us, messages);
CREATE INDEX exchanges_of_client ON exchanges (client_id, received_us);
CREATE INDEX exchanges_by_age ON exchanges (answered_us);
CREATE TABLE erased (
    client_id TEXT PRIMARY KEY,
    at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE words (
    client_id TEXT NOT NULL,
    word TEXT NOT NULL,
    exchange_id BLOB NOT NULL REFERENCES exchanges (id) ON DELETE CASCADE,
    is_reply INTEGER NOT NULL,
    PRIMARY KEY (client_id, word, exchange_id, is_reply)
) STRICT, WITHOUT ROWID;
CREATE INDEX words_of_exchange ON words (exchange_id);
"""

# Positions say in which order exchanges were added. The counter is apart, so that none is given twice.
THIRD: Final = """
ALTER TABLE exchanges ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
UPDATE exchanges SET position = numbered.position
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS position FROM exchanges) AS numbered
    WHERE numbered.id = exchanges.id;
CREATE INDEX exchanges_by_arrival ON exchanges (session_id, position);
CREATE TABLE arrivals (last_position INTEGER NOT NULL) STRICT;
INSERT INTO arrivals SELECT coalesce(max(position), 0) FROM exchanges;
"""

FOURTH: Final = """
CREATE TABLE identity (
    id BLOB NOT NULL,
    place TEXT NOT NULL,
    stamps TEXT NOT NULL
) STRICT;
"""

FIFTH: Final = """
CREATE TABLE erasures (
    id BLOB PRIMARY KEY,
    client_id TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    session_id BLOB,
    message TEXT,
    keys TEXT NOT NULL
) STRICT;
CREATE TABLE uploads (
    id BLOB PRIMARY KEY,
    client_id TEXT NOT NULL,
    session_id BLOB NOT NULL,
    exchange_id BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    keys TEXT NOT NULL,
    active INTEGER NOT NULL DEFAULT 1,
    since REAL NOT NULL
) STRICT;
CREATE INDEX uploads_of_client ON uploads (client_id);
"""

# Symbols became words, and the dot of an i counts no more.
SIXTH: Final = "DELETE FROM words;"

# One answer to each message that has an id; of several the one with the highest rank.
SEVENTH: Final = """
ALTER TABLE exchanges ADD COLUMN message_id BLOB;
ALTER TABLE exchanges ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX exchanges_by_message_id ON exchanges (client_id, message_id) WHERE message_id IS NOT NULL;
"""


async def _fill_word_lists(writer: aiosqlite.Connection) -> None:
    """Write the word lists of the exchanges that are there."""
    async with writer.execute("SELECT id, client_id, request, reply FROM exchanges") as rows:
        async for id_, client_id, request, reply in rows:
            sides = read_content(json.loads(request)), read_content(json.loads(reply))
            await writer.executemany(INSERT_WORD, word_rows(client_id, id_, *sides))


Fill = Callable[[aiosqlite.Connection], Awaitable[None]]
STEPS: Final[Sequence[tuple[str, Fill | None]]] = (
    (FIRST, None),
    (SECOND, _fill_word_lists),
    (THIRD, None),
    (FOURTH, None),
    (FIFTH, None),
    (SIXTH, _fill_word_lists),
    (SEVENTH, None),
)
"""The migration from each schema to the next, starting with an empty file."""


async def bring_up_to_date(writer: aiosqlite.Connection, path: Path) -> None:
    """Migrate the file to this schema, completely or not at all.

    Raises:
        StoreUnusable: it holds data of a newer version.
    """
    await writer.execute("BEGIN IMMEDIATE")
    try:
        row = await (await writer.execute("PRAGMA user_version")).fetchone()
        version = row[0] if row else 0
        if version > len(STEPS):
            raise StoreUnusable(
                f"{path} was written by a newer version (schema {version}; this one knows {len(STEPS)})"
            )
        for statements, fill in STEPS[version:]:
            for statement in statements.split(";"):
                await writer.execute(statement)
            if fill is not None:
                await fill(writer)
        await writer.execute(f"PRAGMA user_version = {len(STEPS)}")
    except BaseException:
        await writer.rollback()
        raise
    await writer.execute("COMMIT")
