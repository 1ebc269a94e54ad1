"""Reading segments of the log, also those that a dead process has left.

    a part of a record at its end    of the last segment: a write that was cut short, before anybody was told that the
                                     record was kept; it is cut off. Of any other segment: damage.
    a damaged body                   that record is lost; the next ones are read.
    a damaged header                 what follows it is lost, because nothing tells where the next record begins.

A segment with damage is moved to `refused/` when its other records are delivered.
"""

import contextlib
import os
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from chat_service.outbox.errors import GONE_ERRORS
from chat_service.outbox.files import reading
from chat_service.outbox.records import HEADER_BYTES, Header, Record, RecordName, unpack_header
from chat_service.outbox.segments import Segment
from servicekit.logs import get_logger

log = get_logger(__name__)

SCAN_BYTES: Final = 1024 * 1024  # read at once, to find the headers of what an earlier process left


@dataclass(slots=True)
class Chunk:
    """What was read of a segment.

    Attributes:
        records: those that the disk has kept.
        end: where the next one begins.
        damaged: how many others the disk has not kept.
        damage: what is wrong, for people to read.
        is_broken: nothing behind `end` can be read.
    """

    records: list[Record]
    end: int
    damaged: int = 0
    damage: list[str] = field(default_factory=list)
    is_broken: bool = False


class Scan(NamedTuple):
    """What was found in a segment of an earlier process.

    Attributes:
        segment: with all but the known records undelivered.
        known: those of them that it has.
        last_number: of all of its records.
    """

    segment: Segment
    known: set[RecordName]
    last_number: int


def scan(path: Path, *, is_last: bool, known: Container[RecordName]) -> Scan:
    """Look through a segment of an earlier process; known are the records that have files of their own.

    Only headers are checked here, and bodies when they are read.

    Raises:
        OSError: it cannot be read.
    """
    segment, also_here, last_number = Segment(path), set[RecordName](), 0
    with reading(path) as file:
        size = os.fstat(file).st_size
        for at, header in _headers(file, size):
            segment.size_bytes = at + header.size_bytes
            if header.name in known:
                also_here.add(header.name)
            else:
                segment.oldest_ms = segment.oldest_ms or header.name.appended_ms
                segment.undelivered += 1
            last_number = max(last_number, header.name.number)
        segment.unread = segment.undelivered
        rest = size - segment.size_bytes
        if rest and is_last and _is_torn(file, segment.size_bytes, rest):
            log.info("outbox.torn", file=segment.file, bytes=rest, consequence="cut off; its client has no answer")
            with contextlib.suppress(OSError):  # the next process does it
                os.truncate(path, segment.size_bytes)
        elif rest:
            segment.damage.append(f"its last {rest} bytes are not whole records")
    return Scan(segment, also_here, last_number)


def read_chunk(segment: Segment, max_bytes: int, known: Container[RecordName]) -> Chunk:
    """Read on in a segment: about so many bytes, but a record at least.

    Raises:
        OSError: it is there, and cannot be read now.
    """
    at = segment.read_bytes
    chunk = Chunk([], at)
    try:
        data = _read_records(segment, at, min(max(max_bytes, HEADER_BYTES), segment.size_bytes - at))
    except OSError as exc:
        if exc.errno not in GONE_ERRORS:
            raise
        chunk.damage.append(f"from byte {at} on it cannot be read: {exc.strerror}")
        chunk.is_broken = True
        return chunk
    position = 0
    while len(data) - position >= HEADER_BYTES:
        header = unpack_header(data, position)
        if header is None:
            chunk.is_broken = True
            break
        begin, position = position, position + header.size_bytes
        if position > len(data):
            break
        body = data[begin + HEADER_BYTES : position]
        chunk.end = at + position
        if header.name in known:
            continue
        if zlib.crc32(body) != header.checksum:
            chunk.damaged += 1
            chunk.damage.append(f"the disk did not keep the bytes of record {header.name}, from byte {at + begin} on")
        else:
            chunk.records.append(Record(header.name, body, segment=segment, offset=at + begin))
    if chunk.is_broken or chunk.end == at:
        chunk.is_broken = True
        chunk.damage.append(f"from byte {chunk.end} on the disk did not keep what was written")
    return chunk


def read_record(segment: Segment, offset: int) -> Record | None:
    """Read one record again; None: the disk has not kept it.

    Raises:
        OSError: it is there, and cannot be read now.
    """
    place = Segment(segment.path, size_bytes=segment.size_bytes, read_bytes=offset)
    chunk = read_chunk(place, HEADER_BYTES, ())
    for record in chunk.records:
        record.segment = segment
        return record
    return None


def _read_records(segment: Segment, at: int, size: int) -> bytes:
    """Read so many bytes, or as many as the first record has."""
    with reading(segment.path) as file:
        data = os.pread(file, size, at)
        if len(data) >= HEADER_BYTES:
            header = unpack_header(data, 0)
            if header is not None and len(data) < header.size_bytes <= segment.size_bytes - at:
                data = os.pread(file, header.size_bytes, at)
    return data


def _headers(file: int, size: int) -> Iterator[tuple[int, Header]]:
    """Yield the headers of whole records and their places, up to the end or to what is none."""
    data, start, at = b"", 0, 0
    while size - at >= HEADER_BYTES:
        if at + HEADER_BYTES > start + len(data):
            data, start = os.pread(file, SCAN_BYTES, at), at
        header = unpack_header(data, at - start) if len(data) >= at - start + HEADER_BYTES else None
        if header is None or header.size_bytes > size - at:
            return
        yield at, header
        at += header.size_bytes


def _is_torn(file: int, at: int, rest: int) -> bool:
    """Say whether what stands here is the beginning of a record whose write was cut short."""
    head = os.pread(file, HEADER_BYTES, at)
    return rest < HEADER_BYTES or (len(head) == HEADER_BYTES and unpack_header(head, 0) is not None)
