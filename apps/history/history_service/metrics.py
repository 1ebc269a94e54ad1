"""Every metric of the history service, declared once."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from history_service.limits import DownloadLimiter, IngestLimiter
from servicekit.metrics import count_cuts, metrics_app, new_registry

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BYTES: Final = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8)


class HistoryMetrics:
    """The metrics of one pod."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or new_registry()
        self.cut_connection = count_cuts(self.registry)
        self.exchanges = Counter(
            "history_exchanges",
            "Exchanges ingested, by outcome.",
            ["outcome"],
            "chatbot",
            registry=self.registry,
        )
        self.batch_bytes = Histogram(
            "history_batch_bytes", "Sizes of ingested batches.", [], "chatbot", buckets=BYTES, registry=self.registry
        )
        self.store_errors = Counter(
            "history_store_errors", "Operations of a store that failed.", ["store"], "chatbot", registry=self.registry
        )
        self.swept = Counter(
            "history_swept",
            "Exchanges beyond the retention and orphans that were swept.",
            ["what"],
            "chatbot",
            registry=self.registry,
        )
        self.sweep_blocked = Gauge(
            "history_sweep_blocked",
            "1 for the reason why the latest sweep deleted nothing.",
            ["reason"],
            "chatbot",
            registry=self.registry,
        )
        self.unfinished_erasures = Gauge(
            "history_unfinished_erasures",
            "Erasures whose media could not be deleted, at the latest sweep.",
            [],
            "chatbot",
            registry=self.registry,
        )
        self.orphans = Gauge(
            "history_orphaned_media",
            "Orphans at the latest sweep.",
            [],
            "chatbot",
            registry=self.registry,
        )
        self.unknown_media = Gauge(
            "history_unknown_media",
            "Media of sessions that the database does not know. They are never swept.",
            [],
            "chatbot",
            registry=self.registry,
        )
        # Exported as zero from the start, so that the first event is an increase.
        for store in ("messages", "media"):
            self.store_errors.labels(store)
        for what in ("exchanges", "media"):
            self.swept.labels(what)
        self.requests = Histogram(
            "history_request_seconds",
            "From a request to the end of its answer.",
            ["method", "route", "status"],
            "chatbot",
            buckets=SECONDS,
            registry=self.registry,
        )

    def sweep_is_blocked(self, reason: str | None) -> None:
        """Set the reason why the sweep deletes nothing; None: there is none."""
        self.sweep_blocked.clear()
        if reason is not None:
            self.sweep_blocked.labels(reason).set(1)

    def watch(self, ingest: IngestLimiter, downloads: DownloadLimiter) -> None:
        """Export the load of both limiters, read at each scrape."""
        batches = Gauge(
            "history_batches_in_work", "Batches that are being stored.", [], "chatbot", registry=self.registry
        )
        batches.set_function(lambda: ingest.batches)
        size = Gauge("history_bytes_in_work", "Bytes of these batches.", [], "chatbot", registry=self.registry)
        size.set_function(lambda: ingest.size_bytes)
        sent = Gauge("history_downloads", "Media that are being sent.", [], "chatbot", registry=self.registry)
        sent.set_function(lambda: downloads.under_way)

    def app(self) -> ASGIApp:
        """Return the ASGI app of the metrics port."""
        return metrics_app(self.registry)

    def timing(self, app: ASGIApp) -> ASGIApp:
        """Wrap an app to time its requests by route, not by path, which holds client ids."""

        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            began, status = time.perf_counter(), 500

            async def watch(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watch)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                self.requests.labels(scope["method"], route, str(status)).observe(time.perf_counter() - began)

        return timed
