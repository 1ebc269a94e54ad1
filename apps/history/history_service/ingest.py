"""Ingest: media are stored first, then messages. Each exchange is kept once, and each message has one answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID, uuid4

from frameproto import FrameError, MediaPart, decode_request, decode_response
from frameproto.connection import is_client_id
from frameproto.exchange import Exchange, RecordError, decode_exchange
from frameproto.history import REFUSED, InsertResult, ResultJson
from frameproto.media import format_of, media_type
from history_service.blobs.base import BlobStore, BlobsUnavailable
from history_service.blobs.removal import delete_all
from history_service.media_keys import MediaKey
from history_service.metrics import HistoryMetrics
from history_service.model import MessageContent, StoredExchange, StoredMedia, rank_of_answer
from history_service.stores.base import FirstUse, MessageStore, PendingUpload, StoreError
from servicekit.logs import get_logger
from servicekit.tasks import gather_bounded

log = get_logger(__name__)

T = TypeVar("T")

UPLOADS_AT_ONCE: Final = 4
SESSION_TAKEN: Final = "the session has the id of a session of another client, and so has its other id"
LARGEST_FRAME: Final = 1 << 31  # the batch bounds it


@dataclass(frozen=True, slots=True)
class Blob:
    """Media of an exchange."""

    exchange_id: UUID
    key: str
    data: memoryview
    content_type: str


class Ingest:
    """Stores exchange records.

    Args:
        store: the messages.
        blobs: the media.
        metrics: the counters.
        upload_seconds: how long storing the media of a batch may take.
    """

    def __init__(
        self, store: MessageStore, blobs: BlobStore, metrics: HistoryMetrics, *, upload_seconds: float
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._metrics = metrics
        self._upload_seconds = upload_seconds

    async def store(self, records: Sequence[bytes]) -> list[ResultJson]:
        """Store encoded records, each once, and return one result for each, in order.

        Raises:
            StoreError, BlobError: a store failed. Exchanges stored before are duplicates when they are sent again.
        """
        results: dict[int, ResultJson] = {}
        exchanges: dict[int, Exchange] = {}
        for index, record in enumerate(records):
            try:
                exchanges[index] = _check(decode_exchange(record))
            except RecordError as exc:
                results[index] = _refused(exc.code, str(exc))
        sessions = await self._bind(exchanges.values())
        kept: dict[int, StoredExchange] = {}
        blobs: list[Blob] = []
        for index, exchange in exchanges.items():
            session = sessions[exchange.session_id, exchange.client_id]
            try:
                if session is None:
                    results[index] = _refused("session_taken", SESSION_TAKEN)
                else:
                    kept[index], theirs = _keep(exchange, session)
                    blobs += theirs
            except FrameError as exc:
                results[index] = _refused(exc.code, str(exc))
        outcomes = await self._store_all(list(kept.values()), blobs) if kept else []
        for (index, stored), outcome in zip(kept.items(), outcomes, strict=True):
            results[index] = {"id": str(stored.id), "outcome": outcome.value}
        for name, count in Counter(result["outcome"] for result in results.values()).items():
            self._metrics.exchanges.labels(name).inc(count)
        return [results[index] for index in range(len(records))]

    async def _store_all(self, exchanges: Sequence[StoredExchange], blobs: Sequence[Blob]) -> list[InsertResult]:
        """Store media, then messages. Unwanted media are deleted before this returns."""
        uploads = [_upload(exchange) for exchange in exchanges if exchange.media_keys()]
        if not uploads:
            return await self._store.exchanges.add(exchanges)
        try:
            async with self._in_time():
                settled = await self._store.uploads.begin(uploads)
                wanted = [blob for blob in blobs if blob.exchange_id not in settled]
                await gather_bounded(self._put, wanted, limit=UPLOADS_AT_ONCE)
            outcomes = await self._store.exchanges.add(exchanges)
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
        """Bound the time for storing media, because deletions wait for it."""
        try:
            async with asyncio.timeout(self._upload_seconds):
                yield
        except TimeoutError as exc:
            raise BlobsUnavailable(f"media were not stored within {self._upload_seconds:g} s") from exc

    async def _delete_unwanted(
        self, exchanges: Sequence[StoredExchange], outcomes: Sequence[InsertResult], stored: Collection[UUID]
    ) -> None:
        """Delete media without a message: it was erased, or a later answer is kept."""
        for exchange, outcome in zip(exchanges, outcomes, strict=True):
            keys = exchange.media_keys()
            if outcome in {InsertResult.ERASED, InsertResult.SUPERSEDED}:
                await delete_all(self._blobs, keys)
            elif outcome is InsertResult.DUPLICATE and exchange.id in stored:
                await delete_all(
                    self._blobs, keys - await self._store.exchanges.media_keys(exchange.client_id, [exchange.id])
                )

    async def _end(self, uploads: Sequence[PendingUpload], *, failed: bool) -> None:
        """Record that the upload has ended. If that fails, others wait until it must have ended."""
        try:
            await self._store.uploads.end(uploads, failed=failed)
        except StoreError as exc:
            log.warning("ingest.upload_not_ended", reason=str(exc))

    async def _bind(self, exchanges: Iterable[Exchange]) -> dict[tuple[UUID, str], UUID | None]:
        """Bind the sessions of a batch in one call, each by its first exchange."""
        firsts: dict[tuple[UUID, str], Exchange] = {}
        for exchange in exchanges:
            firsts.setdefault((exchange.session_id, exchange.client_id), exchange)
        uses = [
            FirstUse(session_id=session_id, client_id=client_id, time_zone=first.time_zone, at=first.received_at)
            for (session_id, client_id), first in firsts.items()
        ]
        bound = await self._store.sessions.bind(uses) if uses else []
        return dict(zip(firsts, bound, strict=True))


def _upload(exchange: StoredExchange) -> PendingUpload:
    return PendingUpload(
        id=uuid4(),
        client_id=exchange.client_id,
        session_id=exchange.session_id,
        exchange_id=exchange.id,
        received_at=exchange.received_at,
        keys=tuple(exchange.media_keys()),
    )


def _refused(code: str, why: str) -> ResultJson:
    log.warning("ingest.refused", code=code, reason=why)
    return {"id": None, "outcome": REFUSED, "code": code, "detail": why}


def _check(exchange: Exchange) -> Exchange:
    if not is_client_id(exchange.client_id):
        raise RecordError("record_field_invalid", "client_id: not a client id")
    return exchange


def _keep(exchange: Exchange, session_id: UUID) -> tuple[StoredExchange, list[Blob]]:
    """Decode the two frames of an exchange into messages and blobs.

    Raises:
        FrameError: one of them cannot be decoded.
    """
    request = decode_request(exchange.request, max_bytes=LARGEST_FRAME)
    reply = decode_response(exchange.response, max_bytes=LARGEST_FRAME)
    blobs: list[Blob] = []

    def media(side: str, part: MediaPart, data: memoryview) -> StoredMedia:
        file_format = format_of(data, part)
        key = str(MediaKey(exchange.client_id, session_id, exchange.id, f"{side}.{file_format.suffix}"))
        blobs.append(Blob(exchange.id, key, data, media_type(file_format, part)))
        return StoredMedia(part, key, len(data))

    if (part := request.kind.part) is None:
        asked = MessageContent(request.kind.message_kind, request.text)
    else:
        asked = MessageContent(
            request.kind.message_kind,
            exchange.transcript or None,
            (media("request", part, memoryview(request.body)),),
            transcribed=bool(exchange.transcript),
        )
    answered = MessageContent(
        reply.kind.message_kind,
        reply.text,
        tuple(media("reply", part, memoryview(content)) for part, content in reply.media.items()),
    )
    kept = StoredExchange(
        id=exchange.id,
        session_id=session_id,
        client_id=exchange.client_id,
        time_zone=exchange.time_zone,
        received_at=exchange.received_at,
        answered_at=exchange.answered_at,
        outcome=exchange.outcome,
        request=asked,
        reply=answered,
        message_id=exchange.message_id,
        rank=0 if exchange.message_id is None else rank_of_answer(exchange.attempt),
    )
    return kept, blobs
