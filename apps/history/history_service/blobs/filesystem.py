"""Blobs as files in a folder."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from frameproto import Buffer
from history_service.blobs.base import CHUNK_BYTES, BlobMissing, BlobsUnavailable, OpenBlob


class FolderBlobs:
    """The blob store in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def prepare(self) -> None:
        """See `BlobStore.prepare`."""
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be made: {error.strerror}") from error

    async def close(self) -> None:
        """See `BlobStore.close`."""

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        """See `BlobStore.put`."""
        del content_type  # the key's suffix tells it
        path = self._path(key)
        try:
            await asyncio.to_thread(_write, path, data)
        except OSError as error:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be written: {error.strerror}") from error

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[OpenBlob]:
        """See `BlobStore.open`."""
        try:
            file = await asyncio.to_thread(self._path(key).open, "rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise BlobMissing(f"there is no blob {key}") from error
        except OSError as error:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be read: {error.strerror}") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)

            async def chunks() -> AsyncIterator[bytes]:
                left = (size if end is None else min(end, size)) - start
                while left > 0 and (chunk := await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk

            yield OpenBlob(size, chunks())

    async def address(self, key: str, *, seconds: int) -> str | None:
        """See `BlobStore.address`: a folder has none."""
        del key, seconds
        return None

    async def delete(self, key: str) -> None:
        """See `BlobStore.delete`."""
        try:
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
        except OSError as error:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be changed: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        """Return where a key is kept; a key that would lead outside the folder is a bug of the caller."""
        parts = key.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise ValueError(f"{key!r} is not a key of a blob")
        return self._folder.joinpath(*parts)


def _write(path: Path, data: Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
