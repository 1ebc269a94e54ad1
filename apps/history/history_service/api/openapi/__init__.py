"""What the service says about its own HTTP interface: an OpenAPI 3.1 document, and a page to read.

The document is written by hand, in the order of the routes. Tests hold it against the routes, against
docs/http-api.md and, by schemathesis, against what a running service answers.
"""

from importlib import metadata
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from history_service.api.openapi.operations import paths
from history_service.api.openapi.page import STYLE_SOURCE, page
from history_service.api.openapi.schemas import SCHEMAS

DESCRIPTION: Final = (
    "Finished exchanges go in; sessions, messages and media come out. Every GET answers HEAD, too. Errors are"
    " application/problem+json (RFC 9457) with a stable code."
)


def openapi_document(*, with_tokens: bool) -> dict[str, Any]:
    """Return the document of a service that asks for tokens, or of one that does not."""
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
    """Serves the document and the page."""

    def __init__(self, *, with_tokens: bool) -> None:
        self._document = openapi_document(with_tokens=with_tokens)
        self._page = page(self._document)

    async def document(self, _request: Request) -> Response:
        """Answer `GET /openapi.json`."""
        return JSONResponse(self._document)

    async def page(self, _request: Request) -> Response:
        """Answer `GET /docs`: a page that runs no script and loads nothing."""
        policy = f"default-src 'none'; style-src {STYLE_SOURCE}; base-uri 'none'; frame-ancestors 'none'"
        return HTMLResponse(self._page, headers={"Content-Security-Policy": policy})
