"""Deleting many blobs."""

import asyncio
from collections.abc import Iterable
from typing import Final

from history_service.blobs.base import BlobStore

DELETES_AT_ONCE: Final = 16


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
