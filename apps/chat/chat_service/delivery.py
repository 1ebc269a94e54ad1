"""How a batch is handed over to the history service, and what may come of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Any, ClassVar, Final

import aiohttp

from chat_service.outbox import CHUNK_BYTES, Batch
from frameproto.exchange import batch_header, record_header
from frameproto.history import REFUSED, InsertResult

CONTENT_TYPE: Final = "application/msgpack"
CONNECTION_SECONDS: Final = 5.0
"""How long a connection is kept. A Service chooses a pod for each connection, not for each request."""
TAKEN: Final = frozenset(InsertResult)
REFUSING: Final = {400, 413, 415, 422}
DENYING: Final = {401, 403}
SLOW: Final = 408
LATER: Final = {
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
    HTTPStatus.INSUFFICIENT_STORAGE,
}
"""Something that history needs is away, for all records or for some: those with media, say."""
FIRST_FAULT: Final = 500


class DeliveryFailed(Exception):
    """History did not take a batch, and may take it later. By itself this says nothing about the records."""

    splits: ClassVar[bool] = False
    """Whether it may be due to one record of the batch."""

    def __init__(self, reason: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class DeliveryInterrupted(DeliveryFailed):
    """There was no whole answer, or one that means "later"."""

    splits = True


class DeliveryTooSlow(DeliveryInterrupted):
    """There was no answer in time. The same batch would time out again, so the next attempt sends half."""


class DeliveryFault(DeliveryFailed):
    """History reported a fault of its own."""

    splits = True


class DeliveryDenied(DeliveryFailed):
    """History does not accept the token. Trying again does not help until somebody changes a setting."""

    advice: ClassVar[str] = (
        "history does not accept the service token: set CHAT_HISTORY_TOKEN to one with the scope `ingest`, not expired,"
        " for the audience of history and signed with one of its secrets"
    )


class BatchRefused(Exception):
    """History will not take these bytes as they are: too many, or one of them spoils the batch."""


class HistoryService:
    """The history service, as the relay sees it.

    Args:
        url: its address, or what it comes from when it is not known yet.
        http: the client session to use.
        token: gives the service token, if history asks for one.
        request_seconds: how long it may take to answer.
        connection_seconds: how old a connection may grow before the next one is opened, perhaps to another pod.
    """

    def __init__(
        self,
        url: str | Awaitable[str],
        *,
        http: aiohttp.ClientSession,
        token: Callable[[], str] | None,
        request_seconds: float,
        connection_seconds: float = CONNECTION_SECONDS,
    ) -> None:
        self._url = url
        self._http = http
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=request_seconds)
        self._connection_seconds = connection_seconds
        self._renew_at = 0.0

    async def wait_for_address(self) -> None:
        """Return when the address is known."""
        if not isinstance(self._url, str):
            self._url = await self._url

    async def hand_over(self, batch: Batch, size_bytes: int) -> dict[int, str]:
        """Hand a batch over that has this `batch_size`; return the indices that history will never take, with reasons.

        Raises:
            DeliveryFailed: it did not take the batch; see its subclasses.
            BatchRefused: it will not take the batch as it is.
        """
        is_small = size_bytes <= CHUNK_BYTES and all(record.media is None for record in batch.records)
        body = b"".join(_parts(batch)) if is_small else _chunks(batch)
        url = f"{str(self._url).rstrip('/')}/v1/exchanges"
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(size_bytes)}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        now = asyncio.get_running_loop().time()
        if now >= self._renew_at:
            headers["Connection"] = "close"  # the last request of this connection
            self._renew_at = now + self._connection_seconds
        try:
            async with self._http.post(url, data=body, headers=headers, timeout=self._timeout) as response:
                if response.status == HTTPStatus.OK:
                    return _outcomes(await response.json(), len(batch.records))
                raise await _failure(response)
        except TimeoutError as exc:
            raise DeliveryTooSlow("no answer in time") from exc
        except aiohttp.ClientConnectorError as exc:
            raise DeliveryFailed(f"{type(exc).__name__}: {exc}") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise DeliveryInterrupted(f"{type(exc).__name__}: {exc}") from exc
        except (ValueError, RecursionError) as exc:
            raise DeliveryInterrupted(f"the answer cannot be read: {exc}") from exc


def batch_size(batch: Batch) -> int:
    """Return how long a batch is on the wire."""
    sizes = [record.size_bytes for record in batch.records]
    return len(batch_header(len(sizes))) + sum(len(record_header(size)) + size for size in sizes)


async def _failure(response: aiohttp.ClientResponse) -> DeliveryFailed | BatchRefused:
    """Return what an answer other than 200 means."""
    status = response.status
    reason = f"{status} {await _code(response)}"
    if status in REFUSING:
        return BatchRefused(reason)
    if status in DENYING:
        return DeliveryDenied(reason)
    if status == SLOW:
        return DeliveryTooSlow(reason)
    retry_after_seconds = _seconds(response.headers.get("Retry-After"))
    if status in LATER:
        return DeliveryInterrupted(reason, retry_after_seconds=retry_after_seconds)
    if status >= FIRST_FAULT:
        return DeliveryFault(reason, retry_after_seconds=retry_after_seconds)
    return DeliveryFailed(reason, retry_after_seconds=retry_after_seconds)


def _parts(batch: Batch) -> Iterator[bytes]:
    """Yield a batch of records without media as it goes over the wire."""
    yield batch_header(len(batch.records))
    for record in batch.records:
        yield record_header(len(record.opening))
        yield record.opening


async def _chunks(batch: Batch) -> AsyncIterator[bytes]:
    """Yield a batch as it goes over the wire. Media are read from disk in pieces, and are never held whole."""
    piece = bytearray(batch_header(len(batch.records)))
    for record in batch.records:
        if len(piece) + len(record.opening) > CHUNK_BYTES:
            yield bytes(piece)
            piece.clear()
        piece += record_header(record.size_bytes)
        piece += record.opening
        if record.media is not None:
            yield bytes(piece)
            piece.clear()
            media = record.read_media()
            while chunk := await asyncio.to_thread(next, media, b""):
                yield chunk
    yield bytes(piece)


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
