"""Deleting many blobs."""

from collections.abc import Iterable
from typing import Final

from history_service.blobs.base import BlobStore
from servicekit.tasks import gather_bounded

DELETES_AT_ONCE: Final = 16


async def delete_all(blobs: BlobStore, keys: Iterable[str]) -> None:
    """Delete these blobs, some at once.

    Raises:
        BlobsUnavailable: some of them may remain.
    """
    await gather_bounded(blobs.delete, keys, limit=DELETES_AT_ONCE)
