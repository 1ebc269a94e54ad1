"""The outbox: finished exchanges on local disk, until history has them.

A reply leaves only after `append` returned, and `append` returns only after the record is in its file. Whatever kills
this process afterwards, the record is there when the folder is opened again. It is one small file a record, as in a
mail spool, and one more where there are voice or video (`spool.py`): files come, move and go whole, so nothing needs
repair, and letting go of a record needs no room on a full disk. What memory holds of a record that waits is its name.

A record that cannot be delivered now is *deferred*: it still waits, but apart from the queue, so that it does not hold
up the others. `peek_deferred` offers it again.
"""

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import ClassVar, Final, Self, TypeVar
from uuid import UUID

from chat_service.spool import CHECKSUM_BYTES, Record, RecordName, Spool, in_blocks
from frameproto import Buffer
from frameproto.exchange import Exchange, encode_exchange_parts
from servicekit.clock import Now, utc_now
from servicekit.logs import get_logger
from servicekit.tasks import finish

log = get_logger(__name__)

T = TypeVar("T")

SMALL_BYTES: Final = 64 * 1024
"""A record up to this size is one file, written at once: a thread would cost more than the write. Of a larger one the
frames stand in a file of their own, which is never held in memory as a whole."""
PROCESS_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What fails with these says nothing about the file: this process or the machine has run out of something."""
NOT_KEPT: Final = "the disk did not keep these bytes"


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


class RecordUnreadable(OutboxError):
    """A record is on disk and cannot be read now."""

    def __init__(self, name: RecordName, reason: str) -> None:
        super().__init__(f"waiting/{name} {reason}")
        self.name = name


OnKept = Callable[[OutboxError | None], None]
"""Is told what became of an exchange: None when it is on disk, else why it is not."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to deliver, oldest first."""

    records: tuple[Record, ...]


@dataclass(slots=True)
class _Entry:
    """What is known of a record without reading it."""

    name: RecordName
    size: int  # on disk, in whole blocks
    written: bool = False


class Outbox:
    """The outbox of one process. Open it with `Outbox.open`."""

    def __init__(self, spool: Spool, *, max_bytes: int, fsync: bool, now: Now) -> None:
        self._spool = spool
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._now = now
        self._entries: dict[int, _Entry] = {}  # by number, which is the order of the calls
        self._deferred: dict[int, _Entry] = {}  # by number, in the order in which they are tried next
        self._last_number = 0
        self._keeping: dict[UUID, asyncio.Task[None]] = {}  # the last exchange of each session that is being kept
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
        try:
            spool = Spool.open(folder, fsync=fsync)
            try:
                outbox = cls(spool, max_bytes=max_bytes, fsync=fsync, now=now)
                outbox._recover()
            except OSError:
                spool.close()
                raise
        except BlockingIOError as error:
            raise OutboxLocked(
                f"the outbox folder {folder} is in use by another process; give each its own CHAT_DATA_DIR"
            ) from error
        except OSError as error:
            raise OutboxUnwritable(
                f"the outbox folder {folder} cannot be used: {error.strerror}; set CHAT_DATA_DIR to a folder that this "
                "process may write to"
            ) from error
        return outbox

    @property
    def oldest_age_seconds(self) -> float:
        """How long the oldest undelivered record has been waiting."""
        heads = [*islice(self._entries.values(), 1), *self._deferred.values()]
        if not heads:
            return 0.0
        return max(0.0, self._now().timestamp() - min(entry.name.appended_ms for entry in heads) / 1000)

    @property
    def deferred(self) -> int:
        """How many of the undelivered records are deferred."""
        return len(self._deferred)

    def keep(self, exchange: Exchange, on_kept: OnKept) -> None:
        """Keep an exchange, and tell when it is on disk or why it is not.

        `on_kept` is called once, on the event loop, after this has returned; for the exchanges of one session in the
        order of the calls.
        """
        before = self._keeping.get(exchange.session_id)
        task = asyncio.get_running_loop().create_task(self._keep(exchange, on_kept, before))
        self._keeping[exchange.session_id] = task
        task.add_done_callback(lambda done: self._forget_keeping(exchange.session_id, done))

    async def _keep(self, exchange: Exchange, on_kept: OnKept, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        error: OutboxError | None = None
        try:
            await self.append(exchange)
        except OutboxError as exc:
            error = exc
        on_kept(error)

    def _forget_keeping(self, session_id: UUID, task: "asyncio.Task[None]") -> None:
        if self._keeping.get(session_id) is task:
            del self._keeping[session_id]

    async def append(self, exchange: Exchange) -> None:
        """Keep an exchange. When this returns it is on disk; when it raises, nothing of it is.

        Records stand in the order of the calls. A cancelled call has kept the whole record, or nothing.

        Raises:
            OutboxFull: over `max_bytes`.
            OutboxUnwritable: the disk is full or broken; later calls may work again.
        """
        parts = encode_exchange_parts(exchange)
        whole = sum(map(len, parts))
        opening, media = (b"".join(parts), ()) if whole <= SMALL_BYTES else (bytes(parts[0]), parts[1:])
        media_bytes = sum(map(len, media))
        size = in_blocks(2 * CHECKSUM_BYTES + len(opening), media_bytes)
        if self.size_bytes + size > self._max_bytes:
            raise OutboxFull(f"the outbox holds {self.size_bytes} of {self._max_bytes} bytes")
        self._last_number += 1
        entry = _Entry(RecordName(self._last_number, int(self._now().timestamp() * 1000), media_bytes), size)
        self._entries[entry.name.number] = entry
        self.size_bytes += size
        self._emptied.clear()
        if media or self._fsync:
            await finish(self._write_in_thread(entry, opening, media))
        else:
            self._settle(entry, self._write(entry, opening, media))

    @property
    def has_records(self) -> bool:
        """Whether there is something to deliver that is not deferred."""
        return self._arrived.is_set()

    async def wait_for_records(self) -> None:
        """Return when there is something to deliver that is not deferred."""
        await self._arrived.wait()

    async def wait_until_empty(self) -> None:
        """Return when history has everything."""
        await self._emptied.wait()

    async def peek_batch(self, max_bytes: int, max_records: int | None = None) -> Batch | None:
        """Return the oldest undelivered records, up to `max_bytes` but at least one, or None when there are none.

        Records that the disk has damaged are set aside on the way, and those that cannot be read now are deferred.

        Raises:
            OutboxUnwritable: the disk cannot be read.
        """
        while names := self._oldest(max_bytes, max_records):
            records = await self._read(names)
            whole = tuple(record for record in records.values() if isinstance(record, Record))
            if len(whole) == len(names):
                return Batch(whole)
            for name, trouble in records.items():
                if isinstance(trouble, OSError):
                    log.error(
                        "outbox.unreadable",
                        file=f"waiting/{name}",
                        reason=trouble.strerror,
                        consequence="tried again later; the other records are delivered",
                    )
                    self._defer(name)
            await self._set_damaged_aside(records)
        return None

    async def peek_deferred(self) -> Batch | None:
        """Return the deferred record whose turn it is, or None when there is none. The next call offers another one.

        Raises:
            RecordUnreadable: it still cannot be read.
            OutboxUnwritable: the disk cannot be read.
        """
        while entry := next(iter(self._deferred.values()), None):
            self._defer(entry.name)
            records = await self._read([entry.name])
            match records[entry.name]:
                case Record() as record:
                    return Batch((record,))
                case OSError() as trouble:
                    raise RecordUnreadable(entry.name, f"cannot be read: {trouble.strerror}") from trouble
                case None:
                    await self._set_damaged_aside(records)
                    if entry.name.number in self._deferred:
                        raise RecordUnreadable(entry.name, "is damaged, and cannot be moved to refused/")
        return None

    def defer(self, batch: Batch) -> None:
        """Keep these records apart from the queue; of the deferred ones their turn comes last."""
        for record in batch.records:
            self._defer(record.name)

    async def done(self, batch: Batch, refused: Mapping[int, str] | None = None) -> None:
        """Mark a batch as delivered; records named in `refused`, by their index, are set aside with the reason.

        A record whose file cannot be moved or removed is deferred, and will be delivered again.

        Raises:
            OutboxUnwritable: none of them can. The batch is then still to be delivered.
        """
        reasons = {batch.records[index].name: reason for index, reason in (refused or {}).items()}
        await self._forget_each([record.name for record in batch.records], reasons)

    async def close(self) -> None:
        """Let the folder go. What is undelivered stays."""
        self._spool.close()

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

    async def _read(self, names: Sequence[RecordName]) -> dict[RecordName, Record | OSError | None]:
        """Read records; None: the disk has not kept it, an error: it cannot be read now."""

        def read(name: RecordName) -> Record | OSError | None:
            try:
                return self._spool.read(name)
            except OSError as error:
                if error.errno in PROCESS_ERRORS:
                    raise
                return error

        try:
            return await asyncio.to_thread(lambda: {name: read(name) for name in names})
        except OSError as error:
            raise OutboxUnwritable(f"the outbox cannot be read: {error.strerror}") from error

    async def _set_damaged_aside(self, records: Mapping[RecordName, Record | OSError | None]) -> None:
        damaged = [name for name, record in records.items() if record is None]
        for name in damaged:
            log.error("outbox.damaged", file=f"refused/{name}", reason=NOT_KEPT, consequence="set aside")
        if damaged:
            await self._forget_each(damaged, dict.fromkeys(damaged, NOT_KEPT))

    def _defer(self, name: RecordName) -> None:
        entry = self._entries.pop(name.number, None) or self._deferred.pop(name.number)
        self._deferred[name.number] = entry
        self._tell()

    def _write(self, entry: _Entry, opening: bytes, media: Sequence[Buffer]) -> OSError | None:
        try:
            self._spool.write(entry.name, opening, media)
        except OSError as error:
            return error
        return None

    async def _write_in_thread(self, entry: _Entry, opening: bytes, media: Sequence[Buffer]) -> None:
        self._settle(entry, await asyncio.to_thread(self._write, entry, opening, media))

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
            await finish(self._forget_in_thread(names, refused))
        except OSError as error:
            raise OutboxUnwritable(f"the outbox cannot be written: {error.strerror}") from error

    async def _forget_in_thread(self, names: list[RecordName], refused: Mapping[RecordName, str]) -> None:
        gone: list[RecordName] = []
        stuck: dict[RecordName, OSError] = {}

        def forget() -> None:
            for name in names:
                try:
                    if name in refused:
                        self._spool.set_aside(name, f"{self._now().isoformat()} {refused[name]}")
                    else:
                        self._spool.remove(name)
                except OSError as error:
                    stuck[name] = error
                else:
                    gone.append(name)

        await asyncio.to_thread(forget)
        for name in gone:
            entry = self._entries.pop(name.number, None) or self._deferred.pop(name.number)
            self.size_bytes -= entry.size
        self.depth -= len(gone)
        self.refused += sum(name in refused for name in gone)
        self._tell()
        if stuck and not gone:
            raise next(iter(stuck.values()))
        for name, error in stuck.items():
            log.error(
                "outbox.stuck", file=f"waiting/{name}", reason=error.strerror, consequence="delivered again later"
            )
            self._defer(name)

    def _recover(self) -> None:
        refused = self._spool.refused()
        self._entries = {name.number: _Entry(name, size, written=True) for name, size in self._spool.waiting()}
        self._last_number = max([*self._entries, *(name.number for name in refused)], default=0)
        self.depth = len(self._entries)
        self.size_bytes = sum(entry.size for entry in self._entries.values())
        self.refused = len(refused)
        self._tell()
        if self.depth:
            log.info("outbox.recovered", records=self.depth, bytes=self.size_bytes)

    def _tell(self) -> None:
        """Wake whoever waits for records, or for there to be none."""
        oldest = next(iter(self._entries.values()), None)
        empty = oldest is None and not self._deferred
        for event, holds in ((self._arrived, oldest is not None and oldest.written), (self._emptied, empty)):
            event.set() if holds else event.clear()
