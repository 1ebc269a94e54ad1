"""What is too old, and media that nothing points at, are swept away now and then."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from history_service.blobs.base import BlobError, BlobInfo, BlobStore
from history_service.blobs.removal import delete_all
from history_service.metrics import HistoryMetrics
from history_service.stores.base import MessageStore, StoreError
from servicekit.clock import Now
from servicekit.logs import get_logger

log = get_logger(__name__)

BATCH: Final = 500
KEY_PARTS: Final = 4  # client, session, exchange, file


class Sweeper:
    """Sweeps the stores of a pod. Every pod may do it: what one has swept another does not find.

    Args:
        store: the messages.
        blobs: the media.
        metrics: counts what was swept.
        retention: how long an exchange is kept after its answer; None: for ever.
        orphan_age: how long a medium must have been there, without a message, to be swept.
        every: how long to wait from one sweep to the next.
        now: the wall clock.
    """

    def __init__(
        self,
        store: MessageStore,
        blobs: BlobStore,
        metrics: HistoryMetrics,
        *,
        retention: timedelta | None,
        orphan_age: timedelta,
        every: timedelta,
        now: Now,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._metrics = metrics
        self._retention = retention
        self._orphan_age = orphan_age
        self._every = every
        self._now = now

    async def run(self, prepared: asyncio.Event) -> None:
        """Sweep for as long as the pod lives, once its stores are there; the next makes up for one that fails."""
        await prepared.wait()
        await asyncio.sleep(self._every.total_seconds() * random.random())  # noqa: S311 - pods should take turns
        while True:
            try:
                await self.sweep()
            except (StoreError, BlobError) as failed:
                log.warning("sweep.failed", reason=str(failed))
            except Exception:
                log.exception("sweep.failed")
            await asyncio.sleep(self._every.total_seconds())

    async def sweep(self) -> None:
        """Sweep once.

        Raises:
            StoreError, BlobError: a store cannot be used; what was swept is swept.
        """
        expired = await self._sweep_expired()
        orphans = await self._sweep_orphans()
        self._metrics.swept.labels("exchanges").inc(expired)
        self._metrics.swept.labels("media").inc(orphans)
        if expired or orphans:
            log.info("sweep.done", exchanges=expired, orphaned_media=orphans)

    async def _sweep_expired(self) -> int:
        """Delete what is older than the retention, messages first; media that are left by a failure are orphans."""
        if self._retention is None:
            return 0
        before, swept = self._now() - self._retention, 0
        while expired := await self._store.expire(before, limit=BATCH):
            swept += len(expired)
            sides = [message.side for exchange in expired for message in exchange.messages()]
            await delete_all(self._blobs, [media.key for side in sides for media in side.media])
        return swept

    async def _sweep_orphans(self) -> int:
        """Delete media that no message points at, and that none is about to point at.

        Ingest stores the media of an exchange just before the exchange, and stores them anew whenever it is delivered
        again: a medium without a message that has been there for long is of a delivery that failed, and one that is
        still to come brings it along again.
        """
        before, swept = self._now() - self._orphan_age, 0
        async for old in self._old_media(before):
            for (client_id, exchange_id), prefix in (await self._ownerless(old)).items():
                # Listing took its time; a delivery may have come meanwhile.
                fresh = [found async for found in self._blobs.list(prefix)]
                pointed_at = await self._store.media_keys(client_id, [exchange_id])
                orphans = [each.key for each in fresh if each.modified_at < before and each.key not in pointed_at]
                await delete_all(self._blobs, orphans)
                swept += len(orphans)
        return swept

    async def _old_media(self, before: datetime) -> AsyncIterator[list[BlobInfo]]:
        """Yield what has been there for long, in batches."""
        batch: list[BlobInfo] = []
        async for found in self._blobs.list(""):
            if found.modified_at < before:
                batch.append(found)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    async def _ownerless(self, media: Sequence[BlobInfo]) -> dict[tuple[str, UUID], str]:
        """Return the exchanges of which some media are not pointed at, with the folders of these."""
        by_client: dict[str, dict[UUID, list[str]]] = defaultdict(lambda: defaultdict(list))
        for each in media:
            owner = _owner(each.key)
            if owner is not None:  # what is not ours is left alone
                by_client[owner[0]][owner[1]].append(each.key)
        found: dict[tuple[str, UUID], str] = {}
        for client_id, exchanges in by_client.items():
            pointed_at = await self._store.media_keys(client_id, exchanges)
            for exchange_id, keys in exchanges.items():
                if not pointed_at.issuperset(keys):
                    found[client_id, exchange_id] = keys[0].rpartition("/")[0] + "/"
        return found


def _owner(key: str) -> tuple[str, UUID] | None:
    """Return the client and the exchange that a medium belongs to, by its key."""
    parts = key.split("/")
    try:
        return (parts[0], UUID(parts[2])) if len(parts) == KEY_PARTS else None
    except ValueError:
        return None
