"""The files of the outbox: small records, with checksums that tell whether the disk has kept them, and their media.

    lock        held by the one process that uses the folder
    writing/    records on their way to the disk; nobody was told of them
    waiting/    records that history does not have yet, in the order of their names
    media/      the frames of large records, under the same names: written before the record, removed after it
    refused/    records that history will not take, or the disk did not keep; the reason is in a file beside each

A record is there when its file is in `waiting/`, which is one rename, and has left when that file is gone, which is one
unlink. Media without a record belong to nobody, and the next process removes them.
"""

import contextlib
import errno
import fcntl
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from frameproto import Buffer
from servicekit.logs import get_logger

log = get_logger(__name__)

CHECKSUM_BYTES: Final = 4  # CRC-32, big-endian: of what follows it; where media are apart, theirs comes next
BLOCK_BYTES: Final = 4096  # what the smallest file takes
CHUNK_BYTES: Final = 256 * 1024
FOLDERS: Final = ("writing", "waiting", "media", "refused")
NAME: Final = re.compile(r"([0-9]{12,})-([0-9]+)(?:\+([0-9]+))?\.record", re.ASCII)


@dataclass(frozen=True, slots=True)
class RecordName:
    """The name of a file; names sort in the order of the records.

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
        match = NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


@dataclass(frozen=True, slots=True)
class Record:
    """One record that the disk has kept: an encoded exchange.

    Attributes:
        name: of its file.
        opening: the whole of it, or what comes before its media.
        media: the file with the rest, if any.
    """

    name: RecordName
    opening: bytes
    media: Path | None = None

    @property
    def size_bytes(self) -> int:
        """How long the encoded exchange is."""
        return len(self.opening) + self.name.media_bytes

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


class Spool:
    """The folder of one process. Open it with `Spool.open`; every method blocks, and may raise OSError."""

    def __init__(self, folder: Path, lock: int, *, fsync: bool) -> None:
        self._folder = folder
        self._lock = lock
        self._fsync = fsync

    @classmethod
    def open(cls, folder: Path, *, fsync: bool) -> Self:
        """Take the folder, making it when it is not there, and remove what a process that died left half done.

        Raises:
            BlockingIOError: another process has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            spool = cls(folder, lock, fsync=fsync)
            spool._tidy()
        except OSError:
            os.close(lock)
            raise
        return spool

    def close(self) -> None:
        """Let the folder go."""
        os.close(self._lock)

    def waiting(self) -> list[tuple[RecordName, int]]:
        """Return the records that wait, in their order, with the room that each takes on the disk."""
        found = ((name, in_blocks(_size(file), name.media_bytes)) for name, file in self._files("waiting"))
        return sorted(found, key=lambda record: record[0].number)

    def refused(self) -> list[RecordName]:
        """Return the records that were set aside."""
        return [name for name, _ in self._files("refused")]

    def write(self, name: RecordName, opening: bytes, media: Sequence[Buffer]) -> None:
        """Write a record. When this returns it is there; when it raises, nothing of it is."""
        fresh = self._path("writing", name)
        try:
            if media:
                self._write_file(self._path("media", name), media)
                self._sync("media")
                opening = _checksum(media) + opening
            self._write_file(fresh, [_checksum([opening]) + opening])
            fresh.rename(self._path("waiting", name))
            self._sync("waiting")
        except OSError:
            for folder in ("writing", "waiting", "media"):
                with contextlib.suppress(OSError):
                    self._path(folder, name).unlink()
            raise

    def read(self, name: RecordName) -> Record | None:
        """Return a record, or None when the disk has not kept it.

        Raises:
            OSError: it is there, and cannot be read now.
        """
        try:
            data = self._path("waiting", name).read_bytes()
            opening = data[CHECKSUM_BYTES:]
            if not opening or data[:CHECKSUM_BYTES] != _checksum([opening]):
                return None
            if not name.media_bytes:
                return Record(name, opening)
            record = Record(name, opening[CHECKSUM_BYTES:], self._path("media", name))
            return record if opening[:CHECKSUM_BYTES] == _checksum(record.read_media()) else None
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EIO}:
                return None
            raise

    def remove(self, name: RecordName) -> None:
        """Remove a record; it may be gone already."""
        self._path("waiting", name).unlink(missing_ok=True)
        if name.media_bytes:
            with contextlib.suppress(OSError):  # the record is gone, and so the next process removes them
                self._path("media", name).unlink()

    def set_aside(self, name: RecordName, reason: str) -> None:
        """Move a record to `refused/`; its media stay where they are."""
        aside = self._path("refused", name)
        with contextlib.suppress(FileNotFoundError):
            self._path("waiting", name).rename(aside)
        with contextlib.suppress(OSError):  # on a full disk the record itself matters more, and the log has the reason
            aside.with_suffix(".reason").write_text(f"{reason}\n", "utf-8")

    def _path(self, folder: str, name: RecordName) -> Path:
        return self._folder / folder / str(name)

    def _tidy(self) -> None:
        for folder in FOLDERS:
            (self._folder / folder).mkdir(exist_ok=True)
        for torn in (self._folder / "writing").iterdir():
            _discard(torn)
        owned = {name for folder in ("waiting", "refused") for name, _ in self._files(folder) if name.media_bytes}
        for name in [name for name, _ in self._files("media") if name not in owned]:
            _discard(self._path("media", name))

    def _files(self, folder: str) -> Iterator[tuple[RecordName, os.DirEntry[str]]]:
        with os.scandir(self._folder / folder) as files:
            for file in files:
                name = RecordName.parse(file.name)
                if name is not None:
                    yield name, file

    def _write_file(self, path: Path, parts: Sequence[Buffer]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            if self._fsync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sync(self, folder: str) -> None:
        """Make the names in a folder survive a crash of the machine, if that is asked for."""
        if not self._fsync:
            return
        descriptor = os.open(self._folder / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _size(file: os.DirEntry[str]) -> int:
    """Return the size of a file; one that the disk will not show must not keep the others from being delivered."""
    try:
        return file.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _discard(leftover: Path) -> None:
    """Remove what no record needs. When that fails it only takes room, so the folder can still be used."""
    try:
        leftover.unlink()
    except OSError as error:
        log.warning("outbox.leftover", file=str(leftover), reason=error.strerror)


def in_blocks(*sizes: int) -> int:
    """Return how much of a disk files of these sizes take; an empty one is none."""
    return sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in sizes)


def _checksum(parts: Iterable[Buffer]) -> bytes:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return checksum.to_bytes(CHECKSUM_BYTES)
