"""The courier: carries the outbox to the history service, at least once and in order.

Whatever happens on the way, a record leaves the outbox only when history said that it has it, or that it never will.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp

from chat_service.outbox import Batch, Outbox, OutboxError
from chat_service.spool import CHUNK_BYTES
from frameproto.exchange import MAX_BATCH_RECORDS, batch_header, record_header
from servicekit.logs import get_logger

log = get_logger(__name__)

CONTENT_TYPE: Final = "application/msgpack"
TAKEN: Final = {"stored", "duplicate", "erased"}
REFUSED: Final = "refused"


class DeliveryFailed(Exception):
    """History did not take a batch, and may take it later."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class DeliveryTooSlow(DeliveryFailed):
    """History did not answer in time. As much again would take as long again, and so less is tried."""


class BatchRefused(Exception):
    """History will not take these bytes as they are: too many, or one of them spoils the batch."""


class DeliveryObserver(Protocol):
    """Is told of each delivery."""

    def delivered(self, exchanges: int, refused: int, size_bytes: int, seconds: float) -> None:
        """History has answered: how many it has now, how many it never will; what was sent, and how long that took."""

    def failed(self) -> None:
        """A delivery has to be tried again."""


class Unobserved:
    """Nobody looks."""

    def delivered(self, exchanges: int, refused: int, size_bytes: int, seconds: float) -> None:
        """See `DeliveryObserver.delivered`."""

    def failed(self) -> None:
        """See `DeliveryObserver.failed`."""


@dataclass(slots=True)
class DeliveryStats:
    """What the courier has done so far."""

    delivered: int = 0
    refused: int = 0
    retries: int = 0
    last_error: str = ""


class Courier:
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
        jitter: Callable[[], float] = random.random,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self._outbox = outbox
        self._history_url = history_url
        self._http = http
        self._token = token
        self._batch_bytes = batch_bytes
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._first_retry_seconds = first_retry_seconds
        self._last_retry_seconds = last_retry_seconds
        self._jitter = jitter
        self._observer = observer or Unobserved()
        self._max_records = MAX_BATCH_RECORDS
        self._failures = 0
        self._last_bug = ""
        self._hurry = asyncio.Event()
        self.stats = DeliveryStats()

    async def run(self) -> None:
        """Deliver until cancelled; nothing else ends it, because nobody would start it again."""
        given = self._history_url
        url = f"{(given if isinstance(given, str) else await given).rstrip('/')}/v1/exchanges"
        while True:
            await self._outbox.wait_for_records()
            try:
                await self._deliver_next(url)
            except (DeliveryFailed, OutboxError) as failed:
                await self._pause(failed)
            except Exception as bug:  # noqa: BLE001 - reported by its traceback
                self._report(bug)
                await self._pause(bug)

    async def flush(self, seconds: float) -> int:
        """Let the running delivery go on without pauses until the outbox is empty or the time is over.

        Returns:
            how many records are left.
        """
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                await self._outbox.wait_until_empty()
        except TimeoutError:
            pass
        finally:
            self._hurry.clear()
        return self._outbox.depth

    async def _deliver_next(self, url: str) -> None:
        batch = await self._outbox.peek_batch(self._batch_bytes, self._max_records)
        if batch is None:
            return
        count, began = len(batch.records), time.perf_counter()
        try:
            refused = await self._post(url, batch)
        except DeliveryTooSlow:
            self._max_records = max(1, count // 2)
            raise
        except BatchRefused as spoilt:
            if count > 1:
                self._max_records = count // 2  # look for the one that spoils it
                return
            refused = {0: str(spoilt)}
        seconds = time.perf_counter() - began
        await self._outbox.done(batch, refused)
        self._observer.delivered(count - len(refused), len(refused), _size(batch), seconds)
        if self._failures:
            log.info("delivery.works_again", after_failures=self._failures)
        self._failures = 0
        self._last_bug = ""
        if count == self._max_records:  # step by step: what history takes at once may have become less for good
            self._max_records = min(2 * count, MAX_BATCH_RECORDS)
        self.stats.delivered += count - len(refused)
        self.stats.refused += len(refused)
        for index, reason in refused.items():
            file = f"refused/{batch.records[index].name}"
            log.error("delivery.refused", file=file, reason=reason, consequence="set aside in the outbox")

    async def _post(self, url: str, batch: Batch) -> dict[int, str]:
        """Hand a batch over; return the indices that history will never take, with its reasons."""
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(_size(batch))}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        try:
            async with self._http.post(url, data=_encode(batch), headers=headers, timeout=self._timeout) as response:
                if response.status == 200:  # noqa: PLR2004 - the one good answer
                    return _outcomes(await response.json(), len(batch.records))
                if response.status in {400, 413, 415, 422}:
                    raise BatchRefused(f"{response.status} {await _code(response)}")
                raise DeliveryFailed(
                    f"{response.status} {await _code(response)}",
                    retry_after_seconds=_seconds(response.headers.get("Retry-After")),
                )
        except TimeoutError as late:
            raise DeliveryTooSlow("no answer in time") from late
        except (aiohttp.ClientError, OSError) as broken:
            raise DeliveryFailed(f"{type(broken).__name__}: {broken}") from broken
        except (ValueError, RecursionError) as garbled:
            raise DeliveryFailed(f"the answer cannot be read: {garbled}") from garbled

    def _report(self, bug: Exception) -> None:
        """Log what nobody foresaw, once for as long as it is the same."""
        if repr(bug) != self._last_bug:
            log.error("delivery.bug", exc_info=bug, consequence="tried again")
        self._last_bug = repr(bug)

    async def _pause(self, failed: Exception) -> None:
        self._failures += 1
        self.stats.retries += 1
        self._observer.failed()
        self.stats.last_error = str(failed) or type(failed).__name__
        longest = min(self._last_retry_seconds, self._first_retry_seconds * 2 ** min(self._failures - 1, 16))
        asked = failed.retry_after_seconds if isinstance(failed, DeliveryFailed) else 0.0
        seconds = max(longest * self._jitter(), min(asked, self._last_retry_seconds))
        if self._hurry.is_set():
            seconds = min(seconds, self._first_retry_seconds)
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th …: an outage must not flood the log
            log.warning(
                "delivery.failed",
                reason=self.stats.last_error,
                failures=self._failures,
                waiting=self._outbox.depth,
                next_try_seconds=round(seconds, 3),
            )
        try:
            async with asyncio.timeout(seconds):
                if self._hurry.is_set():
                    await asyncio.sleep(seconds)
                await self._hurry.wait()
        except TimeoutError:
            pass


async def _encode(batch: Batch) -> AsyncIterator[bytes]:
    """Yield a batch as it goes over the wire. Media come from the disk piece by piece, and are never held whole."""
    piece = bytearray(batch_header(len(batch.records)))
    for record in batch.records:
        piece += record_header(record.size_bytes)
        piece += record.opening
        media = record.read_media()
        while record.media is not None and (chunk := await asyncio.to_thread(next, media, b"")):
            piece += chunk
            yield bytes(piece)
            piece.clear()
        if len(piece) >= CHUNK_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


def _size(batch: Batch) -> int:
    """Return how long a batch is on the wire."""
    sizes = [record.size_bytes for record in batch.records]
    return len(batch_header(len(sizes))) + sum(len(record_header(size)) + size for size in sizes)


def _outcomes(answer: Any, count: int) -> dict[int, str]:  # noqa: ANN401 - JSON from elsewhere
    """Return the refused records of an answer.

    Raises:
        ValueError: it is not the answer to so many records.
    """
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise ValueError(f"it is not about {count} records")
    refused: dict[int, str] = {}
    for index, result in enumerate(results):
        outcome = result.get("outcome") if isinstance(result, dict) else None
        if outcome == REFUSED:
            refused[index] = f"{result.get('code', REFUSED)}: {result.get('detail', '')}"
        elif not isinstance(outcome, str) or outcome not in TAKEN:
            raise ValueError(f"outcome {outcome!r:.40}")
    return refused


async def _code(response: aiohttp.ClientResponse) -> str:
    """Return the code of a problem, if the answer is one."""
    try:
        problem = await response.json(content_type=None)
        return str(problem["code"])[:80]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        return 0.0  # a date: our own back-off is as good
