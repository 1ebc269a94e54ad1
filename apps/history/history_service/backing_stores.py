"""The two stores of a pod: their selection by the settings, and their preparation in the background."""

import asyncio
from typing import Final

from history_service.blobs.base import BlobError, BlobStore
from history_service.blobs.filesystem import FolderBlobs
from history_service.blobs.s3 import S3Blobs
from history_service.settings import HistorySettings
from history_service.stores.base import MessageStore, StoreError
from history_service.stores.mongo import MongoStore
from history_service.stores.sqlite import SqliteStore
from servicekit.logs import get_logger

log = get_logger(__name__)

FIRST_RETRY_SECONDS: Final = 0.2
LAST_RETRY_SECONDS: Final = 5.0
MARKER_READS: Final = 4
"""Connections reserved from readers of media: a deletion first reads the marker of the bucket."""


def message_store(settings: HistorySettings) -> MessageStore:
    """Return the message store that the settings select."""
    if settings.mongodb_url is None:
        return SqliteStore(settings.data_dir / "messages.sqlite")
    return MongoStore(
        settings.mongodb_url.get_secret_value(),
        settings.mongodb_database,
        wait_seconds=settings.store_seconds,
        driver=settings.mongodb_driver,
    )


def blob_store(settings: HistorySettings) -> BlobStore:
    """Return the media store that the settings select."""
    if settings.s3_bucket is None:
        return FolderBlobs(settings.data_dir / "media")
    return S3Blobs(
        settings.s3_bucket,
        prefix=settings.s3_prefix,
        endpoint_url=str(settings.s3_endpoint_url) if settings.s3_endpoint_url else None,
        public_url=str(settings.s3_public_url) if settings.s3_public_url else None,
        region=settings.s3_region,
        create_bucket=settings.s3_create_bucket,
        encryption=settings.s3_encryption,
        kms_key_id=settings.s3_kms_key_id,
        driver=settings.s3_driver,
        wait_seconds=settings.store_seconds,
        max_open=settings.max_downloads + MARKER_READS,
    )


class Stores:
    """The two stores of a pod, prepared in the background. A pod starts without them, and becomes ready with them."""

    def __init__(self, store: MessageStore, blobs: BlobStore, settings: HistorySettings) -> None:
        self._store = store
        self._blobs = blobs
        self._settings = settings
        self.prepared = asyncio.Event()

    async def prepare(self) -> None:
        """Prepare both, and retry until that succeeds."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._store.prepare()
                await self._blobs.prepare()
            except Exception as exc:
                unforeseen = not isinstance(exc, StoreError | BlobError)
                log.warning(
                    "stores.not_ready",
                    reason=str(exc),
                    setting=self._setting(exc),
                    next_try_seconds=pause,
                    exc_info=unforeseen,
                )
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_RETRY_SECONDS)
            else:
                log.info("stores.ready")
                self.prepared.set()
                return

    def _setting(self, failed: Exception) -> str:
        """Return the settings that name the unusable store."""
        if isinstance(failed, BlobError):
            return (
                "HISTORY_DATA_DIR" if self._settings.s3_bucket is None else "HISTORY_S3_BUCKET, HISTORY_S3_ENDPOINT_URL"
            )
        return "HISTORY_DATA_DIR" if self._settings.mongodb_url is None else "HISTORY_MONGODB_URL"

    async def are_prepared(self) -> bool:
        """Say whether both have been prepared."""
        return self.prepared.is_set()

    async def close(self) -> None:
        """Close both."""
        await self._store.close()
        await self._blobs.close()
