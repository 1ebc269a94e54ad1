"""Periodic deletion of expired exchanges and of orphans, media without a message."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from history_service.blobs.base import BlobError, BlobStore
from history_service.blobs.removal import delete_all
from history_service.bucket_claim import BucketClaim, BucketRefused
from history_service.eraser import Eraser
from history_service.media_keys import MediaKey, by_client
from history_service.metrics import HistoryMetrics
from history_service.stores.base import MessageStore, StoreError
from servicekit.clock import Now
from servicekit.logs import get_logger

log = get_logger(__name__)

BATCH: Final = 500
MOST_FOLDERS: Final = 50_000
"""How many exchanges with orphans a sweep remembers. It leaves the rest to the next."""
MOST_FAILURES: Final = 10
"""After so many failed deletions the store is considered broken, and the sweep ends."""
ORPHAN_SHARE: Final = "orphan_share"
EXPIRED_SHARE: Final = "expired_share"

SweepOrphans = Literal["on", "off", "dry-run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """What is swept, and safety limits.

    Attributes:
        retention: how long an exchange is kept after its answer; None: for ever.
        orphan_age: the least age of an orphan to be swept.
        orphans: whether orphans are swept, only counted, or not looked for.
        max_orphan_share: no orphan is deleted if their share of the media that are old enough is larger.
        free_orphans: up to this number the share does not matter.
        max_expired_share: no exchange is deleted if the share of expired ones is larger: the clock may be wrong.
        free_expired: up to this number the share does not matter.
    """

    retention: timedelta | None
    orphan_age: timedelta
    orphans: SweepOrphans = "on"
    max_orphan_share: float = 0.1
    free_orphans: int = 20
    max_expired_share: float = 0.5
    free_expired: int = 1000


@dataclass(slots=True)
class Findings:
    """The result of listing all media."""

    media: int = 0
    unknown: int = 0
    orphans: int = 0
    folders: dict[str, MediaKey] = field(default_factory=dict)
    """The exchanges with orphans, by the prefix of their media."""


class Sweeper:
    """Sweeps the stores of a pod. All pods may do so at the same time.

    Args:
        store: the messages.
        blobs: the media.
        claim: checks that the media belong to this database.
        eraser: finishes interrupted deletions.
        metrics: the counters.
        limits: what is swept, and safety limits.
        every: the time between sweeps.
        now: the wall clock.
    """

    def __init__(
        self,
        store: MessageStore,
        blobs: BlobStore,
        claim: BucketClaim,
        eraser: Eraser,
        metrics: HistoryMetrics,
        *,
        limits: SweepLimits,
        every: timedelta,
        now: Now,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._claim = claim
        self._eraser = eraser
        self._metrics = metrics
        self._limits = limits
        self._every = every
        self._now = now

    async def run(self, prepared: asyncio.Event) -> None:
        """Sweep periodically after the stores are prepared. A failed sweep is made up for by the next."""
        await prepared.wait()
        await self._guarded(self._begin())
        await asyncio.sleep(self._every.total_seconds() * random.random())  # noqa: S311 - spreads the pods
        while True:
            await self._guarded(self.sweep())
            await asyncio.sleep(self._every.total_seconds())

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (StoreError, BlobError) as exc:
            log.warning("sweep.failed", reason=str(exc))
        except Exception:
            log.exception("sweep.failed")

    async def _begin(self) -> None:
        """At the start, report a bucket of another database, and finish interrupted deletions."""
        try:
            await self._claim.require()
        except BucketRefused as exc:
            self._block(exc.refusal, str(exc))
        else:
            self._metrics.sweep_is_blocked(None)
            await self._finish_erasures()

    async def sweep(self) -> None:
        """Sweep once. If the bucket belongs to another database, nothing is deleted.

        Raises:
            StoreError, BlobError: a store failed. The sweep may be incomplete.
        """
        expired = orphans = 0
        try:
            await self._claim.renew()
            await self._finish_erasures()
            if await self._may_expire():
                expired = await self._sweep_expired()
                orphans = await self._sweep_orphans()
        except BucketRefused as exc:
            self._block(exc.refusal, str(exc))
            if self._limits.orphans == "dry-run":
                self._report(await self.look())
        self._metrics.swept.labels("exchanges").inc(expired)
        self._metrics.swept.labels("media").inc(orphans)
        if expired or orphans:
            log.info("sweep.done", exchanges=expired, orphaned_media=orphans)

    async def _finish_erasures(self) -> None:
        self._metrics.unfinished_erasures.set(await self._eraser.finish_all())

    async def _may_expire(self) -> bool:
        """Say whether the share of expired exchanges is within the safety limit.

        With a clock that is years ahead, all exchanges look expired, and new media look old.
        """
        limits = self._limits
        if limits.retention is None:
            return True
        expired, total = await self._store.deletions.count_expired(self._now() - limits.retention)
        share = expired / max(total, 1)
        if expired <= limits.free_expired or share <= limits.max_expired_share:
            return True
        self._block(
            EXPIRED_SHARE,
            f"{expired} of {total} exchanges are beyond HISTORY_RETENTION_DAYS, which is more than"
            f" HISTORY_SWEEP_MAX_EXPIRED_SHARE ({limits.max_expired_share:g}). Nothing is swept. See whether the clock"
            f" of this pod ({self._now():%Y-%m-%d %H:%M} UTC) is right; if so, raise the setting for one sweep.",
        )
        return False

    def _block(self, reason: str, why: str) -> None:
        self._metrics.sweep_is_blocked(reason)
        log.warning("sweep.refused", reason=reason, detail=why)

    async def _sweep_expired(self) -> int:
        """Delete expired exchanges, messages first. Media left by a failure become orphans."""
        if self._limits.retention is None:
            return 0
        before, swept = self._now() - self._limits.retention, 0
        while expired := await self._store.deletions.expire(before, limit=BATCH):
            swept += len(expired)
            await delete_all(self._blobs, {key for exchange in expired for key in exchange.media_keys()})
            await self._claim.require()
        return swept

    async def _sweep_orphans(self) -> int:
        """Delete media without a message, unless one is being stored.

        Ingest stores the media of an exchange just before the exchange, and again at each delivery. So an old medium
        without a message is from a failed delivery, and a later delivery stores it again.

        All media are listed before any is deleted.
        """
        if self._limits.orphans == "off":
            self._metrics.sweep_is_blocked(None)
            return 0
        before = self._now() - self._limits.orphan_age
        found = await self.look()
        self._report(found)
        limits, share = self._limits, found.orphans / max(found.media, 1)
        if found.orphans > limits.free_orphans and share > limits.max_orphan_share:
            self._block(
                ORPHAN_SHARE,
                f"{found.orphans} of {found.media} media have no message, which is more than"
                f" HISTORY_SWEEP_MAX_ORPHAN_SHARE ({limits.max_orphan_share:g}) and hardly true. Nothing is deleted."
                " See whether the database has lost messages; if the media are to go, raise the setting for one sweep.",
            )
            return 0
        self._metrics.sweep_is_blocked(None)
        if limits.orphans == "dry-run":
            return 0
        swept = failures = 0
        for folder, key in found.folders.items():
            try:
                swept += await self._delete_orphans(folder, key, before)
            except BlobError as exc:  # go on: it may be a locked object
                failures += 1
                log.warning("sweep.orphan_stays", folder=folder, reason=str(exc))
                if failures == MOST_FAILURES:
                    raise
        return swept

    async def _delete_orphans(self, folder: str, key: MediaKey, before: datetime) -> int:
        # Check again: since the listing an exchange may have been delivered, or the bucket adopted.
        fresh = [found async for found in self._blobs.list(folder)]
        if await self._eraser.is_uploading(key.client_id, key.exchange_id):  # before its message is looked for
            return 0
        pointed_at = await self._store.exchanges.media_keys(key.client_id, [key.exchange_id])
        orphans = [each.key for each in fresh if each.modified_at < before and each.key not in pointed_at]
        if orphans:
            await self._claim.require()
            await delete_all(self._blobs, orphans)
        return len(orphans)

    def _report(self, found: Findings) -> None:
        self._metrics.orphans.set(found.orphans)
        self._metrics.unknown_media.set(found.unknown)
        if self._limits.orphans == "dry-run":
            log.info("sweep.dry_run", media=found.media, orphans=found.orphans, of_unknown_sessions=found.unknown)

    async def look(self) -> Findings:
        """List all media that are old enough."""
        found = Findings()
        async for keys in self._old_media(self._now() - self._limits.orphan_age):
            found.media += len(keys)
            for client_id, theirs in by_client(keys).items():
                await self._look_at(client_id, theirs, found)
        return found

    async def _look_at(self, client_id: str, keys: Sequence[MediaKey], found: Findings) -> None:
        pointed_at = await self._store.exchanges.media_keys(client_id, {key.exchange_id for key in keys})
        loose = [key for key in keys if str(key) not in pointed_at]
        # Ingest creates the session before it stores media, so media of an unknown session are not ours.
        known: set[UUID] = set()
        if loose:
            known = await self._store.sessions.known(client_id, {key.session_id for key in loose})
        for key in loose:
            if key.session_id not in known:
                found.unknown += 1
                continue
            found.orphans += 1
            if len(found.folders) < MOST_FOLDERS:
                found.folders.setdefault(key.folder, key)

    async def _old_media(self, before: datetime) -> AsyncIterator[list[MediaKey]]:
        """Yield media that are old enough, in batches, without unknown keys."""
        batch: list[MediaKey] = []
        async for found in self._blobs.list(""):
            key = MediaKey.parse(found.key)
            if key is not None and found.modified_at < before:
                batch.append(key)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
