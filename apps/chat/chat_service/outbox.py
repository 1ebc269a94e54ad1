"""The outbox: finished exchanges on local disk, until history has them.

A reply leaves only after `append` returned, and `append` returns only after the record is in its file. Whatever kills
this process afterwards, the record is there when the folder is opened again. It is one file a record, as in a mail
spool: files come, move and go whole, so nothing needs repair, and letting go of a record needs no room on a full disk.

    lock        held by the one process that uses the folder
    writing/    records on their way to the disk; nobody was told of them
    waiting/    records that history does not have yet, in the order of their names
    refused/    what history will not take, or the disk did not keep; the reason is in a file beside it
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, ClassVar, Final, Self, TypeVar

from chat_service.spool import Record, RecordName, read_record, sync_folder, write_record
from frameproto.exchange import Exchange, encode_exchange
from servicekit.clock import Now, utc_now
from servicekit.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")

INLINE_BYTES: Final = 64 * 1024  # a smaller record is written at once: a thread would cost more than the write
BLOCK_BYTES: Final = 4096  # what the smallest file takes


class OutboxError(Exception):
    """The outbox cannot be used; `code` is what the client is told."""

    code: ClassVar[str] = "storage_full"


class OutboxLocked(OutboxError):
    """Another process uses this folder."""


class OutboxFull(OutboxError):
    """The outbox holds all that it may; history has not taken anything for a while."""

    code = "busy"


class OutboxUnwritable(OutboxError):
    """The disk did not take the record."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to deliver, oldest first."""

    records: tuple[Record, ...]

    @property
    def payloads(self) -> list[bytes]:
        """The encoded exchanges."""
        return [record.payload for record in self.records]


@dataclass(slots=True)
class _Entry:
    """What is known of a record without reading it."""

    name: RecordName
    size: int  # on disk, in whole blocks
    written: bool = False


class Outbox:
    """The outbox of one process. Open it with `Outbox.open`."""

    def __init__(self, folder: Path, lock: int, *, max_bytes: int, fsync: bool, now: Now) -> None:
        self._folder = folder
        self._lock_file = lock
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._now = now
        self._entries: dict[int, _Entry] = {}  # by number, which is the order of the calls
        self._last_number = 0
        self._arrived = asyncio.Event()
        self._emptied = asyncio.Event()
        self.depth = 0
        """Records that history does not have yet."""
        self.size_bytes = 0
        """Room that they take on disk."""
        self.refused = 0
        """Records set aside."""

    @classmethod
    def open(cls, folder: Path, *, max_bytes: int, fsync: bool = False, now: Now = utc_now) -> Self:
        """Open the outbox in a folder, making it when it is not there, with all that an earlier process left.

        Args:
            folder: where it lives; one process at a time.
            max_bytes: how much undelivered data it may hold, in whole blocks of 4 KiB a record.
            fsync: whether a record must survive a crash of the machine, not only of the process.
            now: the wall clock.

        Raises:
            OutboxLocked: another process uses the folder.
            OutboxUnwritable: the folder cannot be used.
        """
        lock = _lock(folder)
        outbox = cls(folder, lock, max_bytes=max_bytes, fsync=fsync, now=now)
        try:
            outbox._recover()
        except OSError as error:
            os.close(lock)
            raise OutboxUnwritable(f"the outbox in {folder} cannot be opened: {error.strerror}") from error
        return outbox

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest undelivered record has been waiting."""
        oldest = next(iter(self._entries.values()), None)
        return 0.0 if oldest is None else max(0.0, self._now().timestamp() - oldest.name.appended_ms / 1000)

    async def append(self, exchange: Exchange) -> None:
        """Keep an exchange. When this returns it is on disk; when it raises, nothing of it is.

        Records stand in the order of the calls. A cancelled call has kept the whole record, or nothing.

        Raises:
            OutboxFull: over `max_bytes`.
            OutboxUnwritable: the disk is full or broken; later calls may work again.
        """
        payload = encode_exchange(exchange)
        size = _in_blocks(len(payload))
        if self.size_bytes + size > self._max_bytes:
            raise OutboxFull(f"the outbox holds {self.size_bytes} of {self._max_bytes} bytes")
        self._last_number += 1
        entry = _Entry(RecordName(self._last_number, int(self._now().timestamp() * 1000)), size)
        self._entries[entry.name.number] = entry
        self.size_bytes += size
        self._emptied.clear()
        if size <= INLINE_BYTES and not self._fsync:
            self._settle(entry, self._write(entry, payload))
        else:
            await _to_its_end(self._write_in_thread(entry, payload))

    async def wait_for_records(self) -> None:
        """Return when there is something to deliver."""
        await self._arrived.wait()

    async def wait_until_empty(self) -> None:
        """Return when history has everything."""
        await self._emptied.wait()

    async def peek_batch(self, max_bytes: int, max_records: int | None = None) -> Batch | None:
        """Return the oldest undelivered records, up to `max_bytes` but at least one, or None when there are none.

        Raises:
            OutboxUnwritable: the disk cannot be read.
        """
        while names := self._oldest(max_bytes, max_records):
            try:
                payloads = await asyncio.to_thread(self._read, names)
            except OSError as error:
                raise OutboxUnwritable(f"the outbox cannot be read: {error.strerror}") from error
            damaged = [name for name in names if name not in payloads]
            if not damaged:
                return Batch(tuple(Record(name, payload) for name, payload in payloads.items()))
            log.error("outbox.damaged", records=len(damaged), consequence="set aside")
            await self._forget_each(damaged, dict.fromkeys(damaged, "the disk did not keep these bytes"))
        return None

    async def done(self, batch: Batch, refused: Mapping[int, str] | None = None) -> None:
        """Mark a batch as delivered; records named in `refused`, by their index, are set aside with the reason.

        Raises:
            OutboxUnwritable: the disk is broken. What is left of the batch is then still to be delivered.
        """
        reasons = {batch.records[index].name: reason for index, reason in (refused or {}).items()}
        await self._forget_each([record.name for record in batch.records], reasons)

    async def close(self) -> None:
        """Let the folder go. What is undelivered stays."""
        os.close(self._lock_file)

    def _waiting(self, name: RecordName) -> Path:
        return self._folder / "waiting" / str(name)

    def _oldest(self, max_bytes: int, max_records: int | None) -> list[RecordName]:
        """Return the names of the next batch. It ends before a record that is still being written: order is kept."""
        names: list[RecordName] = []
        size = 0
        for entry in islice(takewhile(lambda entry: entry.written, self._entries.values()), max_records):
            size += entry.size
            if names and size > max_bytes:
                break
            names.append(entry.name)
        return names

    def _read(self, names: list[RecordName]) -> dict[RecordName, bytes]:
        """Return the payloads of the records that the disk has kept."""
        payloads = ((name, read_record(self._waiting(name))) for name in names)
        return {name: payload for name, payload in payloads if payload is not None}

    def _write(self, entry: _Entry, payload: bytes) -> OSError | None:
        fresh = self._folder / "writing" / str(entry.name)
        try:
            write_record(fresh, payload, fsync=self._fsync)
            fresh.rename(self._waiting(entry.name))
            if self._fsync:
                sync_folder(self._folder / "waiting")
        except OSError as error:
            for path in (fresh, self._waiting(entry.name)):
                with contextlib.suppress(OSError):
                    path.unlink()
            return error
        return None

    async def _write_in_thread(self, entry: _Entry, payload: bytes) -> None:
        self._settle(entry, await asyncio.to_thread(self._write, entry, payload))

    def _settle(self, entry: _Entry, error: OSError | None) -> None:
        """Count a record that is on disk, or forget one that the disk did not take."""
        if error is None:
            entry.written = True
            self.depth += 1
        else:
            del self._entries[entry.name.number]
            self.size_bytes -= entry.size
        self._tell()
        if error is not None:
            raise OutboxUnwritable(f"the outbox cannot be written: {error.strerror}") from error

    async def _forget_each(self, names: list[RecordName], refused: Mapping[RecordName, str]) -> None:
        try:
            await _to_its_end(self._forget_in_thread(names, refused))
        except OSError as error:
            raise OutboxUnwritable(f"the outbox cannot be written: {error.strerror}") from error

    async def _forget_in_thread(self, names: list[RecordName], refused: Mapping[RecordName, str]) -> None:
        gone: list[RecordName] = []

        def forget() -> None:
            for name in names:
                if name in refused:
                    self._set_aside(name, refused[name])
                else:
                    self._waiting(name).unlink(missing_ok=True)
                gone.append(name)

        try:
            await asyncio.to_thread(forget)
        finally:
            for name in gone:
                self.size_bytes -= self._entries.pop(name.number).size
            self.depth -= len(gone)
            self.refused += sum(name in refused for name in gone)
            self._tell()

    def _set_aside(self, name: RecordName, reason: str) -> None:
        aside = self._folder / "refused" / str(name)
        with contextlib.suppress(FileNotFoundError):
            self._waiting(name).rename(aside)
        with contextlib.suppress(OSError):  # on a full disk the record itself matters more, and the log has the reason
            aside.with_suffix(".reason").write_text(f"{self._now().isoformat()} {reason}\n")

    def _recover(self) -> None:
        for name in ("writing", "waiting", "refused"):
            (self._folder / name).mkdir(exist_ok=True)
        for torn in (self._folder / "writing").iterdir():
            torn.unlink()
        waiting = [
            _Entry(name, _in_blocks(file.stat().st_size), written=True) for name, file in self._files_in("waiting")
        ]
        refused = [name for name, _ in self._files_in("refused")]
        waiting.sort(key=lambda entry: entry.name.number)
        self._entries = {entry.name.number: entry for entry in waiting}
        self._last_number = max([*self._entries, *(name.number for name in refused)], default=0)
        self.depth = len(waiting)
        self.size_bytes = sum(entry.size for entry in waiting)
        self.refused = len(refused)
        self._tell()
        if self.depth:
            log.info("outbox.recovered", records=self.depth, bytes=self.size_bytes)

    def _files_in(self, folder: str) -> Iterator[tuple[RecordName, os.DirEntry[str]]]:
        with os.scandir(self._folder / folder) as files:
            for file in files:
                name = RecordName.parse(file.name)
                if name is not None:
                    yield name, file

    def _tell(self) -> None:
        """Wake whoever waits for records, or for there to be none."""
        oldest = next(iter(self._entries.values()), None)
        for event, holds in ((self._arrived, oldest is not None and oldest.written), (self._emptied, oldest is None)):
            event.set() if holds else event.clear()


def _in_blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _lock(folder: Path) -> int:
    """Take the folder for this process; return the descriptor that holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxUnwritable(f"the outbox folder {folder} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise OutboxLocked(
            f"the outbox folder {folder} is in use by another process; give each its own CHAT_DATA_DIR"
        ) from error
    return lock


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do what a thread is part of, and so cannot be stopped; a cancellation takes effect once it has ended."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.exception()  # nobody is left to be told
        raise
