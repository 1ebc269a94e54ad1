"""The log of the outbox: files to which records are appended, each removed when history has all of its records.

A segment is written by one process only, from its first byte on: a process that starts begins a new one. Each write is
whole records. When the disk takes only a part of a write, the segment is cut behind the last whole record; when that
fails as well, it is written no more. `segment_reader.py` reads segments.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from chat_service.outbox.files import sync_folder, write_at
from servicekit.logs import get_logger

log = get_logger(__name__)

FOLDER: Final = "log"
SUFFIX: Final = ".segment"


@dataclass(slots=True, eq=False)
class Segment:
    """One file of the log.

    Attributes:
        path: of the file, named for its first record.
        size_bytes: how much of it is whole records.
        read_bytes: how much of it was read, or is held in memory since it was written.
        undelivered: records that history does not have yet.
        unread: how many of them stand behind `read_bytes`.
        oldest_ms: when the first of the unread records came, at the earliest; 0: not known.
        damage: what the disk has not kept of it, for people to read.
        is_finished: it is to be removed, or was.
    """

    path: Path
    size_bytes: int = 0
    read_bytes: int = 0
    unread: int = 0
    undelivered: int = 0
    oldest_ms: int = 0
    damage: list[str] = field(default_factory=list)
    is_finished: bool = False

    @property
    def file(self) -> str:
        """Where it is in the folder of the outbox."""
        return f"{FOLDER}/{self.path.name}"


class Written(NamedTuple):
    """What the disk took of a write.

    Attributes:
        segment: where the records stand; None: there is none.
        records: how many the disk took. The segment does not count them yet.
        error: why it did not take the next one.
    """

    segment: Segment | None
    records: int
    error: OSError | None


class SegmentLog:
    """The segments of one process. Every method blocks.

    Args:
        folder: of the outbox.
        segment_bytes: how large a segment may become before the next one is begun.
        fsync: whether what is written must survive a crash of the machine.

    Attributes:
        active: the segment that is written to, if there is one.
    """

    def __init__(self, folder: Path, *, segment_bytes: int, fsync: bool) -> None:
        self._folder = folder / FOLDER
        self._refused = folder / "refused"
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._file = -1
        self._identity = (0, 0)  # of the file that is open
        self._left: list[Segment] = []
        self.active: Segment | None = None

    def paths(self) -> list[Path]:
        """Return the segments that an earlier process has left, oldest first, making the folder when it is not there.

        Raises:
            OSError: the folder cannot be used.
        """
        self._folder.mkdir(exist_ok=True)
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        return [self._folder / name for name in sorted(names) if first_number(Path(name))]

    def append(self, first_number: int, records: Sequence[bytes]) -> Written:
        """Write records, each with its header, in one write and, if asked for, one sync. Never raises OSError."""
        try:
            segment = self._writable(first_number)
        except OSError as exc:
            return Written(None, 0, exc)
        done, error = write_at(self._file, b"".join(records), segment.size_bytes)
        if done and self._fsync:  # also when a disk that became full took only a part
            done, unsynced = self._sync(done)
            error = error or unsynced
        if error is None:
            return Written(segment, len(records), None)
        kept = size = 0
        for record in records:
            if size + len(record) > done:
                break
            kept, size = kept + 1, size + len(record)
        self._cut(segment, segment.size_bytes + size)
        return Written(segment, kept, error)

    def empty_active(self) -> bool:
        """Begin the active segment anew, when history has all of its records; return whether that worked."""
        segment = self.active
        if segment is None:
            return False
        try:
            os.ftruncate(self._file, 0)
        except OSError:
            self.leave_active()
            return False
        segment.size_bytes = segment.read_bytes = 0
        return True

    def leave_active(self) -> None:
        """Write no more to the active segment; the next record begins a new one."""
        file, self._file = self._file, -1
        if self.active is not None:
            self._left.append(self.active)
            self.active = None
        if file >= 0:
            with contextlib.suppress(OSError):  # what was written is in the kernel's hands, or synced
                os.close(file)

    def take_left(self) -> list[Segment]:
        """Return the segments that are not active any more since this was last asked."""
        left, self._left = self._left, []
        return left

    def remove(self, segment: Segment) -> None:
        """Remove a segment, or move one with damage to `refused/`.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            if not segment.damage:
                segment.path.unlink()
                return
            aside = self._refused / segment.path.name
            segment.path.rename(aside)
            with contextlib.suppress(OSError):  # on a full disk the bytes matter more, and the log has the reason
                aside.with_suffix(".reason").write_text("\n".join([*segment.damage, ""]), "utf-8")

    def _writable(self, first_number: int) -> Segment:
        """Return the segment to write to, which is a new one when the last one is full or no longer in its place."""
        segment = self.active
        if segment is not None and not segment.damage and segment.size_bytes < self._segment_bytes:
            if self._is_in_place(segment):
                return segment
            log.error("outbox.gone", file=segment.file, consequence="records that are not in memory any more are lost")
        self.leave_active()
        segment = Segment(self._folder / f"{first_number:012}{SUFFIX}")
        self._file = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.active = segment
        try:
            self._identity = _identity(os.fstat(self._file))
            if self._fsync:
                sync_folder(self._folder)
        except OSError:
            self.leave_active()
            with contextlib.suppress(OSError):
                segment.path.unlink()
            raise
        return segment

    def _is_in_place(self, segment: Segment) -> bool:
        """Say whether the file that is open is the one that the next process will find."""
        try:
            return _identity(segment.path.stat()) == self._identity
        except OSError:
            return False

    def _sync(self, done: int) -> tuple[int, OSError | None]:
        try:
            os.fdatasync(self._file)
        except OSError as exc:
            return 0, exc
        return done, None

    def _cut(self, segment: Segment, size_bytes: int) -> None:
        """Cut off what is behind the last whole record."""
        try:
            os.ftruncate(self._file, size_bytes)
        except OSError as exc:
            log.warning("outbox.uncut", file=segment.file, reason=exc.strerror, consequence="a new segment is begun")
            self.leave_active()


def first_number(path: Path) -> int:
    """Return the number for which a segment is named; 0: it is none of ours."""
    return int(path.stem) if path.stem.isascii() and path.stem.isdigit() else 0


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_dev
