"""The files of the outbox: one record each, with a checksum that tells whether the disk has kept it."""

import errno
import os
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

CHECKSUM_BYTES: Final = 4  # CRC-32 of the payload, big-endian, in front of it
NAME: Final = re.compile(r"([0-9]{12,})-([0-9]+)\.record", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordName:
    """The name of a file; names sort in the order of the records.

    Attributes:
        number: rises with each record, and is never used twice.
        appended_ms: when it came, in milliseconds since 1970.
    """

    number: int
    appended_ms: int

    def __str__(self) -> str:
        return f"{self.number:012}-{self.appended_ms}.record"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read the name of a file; None: it is none of ours."""
        match = NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Record:
    """One record, read: its name, and the encoded exchange."""

    name: RecordName
    payload: bytes


def write_record(path: Path, payload: bytes, *, fsync: bool) -> None:
    """Write a new file.

    Raises:
        OSError: that is not possible; some of it may have been written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(zlib.crc32(payload).to_bytes(CHECKSUM_BYTES) + payload)
        while view:
            view = view[os.write(descriptor, view) :]
        if fsync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_record(path: Path) -> bytes | None:
    """Return the payload of a file, or None when the disk has not kept it.

    Raises:
        OSError: it cannot be read now.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EIO}:
            return None
        raise
    checksum, payload = data[:CHECKSUM_BYTES], data[CHECKSUM_BYTES:]
    return payload if int.from_bytes(checksum) == zlib.crc32(payload) and payload else None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
