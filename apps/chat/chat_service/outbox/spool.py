"""The files of the outbox beside its log: records that have a file of their own, and their media.

    lock        held by the one process that uses the folder
    log/        the segments of the log (`segments.py`)
    writing/    records on their way to the disk; nobody was told of them
    waiting/    records that history does not have yet: large or deferred ones, and what an operator moved here
    media/      the frames of large records, under the same names: written before the record, removed after it
    refused/    records that history will not take, or the disk did not keep; the reason is in a file beside each

A record is there when its file is in `waiting/`, which is one rename, and has left when that file is gone, which is one
unlink. Media without a record belong to nobody, and the next process removes them.

Until the log was added, every record had a file here. Such files are read as they are.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from chat_service.outbox.errors import GONE_ERRORS
from chat_service.outbox.files import in_blocks, sync_folder
from chat_service.outbox.records import CHECKSUM_BYTES, Record, RecordName, checksum_of
from frameproto import Buffer
from servicekit.logs import get_logger

log = get_logger(__name__)

FOLDERS: Final = ("writing", "waiting", "media", "refused")


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
        """Return the dead-lettered records that have a file of their own."""
        return [name for name, _ in self._files("refused")]

    def refused_segments(self) -> list[Path]:
        """Return the damaged segments that were moved aside."""
        return list((self._folder / "refused").glob("*.segment"))

    def write(self, name: RecordName, opening: bytes, media: Sequence[Buffer] = (), *, folder: str = "waiting") -> None:
        """Write a record. When this returns it is there; when it raises, nothing of it is."""
        fresh = self._path("writing", name)
        try:
            if media:
                self._write_file(self._path("media", name), media)
                self._sync("media")
                opening = checksum_of(media) + opening
            self._write_file(fresh, [checksum_of([opening]) + opening])
            fresh.rename(self._path(folder, name))
            self._sync(folder)
        except OSError:
            for leftover in ("writing", folder, "media"):
                with contextlib.suppress(OSError):
                    self._path(leftover, name).unlink()
            raise

    def read(self, name: RecordName) -> Record | None:
        """Return a record, or None when the disk has not kept it.

        Raises:
            OSError: it is there, and cannot be read now.
        """
        try:
            found = self._read(name)
            if found is None:
                return None
            record, checksum = found
            return record if checksum is None or checksum == checksum_of(record.read_media()) else None
        except OSError as exc:
            if exc.errno in GONE_ERRORS:
                return None
            raise

    def read_opening(self, name: RecordName) -> Record | None:
        """Do the same without a look at the media of a record, which may not be what the disk was given."""
        found = self._read(name)
        return found[0] if found is not None else None

    def _read(self, name: RecordName) -> tuple[Record, bytes | None] | None:
        """Return a record, and the checksum that its media should have."""
        data = self._path("waiting", name).read_bytes()
        opening = data[CHECKSUM_BYTES:]
        if not opening or data[:CHECKSUM_BYTES] != checksum_of([opening]):
            return None
        room_bytes = in_blocks(len(data), name.media_bytes)
        if not name.media_bytes:
            return Record(name, opening, room_bytes=room_bytes), None
        media = self._path("media", name)
        record = Record(name, opening[CHECKSUM_BYTES:], media, room_bytes=room_bytes)
        return record, opening[:CHECKSUM_BYTES]

    def remove(self, name: RecordName) -> None:
        """Remove a record; it may be gone already."""
        self._path("waiting", name).unlink(missing_ok=True)
        if name.media_bytes:
            with contextlib.suppress(OSError):  # the record is gone, and so the next process removes them
                self._path("media", name).unlink()

    def dead_letter(self, name: RecordName, reason: str) -> None:
        """Move a record to `refused/`; its media stay where they are."""
        with contextlib.suppress(FileNotFoundError):
            self._path("waiting", name).rename(self._path("refused", name))
        self._write_reason(name, reason)

    def write_dead_letter(self, name: RecordName, opening: bytes, reason: str) -> None:
        """Write a record of the log to `refused/`."""
        self.write(name, opening, folder="refused")
        self._write_reason(name, reason)

    def _write_reason(self, name: RecordName, reason: str) -> None:
        with contextlib.suppress(OSError):  # on a full disk the record itself matters more, and the log has the reason
            self._path("refused", name).with_suffix(".reason").write_text(f"{reason}\n", "utf-8")

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
        if self._fsync:
            sync_folder(self._folder / folder)


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
    except OSError as exc:
        log.warning("outbox.leftover", file=str(leftover), reason=exc.strerror)
