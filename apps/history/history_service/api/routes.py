"""The routes of the HTTP interface, and the responses to store failures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket

from history_service.api.answers import Answers
from history_service.api.clients import Clients
from history_service.api.context import Context
from history_service.api.exchanges import Exchanges
from history_service.api.media import MediaFiles
from history_service.api.messages import Messages
from history_service.api.openapi import Documentation
from history_service.api.sessions import Sessions
from history_service.blobs.base import BlobError
from history_service.bucket_claim import BucketRefused
from history_service.metrics import HistoryMetrics
from history_service.stores.base import StoreError
from servicekit.health import Health
from servicekit.logs import get_logger
from servicekit.problems import Problem, install, problem_response

log = get_logger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """All endpoints, by resource."""

    exchanges: Exchanges
    clients: Clients
    sessions: Sessions
    messages: Messages
    context: Context
    answers: Answers
    media: MediaFiles
    documentation: Documentation
    health: Health


def http_app(endpoints: Endpoints, metrics: HistoryMetrics) -> Starlette:
    """Return the HTTP interface. Store failures are counted and answered with 503."""
    exchanges, clients, sessions = endpoints.exchanges, endpoints.clients, endpoints.sessions
    messages, media, documentation = endpoints.messages, endpoints.media, endpoints.documentation

    async def unavailable(_request: Request | WebSocket, exc: Exception) -> Response:
        kind = "media" if isinstance(exc, BlobError) else "messages"
        metrics.store_errors.labels(kind).inc()
        log.warning("store.failed", store=kind, reason=str(exc))
        detail = f"the store of {kind} cannot be used at the moment"
        return problem_response(Problem(503, "store_unavailable", detail, headers={"Retry-After": "2"}))

    async def refused(_request: Request | WebSocket, exc: Exception) -> Response:
        log.warning("erasure.refused", detail=str(exc))
        detail = "the media store may be another's, so nothing is deleted; the log of the service says more"
        return problem_response(Problem(503, "deletion_refused", detail))

    app = Starlette(
        routes=[
            resource("/v1/exchanges", POST=exchanges.post),
            resource("/v1/clients/{client}", DELETE=clients.erase),
            resource("/v1/clients/{client}/export", GET=clients.export),
            resource("/v1/clients/{client}/sessions", GET=sessions.list, POST=sessions.create),
            resource("/v1/clients/{client}/sessions/{session}/context", GET=endpoints.context.get),
            resource("/v1/clients/{client}/answers/{message}", POST=endpoints.answers.claim),
            resource("/v1/clients/{client}/search", GET=messages.search),
            resource("/v1/sessions/{session}", GET=sessions.get, PATCH=sessions.rename, DELETE=sessions.delete),
            resource("/v1/sessions/{session}/messages", GET=messages.list),
            resource("/v1/sessions/{session}/arrivals", GET=messages.list_arrivals),
            resource("/v1/messages/{message}", GET=messages.get, DELETE=messages.delete),
            resource("/v1/messages/{message}/media/{part}", GET=media.get),
            resource("/v1/messages/{message}/media/{part}/address", POST=media.address),
            *endpoints.health.routes(),
            resource("/openapi.json", GET=documentation.document),
            resource("/docs", GET=documentation.page),
            resource("/docs/page.css", GET=documentation.style),
            resource("/docs/try.js", GET=documentation.script),
        ],
        exception_handlers={StoreError: unavailable, BlobError: unavailable, BucketRefused: refused},
    )
    # No redirects: they are built from the Host header, and lead from TLS to plain HTTP behind a balancer.
    app.router.redirect_slashes = False
    install(app, hint="/docs and /openapi.json describe what there is")
    return app


def resource(path: str, **methods: Endpoint) -> Route:
    """Return one route for a path, so that a 405 lists all of its methods."""

    async def answer(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, answer, methods=list(methods))
