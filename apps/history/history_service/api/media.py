"""Voice, video and pictures over HTTP, whole or in ranges."""

from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from frameproto import MediaPart
from frameproto.history import SignedUrlJson
from history_service.api.access import Access
from history_service.api.conditions import ByteRange, http_date, is_known, is_same, parse_range
from history_service.api.documents import moment_json
from history_service.api.signed_urls import SignedUrls
from history_service.blobs.base import BlobMissing, BlobStore, OpenBlob
from history_service.limits import DownloadLimiter, LimitReached
from history_service.model import Message, StoredMedia
from servicekit.problems import Problem
from servicekit.tokens import Principal


class BlobResponse(StreamingResponse):
    """Streams an open blob, and always closes it."""

    def __init__(self, blob: OpenBlob, resources: AsyncExitStack, status: int, headers: dict[str, str]) -> None:
        super().__init__(blob.chunks, status_code=status, headers=headers)
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with self._resources:
            await super().__call__(scope, receive, send)


class MediaFiles:
    """Serves the media of messages.

    Args:
        blobs: the media.
        access: checks permissions.
        signed_urls: checks signed addresses.
        limiter: limits how many are sent at once.
        redirect: whether to redirect readers to the store, if it has presigned addresses.
    """

    def __init__(
        self,
        blobs: BlobStore,
        access: Access,
        signed_urls: SignedUrls,
        limiter: DownloadLimiter,
        *,
        redirect: bool,
    ) -> None:
        self._blobs = blobs
        self._access = access
        self._signed_urls = signed_urls
        self._limiter = limiter
        self._redirect = redirect

    async def address(self, request: Request) -> Response:
        """Answer `POST /v1/messages/{message}/media/{part}/address`."""
        principal = self._access.principal(request)
        message, media = await self._find(request, principal)
        url = self._signed_urls.sign(message, media.part, principal)
        content: SignedUrlJson = {"href": url.href, "expires_at": moment_json(url.expires_at)}
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    async def get(self, request: Request) -> Response:
        """Answer `GET` and `HEAD /v1/messages/{message}/media/{part}`, by token or by a signed address."""
        principal = self._signed_urls.principal(request) or self._access.principal(request)
        message, media = await self._find(request, principal)
        etag = f'"{message.id}-{media.part.value}"'
        headers = {
            "Content-Type": media.content_type,
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "Last-Modified": http_date(message.sent_at),
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        if is_known(request.headers, etag=etag, modified_at=message.sent_at):
            return Response(status_code=304, headers=headers)
        if self._redirect and request.method == "GET":
            elsewhere = await self._blobs.address(media.key, seconds=self._signed_urls.seconds_left(principal))
            if elsewhere is not None:
                return RedirectResponse(elsewhere, status_code=307, headers={"Cache-Control": "no-store"})
        size = media.size_bytes
        # Ranges apply to GET only (RFC 9110, 14.2).
        ranged = request.method == "GET" and is_same(request.headers, etag=etag, modified_at=message.sent_at)
        span = parse_range(request.headers.get("range"), size) if ranged else None
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
        whole = span or ByteRange(0, size)
        headers["Content-Length"] = str(whole.end - whole.start)
        status = 200 if span is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        async with AsyncExitStack() as resources:
            try:
                await resources.enter_async_context(self._limiter.slot(media.client_id))
                opened = self._blobs.open(media.key, start=whole.start, end=None if span is None else span.end)
                blob = await resources.enter_async_context(opened)
            except BlobMissing as exc:
                raise _no_media() from exc
            except LimitReached as exc:
                detail = "as many media are being sent as can be at once; come again"
                again = {"Retry-After": str(exc.retry_seconds)}
                raise Problem(503, "downloads_busy", detail, headers=again) from exc
            return BlobResponse(blob, resources.pop_all(), status, headers)

    async def _find(self, request: Request, principal: Principal) -> tuple[Message, StoredMedia]:
        message = await self._access.message(request, principal)
        try:
            media = message.media(MediaPart(request.path_params["part"]))
        except ValueError as exc:
            raise _no_media() from exc
        if media is None:
            raise _no_media()
        return message, media


def _no_media() -> Problem:
    return Problem(404, "media_unknown", "this message has no such media")
