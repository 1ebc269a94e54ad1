"""The description of the HTTP interface: an OpenAPI 3.1 document, and a page to read and try it.

The document is written by hand, in the order of the routes. Tests compare it with the routes, with docs/http-api.md
and, by schemathesis, with the responses of a running service.
"""

from importlib import metadata
from importlib.resources import files
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from history_service.api.openapi.operations import paths
from history_service.api.openapi.page import page
from history_service.api.openapi.schemas import SCHEMAS

DESCRIPTION: Final = (
    "Finished exchanges go in; sessions, messages and media come out. Every GET answers HEAD, too. Errors are"
    " application/problem+json (RFC 9457) with a stable code."
)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob:; media-src blob:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; trusted-types 'none';"
    " require-trusted-types-for 'script'"
)
"""The Content-Security-Policy of the page: own files, requests to this service only, no text parsed as HTML."""

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def openapi_document(*, with_tokens: bool) -> dict[str, Any]:
    """Return the document of a service with or without tokens."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Chatbot history",
            "version": metadata.version("chatbot-history"),
            "description": DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths(with_tokens=with_tokens),
        "components": {"schemas": SCHEMAS},
    }
    if with_tokens:
        bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        document["components"] = {**document["components"], "securitySchemes": {"token": bearer}}
    return document


class Documentation:
    """Serves the document, and the page with its files."""

    def __init__(self, *, with_tokens: bool) -> None:
        self._document = openapi_document(with_tokens=with_tokens)
        self._page = page(self._document)
        static = files(__package__) / "static"
        self._style = (static / "page.css").read_text("utf-8")
        self._script = (static / "try.js").read_text("utf-8")

    async def document(self, _request: Request) -> Response:
        """Answer `GET /openapi.json`."""
        return JSONResponse(self._document)

    async def page(self, _request: Request) -> Response:
        """Answer `GET /docs`."""
        return Response(self._page, media_type="text/html", headers=HEADERS)

    async def style(self, _request: Request) -> Response:
        """Answer `GET /docs/page.css`."""
        return Response(self._style, media_type="text/css", headers=HEADERS)

    async def script(self, _request: Request) -> Response:
        """Answer `GET /docs/try.js`."""
        return Response(self._script, media_type="text/javascript", headers=HEADERS)
