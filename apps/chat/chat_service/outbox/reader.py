"""The reading side of the outbox: the next records to deliver, from memory or from disk."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from chat_service.outbox.errors import PROCESS_ERRORS, OutboxUnwritable, RecordUnreadable
from chat_service.outbox.queue import FRONT_BYTES, DeliveryQueue, Entry, PinnedRecord, SpooledRecord
from chat_service.outbox.records import Batch, Record
from chat_service.outbox.recovery import report_damage, report_unreadable
from chat_service.outbox.segment_reader import read_chunk, read_record, scan
from chat_service.outbox.segments import Segment

if TYPE_CHECKING:
    from chat_service.outbox.disposal import Disposal
    from chat_service.outbox.spool import Spool
    from chat_service.outbox.writer import OutboxWriter


class OutboxReader:
    """Finds the next records to deliver.

    Args:
        spool: the files of records.
        queue: what is undelivered.
        disposal: dead-letters what the disk has damaged.
        writer: keeps account of the room on disk.
        on_change: is called after a change of the queue.
    """

    def __init__(
        self,
        spool: "Spool",
        queue: DeliveryQueue,
        disposal: "Disposal",
        writer: "OutboxWriter",
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._queue = queue
        self._disposal = disposal
        self._writer = writer
        self._changed = on_change

    async def next_batch(self, max_bytes: int, max_records: int | None) -> Batch | None:
        """See `Outbox.peek_batch`."""
        while self._queue.has_next:
            if (segment := self._queue.next_unread()) is not None:
                await self._read_on(segment, max_bytes)
                continue
            entries = self._queue.head(max_bytes, max_records)
            records = tuple(entry for entry in entries if isinstance(entry, Record))
            if len(records) == len(entries):
                return Batch(records)
            found = await self._load(entries)
            records = tuple(record for record in found if isinstance(record, Record))
            if len(records) == len(entries):
                return Batch(records)
            for entry, record in zip(entries, found, strict=True):
                if isinstance(record, OSError) and isinstance(entry, SpooledRecord):
                    report_unreadable(entry.file, record)
                    self._queue.defer(entry.name, entry)
            await self._dead_letter_damaged(entries, found)
        return None

    async def next_deferred(self) -> Batch | None:
        """See `Outbox.peek_deferred`."""
        deferred = self._queue.deferred
        while deferred:
            key = next(iter(deferred))
            entry = deferred[key] = deferred.pop(key)
            if isinstance(entry, Segment):
                await self._try_segment(entry)
                return None
            (record,) = await self._load([entry])
            match record:
                case Record():
                    return Batch((record,))
                case OSError():
                    raise RecordUnreadable(key, entry.file, f"cannot be read: {record.strerror}") from record
                case _:
                    await self._dead_letter_damaged([entry], [record])
                    if key in deferred:
                        raise RecordUnreadable(key, entry.file, "is damaged, and cannot be moved to refused/")
        return None

    async def _read_on(self, segment: Segment, max_bytes: int) -> None:
        """Read the next records of the log into memory."""
        try:
            chunk = await asyncio.to_thread(read_chunk, segment, min(max_bytes, FRONT_BYTES), self._queue.known)
        except OSError as exc:
            if exc.errno in PROCESS_ERRORS:
                raise _unreadable(exc) from exc
            report_unreadable(segment.file, exc)
            self._queue.block(segment)
        else:
            lost = self._queue.take_chunk(segment, chunk)
            if chunk.damage:
                report_damage(segment, chunk.damage)
                self._disposal.dead_letters += max(lost, 1)
            self._disposal.check(segment)
        self._changed()

    async def _try_segment(self, segment: Segment) -> None:
        """Try to read on in a deferred segment, or to look through it if that was not possible yet."""
        again, known = segment, self._queue.known
        try:
            if segment.size_bytes:
                await asyncio.to_thread(read_chunk, segment, 1, known)
            else:
                again = (await asyncio.to_thread(scan, segment.path, is_last=False, known=known)).segment
        except OSError as exc:
            if exc.errno in PROCESS_ERRORS:
                raise _unreadable(exc) from exc
            raise RecordUnreadable(segment.file, segment.file, f"cannot be read: {exc.strerror}") from exc
        if again is not segment:
            self._writer.log_bytes += again.size_bytes
            if again.damage:
                report_damage(again, again.damage)
                self._disposal.dead_letters += 1
        self._queue.unblock(segment, again)
        self._disposal.check(again)
        self._changed()

    async def _load(self, entries: Sequence[Entry | PinnedRecord]) -> Sequence[Record | OSError | None]:
        """Read what is not in memory; None: the disk has not kept it, an error: it cannot be read now."""

        def read(entry: Entry | PinnedRecord) -> Record | OSError | None:
            try:
                match entry:
                    case Record():
                        return entry
                    case SpooledRecord():
                        return self._spool.read(entry.name)
                    case PinnedRecord():
                        return read_record(entry.segment, entry.offset)
            except OSError as exc:
                if exc.errno in PROCESS_ERRORS:
                    raise
                return exc

        try:
            return await asyncio.to_thread(lambda: [read(entry) for entry in entries])
        except OSError as exc:
            raise _unreadable(exc) from exc

    async def _dead_letter_damaged(
        self, entries: Sequence[Entry | PinnedRecord], found: Sequence[Record | OSError | None]
    ) -> None:
        damaged = [entry for entry, record in zip(entries, found, strict=True) if record is None]
        for entry in damaged:
            await self._disposal.dead_letter_damaged(entry)
        self._changed()


def _unreadable(exc: OSError) -> OutboxUnwritable:
    return OutboxUnwritable(f"the outbox cannot be read: {exc.strerror}")
