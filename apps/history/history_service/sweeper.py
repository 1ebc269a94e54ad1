"""What is too old, and media that nothing points at, are swept away now and then."""

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
"""So many exchanges with orphans are remembered at once; a sweep that finds more leaves the rest to the next."""
MOST_FAILURES: Final = 10
"""With so many orphans that cannot be deleted it is the store that fails, and the sweep ends."""
ORPHAN_SHARE: Final = "orphan_share"
EXPIRED_SHARE: Final = "expired_share"

SweepOrphans = Literal["on", "off", "dry-run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLimits:
    """When something is swept, and when rather nothing.

    Attributes:
        retention: how long an exchange is kept after its answer; None: for ever.
        orphan_age: how long a medium must have been there, without a message, to be swept.
        orphans: whether orphans are swept, only counted, or not looked for.
        max_orphan_share: with a larger share of orphans among the media that are old enough, none is deleted.
        free_orphans: so many are deleted whatever their share.
        max_expired_share: with a larger share of exchanges beyond the retention, none is deleted; clocks may be wrong.
        free_expired: so many are deleted whatever their share.
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
    """What a look at all media has found."""

    media: int = 0
    unknown: int = 0
    orphans: int = 0
    folders: dict[str, MediaKey] = field(default_factory=dict)
    """Of the exchanges with orphans, by the prefix of their media."""


class Sweeper:
    """Sweeps the stores of a pod. Every pod may do it: what one has swept another does not find.

    Args:
        store: the messages.
        blobs: the media.
        claim: whether the media are this database's to delete.
        eraser: ends deletions that broke off.
        metrics: counts what was swept.
        limits: what is swept, and when rather nothing.
        every: how long to wait from one sweep to the next.
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
        """Sweep for as long as the pod lives, once its stores are there; the next makes up for one that fails."""
        await prepared.wait()
        await self._guarded(self._begin())
        await asyncio.sleep(self._every.total_seconds() * random.random())  # noqa: S311 - pods should take turns
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
        """Tell at once, not only by the first sweep, when the media are another database's; finish what broke off."""
        try:
            await self._claim.require()
        except BucketRefused as exc:
            self._block(exc.refusal, str(exc))
        else:
            self._metrics.sweep_is_blocked(None)
            await self._finish_erasures()

    async def sweep(self) -> None:
        """Sweep once. Media of another database stay, and then messages stay, too: their media could not follow.

        Raises:
            StoreError, BlobError: a store cannot be used; what was swept is swept.
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
        """Say whether few enough exchanges are beyond the retention.

        A clock that is years ahead makes all of them look so, and media that are just being stored look old.
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
        """Delete what is older than the retention, messages first; media that are left by a failure are orphans."""
        if self._limits.retention is None:
            return 0
        before, swept = self._now() - self._limits.retention, 0
        while expired := await self._store.deletions.expire(before, limit=BATCH):
            swept += len(expired)
            await delete_all(self._blobs, {key for exchange in expired for key in exchange.media_keys()})
            await self._claim.require()
        return swept

    async def _sweep_orphans(self) -> int:
        """Delete media that no message points at, and that none is about to point at.

        Ingest stores the media of an exchange just before the exchange, and stores them anew whenever it is delivered
        again: a medium without a message that has been there for long is of a delivery that failed, and one that is
        still to come brings it along again.

        All media are looked at before any is deleted.
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
            except BlobError as exc:  # one that cannot be deleted, such as a locked object, holds up no other
                failures += 1
                log.warning("sweep.orphan_stays", folder=folder, reason=str(exc))
                if failures == MOST_FAILURES:
                    raise
        return swept

    async def _delete_orphans(self, folder: str, key: MediaKey, before: datetime) -> int:
        # Looking at everything took its time; a delivery may have come meanwhile, or the bucket another owner.
        fresh = [found async for found in self._blobs.list(folder)]
        if await self._eraser.is_coming(key.client_id, key.exchange_id):  # before its message is looked for
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
        """Look at all media that have been there for long."""
        found = Findings()
        async for keys in self._old_media(self._now() - self._limits.orphan_age):
            found.media += len(keys)
            for client_id, theirs in by_client(keys).items():
                await self._look_at(client_id, theirs, found)
        return found

    async def _look_at(self, client_id: str, keys: Sequence[MediaKey], found: Findings) -> None:
        pointed_at = await self._store.exchanges.media_keys(client_id, {key.exchange_id for key in keys})
        loose = [key for key in keys if str(key) not in pointed_at]
        # Ingest makes the session before it stores media: those of a session that was never made here are not ours.
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
        """Yield what has been there for long, in batches; what is not ours is left out."""
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
