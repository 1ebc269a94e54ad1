"""Prometheus metrics on a port of their own, so that they are never served to clients."""

from collections.abc import Callable
from typing import Final, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_asgi_app,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from servicekit.problems import Problem, problem_response


def new_registry() -> CollectorRegistry:
    """Return a registry of our own, never the global one, with the metrics of the process itself."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


CUT_REASONS: Final = ("turned_away", "made_room", "head_too_slow", "body_too_slow", "reader_too_slow")


def count_cuts(registry: CollectorRegistry) -> Callable[[str], None]:
    """Return a function that counts HTTP connections that were refused or aborted, by reason (`Listener.on_cut`)."""
    counter = Counter(
        "http_connections_cut",
        "HTTP connections that were denied, closed to make room for new ones, or cut as too slow, by reason.",
        ["reason"],
        namespace="chatbot",
        registry=registry,
    )
    by_reason = {reason: counter.labels(reason) for reason in CUT_REASONS}
    return lambda reason: by_reason[reason].inc()


def metrics_app(registry: CollectorRegistry) -> ASGIApp:
    """Return an ASGI app that serves `registry` at `/metrics`, in the format the scraper asks for.

    Anything else is answered by 404, another method by 405.
    """
    exposition = cast("ASGIApp", make_asgi_app(registry))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"metrics are served over HTTP only, not {scope['type']}")
        if scope["path"] != "/metrics":
            await problem_response(Problem(404, "not_found", "metrics are at /metrics"))(scope, receive, send)
        elif scope["method"] not in {"GET", "HEAD"}:
            problem = Problem(405, "method_not_allowed", headers={"allow": "GET, HEAD"})
            await problem_response(problem)(scope, receive, send)
        else:
            await exposition(scope, receive, send)

    return app
