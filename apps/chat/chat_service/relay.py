"""The outbox relay: delivers the outbox to the history service, at least once.

Whatever fails, a record leaves the queue only when history has it or will never take it. Of most records that it will
never take, history says so. One that makes history fail whenever it comes is found like this:

1. A batch that failed `max_failures` times in a row is halved with each further failure, until one record is alone.
2. A record that fails alone is deferred, and the others go on without it.
3. A deferred record is tried again and again. It is dead-lettered when history answered it by a fault (5xx, but none
   that means "later") `max_failures` times, and had taken other records before each of these answers.

So an outage, in which nothing or only a part of the records is taken, dead-letters nothing.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import aiohttp

from chat_service.delivery import (
    BatchRefused,
    DeliveryDenied,
    DeliveryFailed,
    DeliveryTooSlow,
    HistoryService,
    batch_size,
)
from chat_service.delivery_observer import DeliveryObserver, DeliveryStats, NullObserver
from chat_service.failed_records import FailedRecords
from chat_service.outbox import Batch, Key, Outbox, OutboxError, OutboxUnwritable, RecordName, RecordUnreadable
from chat_service.pauses import Pauses
from servicekit.logs import get_logger
from servicekit.tasks import FullJitterBackoff, first_of, is_worth_logging

log = get_logger(__name__)


BATCH_INTERVAL_SECONDS: Final = 0.1
"""From the beginning of one delivery to that of the next, unless a whole batch waits. A delivery costs some 400 µs of
CPU time, however little it holds, so a busy pod delivers at once what came meanwhile."""

BATCH_RECORDS: Final = 256
"""Records that are delivered at once. A small one costs some 3 µs, in which the event loop does nothing else."""


class OutboxRelay:
    """Delivers records of an outbox to history.

    Args:
        outbox: where they come from.
        history_url: the address of the history service, or what it comes from when it is not known yet.
        http: the client session to use.
        token: gives the service token, if history asks for one.
        batch_bytes: how much is delivered at once; a larger record goes alone.
        request_seconds: how long history may take to answer.
        first_retry_seconds: the pause after a first failure; it doubles up to `last_retry_seconds`, with full jitter.
        last_retry_seconds: the longest pause.
        denied_retry_seconds: the pause while history does not accept the token.
        max_failures: how often a batch may fail before the record that causes it is looked for, and how often that
            record may fail alone before it is dead-lettered.
        jitter: a number in [0, 1), fresh at each call.
        observer: is told of each delivery.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        history_url: str | Awaitable[str],
        http: aiohttp.ClientSession,
        token: Callable[[], str] | None = None,
        batch_bytes: int = 4 * 1024 * 1024,
        request_seconds: float = 30.0,
        first_retry_seconds: float = 0.2,
        last_retry_seconds: float = 15.0,
        denied_retry_seconds: float = 60.0,
        max_failures: int = 6,
        jitter: Callable[[], float] = random.random,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self._outbox = outbox
        self._history = HistoryService(history_url, http=http, token=token, request_seconds=request_seconds)
        self._batch_bytes = batch_bytes
        self._pauses = Pauses(FullJitterBackoff(first_retry_seconds, last_retry_seconds, jitter), denied_retry_seconds)
        self._max_failures = max_failures
        self._observer = observer or NullObserver()
        self._max_records = BATCH_RECORDS
        self._failures = 0  # in a row
        self._is_searching = False  # for the record that makes its batches fail
        self._is_halving = False  # a batch that failed during the search: half of it is tried without much of a pause
        self._records = FailedRecords()
        self._next_at = 0.0  # when the next batch is due, by the clock of the event loop
        self._deferred_due = 0.0  # when a deferred record is tried next, by the clock of the event loop
        self._wake = asyncio.Event()
        self._last_bug = ""
        self._hurry = asyncio.Event()
        self._hopeless = asyncio.Event()
        self.stats = DeliveryStats()

    async def run(self) -> None:
        """Deliver until cancelled; nothing else ends it, because nobody would start it again."""
        await self._history.wait_for_address()
        while True:
            is_deferred = await self._wait_for_work()
            try:
                await (self._deliver_deferred() if is_deferred else self._deliver_next())
            except (DeliveryFailed, OutboxError) as exc:
                await self._pause(exc)
            except Exception as exc:  # noqa: BLE001 - reported by its traceback
                self._report(exc)
                await self._pause(exc)

    async def flush(self, seconds: float) -> int:
        """Let the running delivery go on without pauses until the outbox is empty or the time is over.

        It ends earlier when more time would not help: history does not accept the token, or took all but records that
        failed once more.

        Returns:
            how many records are left.
        """
        self._hopeless.clear()
        self._records.begin_flush()
        self._hurry.set()
        self._try_deferred_at(0.0)
        try:
            await first_of(self._outbox.wait_until_empty(), self._hopeless.wait(), seconds=seconds)
        finally:
            self._hurry.clear()
        return self._outbox.depth

    async def _wait_for_work(self) -> bool:
        """Wait until there is something to deliver; say whether it is a deferred record's turn."""
        loop = asyncio.get_running_loop()
        while self._outbox.deferred:
            seconds = self._deferred_due - loop.time()
            if seconds <= 0:
                return True
            if self._outbox.has_records:
                return False
            if self._hurry.is_set() and self._records.undeliverable == self._outbox.deferred_entries:
                self._hopeless.set()
            await first_of(self._outbox.wait_for_records(), self._wake.wait(), seconds=seconds)
            self._wake.clear()
        await self._outbox.wait_for_records()
        return False

    async def _deliver_next(self) -> None:
        loop = asyncio.get_running_loop()
        seconds = self._next_at - loop.time()
        if seconds > 0 and self._outbox.size_bytes < self._batch_bytes and self._outbox.depth < BATCH_RECORDS:
            await first_of(self._hurry.wait(), seconds=seconds)
        self._next_at = loop.time() + BATCH_INTERVAL_SECONDS
        batch = await self._outbox.peek_batch(self._batch_bytes, self._max_records)
        if batch is None:
            return
        count = len(batch.records)
        try:
            await self._deliver(batch)
        except BatchRefused:
            self._max_records = count // 2  # look for the one that spoils it
            return
        except OutboxError:
            raise
        except Exception as exc:
            await self._narrow(batch, exc)
            raise
        if count < self._max_records or count == BATCH_RECORDS:
            self._is_searching = False
        else:  # step by step: what history takes at once may have become less for good
            self._max_records = min(2 * count, BATCH_RECORDS)

    async def _deliver_deferred(self) -> None:
        """Try a deferred record, and put it off again when it fails for a reason that need not concern the others."""
        self._try_deferred_in(self._pause_seconds(DeliveryFailed(""), self._max_failures))
        try:
            batch = await self._outbox.peek_deferred()
        except RecordUnreadable as exc:
            self._put_off(exc.key, exc.file, exc)
            return
        if batch is None:
            return
        name, file = batch.records[0].name, batch.records[0].file
        try:
            stuck = await self._deliver(batch)
        except DeliveryFailed as exc:
            if not exc.splits:
                raise
            self._put_off(name, file, exc)
            faults = self._records.faults(name)
            if faults >= self._max_failures:
                await self._dead_letter(batch, f"{exc}, {faults} times, while history took other records")
        else:
            if stuck:
                self._put_off(name, file, OutboxUnwritable("the disk has no room for it in refused/"))
            else:
                self._records.discard(name)
                self._try_deferred_at(0.0)

    async def _deliver(self, batch: Batch) -> Collection[RecordName]:
        """Deliver a batch, and let go of it; return the records that could not be moved or removed.

        Raises:
            BatchRefused: history will not take so many records, or one of them; never of a batch of one.
            DeliveryFailed: history did not take it.
        """
        count, size_bytes, began = len(batch.records), batch_size(batch), time.perf_counter()
        try:
            refused = await self._history.hand_over(batch, size_bytes)
        except BatchRefused as exc:
            if count > 1:
                raise
            refused = {0: str(exc)}
        seconds = time.perf_counter() - began
        taken, dead_letters = count - len(refused), self.stats.refused
        stuck = await self._settle(batch, refused)
        self._observer.delivered(taken, self.stats.refused - dead_letters, size_bytes, seconds)
        if self._failures:
            log.info("delivery.works_again", after_failures=self._failures)
            self._try_deferred_at(0.0)
        self._failures = 0
        self._last_bug = ""
        self.stats.delivered += taken
        return stuck

    async def _settle(self, batch: Batch, refused: dict[int, str]) -> Collection[RecordName]:
        """Let go of a batch that history has answered for; return those that could not be moved or removed."""
        stuck = await self._outbox.done(batch, refused)
        for index, reason in refused.items():
            name = batch.records[index].name
            if name not in stuck:
                self.stats.refused += 1
                log.error("delivery.refused", file=f"refused/{name}", reason=reason, consequence="dead-lettered")
        return stuck

    async def _narrow(self, batch: Batch, failed: Exception) -> None:
        """Send less next time, or defer the one record that was sent, if that may help."""
        if isinstance(failed, DeliveryFailed) and not failed.splits:
            return
        self._is_searching = self._is_searching or self._failures + 1 >= self._max_failures
        self._is_halving = self._is_searching and len(batch.records) > 1
        if len(batch.records) > 1:
            if self._is_searching or isinstance(failed, DeliveryTooSlow):
                self._max_records = len(batch.records) // 2
        elif self._is_searching:
            await self._outbox.defer(batch)
            name = batch.records[0].name
            self._records.begin(name, self.stats.delivered)
            self._try_deferred_in(self._pause_seconds(DeliveryFailed(""), self._failures + 1))

    def _put_off(self, key: Key, file: str, failed: Exception) -> None:
        """Say when a deferred record is tried again that has failed again."""
        record = self._records.fail(key, failed, self.stats.delivered)
        self._count_failure(failed)
        if record.is_undeliverable:
            failures, pauses = record.tries, self._max_failures + record.tries
        else:  # it may well be an outage
            self._failures += 1
            failures = pauses = self._failures
        seconds = self._pause_seconds(failed, pauses)
        self._try_deferred_in(seconds)
        self._log_failure(failures, seconds, file=file)

    async def _dead_letter(self, batch: Batch, reason: str) -> None:
        if not await self._settle(batch, {0: reason}):
            self._records.discard(batch.records[0].name)
            self._observer.dead_lettered()

    def _report(self, bug: Exception) -> None:
        """Log what nobody foresaw, once for as long as it is the same."""
        if repr(bug) != self._last_bug:
            log.error("delivery.bug", exc_info=bug, consequence="tried again")
        self._last_bug = repr(bug)

    async def _pause(self, failed: Exception) -> None:
        self._failures += 1
        self._count_failure(failed)
        seconds = self._pause_seconds(failed, self._failures)
        advice = {"what_to_do": failed.advice} if isinstance(failed, DeliveryDenied) else {}
        self._log_failure(self._failures, seconds, **advice)
        if isinstance(failed, DeliveryDenied) and self._hurry.is_set():
            self._hopeless.set()
        self._wake.clear()
        await first_of(self._wake.wait(), seconds=seconds)

    def _pause_seconds(self, failed: Exception, failures: int) -> float:
        return self._pauses.after(failed, failures, is_hurried=self._hurry.is_set(), is_halving=self._is_halving)

    def _try_deferred_in(self, seconds: float) -> None:
        self._try_deferred_at(asyncio.get_running_loop().time() + seconds)

    def _try_deferred_at(self, due: float) -> None:
        self._deferred_due = due
        self._wake.set()

    def _count_failure(self, failed: Exception) -> None:
        self.stats.retries += 1
        self.stats.last_error = str(failed) or type(failed).__name__
        self._observer.failed(denied=isinstance(failed, DeliveryDenied))

    def _log_failure(self, failures: int, seconds: float, **facts: str) -> None:
        if is_worth_logging(failures):
            log.warning(
                "delivery.failed",
                reason=self.stats.last_error,
                failures=failures,
                waiting=self._outbox.depth,
                next_try_seconds=round(seconds, 3),
                **facts,
            )
