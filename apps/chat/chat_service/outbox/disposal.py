"""Letting go of records that are delivered, dead-lettered or deferred, and of segments that are finished."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from chat_service.outbox.errors import OutboxUnwritable
from chat_service.outbox.files import in_blocks
from chat_service.outbox.queue import Deferred, DeliveryQueue, Entry, PinnedRecord, SpooledRecord
from chat_service.outbox.records import CHECKSUM_BYTES, Record, RecordName
from chat_service.outbox.segments import Segment, SegmentLog
from servicekit.logs import get_logger
from servicekit.tasks import finish

if TYPE_CHECKING:
    from chat_service.outbox.spool import Spool
    from chat_service.outbox.writer import OutboxWriter
    from servicekit.clock import Now

log = get_logger(__name__)

NOT_KEPT: Final = "the disk did not keep these bytes"
EMPTIED_BYTES: Final = 256 * 1024
"""An active segment up to this size is emptied at once when it is finished; a larger one is removed in a thread."""


class Disposal:
    """Lets go of records and segments.

    Args:
        spool: the files of records.
        segments: the log.
        queue: what is undelivered.
        writer: keeps account of the room on disk.
        dead_letters: how many there are already.
        now: the wall clock.

    Attributes:
        dead_letters: how many records were dead-lettered.
    """

    def __init__(
        self,
        spool: "Spool",
        segments: SegmentLog,
        queue: DeliveryQueue,
        writer: "OutboxWriter",
        *,
        dead_letters: int,
        now: "Now",
    ) -> None:
        self._spool = spool
        self._segments = segments
        self._queue = queue
        self._writer = writer
        self._now = now
        self._finished: list[Segment] = []  # those that are to be removed
        self._stuck: set[Segment] = set()  # those of which that was tried
        self.dead_letters = dead_letters

    async def forget(self, records: Sequence[Record], reasons: Mapping[RecordName, str]) -> Collection[RecordName]:
        """Let go of delivered records, and dead-letter those for which there is a reason.

        A record whose file cannot be moved, written or removed is deferred, and will be delivered again. These are
        returned.

        Raises:
            OutboxUnwritable: not one file could be moved or removed.
        """
        files = [record for record in records if record.segment is None or record.name in reasons]
        try:
            return await finish(self._forget(records, files, reasons))
        except OSError as exc:
            raise OutboxUnwritable(f"the outbox cannot be written: {exc.strerror}") from exc

    async def _forget(
        self, records: Sequence[Record], files: Sequence[Record], reasons: Mapping[RecordName, str]
    ) -> Collection[RecordName]:
        stuck = await asyncio.to_thread(self._remove_files, files, reasons) if files else {}
        if len(stuck) == len(records) and all(record.segment is None for record in records):
            raise next(iter(stuck.values()))
        for record in records:
            if record.name in stuck:
                self._keep_stuck(record, stuck[record.name])
                continue
            self._queue.finish(record.name)
            self.dead_letters += record.name in reasons
            self._writer.spool_bytes -= record.room_bytes
            if record.segment is not None:
                self.count_delivered(record.segment, 1)
        self.tidy()
        await self.remove_finished()
        return stuck.keys()

    def _remove_files(self, files: Sequence[Record], reasons: Mapping[RecordName, str]) -> dict[RecordName, OSError]:
        """Remove, move or write these files; return those for which that failed. Blocks."""
        stuck: dict[RecordName, OSError] = {}
        for record in files:
            reason = f"{self._now().isoformat()} {reasons.get(record.name)}"
            try:
                if record.name not in reasons:
                    self._spool.remove(record.name)
                elif record.segment is None:
                    self._spool.dead_letter(record.name, reason)
                else:
                    self._spool.write_dead_letter(record.name, record.opening, reason)
            except OSError as exc:
                stuck[record.name] = exc
        return stuck

    def _keep_stuck(self, record: Record, exc: OSError) -> None:
        log.error("outbox.stuck", file=record.file, reason=exc.strerror, consequence="delivered again later")
        entry: Deferred = SpooledRecord(record.name, record.room_bytes)
        if record.segment is not None:
            entry = PinnedRecord(record.name, record.segment, record.offset)
        self._queue.defer(record.name, entry)

    async def dead_letter_damaged(self, entry: Entry | PinnedRecord) -> None:
        """Dead-letter a record that the disk has not kept."""
        file = f"refused/{entry.name}" if isinstance(entry, SpooledRecord) else entry.file
        log.error("outbox.damaged", file=file, reason=NOT_KEPT, consequence="moved to refused/")
        if isinstance(entry, SpooledRecord):
            record = Record(entry.name, b"", room_bytes=entry.size_bytes)
            await self.forget([record], {entry.name: NOT_KEPT})
        elif entry.segment is not None:  # its bytes are of no use; the segment is moved aside when it is finished
            entry.segment.damage.append(f"{NOT_KEPT}: record {entry.name}, from byte {entry.offset} on")
            self._queue.finish(entry.name)
            self.dead_letters += 1
            self.count_delivered(entry.segment, 1)

    async def defer(self, record: Record) -> None:
        """Keep a record apart from the queue, in a file of its own, so that its segment can be removed without it."""
        await finish(self._defer(record))

    async def _defer(self, record: Record) -> None:
        entry: Deferred = SpooledRecord(record.name, record.room_bytes)
        if record.segment is not None:
            try:
                await asyncio.to_thread(self._spool.write, record.name, record.opening)
            except OSError:  # it stays in its segment, which stays with it
                entry = PinnedRecord(record.name, record.segment, record.offset)
            else:
                entry = SpooledRecord(record.name, in_blocks(CHECKSUM_BYTES + len(record.opening)))
                self._writer.spool_bytes += entry.size_bytes
                self.count_delivered(record.segment, 1)
        self._queue.defer(record.name, entry)
        self.tidy()
        await self.remove_finished()

    def count_delivered(self, segment: Segment, records: int) -> None:
        """Count records of a segment that it is not needed for any more."""
        segment.undelivered -= records
        self.check(segment)

    def check(self, segment: Segment) -> None:
        """Have a segment removed if it is finished. The active one is for `tidy`."""
        if not segment.undelivered and segment is not self._segments.active and not segment.is_finished:
            segment.is_finished = True
            self._finished.append(segment)

    def tidy(self) -> None:
        """Empty or leave the active segment if it is finished, unless a thread writes to it just now."""
        if self._writer.is_writing:
            return
        active = self._segments.active
        if active is not None and not active.undelivered and active.size_bytes:
            size_bytes = active.size_bytes
            if size_bytes > EMPTIED_BYTES or active.damage:
                self._segments.leave_active()
            elif self._segments.empty_active():
                self._writer.log_bytes -= size_bytes
        for segment in self._segments.take_left():
            self.check(segment)

    async def remove_finished(self) -> None:
        """Remove segments that are finished. Those that cannot be removed are tried again the next time."""
        if self._finished:
            finished, self._finished = self._finished, []
            for segment, exc in await asyncio.to_thread(self._remove_each, finished):
                if exc is None:
                    self._writer.log_bytes -= segment.size_bytes
                else:
                    self._keep_finished(segment, exc)

    def _remove_each(self, finished: Sequence[Segment]) -> list[tuple[Segment, OSError | None]]:
        return [(segment, self._remove(segment)) for segment in finished]

    def _remove(self, segment: Segment) -> OSError | None:
        try:
            self._segments.remove(segment)
        except OSError as exc:
            return exc
        return None

    def _keep_finished(self, segment: Segment, exc: OSError) -> None:
        self._finished.append(segment)
        if segment not in self._stuck:
            self._stuck.add(segment)
            log.error(
                "outbox.stuck", file=segment.file, reason=exc.strerror, consequence="delivered again after a restart"
            )
