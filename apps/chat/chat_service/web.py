"""What a browser loads: the page at `/` with its files below `/web`, and what a client must know of this installation.

`/.well-known/chatbot` tells clients where history is and how large messages may be, so nobody types it.
"""

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import chat_web
from chat_service.dialect import DIALECTS
from frameproto.connection import CONNECT_PATH, WELL_KNOWN_PATH
from servicekit.settings.origins import ANY_ORIGIN, OPAQUE_ORIGIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.types import Message, Receive, Scope, Send

    from chat_service.settings import ChatSettings

APP_SCHEMES: Final = (
    "capacitor:", "ionic:", "tauri:", "app:", "chrome-extension:", "moz-extension:", "safari-web-extension:", "file:"
)  # fmt: skip
"""What apps and extensions have in place of http and https."""

HEADERS: Final = {
    b"cache-control": b"no-cache",  # files are asked for again, and answered 304 by their ETag
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(self)",
    b"cross-origin-resource-policy": b"cross-origin",  # widget.js is loaded by pages of other origins
}


def web_routes(settings: "ChatSettings") -> list[BaseRoute]:
    """Return the routes for browsers: what clients must know, and the page where the settings want one."""
    description = _description(settings)

    async def describe(_: Request) -> Response:
        return JSONResponse(description, headers={"Cache-Control": "no-cache"})

    routes: list[BaseRoute] = [Route(WELL_KNOWN_PATH, describe, methods=["GET"])]
    if settings.web:
        routes.append(Mount("/", GZipMiddleware(_Page(_policy(settings))), name="web"))
    return routes


def _description(settings: "ChatSettings") -> dict[str, object]:
    history = settings.public_history_url
    return {
        "connect": CONNECT_PATH,
        "history": None if history is None else str(history).rstrip("/"),
        "subprotocols": [*DIALECTS],
        "auth": settings.auth,
        "window": settings.window,
        "max_frame_bytes": settings.max_frame_bytes,
        "max_text_bytes": settings.max_text_bytes,
    }


class _Page(StaticFiles):
    """The files of the page, with the headers that keep strangers' code out of it."""

    def __init__(self, policy: str) -> None:
        super().__init__(directory=chat_web.FOLDER)
        self._headers = [*HEADERS.items(), (b"content-security-policy", policy.encode())]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "websocket":
            raise HTTPException(404)  # Starlette's own denial is a bare 403

        async def with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await super().__call__(scope, receive, with_headers)

    def get_path(self, scope: "Scope") -> str:
        """Return the file of a path: the page at `/`, and below `/web` what it is made of."""
        path = super().get_path(scope)
        if path == ".":
            return "index.html"
        folder, _, file = path.partition("/")
        if folder != "web" or not file:
            raise HTTPException(404)
        return file


def _policy(settings: "ChatSettings") -> str:
    """Return the Content-Security-Policy: own files, media of history, and frames of the allowed origins only."""
    url = settings.public_history_url
    history = [] if url is None else [f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port else "")]
    rules: dict[str, Sequence[str]] = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "blob:", *history],
        "media-src": ["'self'", "blob:", *history],
        "connect-src": ["'self'", *history],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'self'", *_ancestors(settings.allowed_origins)],
        "trusted-types": ["'none'"],  # with the next one: no text is ever parsed as HTML
        "require-trusted-types-for": ["'script'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


def _ancestors(origins: "Sequence[str]") -> "Iterator[str]":
    """Return what a policy says for allowed origins. An opaque origin has no name there, and so no frame."""
    for origin in origins:
        if origin == ANY_ORIGIN:
            yield "*"  # stands for addresses of the web only
            yield from APP_SCHEMES
        elif origin.endswith("://"):
            yield origin.removesuffix("//")
        elif origin != OPAQUE_ORIGIN:
            yield origin
