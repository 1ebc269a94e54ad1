"""The composition root of the history service: settings in, a running pod out."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from history_service.api.access import Access
from history_service.api.answers import Answers
from history_service.api.clients import Clients
from history_service.api.context import Context
from history_service.api.exchanges import Exchanges
from history_service.api.media import MediaFiles
from history_service.api.messages import Messages
from history_service.api.openapi import Documentation
from history_service.api.routes import Endpoints, http_app
from history_service.api.sessions import Sessions
from history_service.api.signed_urls import SignedUrls
from history_service.backing_stores import Stores, blob_store, message_store
from history_service.blobs.base import BlobStore
from history_service.bucket_claim import BucketClaim
from history_service.eraser import Eraser
from history_service.ingest import Ingest
from history_service.limits import DownloadLimiter, IngestLimiter
from history_service.metrics import HistoryMetrics
from history_service.settings import HistorySettings
from history_service.stores.base import MessageStore
from history_service.sweeper import Sweeper, SweepLimits
from servicekit.auth import open_authenticator
from servicekit.clock import Now, utc_now
from servicekit.cors import allow_origins
from servicekit.health import Health
from servicekit.logs import get_logger
from servicekit.runner import Listener
from servicekit.tasks import background

log = get_logger(__name__)

QUIET_LIBRARIES: Final = ("aiobotocore", "boto3", "botocore", "pymongo")
"""Below warning these log signatures of requests and contents of documents."""

UPLOAD_MARGIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryServer:
    """A running pod, without its ports.

    Attributes:
        settings: its settings.
        app: the HTTP interface.
        routes: the routes of the HTTP interface.
        metrics_app: the metrics.
        on_cut: counts connections that were aborted.
        health: whether it is ready.
    """

    settings: HistorySettings
    app: ASGIApp
    routes: tuple[BaseRoute, ...]
    metrics_app: ASGIApp
    on_cut: Callable[[str], None]
    health: Health

    def listeners(self) -> list[Listener]:
        """Return the ports of this pod: the HTTP interface and metrics."""
        host = self.settings.host
        return [
            Listener(
                app=self.app,
                host=host,
                port=self.settings.port,
                name="history",
                hint="set HISTORY_PORT",
                host_hint="set HISTORY_HOST",
                http=self.settings.http_limits(),
                on_cut=self.on_cut,
                allowed_hosts=self.settings.served_hosts(host),
            ),
            Listener(
                app=self.metrics_app,
                host=host,
                port=self.settings.metrics_port,
                name="history-metrics",
                hint="set HISTORY_METRICS_PORT",
                host_hint="set HISTORY_HOST",
                http=self.settings.http_limits(),
                on_cut=self.on_cut,
                allowed_hosts=self.settings.metrics_hosts(host),
            ),
        ]

    async def drain(self) -> bool:
        """Stop being ready. The server waits for requests in flight when it closes, see `HISTORY_DRAIN_SECONDS`."""
        self.health.start_draining()
        return True


@asynccontextmanager
async def open_history(
    settings: HistorySettings,
    *,
    store: MessageStore | None = None,
    blobs: BlobStore | None = None,
    now: Now = utc_now,
) -> AsyncIterator[HistoryServer]:
    """Open everything a pod needs, and close it again in the right order.

    Args:
        settings: stores, ports and access.
        store: a message store to use instead of the one in the settings; closed at the end, too.
        blobs: the same for media.
        now: the wall clock.
    """
    store = store or message_store(settings)
    blobs = blobs or blob_store(settings)
    stores = Stores(store, blobs, settings)
    metrics = HistoryMetrics()
    health = Health(metadata.version("chatbot-history"))
    health.register("stores", stores.are_prepared)
    claim = open_claim(settings, store, blobs)
    eraser = open_eraser(settings, store, blobs, claim, now)
    sweeper = Sweeper(
        store,
        blobs,
        claim,
        eraser,
        metrics,
        limits=sweep_limits(settings),
        every=timedelta(seconds=settings.sweep_seconds),
        now=now,
    )
    try:
        async with (
            background(stores.prepare(), name="prepare stores"),
            background(sweeper.run(stores.prepared), name="sweep"),
            open_authenticator(settings, health, now=now) as authenticator,
        ):
            app = _app(settings, store, blobs, eraser, Access(authenticator, store), metrics, health, now)
            yield HistoryServer(
                settings=settings,
                app=metrics.timing(app),
                routes=tuple(app.routes),
                metrics_app=metrics.app(),
                on_cut=metrics.cut_connection,
                health=health,
            )
    finally:
        await stores.close()


def _app(
    settings: HistorySettings,
    store: MessageStore,
    blobs: BlobStore,
    eraser: Eraser,
    access: Access,
    metrics: HistoryMetrics,
    health: Health,
    now: Now,
) -> Starlette:
    ingest_limiter = IngestLimiter(
        max_batches=settings.max_batches,
        max_bytes=settings.max_ingest_bytes,
        wait_seconds=settings.ingest_wait_seconds,
    )
    download_limiter = DownloadLimiter(
        max_downloads=settings.max_downloads,
        per_client=settings.max_downloads_per_client,
        wait_seconds=settings.download_wait_seconds,
    )
    metrics.watch(ingest_limiter, download_limiter)
    secrets = [secret.get_secret_value() for secret in settings.address_secrets()]
    endpoints = Endpoints(
        exchanges=Exchanges(
            Ingest(store, blobs, metrics, upload_seconds=settings.upload_seconds),
            access,
            metrics,
            limiter=ingest_limiter,
            max_batch_bytes=settings.max_batch_bytes,
            batch_seconds=settings.batch_seconds,
        ),
        clients=Clients(store, eraser, access),
        sessions=Sessions(store, eraser, access, now),
        messages=Messages(store, eraser, access),
        context=Context(store, access),
        answers=Answers(store, blobs, access, download_limiter),
        media=MediaFiles(
            blobs,
            access,
            SignedUrls(secrets, seconds=settings.media_address_seconds, now=now),
            download_limiter,
            redirect=settings.media_redirect,
        ),
        documentation=Documentation(with_tokens=settings.auth != "none"),
        health=health,
    )
    app = http_app(endpoints, metrics)
    allow_origins(app, settings.allowed_origins)
    return app


def open_claim(settings: HistorySettings, store: MessageStore, blobs: BlobStore) -> BucketClaim:
    """Return the claim of the database to the bucket."""
    return BucketClaim(store, blobs, max_unknown_share=settings.sweep_max_orphan_share)


def open_eraser(
    settings: HistorySettings, store: MessageStore, blobs: BlobStore, claim: BucketClaim, now: Now
) -> Eraser:
    """Return the eraser."""
    return Eraser(store, blobs, claim, upload_seconds=settings.upload_seconds + UPLOAD_MARGIN_SECONDS, now=now)


def sweep_limits(settings: HistorySettings) -> SweepLimits:
    """Return the limits of sweeping."""
    return SweepLimits(
        retention=None if settings.retention_days is None else timedelta(days=settings.retention_days),
        orphan_age=timedelta(hours=settings.orphan_hours),
        orphans=settings.sweep_orphans,
        max_orphan_share=settings.sweep_max_orphan_share,
        max_expired_share=settings.sweep_max_expired_share,
        free_expired=settings.sweep_free_expired,
    )
