"""Finding the answer to a message in the files of the outbox, also among what an earlier process has left."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from chat_service.outbox.segment_reader import read_chunk
from chat_service.outbox.segments import Segment
from frameproto.exchange import Exchange, RecordError, decode_exchange
from servicekit.logs import get_logger

if TYPE_CHECKING:
    from chat_service.outbox.records import Record
    from chat_service.outbox.segments import SegmentLog
    from chat_service.outbox.spool import Spool

log = get_logger(__name__)

MOST_BYTES: Final = 64 * 1024 * 1024
"""How much of the log is looked through, newest first. It is in the page cache, and takes some milliseconds."""
MOST_FILES: Final = 500
"""How many of the records with files of their own."""


def find_exchange(log_files: "SegmentLog", spool: "Spool", client_id: str, message_id: UUID) -> Exchange | None:
    """Return the latest answer to a message that the outbox still has. Blocks.

    Raises:
        OSError: the folder cannot be read. What can be read of it otherwise is looked through.
    """
    wanted = message_id.bytes
    found: Exchange | None = None
    for record in (*_in_log(log_files.paths(), wanted), *_in_files(spool, wanted)):
        try:
            exchange = decode_exchange(record.opening + b"".join(record.read_media()))
        except (OSError, RecordError) as exc:
            log.warning("outbox.not_searched", file=record.file, reason=str(exc))
            continue
        is_wanted = exchange.message_id == message_id and exchange.client_id == client_id
        if is_wanted and (found is None or (found.attempt, found.id) < (exchange.attempt, exchange.id)):
            found = exchange
    return found


def _in_log(paths: list[Path], wanted: bytes) -> "Iterator[Record]":
    """Yield the records of the log that may be about a message: its id occurs in them."""
    left = MOST_BYTES
    for path in reversed(paths):
        try:
            data = path.read_bytes()
            if wanted in data:
                chunk = read_chunk(Segment(path, size_bytes=len(data)), len(data), ())
                yield from (record for record in chunk.records if wanted in record.opening)
        except OSError:
            continue  # it was delivered meanwhile, or is damaged, which the relay reports
        left -= len(data)
        if left <= 0:
            return


def _in_files(spool: "Spool", wanted: bytes) -> "Iterator[Record]":
    """Yield the records with files of their own that may be about a message."""
    newest = heapq.nlargest(MOST_FILES, (name for name, _ in spool.waiting()))
    for name in newest:
        try:
            record = spool.read_opening(name)
            if record is not None and wanted in record.opening:
                yield record
        except OSError:
            continue  # see above
