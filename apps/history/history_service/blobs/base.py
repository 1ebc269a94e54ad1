"""The blob store port."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from frameproto import Buffer

CHUNK_BYTES: Final = 256 * 1024


class BlobError(Exception):
    """The blob store failed."""


class BlobsUnavailable(BlobError):
    """The blob store cannot be reached, or does not answer in time. A retry may work."""


class BlobMissing(BlobError):
    """There is no blob under this key."""


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob, or a range of one, opened for reading in chunks of bounded size."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """An existing blob, and when it was stored, by the clock of the store."""

    key: str
    modified_at: datetime


class BlobStore(Protocol):
    """Keeps blobs under keys such as `anna/<session>/<exchange>/request.mp3`.

    Every method may raise BlobsUnavailable.
    """

    async def prepare(self) -> None:
        """Connect, and check that the bucket or folder exists. May be called again after a failure."""

    async def close(self) -> None:
        """Close the store."""

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        """Store a blob, completely or not at all. An existing one is replaced."""

    async def create(self, key: str, data: Buffer, content_type: str) -> bool:
        """Store a blob under a new key; False: the key exists, and its blob stays.

        Some stores cannot guarantee this: two concurrent calls may both return True, and one of the blobs stays. Read
        it back where that matters.
        """

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[OpenBlob]:
        """Open a blob to read the bytes from `start` up to, not including, `end`.

        Raises:
            BlobMissing: it does not exist.
        """

    async def address(self, key: str, *, seconds: int) -> str | None:
        """Return an address at which anybody may read a blob for this time; None: the store has none.

        The existence of the blob is not checked.
        """

    async def delete(self, key: str) -> None:
        """Delete a blob, if it exists."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose keys begin with `prefix`, which is empty or ends with a slash, as they are found.

        Blobs that are stored or deleted meanwhile may or may not be included.
        """
