"""Deleting many blobs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final

from history_service.blobs.base import BlobStore

DELETES_AT_ONCE: Final = 16


async def delete_below(blobs: BlobStore, prefix: str, *, until: datetime) -> None:
    """Delete the blobs below `prefix`, a folder with its slash, that were put there up to then."""

    async def old() -> AsyncIterator[str]:
        async for found in blobs.list(prefix):
            if found.modified_at <= until:
                yield found.key

    batch: list[str] = []
    async for key in old():
        batch.append(key)
        if len(batch) == DELETES_AT_ONCE:
            await delete_all(blobs, batch)
            batch = []
    await delete_all(blobs, batch)


async def delete_all(blobs: BlobStore, keys: Iterable[str]) -> None:
    """Delete these blobs, some at once.

    Raises:
        BlobsUnavailable: some of them may be left.
    """
    left = iter(keys)

    async def delete_some() -> None:
        for key in left:
            await blobs.delete(key)

    try:
        async with asyncio.TaskGroup() as deleting:
            for _ in range(DELETES_AT_ONCE):
                deleting.create_task(delete_some())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
