"""Taking exchanges in: media first, then the messages, each exchange once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from frameproto import FrameError, MediaPart, decode_request, decode_response
from frameproto.connection import is_client_id
from frameproto.exchange import Exchange, RecordError, decode_batch, decode_exchange
from frameproto.media import format_of, media_type
from history_service.access import Access
from history_service.blobs.base import BlobStore, BlobsUnavailable
from history_service.blobs.removal import delete_all
from history_service.intake import Intake
from history_service.keys import MediaKey
from history_service.metrics import HistoryMetrics
from history_service.records import KeptExchange, Media, Side
from history_service.stores.base import Added, FirstUse, MessageStore, StoreError, Upload
from servicekit.logs import get_logger
from servicekit.problems import Problem
from servicekit.tasks import gather_bounded

log = get_logger(__name__)

T = TypeVar("T")

CONTENT_TYPE: Final = "application/msgpack"
UPLOADS_AT_ONCE: Final = 4
SESSION_TAKEN: Final = "the session has the id of a session of another client, and so has its other id"
LARGEST_FRAME: Final = 1 << 31  # the batch bounds it


@dataclass(frozen=True, slots=True)
class Blob:
    """Media to be kept beside an exchange."""

    exchange_id: UUID
    key: str
    data: memoryview
    content_type: str


class Ingest:
    """The endpoint that the couriers deliver to.

    Args:
        store: where messages go.
        blobs: where media go.
        access: who may hand in.
        metrics: what is counted.
        intake: how much is in work at once.
        max_batch_bytes: the largest batch.
        batch_seconds: how long one may take to arrive.
        upload_seconds: how long storing its media may take.
    """

    def __init__(
        self,
        store: MessageStore,
        blobs: BlobStore,
        access: Access,
        metrics: HistoryMetrics,
        *,
        intake: Intake,
        max_batch_bytes: int,
        batch_seconds: float,
        upload_seconds: float,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._access = access
        self._metrics = metrics
        self._intake = intake
        self._max_batch_bytes = max_batch_bytes
        self._batch_seconds = batch_seconds
        self._upload_seconds = upload_seconds

    async def post(self, request: Request) -> Response:
        """Answer `POST /v1/exchanges`: one outcome for each exchange, in order."""
        self._access.require_ingest(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise Problem(415, "content_type_unsupported", f"a batch of exchanges is {CONTENT_TYPE}")
        most = self._announced(request)
        async with self._intake.place(most):
            return JSONResponse({"results": await self._take(await self._records(request, most))})

    def _announced(self, request: Request) -> int:
        """Return how many bytes a request will have at most, by its own word; without it, as many as one may have."""
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isascii() and length.isdigit() else self._max_batch_bytes
        if announced > self._max_batch_bytes:
            raise self._too_large()
        return announced

    async def _records(self, request: Request, most: int) -> list[bytes]:
        try:
            async with asyncio.timeout(self._batch_seconds):
                body = await self._read(request, most)
        except TimeoutError as late:  # its place is wanted by others
            raise Problem(408, "batch_too_slow", f"a batch has to arrive within {self._batch_seconds:g} s") from late
        self._metrics.batch_bytes.observe(len(body))
        try:
            return decode_batch(body, max_bytes=self._max_batch_bytes)
        except RecordError as bad:
            raise Problem(400, "batch_unreadable", str(bad)) from bad

    async def _read(self, request: Request, most: int) -> bytearray:
        """Read the body, up to the limit and no further."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise self._too_large()
                body += chunk
        except ClientDisconnect as gone:
            raise Problem(400, "batch_cut_off", "the batch did not arrive whole") from gone
        return body

    def _too_large(self) -> Problem:
        return Problem(413, "batch_too_large", f"a batch has at most {self._max_batch_bytes} bytes")

    async def _take(self, records: Sequence[bytes]) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = [{} for _ in records]
        exchanges: dict[int, Exchange] = {}
        for index, record in enumerate(records):
            try:
                exchanges[index] = _check(decode_exchange(record))
            except RecordError as bad:
                results[index] = _refused(bad.code, str(bad))
        sessions = await self._bind(exchanges.values())
        kept: dict[int, KeptExchange] = {}
        blobs: list[Blob] = []
        for index, exchange in exchanges.items():
            session = sessions[exchange.session_id, exchange.client_id]
            try:
                if session is None:
                    results[index] = _refused("session_taken", SESSION_TAKEN)
                else:
                    kept[index], theirs = _keep(exchange, session)
                    blobs += theirs
            except FrameError as bad:
                results[index] = _refused(bad.code, str(bad))
        outcomes = await self._store_all(list(kept.values()), blobs) if kept else []
        for (index, taken), outcome in zip(kept.items(), outcomes, strict=True):
            results[index] = {"id": str(taken.id), "outcome": outcome.value}
        for outcome, count in Counter(result["outcome"] for result in results).items():
            self._metrics.exchanges.labels(outcome).inc(count)
        return results

    async def _store_all(self, exchanges: Sequence[KeptExchange], blobs: Sequence[Blob]) -> list[Added]:
        """Store media, then messages; media that turn out not to be wanted are deleted before this returns."""
        uploads = [_upload(exchange) for exchange in exchanges if exchange.media_keys()]
        if not uploads:
            return await self._store.add(exchanges)
        try:
            async with self._in_time():
                settled = await self._store.begin_uploads(uploads)
                wanted = [blob for blob in blobs if blob.exchange_id not in settled]
                await gather_bounded(self._put, wanted, limit=UPLOADS_AT_ONCE)
            outcomes = await self._store.add(exchanges)
            await self._delete_unwanted(exchanges, outcomes, {blob.exchange_id for blob in wanted})
        except Exception:
            await self._end(uploads, failed=True)
            raise
        await self._end(uploads, failed=False)
        return outcomes

    async def _put(self, blob: Blob) -> None:
        await self._blobs.put(blob.key, blob.data, blob.content_type)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Give up storing media in time: deletions wait no longer for it."""
        try:
            async with asyncio.timeout(self._upload_seconds):
                yield
        except TimeoutError as late:
            raise BlobsUnavailable(f"media were not stored within {self._upload_seconds:g} s") from late

    async def _delete_unwanted(
        self, exchanges: Sequence[KeptExchange], outcomes: Sequence[Added], stored: Collection[UUID]
    ) -> None:
        """Delete media that no message points at: it was erased meanwhile, or long ago."""
        for exchange, outcome in zip(exchanges, outcomes, strict=True):
            keys = exchange.media_keys()
            if outcome is Added.ERASED:
                await delete_all(self._blobs, keys)
            elif outcome is Added.DUPLICATE and exchange.id in stored:
                await delete_all(self._blobs, keys - await self._store.media_keys(exchange.client_id, [exchange.id]))

    async def _end(self, uploads: Sequence[Upload], *, failed: bool) -> None:
        """Say that nothing more is stored. Where it cannot be said, others wait until it must have ended."""
        try:
            await self._store.end_uploads(uploads, failed=failed)
        except StoreError as error:
            log.warning("ingest.upload_not_ended", reason=str(error))

    async def _bind(self, exchanges: Iterable[Exchange]) -> dict[tuple[UUID, str], UUID | None]:
        """Bind the sessions of a batch, all at once and each by its first exchange."""
        firsts: dict[tuple[UUID, str], Exchange] = {}
        for exchange in exchanges:
            firsts.setdefault((exchange.session_id, exchange.client_id), exchange)
        uses = [
            FirstUse(session_id=session_id, client_id=client_id, time_zone=first.time_zone, at=first.received_at)
            for (session_id, client_id), first in firsts.items()
        ]
        bound = await self._store.bind_sessions(uses) if uses else []
        return dict(zip(firsts, bound, strict=True))


def _upload(exchange: KeptExchange) -> Upload:
    return Upload(
        id=uuid4(),
        client_id=exchange.client_id,
        session_id=exchange.session_id,
        exchange_id=exchange.id,
        received_at=exchange.received_at,
        keys=tuple(exchange.media_keys()),
    )


def _refused(code: str, why: str) -> dict[str, Any]:
    log.warning("ingest.refused", code=code, reason=why)
    return {"id": None, "outcome": "refused", "code": code, "detail": why}


def _check(exchange: Exchange) -> Exchange:
    if not is_client_id(exchange.client_id):
        raise RecordError("record_field_invalid", "client_id: not a client id")
    return exchange


def _keep(exchange: Exchange, session_id: UUID) -> tuple[KeptExchange, list[Blob]]:
    """Take the two frames of an exchange apart into messages and blobs.

    Raises:
        FrameError: one of them cannot be read.
    """
    request = decode_request(exchange.request, max_bytes=LARGEST_FRAME)
    reply = decode_response(exchange.response, max_bytes=LARGEST_FRAME)
    blobs: list[Blob] = []

    def media(side: str, part: MediaPart, data: memoryview) -> Media:
        file_format = format_of(data, part)
        key = str(MediaKey(exchange.client_id, session_id, exchange.id, f"{side}.{file_format.suffix}"))
        blobs.append(Blob(exchange.id, key, data, media_type(file_format, part)))
        return Media(part, key, len(data))

    if (part := request.kind.part) is None:
        asked = Side(request.kind.message_kind, request.text)
    else:
        asked = Side(request.kind.message_kind, None, (media("request", part, memoryview(request.body)),))
    answered = Side(
        reply.kind.message_kind,
        reply.text,
        tuple(media("reply", part, memoryview(content)) for part, content in reply.media.items()),
    )
    kept = KeptExchange(
        id=exchange.id,
        session_id=session_id,
        client_id=exchange.client_id,
        time_zone=exchange.time_zone,
        received_at=exchange.received_at,
        answered_at=exchange.answered_at,
        outcome=exchange.outcome,
        request=asked,
        reply=answered,
    )
    return kept, blobs
