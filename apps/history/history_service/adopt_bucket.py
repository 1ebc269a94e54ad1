"""`python -m history_service adopt-bucket`: make the database of this pod the owner of its bucket."""

import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Final

from history_service.app import open_claim, open_eraser, sweep_limits
from history_service.backing_stores import blob_store, message_store
from history_service.blobs.base import BlobError, BlobStore
from history_service.bucket_claim import WHY, BucketRefused
from history_service.metrics import HistoryMetrics
from history_service.settings import HistorySettings
from history_service.stores.base import MessageStore, StoreError
from history_service.sweeper import Sweeper
from servicekit.clock import utc_now

NAME: Final = "adopt-bucket"
USAGE: Final = """\
usage: python -m history_service adopt-bucket [--yes]

Makes the database that the settings name the owner of their bucket (or media folder). Until then nothing is deleted by
a database that the bucket does not belong to. Without --yes it only tells what it has found. See docs/stored-data.md.
"""


async def adopt(settings: HistorySettings, arguments: Sequence[str]) -> int:
    """Print the state, adopt the bucket if asked to, and return the exit code."""
    if arguments not in ([], ["--yes"]):
        sys.stderr.write(USAGE)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    store, blobs = message_store(settings), blob_store(settings)
    try:
        await store.prepare()
        await blobs.prepare()
        async for line in _adopt(settings, store, blobs, sure=bool(arguments)):
            sys.stdout.write(f"{line}\n")
    except (StoreError, BlobError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    finally:
        await store.close()
        await blobs.close()
    return 0


async def _adopt(settings: HistorySettings, store: MessageStore, blobs: BlobStore, *, sure: bool) -> AsyncIterator[str]:
    claim = open_claim(settings, store, blobs)
    try:
        await claim.require()
    except BucketRefused as exc:
        yield f"{WHY[exc.refusal]}."
    else:
        yield "The bucket belongs to this database already."
        return
    limits, every = sweep_limits(settings), timedelta(seconds=settings.sweep_seconds)
    eraser = open_eraser(settings, store, blobs, claim, utc_now)
    sweeper = Sweeper(store, blobs, claim, eraser, HistoryMetrics(), limits=limits, every=every, now=utc_now)
    found = await sweeper.look()
    yield f"Media that are {settings.orphan_hours:g} hours old and more: {found.media}."
    yield f"Of these without a message, to be swept by the owner: {found.orphans}."
    yield f"Of these in sessions that this database does not know, to be left alone: {found.unknown}."
    if sure:
        await claim.adopt()
        yield "The bucket belongs to this database now."
    else:
        yield "Nothing was changed. With --yes the database becomes the owner."
