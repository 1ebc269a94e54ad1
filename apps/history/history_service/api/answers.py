"""Stored answers to messages that are sent again. The chat service claims one for the new attempt."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from frameproto import ResponseKind
from frameproto.responses import encode_opening
from history_service.api.access import Access
from history_service.api.media import BlobResponse
from history_service.api.parameters import path_client, path_uuid, query_attempt
from history_service.blobs.base import BlobMissing, BlobStore, OpenBlob
from history_service.limits import DownloadLimiter, LimitReached
from history_service.model import MessageContent, StoredExchange, rank_of_claim
from history_service.stores.base import MessageStore
from servicekit.problems import Problem

FRAME: Final = "application/octet-stream"
MAX_TRIES: Final = 5
"""An answer may be replaced by that of a later attempt while its media are opened."""

KIND_OF: Final = {kind.message_kind: kind for kind in ResponseKind}


class Answers:
    """Serves stored answers.

    Args:
        store: the messages.
        blobs: the media.
        access: checks permissions.
        limiter: limits how many media are sent at once.
    """

    def __init__(self, store: MessageStore, blobs: BlobStore, access: Access, limiter: DownloadLimiter) -> None:
        self._store = store
        self._blobs = blobs
        self._access = access
        self._limiter = limiter

    async def claim(self, request: Request) -> Response:
        """Answer `POST /v1/clients/{client}/answers/{message}`: the response frame.

        From now on it ranks as the answer of this attempt, so that an answer of an earlier attempt that is delivered
        later does not replace what the client is shown now.
        """
        self._access.require_context(request)
        client_id, message_id, attempt = path_client(request), path_uuid(request, "message"), query_attempt(request)
        for _ in range(MAX_TRIES):
            exchange = await self._store.exchanges.find_answer(client_id, message_id)
            if exchange is None or exchange.reply is None:
                raise _unknown()
            async with AsyncExitStack() as resources:
                blobs = await self._open(exchange, exchange.reply, resources)
                if await self._store.exchanges.claim(exchange, rank=rank_of_claim(attempt)):
                    return _frame(exchange.reply, blobs, resources.pop_all())
        raise _unknown()

    async def _open(self, exchange: StoredExchange, reply: MessageContent, resources: AsyncExitStack) -> list[OpenBlob]:
        """Open the media of a reply, in the order of the frame. Raises a 404 or 503 problem."""
        by_part = {media.part: media for media in reply.media}
        if not by_part:
            return []
        try:
            await resources.enter_async_context(self._limiter.slot(exchange.client_id))
            return [
                await resources.enter_async_context(self._blobs.open(by_part[part].key))
                for part in KIND_OF[reply.kind].parts
            ]
        except BlobMissing as exc:
            raise _unknown() from exc
        except LimitReached as exc:
            detail = "as many media are being sent as can be at once; come again"
            raise Problem(503, "downloads_busy", detail, headers={"Retry-After": str(exc.retry_seconds)}) from exc


def _frame(reply: MessageContent, blobs: Sequence[OpenBlob], resources: AsyncExitStack) -> Response:
    opening = encode_opening(KIND_OF[reply.kind], reply.text or "", blobs[0].size_bytes if blobs else 0)
    size = len(opening) + sum(blob.size_bytes for blob in blobs)
    headers = {"Content-Type": FRAME, "Content-Length": str(size), "Cache-Control": "no-store"}
    return BlobResponse(OpenBlob(size, _chunks(opening, blobs)), resources, 200, headers)


async def _chunks(opening: bytes, blobs: Sequence[OpenBlob]) -> AsyncIterator[bytes]:
    yield opening
    for blob in blobs:
        async for chunk in blob.chunks:
            yield chunk


def _unknown() -> Problem:
    return Problem(404, "answer_unknown", "no answer to this message is kept")
