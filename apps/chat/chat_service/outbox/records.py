"""Records of the outbox: their names, their content, and the form in which they stand in a segment of the log.

A record in a segment is a header and a body; the body is an encoded exchange.

    body_bytes:4  number:8  appended_ms:8  checksum of the body:4  checksum of the header so far:4  body

Integers are big-endian, checksums are CRC-32. Reading begins at the start of a segment and goes from header to header.
A header that its checksum confirms tells where the next one is, so bytes within a body are never taken for a record.
"""

import errno
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from frameproto import Buffer
from servicekit.heap import BLOCK_BYTES

if TYPE_CHECKING:
    from chat_service.outbox.segments import Segment

CHECKSUM_BYTES: Final = 4  # CRC-32, big-endian
CHUNK_BYTES: Final = BLOCK_BYTES - 8 * 1024
"""How much is read and sent at once: as much as comes from the heap. A larger block comes from the system page by page,
which takes ten times as long as to copy it."""
_FACTS: Final = Struct(">IQQI")
_CHECKSUM: Final = Struct(">I")
HEADER_BYTES: Final = _FACTS.size + _CHECKSUM.size
_FILE: Final = re.compile(r"([0-9]{12,})-([0-9]+)(?:\+([0-9]+))?\.record", re.ASCII)


class RecordName(NamedTuple):
    """What identifies a record, and the name of its file where it has one. Names sort in the order of the records.

    Attributes:
        number: rises with each record, and is never used twice.
        appended_ms: when it came, in milliseconds since 1970.
        media_bytes: how much of it is in a file in `media/`; 0: nothing, and there is no such file.
    """

    number: int
    appended_ms: int
    media_bytes: int = 0

    def __str__(self) -> str:
        media = f"+{self.media_bytes}" if self.media_bytes else ""
        return f"{self.number:012}-{self.appended_ms}{media}.record"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read the name of a file; None: it is none of ours."""
        match = _FILE.fullmatch(name)
        return cls(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


Key = RecordName | str
"""What identifies a deferred entry of the queue: the name of a record, or the file of a segment."""


@dataclass(slots=True, eq=False)
class Record:
    """One record that the disk has kept: an encoded exchange.

    Attributes:
        name: its identity.
        opening: the whole of it, or what comes before its media.
        media: the file with the rest, if any.
        segment: of the log, in which it stands; None: it is a file in `waiting/`.
        offset: where in the segment.
        room_bytes: what its files take on disk; 0 in the log, where the segment counts.
    """

    name: RecordName
    opening: bytes
    media: Path | None = None
    segment: "Segment | None" = None
    offset: int = 0
    room_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """How long the encoded exchange is."""
        return len(self.opening) + self.name.media_bytes

    @property
    def file(self) -> str:
        """Where it stands, as a path in the folder of the outbox."""
        return f"waiting/{self.name}" if self.segment is None else f"{self.segment.file}, record {self.name.number}"

    def read_media(self) -> Iterator[bytes]:
        """Yield the media in chunks of bounded size. Blocks.

        Raises:
            OSError: it cannot be read, or has changed meanwhile.
        """
        if self.media is None:
            return
        left = self.name.media_bytes
        with self.media.open("rb", buffering=0) as file:
            while chunk := file.read(min(CHUNK_BYTES, left)):
                left -= len(chunk)
                yield chunk
        if left:
            raise OSError(errno.EIO, f"{self.media} has become shorter")


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to deliver, oldest first."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a record in a segment."""

    body_bytes: int
    name: RecordName
    checksum: int

    @property
    def size_bytes(self) -> int:
        """How long the record is with its header."""
        return HEADER_BYTES + self.body_bytes


def pack_header(name: RecordName, body: bytes) -> bytes:
    """Return what stands in a segment before this body."""
    facts = _FACTS.pack(len(body), name.number, name.appended_ms, zlib.crc32(body))
    return facts + _CHECKSUM.pack(zlib.crc32(facts))


def unpack_header(data: Buffer, at: int) -> Header | None:
    """Return the header at this place, where there must be `HEADER_BYTES`; None: it is damaged."""
    (checksum,) = _CHECKSUM.unpack_from(data, at + _FACTS.size)
    if zlib.crc32(memoryview(data)[at : at + _FACTS.size]) != checksum:
        return None
    body_bytes, number, appended_ms, body_checksum = _FACTS.unpack_from(data, at)
    return Header(body_bytes, RecordName(number, appended_ms), body_checksum)


def checksum_of(parts: Iterable[Buffer]) -> bytes:
    """Return the checksum of these parts, one after the other."""
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum.to_bytes(CHECKSUM_BYTES)
