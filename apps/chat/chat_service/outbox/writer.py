"""The writing side of the outbox: keeps exchanges, all of one turn of the event loop with one write.

Small exchanges are appended to the log. A large one gets files of its own, written in a thread. The exchanges of its
session that are kept meanwhile wait for it, so that a session is kept in the order of the calls.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from chat_service.outbox.errors import OutboxError, OutboxFull, OutboxUnwritable
from chat_service.outbox.files import in_blocks
from chat_service.outbox.queue import DeliveryQueue, SpooledRecord
from chat_service.outbox.records import CHECKSUM_BYTES, HEADER_BYTES, Record, RecordName, pack_header
from frameproto.exchange import Exchange, encode_exchange, encode_exchange_parts
from servicekit.logs import get_logger

if TYPE_CHECKING:
    from chat_service.outbox.segments import SegmentLog, Written
    from chat_service.outbox.spool import Spool
    from servicekit.clock import Now

log = get_logger(__name__)

SMALL_BYTES: Final = 128 * 1024
"""Exchanges whose frames are up to this size go to the log. The frames of a larger one are never copied as a whole."""

OnKept = Callable[[OutboxError | None], None]
"""Is told what became of an exchange: None when it is on disk, else why it is not."""


@dataclass(slots=True)
class _Item:
    """A small exchange of the turn that is being written.

    Attributes:
        record: what is written.
        on_kept: is told.
        error: why it is not kept.
    """

    record: Record
    on_kept: OnKept
    error: OutboxError | None = None


@dataclass(slots=True)
class _Large:
    """A large exchange that is to be written."""

    exchange: Exchange
    on_kept: OnKept
    appended_ms: int


class OutboxWriter:
    """Keeps exchanges.

    Args:
        log: where small ones go.
        spool: where large ones go.
        queue: hears of what was kept.
        max_bytes: how much the outbox may take on disk.
        last_number: of all records so far.
        fsync: whether to write in a thread, because a sync takes long.
        now: the wall clock.
        on_change: is called after each write.

    Attributes:
        log_bytes: what the segments take on disk.
        spool_bytes: what the files of records take on disk, those included that are being written.
    """

    def __init__(
        self,
        log: "SegmentLog",
        spool: "Spool",
        queue: DeliveryQueue,
        *,
        max_bytes: int,
        last_number: int,
        fsync: bool,
        now: "Now",
        on_change: Callable[[], None],
    ) -> None:
        self._log = log
        self._spool = spool
        self._queue = queue
        self._max_bytes = max_bytes
        self._last_number = last_number
        self._fsync = fsync
        self._now = now
        self._on_change = on_change
        self._turn: list[tuple[Exchange, OnKept]] = []
        self._is_scheduled = False
        self._syncing: asyncio.Task[None] | None = None
        self._large: set[asyncio.Task[None]] = set()
        self._behind: dict[UUID, list[tuple[Exchange, OnKept]]] = {}  # by session: what waits for a large one
        self.log_bytes = 0
        self.spool_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being written or waits to be."""
        return not (self._turn or self._large or self.is_writing)

    @property
    def is_writing(self) -> bool:
        """Whether a thread writes to the log."""
        return self._syncing is not None

    @property
    def size_bytes(self) -> int:
        """What the outbox takes on disk."""
        return self.log_bytes + self.spool_bytes

    def keep(self, exchange: Exchange, on_kept: OnKept) -> None:
        """See `Outbox.keep`."""
        self._turn.append((exchange, on_kept))
        if not self._is_scheduled:
            self._schedule()

    async def finish(self) -> None:
        """Write what waits, and return when all of it is written or refused."""
        while not self.is_idle:
            self._write_turn()
            if running := [*self._large, *([self._syncing] if self._syncing else [])]:
                await asyncio.wait(running)

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._write_turn)

    def _write_turn(self) -> None:
        """Write all that was kept in this turn of the event loop."""
        self._is_scheduled = False
        if not self._turn or self._syncing is not None:  # the thread takes it along when it is done
            return
        if self._fsync:
            self._syncing = asyncio.get_running_loop().create_task(self._write_and_sync())
            return
        items, large = self._take_turn()
        left = [item for item in items if item.error is None]
        while left:
            left = self._settle(left, self._log.append(*_packed(left)))
        self._tell((item.on_kept, item.error) for item in items)
        self._begin_large(large)

    async def _write_and_sync(self) -> None:
        """Write in a thread, one sync for all that was kept meanwhile, until nothing is left."""
        try:
            while self._turn:
                items, large = self._take_turn()
                left = [item for item in items if item.error is None]
                while left:
                    left = self._settle(left, await asyncio.to_thread(self._log.append, *_packed(left)))
                self._tell((item.on_kept, item.error) for item in items)
                self._begin_large(large)
        finally:
            self._syncing = None
            self._on_change()

    def _take_turn(self) -> tuple[list[_Item], list[_Large]]:
        """Number and encode the small exchanges of this turn, and return the large ones apart."""
        turn, self._turn = self._turn, []
        appended_ms = int(self._now().timestamp() * 1000)
        items: list[_Item] = []
        large: list[_Large] = []
        room = self._max_bytes - self.size_bytes
        for exchange, on_kept in turn:
            if self._behind and exchange.session_id in self._behind:
                self._behind[exchange.session_id].append((exchange, on_kept))
            elif len(exchange.request) + len(exchange.response) > SMALL_BYTES:
                self._behind[exchange.session_id] = []
                large.append(_Large(exchange, on_kept, appended_ms))
            else:
                body = encode_exchange(exchange)
                self._last_number += 1
                item = _Item(Record(RecordName(self._last_number, appended_ms), body), on_kept)
                items.append(item)
                room -= HEADER_BYTES + len(body)
                if room < 0:
                    room += HEADER_BYTES + len(body)
                    item.error = self._full()
        return items, large

    def _settle(self, items: list[_Item], written: "Written") -> list[_Item]:
        """Take in what the disk took of these; return those that are still to be written."""
        segment = written.segment
        if segment is not None:
            for item in items[: written.records]:
                record = item.record
                record.segment, record.offset = segment, segment.size_bytes
                size_bytes = HEADER_BYTES + len(record.opening)
                self._queue.add(record, segment, record.offset + size_bytes)
                self.log_bytes += size_bytes
        if written.error is None:
            return []
        items[written.records].error = _unwritable(written.error)
        return items[written.records + 1 :]

    def _begin_large(self, large: Iterable[_Large]) -> None:
        for one in large:
            task = asyncio.get_running_loop().create_task(self._keep_large(one))
            self._large.add(task)
            task.add_done_callback(self._large.discard)

    async def _keep_large(self, large: _Large) -> None:
        """Write an exchange to files of its own; then what waited behind it in its session can be kept."""
        exchange = large.exchange
        error: OutboxError | None = None
        try:
            await self._write_large(exchange, large.appended_ms)
        except OSError as exc:
            error = _unwritable(exc)
        except OutboxFull as exc:
            error = exc
        finally:
            self._turn[:0] = self._behind.pop(exchange.session_id)
            if self._turn and not self._is_scheduled:
                self._schedule()
        self._tell([(large.on_kept, error)])

    async def _write_large(self, exchange: Exchange, appended_ms: int) -> None:
        facts, *media = encode_exchange_parts(exchange)
        media_bytes = sum(map(len, media))
        size_bytes = in_blocks(2 * CHECKSUM_BYTES + len(facts), media_bytes)
        if self.size_bytes + size_bytes > self._max_bytes:
            raise self._full()
        self._last_number += 1
        self.spool_bytes += size_bytes
        entry = SpooledRecord(RecordName(self._last_number, appended_ms, media_bytes), size_bytes)
        try:
            await asyncio.to_thread(self._spool.write, entry.name, bytes(facts), media)
        except OSError:
            self.spool_bytes -= size_bytes
            raise
        self._queue.add_spooled(entry)

    def _full(self) -> OutboxFull:
        return OutboxFull(f"the outbox holds {self.size_bytes} of {self._max_bytes} bytes")

    def _tell(self, outcomes: Iterable[tuple[OnKept, OutboxError | None]]) -> None:
        self._on_change()
        for on_kept, error in outcomes:
            try:
                on_kept(error)
            except Exception:
                log.exception("outbox.bug", consequence="the others are told all the same")


def _packed(items: list[_Item]) -> tuple[int, list[bytes]]:
    """Return the first number of these records, and each as it stands in the log."""
    records = [item.record for item in items]
    return records[0].name.number, [pack_header(record.name, record.opening) + record.opening for record in records]


def _unwritable(exc: OSError) -> OutboxUnwritable:
    error = OutboxUnwritable(f"the outbox cannot be written: {exc.strerror}")
    error.__cause__ = exc
    return error
