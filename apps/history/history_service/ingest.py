"""Taking exchanges in: media first, then the messages, each exchange once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from frameproto import FrameError, RequestKind, ResponseKind, decode_request, decode_response
from frameproto.exchange import Exchange, RecordError, decode_batch, decode_exchange
from history_service.access import CLIENT_ID, Access
from history_service.blobs.base import BlobStore
from history_service.intake import Intake
from history_service.metrics import HistoryMetrics
from history_service.records import CONTENT_TYPES, SUFFIXES, KeptExchange, Kind, Media, Part, Side
from history_service.stores.base import MessageStore, SessionTaken
from servicekit.logs import get_logger
from servicekit.problems import Problem

log = get_logger(__name__)

CONTENT_TYPE: Final = "application/msgpack"
UPLOADS_AT_ONCE: Final = 4
LARGEST_FRAME: Final = 1 << 31  # the batch bounds it


@dataclass(frozen=True, slots=True)
class Blob:
    """Media to be kept beside an exchange."""

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
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._access = access
        self._metrics = metrics
        self._intake = intake
        self._max_batch_bytes = max_batch_bytes
        self._batch_seconds = batch_seconds

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
        kept: dict[int, KeptExchange] = {}
        uploads: list[Blob] = []
        sessions: dict[tuple[UUID, str], UUID] = {}
        for index, record in enumerate(records):
            try:
                exchange = _check(decode_exchange(record))
                session = exchange.session_id, exchange.client_id
                if session not in sessions:
                    sessions[session] = await self._store.bind_session(
                        exchange.session_id,
                        client_id=exchange.client_id,
                        time_zone=exchange.time_zone,
                        started_at=exchange.received_at,
                    )
                kept[index], blobs = _keep(exchange, sessions[session])
                uploads += blobs
            except (RecordError, FrameError, SessionTaken) as bad:
                code = "session_taken" if isinstance(bad, SessionTaken) else bad.code
                log.warning("ingest.refused", code=code, reason=str(bad))
                results[index] = {"id": None, "outcome": "refused", "code": code, "detail": str(bad)}
        await self._upload(uploads)
        outcomes = await self._store.add(list(kept.values())) if kept else []
        for (index, taken), outcome in zip(kept.items(), outcomes, strict=True):
            results[index] = {"id": str(taken.id), "outcome": outcome.value}
        for result in results:
            self._metrics.exchanges.labels(result["outcome"]).inc()
        return results

    async def _upload(self, blobs: Sequence[Blob]) -> None:
        places = asyncio.Semaphore(UPLOADS_AT_ONCE)

        async def upload(blob: Blob) -> None:
            async with places:
                await self._blobs.put(blob.key, blob.data, blob.content_type)

        try:
            async with asyncio.TaskGroup() as uploading:
                for blob in blobs:
                    uploading.create_task(upload(blob))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed


def _check(exchange: Exchange) -> Exchange:
    if CLIENT_ID.fullmatch(exchange.client_id) is None:
        raise RecordError("record_field_invalid", "client_id: not a client id")
    return exchange


def _keep(exchange: Exchange, session_id: UUID) -> tuple[KeptExchange, list[Blob]]:
    """Take the two frames of an exchange apart into messages and blobs.

    Raises:
        FrameError: one of them cannot be read.
    """
    request = decode_request(exchange.request, max_bytes=LARGEST_FRAME)
    reply = decode_response(exchange.response, max_bytes=LARGEST_FRAME)
    folder = f"{exchange.client_id}/{session_id}/{exchange.id}"
    blobs: list[Blob] = []

    def media(side: str, part: Part, data: memoryview) -> Media:
        key = f"{folder}/{side}.{SUFFIXES[part]}"
        blobs.append(Blob(key, data, CONTENT_TYPES[part]))
        return Media(part, key, len(data))

    asked_part = {RequestKind.VOICE: Part.VOICE, RequestKind.VIDEO: Part.VIDEO}.get(request.kind)
    if asked_part is None:
        asked = Side(Kind.TEXT, request.text)
    else:
        asked = Side(Kind[request.kind.name], None, (media("request", asked_part, memoryview(request.body)),))
    parts = []
    if reply.kind in {ResponseKind.VOICE, ResponseKind.VIDEO}:
        parts.append(media("reply", Part.VOICE, memoryview(reply.voice)))
    if reply.kind is ResponseKind.VIDEO:
        parts.append(media("reply", Part.IMAGE, memoryview(reply.image)))
    answered = Side(Kind[reply.kind.name], reply.text, tuple(parts))
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
