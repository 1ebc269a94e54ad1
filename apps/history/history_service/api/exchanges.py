"""Ingest over HTTP."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from frameproto.exchange import RecordError, decode_batch
from frameproto.history import ResultsJson
from history_service.api.access import Access
from history_service.api.request_body import read_bytes, require_content_type
from history_service.ingest import Ingest
from history_service.limits import IngestLimiter, LimitReached
from history_service.metrics import HistoryMetrics
from servicekit.problems import Problem

MSGPACK: Final = "application/msgpack"


class Exchanges:
    """Accepts batches of exchange records from chat pods.

    Args:
        ingest: stores them.
        access: checks permissions.
        metrics: counts the bytes.
        limiter: limits what is processed at once.
        max_batch_bytes: the largest batch.
        batch_seconds: how long one may take to arrive.
    """

    def __init__(
        self,
        ingest: Ingest,
        access: Access,
        metrics: HistoryMetrics,
        *,
        limiter: IngestLimiter,
        max_batch_bytes: int,
        batch_seconds: float,
    ) -> None:
        self._ingest = ingest
        self._access = access
        self._metrics = metrics
        self._limiter = limiter
        self._max_batch_bytes = max_batch_bytes
        self._batch_seconds = batch_seconds

    async def post(self, request: Request) -> Response:
        """Answer `POST /v1/exchanges`: one outcome for each exchange, in order."""
        self._access.require_ingest(request)
        require_content_type(request, MSGPACK, "a batch of exchanges")
        max_bytes = self._announced(request)
        try:
            async with self._limiter.slot(max_bytes):
                records = await self._records(request, max_bytes)
                content: ResultsJson = {"results": await self._ingest.store(records)}
                return JSONResponse(content)
        except LimitReached as exc:
            detail = "the stores take less than is handed in; hand it in again"
            raise Problem(429, "ingest_busy", detail, headers={"Retry-After": str(exc.retry_seconds)}) from exc

    def _announced(self, request: Request) -> int:
        """Return the announced size of a request; without one, the largest size allowed."""
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isascii() and length.isdigit() else self._max_batch_bytes
        if announced > self._max_batch_bytes:
            raise self._too_large()
        return announced

    async def _records(self, request: Request, max_bytes: int) -> list[bytes]:
        cut_off = Problem(400, "batch_cut_off", "the batch did not arrive whole")
        try:
            async with asyncio.timeout(self._batch_seconds):
                body = await read_bytes(request, max_bytes, self._too_large(), cut_off)
        except TimeoutError as exc:  # frees the slot
            raise Problem(408, "batch_too_slow", f"a batch has to arrive within {self._batch_seconds:g} s") from exc
        self._metrics.batch_bytes.observe(len(body))
        try:
            return decode_batch(body, max_bytes=self._max_batch_bytes)
        except RecordError as exc:
            raise Problem(400, "batch_unreadable", str(exc)) from exc

    def _too_large(self) -> Problem:
        return Problem(413, "batch_too_large", f"a batch has at most {self._max_batch_bytes} bytes")
