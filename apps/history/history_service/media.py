"""Voice, video and pictures over HTTP, whole or in ranges."""

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from frameproto import MediaPart
from history_service.access import Access
from history_service.addresses import MediaAddresses
from history_service.blobs.base import BlobMissing, BlobStore, OpenBlob
from history_service.conditions import http_date, is_known, is_same
from history_service.downloads import Downloads
from history_service.messages import Messages
from history_service.records import Media, Message
from servicekit.problems import Problem
from servicekit.tokens import Principal

RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
MAX_DIGITS: Final = 18  # of a position; one with more is behind the end of any media, and Python reads only so many


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


class BlobResponse(StreamingResponse):
    """Streams an open blob, and closes it whatever happens to the client."""

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
        blobs: where they are kept.
        messages: what they belong to.
        access: who may do what.
        addresses: what opens without a token.
        downloads: how many are sent at once.
        redirect: whether to send readers to the store itself, where it has addresses of its own.
    """

    def __init__(
        self,
        blobs: BlobStore,
        messages: Messages,
        access: Access,
        addresses: MediaAddresses,
        downloads: Downloads,
        *,
        redirect: bool,
    ) -> None:
        self._blobs = blobs
        self._messages = messages
        self._access = access
        self._addresses = addresses
        self._downloads = downloads
        self._redirect = redirect

    async def address(self, request: Request) -> Response:
        """Answer `POST /v1/messages/{message}/media/{part}/address`."""
        principal = self._access.principal(request)
        message, media = await self._find(request, principal)
        made = self._addresses.sign(message, media.part, principal)
        return JSONResponse(
            {"href": made.href, "expires_at": made.expires_at.isoformat() if made.expires_at else None},
            headers={"Cache-Control": "no-store"},
        )

    async def get(self, request: Request) -> Response:
        """Answer `GET` and `HEAD /v1/messages/{message}/media/{part}`, by token or by a signed address."""
        principal = self._addresses.principal(request) or self._access.principal(request)
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
            elsewhere = await self._blobs.address(media.key, seconds=self._addresses.seconds_left(principal))
            if elsewhere is not None:
                return RedirectResponse(elsewhere, status_code=307, headers={"Cache-Control": "no-store"})
        size = media.size_bytes
        # A range is for GET alone (RFC 9110, 14.2).
        ranged = request.method == "GET" and is_same(request.headers, etag=etag, modified_at=message.sent_at)
        span = _range(request.headers.get("range"), size) if ranged else None
        if span is not None:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
        whole = span or Span(0, size)
        headers["Content-Length"] = str(whole.end - whole.start)
        status = 200 if span is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(self._downloads.place(media.client_id))
            try:
                opened = self._blobs.open(media.key, start=whole.start, end=None if span is None else span.end)
                blob = await resources.enter_async_context(opened)
            except BlobMissing as missing:
                raise _no_media() from missing
            return BlobResponse(blob, resources.pop_all(), status, headers)

    async def _find(self, request: Request, principal: Principal) -> tuple[Message, Media]:
        message = await self._messages.visible(request, principal)
        try:
            media = message.media(MediaPart(request.path_params["part"]))
        except ValueError as bad:
            raise _no_media() from bad
        if media is None:
            raise _no_media()
        return message, media


def _no_media() -> Problem:
    return Problem(404, "media_unknown", "this message has no such media")


def _position(digits: str) -> str:
    """Return a position as it is, or one that is behind the end of any media."""
    digits = digits.lstrip("0") or digits[:1]
    return digits if len(digits) <= MAX_DIGITS else "9" * MAX_DIGITS


def _range(header: str | None, size: int) -> Span | None:
    """Return the one range that is asked for; several, or another unit, may be answered by the whole (RFC 9110, 14.2).

    Raises:
        Problem: 416, the range is not within the media.
    """
    found = RANGE.fullmatch(header.replace(" ", "")) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = map(_position, found.groups())
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size or end <= start:
        raise Problem(
            416, "range_not_satisfiable", f"the media has {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return Span(start, end)
