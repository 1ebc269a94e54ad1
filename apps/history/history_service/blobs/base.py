"""The blob store port."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from frameproto import Buffer

CHUNK_BYTES: Final = 256 * 1024


class BlobError(Exception):
    """The blob store did not do what it was asked."""


class BlobsUnavailable(BlobError):
    """The blob store cannot be reached, or does not answer in time. Asking again may work."""


class BlobMissing(BlobError):
    """There is no blob under this key."""


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob, or a range of one, being read: its bytes in chunks of bounded size."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob that is there, and when it was put there, by the clock of the store."""

    key: str
    modified_at: datetime


class BlobStore(Protocol):
    """Keeps blobs under keys such as `anna/<session>/<exchange>/request.mp3`.

    Every method may raise BlobsUnavailable.
    """

    async def prepare(self) -> None:
        """Connect, and check that the place for blobs is there; may be called again after it failed."""

    async def close(self) -> None:
        """Let go of the store."""

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        """Keep a blob, whole or not at all; the same key again replaces it."""

    async def create(self, key: str, data: Buffer, content_type: str) -> bool:
        """Keep a blob under a key that has none; False: it has one, which stays.

        Where the store cannot make sure of it, two that create at once may both be told True, and one of the two
        blobs stays. Read it back where that matters.
        """

    def open(self, key: str, *, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[OpenBlob]:
        """Open a blob to read the bytes from `start` up to, not including, `end`.

        Raises:
            BlobMissing: there is none.
        """

    async def address(self, key: str, *, seconds: int) -> str | None:
        """Return an address at which anybody may read a blob for so long, or nothing: not every store has such.

        Whether there is such a blob is not looked at.
        """

    async def delete(self, key: str) -> None:
        """Forget a blob; that there is none is fine."""

    def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """Yield the blobs whose keys begin with `prefix`, which is empty or ends with a slash, as they are found.

        What is put or deleted meanwhile may be among them or not.
        """
