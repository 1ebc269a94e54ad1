"""The outbox: finished exchanges on local disk, until history has them.

A reply leaves only after `keep` has said that its exchange is on disk. Whatever kills this process afterwards, the
exchange is there when the folder is opened again. All small exchanges of one turn of the event loop are appended to a
log with one write (`writer.py`, `segments.py`); large ones have files of their own (`spool.py`). There is no cursor: a
segment of the log is removed whole when history has all of its records. After a crash it is delivered again, and
history keeps each exchange once. The next records to deliver are in memory; what does not fit there is read from disk
(`queue.py`, `reader.py`).

A record that cannot be delivered now is *deferred*: it still waits, but apart from the queue, so that it does not hold
up the others. `peek_deferred` offers it again.
"""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from chat_service.outbox.disposal import Disposal
from chat_service.outbox.errors import OutboxLocked, OutboxUnwritable
from chat_service.outbox.queue import DeliveryQueue
from chat_service.outbox.reader import OutboxReader
from chat_service.outbox.records import Batch, RecordName
from chat_service.outbox.recovery import recover
from chat_service.outbox.search import find_exchange
from chat_service.outbox.segments import Segment, SegmentLog
from chat_service.outbox.spool import Spool
from chat_service.outbox.writer import OnKept, OutboxWriter
from frameproto.exchange import Exchange
from servicekit.clock import Now, utc_now
from servicekit.logs import get_logger
from servicekit.tasks import finish

log = get_logger(__name__)

SEGMENT_BYTES: Final = 1024 * 1024
SEGMENTS: Final = 16  # into which the limit of the size is divided, so that delivered records take little of it


class Outbox:
    """The outbox of one process. Open it with `Outbox.open`."""

    def __init__(self, spool: Spool, segments: SegmentLog, *, max_bytes: int, fsync: bool, now: Now) -> None:
        """Begin with what an earlier process has left.

        Raises:
            OSError: the folder cannot be used.
        """
        left = recover(spool, segments)
        self._spool = spool
        self._segments = segments
        self._now = now
        self._queue = DeliveryQueue()
        self._arrived = asyncio.Event()
        self._emptied = asyncio.Event()
        self._searching = asyncio.Lock()
        self._writer = OutboxWriter(
            segments,
            spool,
            self._queue,
            max_bytes=max_bytes,
            last_number=left.last_number,
            fsync=fsync,
            now=now,
            on_change=self._changed,
        )
        self._disposal = Disposal(spool, segments, self._queue, self._writer, dead_letters=left.dead_letters, now=now)
        self._reader = OutboxReader(spool, self._queue, self._disposal, self._writer, on_change=self._changed)
        self._queue.known = left.known
        self._queue.recover(left.spooled, left.segments)
        for segment in left.unreadable:
            self._queue.depth += 1
            self._queue.block(segment)
        self._writer.spool_bytes = sum(entry.size_bytes for entry in left.spooled)
        self._writer.log_bytes = sum(segment.size_bytes for segment in left.segments)
        for segment in left.segments:
            self._disposal.check(segment)
        self._changed()
        if self.depth:
            log.info("outbox.recovered", records=self.depth, bytes=self.size_bytes)

    @classmethod
    def open(cls, folder: Path, *, max_bytes: int, fsync: bool = False, now: Now = utc_now) -> Self:
        """Open the outbox in a folder, making it when it is not there, with all that an earlier process left.

        Args:
            folder: where it lives; one process at a time.
            max_bytes: how much it may take on disk. A segment counts until all of its records are delivered; files of
                records count in whole blocks of 4 KiB.
            fsync: whether a record must survive a crash of the machine, not only of the process.
            now: the wall clock.

        Raises:
            OutboxLocked: another process uses the folder.
            OutboxUnwritable: the folder cannot be used.
        """
        segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS)
        try:
            spool = Spool.open(folder, fsync=fsync)
            try:
                segments = SegmentLog(folder, segment_bytes=segment_bytes, fsync=fsync)
                return cls(spool, segments, max_bytes=max_bytes, fsync=fsync, now=now)
            except OSError:
                spool.close()
                raise
        except BlockingIOError as exc:
            raise OutboxLocked(
                f"the outbox folder {folder} is in use by another process; give each its own CHAT_DATA_DIR"
            ) from exc
        except OSError as exc:
            raise OutboxUnwritable(
                f"the outbox folder {folder} cannot be used: {exc.strerror}; set CHAT_DATA_DIR to a folder that this "
                "process may write to"
            ) from exc

    @property
    def depth(self) -> int:
        """Records that history does not have yet."""
        return self._queue.depth

    @property
    def size_bytes(self) -> int:
        """What the outbox takes on disk, dead letters not included."""
        return self._writer.size_bytes

    @property
    def refused(self) -> int:
        """Records that were dead-lettered."""
        return self._disposal.dead_letters

    @property
    def deferred(self) -> int:
        """How many of the undelivered records are deferred."""
        entries = self._queue.deferred.values()
        return sum(entry.undelivered if isinstance(entry, Segment) else 1 for entry in entries)

    @property
    def deferred_entries(self) -> int:
        """How many entries that is: a segment that cannot be read is one, however many records it has."""
        return len(self._queue.deferred)

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest undelivered record has been waiting."""
        oldest_ms = self._queue.oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, self._now().timestamp() - oldest_ms / 1000)

    def keep(self, exchange: Exchange, on_kept: OnKept) -> None:
        """Keep an exchange, and tell when it is on disk or why it is not.

        `on_kept` is called once, on the event loop, after this has returned; for the exchanges of one session in the
        order of the calls. It gets an `OutboxFull` over `max_bytes`, and an `OutboxUnwritable` when the disk is full or
        broken. Then nothing of the exchange is on disk, and later calls may work again.
        """
        self._emptied.clear()
        self._writer.keep(exchange, on_kept)

    async def find(self, client_id: str, message_id: UUID) -> Exchange | None:
        """Return the latest answer to a message that is kept here and that history may not have; None: there is none.

        One search runs at a time.
        """
        async with self._searching:
            if not self.depth:
                return None
            try:
                return await finish(
                    asyncio.to_thread(find_exchange, self._segments, self._spool, client_id, message_id)
                )
            except OSError as exc:
                log.warning("outbox.not_searched", reason=exc.strerror)
                return None

    @property
    def has_records(self) -> bool:
        """Whether there is something to deliver that is not deferred."""
        return self._queue.has_next

    async def wait_for_records(self) -> None:
        """Return when there is something to deliver that is not deferred."""
        await self._arrived.wait()

    async def wait_until_empty(self) -> None:
        """Return when history has everything."""
        await self._emptied.wait()

    async def peek_batch(self, max_bytes: int, max_records: int | None = None) -> Batch | None:
        """Return the oldest undelivered records, up to `max_bytes` but at least one, or None when there are none.

        Records that the disk has damaged are dead-lettered on the way, and what cannot be read now is deferred.

        Raises:
            OutboxUnwritable: the disk cannot be read.
        """
        return await self._reader.next_batch(max_bytes, max_records)

    async def peek_deferred(self) -> Batch | None:
        """Return the deferred record whose turn it is, or None when there is none. The next call offers another one.

        Raises:
            RecordUnreadable: it still cannot be read.
            OutboxUnwritable: the disk cannot be read.
        """
        return await self._reader.next_deferred()

    async def defer(self, batch: Batch) -> None:
        """Keep these records apart from the queue; of the deferred ones their turn comes last."""
        for record in batch.records:
            await self._disposal.defer(record)
        self._changed()

    async def done(self, batch: Batch, refused: Mapping[int, str] | None = None) -> Collection[RecordName]:
        """Mark a batch as delivered; records named in `refused`, by their index, are dead-lettered with the reason.

        A record whose file cannot be moved, written or removed is deferred, and will be delivered again. These are
        returned.

        Raises:
            OutboxUnwritable: not one file could be moved or removed. The batch is then still to be delivered.
        """
        reasons = {batch.records[index].name: reason for index, reason in (refused or {}).items()}
        try:
            return await self._disposal.forget(batch.records, reasons)
        finally:
            self._changed()

    async def close(self) -> None:
        """Finish what is being written, and let the folder go. What is undelivered stays."""
        await self._writer.finish()
        self._segments.leave_active()
        self._disposal.tidy()
        await self._disposal.remove_finished()
        self._spool.close()

    def _changed(self) -> None:
        """Tidy up after a change, and wake tasks that wait for records, or for there to be none."""
        self._disposal.tidy()
        is_empty = not self._queue.depth and self._writer.is_idle
        for event, holds in ((self._arrived, self._queue.has_next), (self._emptied, is_empty)):
            event.set() if holds else event.clear()
