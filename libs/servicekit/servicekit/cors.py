"""CORS: which pages of other origins may read responses, and which headers."""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE")
REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "If-None-Match", "If-Range", "Range")
RESPONSE_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
)
PREFLIGHT_SECONDS: Final = 600


class _OriginsInAnyCase(CORSMiddleware):
    """App shells send origins in any case; the settings hold them in lower case."""

    def is_allowed_origin(self, origin: str) -> bool:
        return super().is_allowed_origin(origin.lower())


def allow_origins(app: Starlette, origins: Sequence[str]) -> None:
    """Let pages of these origins use `app`. Call it last, so that every response is covered, also a 500.

    Cookies are not used: a bearer token identifies the sender, and no browser adds it by itself.
    """
    if origins:
        app.add_middleware(
            _OriginsInAnyCase,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            max_age=PREFLIGHT_SECONDS,
        )
