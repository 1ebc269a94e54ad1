"""The queue of what history does not have yet, in the order of delivery. It does no I/O.

The records at the *front* are in memory: they were just written, or were read ahead. Behind them come the *unread*:
segments of the log, which are read in chunks when the front is empty, and files in `waiting/`, of which only names are
known. A new record joins the front as long as nothing is unread and the front has room, so a queue that is delivered at
once is never read from disk.

*Deferred* entries stand apart from the queue: records that failed by themselves, and segments that cannot be read now.
"""

from collections import deque
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

from chat_service.outbox.records import Key, Record, RecordName
from chat_service.outbox.segment_reader import Chunk
from chat_service.outbox.segments import Segment

FRONT_BYTES: Final = 4 * 1024 * 1024  # of records that may be in memory until they are delivered


class SpooledRecord(NamedTuple):
    """A record that is a file in `waiting/`, as it is known before it is read.

    Attributes:
        name: of the file.
        size_bytes: what it and its media take on disk.
    """

    name: RecordName
    size_bytes: int

    @property
    def file(self) -> str:
        """Its path in the folder of the outbox."""
        return f"waiting/{self.name}"


class PinnedRecord(NamedTuple):
    """A deferred record of the log that could not be moved to `waiting/`, and keeps its segment from being removed."""

    name: RecordName
    segment: Segment
    offset: int

    @property
    def file(self) -> str:
        """Its place in the folder of the outbox."""
        return self.segment.file


Entry = Record | SpooledRecord
Deferred = SpooledRecord | PinnedRecord | Segment


class DeliveryQueue:
    """What is undelivered.

    Attributes:
        depth: how many records that is.
        known: records that have files of their own and stand in unread segments as well.
        deferred: by key, in the order in which they are tried.
    """

    def __init__(self) -> None:
        self._front: deque[Entry] = deque()
        self._front_bytes = 0
        self._unread: deque[Segment] = deque()
        self._spooled: deque[SpooledRecord] = deque()
        self.depth = 0
        self.known: set[RecordName] = set()
        self.deferred: dict[Key, Deferred] = {}

    @property
    def has_next(self) -> bool:
        """Whether there is something to deliver that is not deferred."""
        return bool(self._front or self._unread or self._spooled)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest record came, in milliseconds since 1970; None: there is none of which that is known."""
        return min(filter(None, self._oldest()), default=None)

    def _oldest(self) -> Iterator[int]:
        if self._front:
            yield self._front[0].name.appended_ms
        if self._unread:
            yield self._unread[0].oldest_ms
        if self._spooled:
            yield self._spooled[0].name.appended_ms
        for entry in self.deferred.values():
            yield entry.oldest_ms if isinstance(entry, Segment) else entry.name.appended_ms

    def recover(self, spooled: list[SpooledRecord], segments: list[Segment]) -> None:
        """Begin with what an earlier process has left, each in its order."""
        self._spooled.extend(spooled)
        self._unread.extend(segment for segment in segments if segment.undelivered)
        self.depth += len(spooled) + sum(segment.undelivered for segment in segments)

    def add(self, record: Record, segment: Segment, end: int) -> None:
        """Put a record at the end that was just written to this segment, where it ends at this byte."""
        self.depth += 1
        segment.undelivered += 1
        segment.size_bytes = end
        size_bytes = len(record.opening)
        if not self._unread and not self._spooled and self._front_bytes + size_bytes <= FRONT_BYTES:
            self._front.append(record)
            self._front_bytes += size_bytes
            segment.read_bytes = end
            return
        if not segment.unread:
            segment.oldest_ms = record.name.appended_ms
            self._unread.append(segment)
        segment.unread += 1

    def add_spooled(self, entry: SpooledRecord) -> None:
        """Put a record at the end that was just written to a file of its own."""
        self.depth += 1
        if self._unread or self._spooled:
            self._spooled.append(entry)
        else:
            self._front.append(entry)

    def head(self, max_bytes: int, max_records: int | None) -> list[Entry]:
        """Return the first entries of the front, up to `max_bytes` but one at least."""
        entries: list[Entry] = []
        size_bytes = 0
        for entry in islice(self._front, max_records):
            size_bytes += entry.size_bytes
            if entries and size_bytes > max_bytes:
                break
            entries.append(entry)
        return entries

    def next_unread(self) -> Segment | None:
        """Return the segment to read on in, when the front is empty; files that come before it join the front."""
        if not self._front and not self._unread:
            self._front.extend(self._spooled)
            self._spooled.clear()
        return None if self._front else self._unread[0] if self._unread else None

    def take_chunk(self, segment: Segment, chunk: Chunk) -> int:
        """Put what was read of the next segment at the front, with the files that come before its last record.

        Returns:
            how many records the disk has lost.
        """
        found, lost = len(chunk.records), chunk.damaged
        segment.read_bytes = chunk.end
        segment.unread -= found + lost
        if chunk.is_broken:
            lost, segment.unread = lost + segment.unread, 0
        if chunk.is_broken or segment.read_bytes >= segment.size_bytes:
            self._unread.popleft()
        segment.undelivered -= lost
        self.depth -= lost
        segment.damage += chunk.damage
        if chunk.records:
            last = chunk.records[-1].name
            segment.oldest_ms = last.appended_ms
            spooled: list[Entry] = []
            while self._spooled and self._spooled[0].name < last:
                spooled.append(self._spooled.popleft())
            self._front.extend(merge(spooled, chunk.records, key=lambda entry: entry.name))
            self._front_bytes += sum(len(record.opening) for record in chunk.records)
        return lost

    def block(self, segment: Segment) -> None:
        """Defer a segment that cannot be read now."""
        if self._unread and self._unread[0] is segment:
            self._unread.popleft()
        self.deferred[segment.file] = segment

    def unblock(self, segment: Segment, again: Segment) -> None:
        """Put a deferred segment, as it was found now, before the other unread ones."""
        del self.deferred[segment.file]
        self.depth += again.undelivered - segment.undelivered
        if again.unread:
            self._unread.appendleft(again)

    def finish(self, name: RecordName) -> Entry | PinnedRecord | None:
        """Forget a record that is delivered or dead-lettered, and return what was known of it."""
        self.depth -= 1
        return self._take(name)

    def defer(self, name: RecordName, entry: Deferred) -> None:
        """Take a record out of the queue, and try it after the other deferred ones."""
        self._take(name)
        self.deferred[name] = entry

    def _take(self, name: RecordName) -> Entry | PinnedRecord | None:
        entry = self.deferred.pop(name, None)
        if isinstance(entry, Segment):
            raise TypeError("a segment has a key of its own")
        if entry is not None:
            return entry
        for index, found in enumerate(self._front):  # nearly always the first one
            if found.name == name:
                del self._front[index]
                if isinstance(found, Record):
                    self._front_bytes -= len(found.opening)
                return found
        raise LookupError(f"{name} is not in the queue")
