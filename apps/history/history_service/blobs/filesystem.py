"""Blobs as files in a folder."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from frameproto import Buffer
from history_service.blobs.base import CHUNK_BYTES, BlobInfo, BlobMissing, BlobsUnavailable, OpenBlob

FOLDER_ATTEMPTS: Final = 10


class FolderBlobs:
    """The blob store in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def prepare(self) -> None:
        """See `BlobStore.prepare`."""
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be made: {exc.strerror}") from exc

    async def close(self) -> None:
        """See `BlobStore.close`."""

    async def put(self, key: str, data: Buffer, content_type: str) -> None:
        """See `BlobStore.put`."""
        del content_type  # the key's suffix determines it
        path = self._path(key)
        try:
            await asyncio.to_thread(_write, path, data)
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be written: {exc.strerror}") from exc

    async def create(self, key: str, data: Buffer, content_type: str) -> bool:
        """See `BlobStore.create`."""
        del content_type
        path = self._path(key)
        try:
            return await asyncio.to_thread(_write_new, path, data)
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be written: {exc.strerror}") from exc

    @asynccontextmanager
    async def open(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[OpenBlob]:
        """See `BlobStore.open`."""
        opening = _Opening(self._path(key))
        try:
            file = await asyncio.to_thread(opening.open)
        except asyncio.CancelledError:
            opening.give_up()
            raise
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
            raise BlobMissing(f"there is no blob {key}") from exc
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be read: {exc.strerror}") from exc
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
        """See `BlobStore.address`. Always None."""
        del key, seconds
        return None

    async def delete(self, key: str) -> None:
        """See `BlobStore.delete`."""
        try:
            await asyncio.to_thread(_remove, self._path(key), self._folder)
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be changed: {exc.strerror}") from exc

    async def list(self, prefix: str) -> AsyncIterator[BlobInfo]:
        """See `BlobStore.list`."""
        files = self._files(self._path(prefix.removesuffix("/")) if prefix else self._folder)
        try:
            while found := await asyncio.to_thread(next, files, None):
                yield found
        except OSError as exc:
            raise BlobsUnavailable(f"the media folder {self._folder} cannot be read: {exc.strerror}") from exc

    def _files(self, folder: Path) -> Iterator[BlobInfo]:
        """Find the blobs in a folder and below. Names that start with a dot are incomplete files."""
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from self._files(Path(entry))
                elif not entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        modified_at = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
                        yield BlobInfo(Path(entry).relative_to(self._folder).as_posix(), modified_at)

    def _path(self, key: str) -> Path:
        """Return the path of a key. A key that leads outside the folder is a bug of the caller."""
        parts = key.split("/")
        if any(part in {"", ".", ".."} or "\0" in part for part in parts):
            raise ValueError(f"{key!r} is not a key of a blob")
        return self._folder.joinpath(*parts)


class _Opening:
    """A file that a thread opens. The caller may be cancelled before it is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._given_up = False

    def open(self) -> BinaryIO:
        file = self._path.open("rb")
        with self._lock:
            self._file = file
            if self._given_up:
                file.close()
        return file

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            if self._file is not None:
                self._file.close()


def _write(path: Path, data: Buffer) -> None:
    with _written(path, data) as fresh:
        fresh.replace(path)


def _write_new(path: Path, data: Buffer) -> bool:
    with _written(path, data) as fresh:
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return True


@contextmanager
def _written(path: Path, data: Buffer) -> Iterator[Path]:
    """Write to a temporary file in the same folder."""
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with _create(fresh) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _create(path: Path) -> BinaryIO:
    """Open a new file. Its folder may be removed as empty just after it was created."""
    for _ in range(FOLDER_ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):  # FileExistsError: removed while mkdir checked it
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("wb")
    return path.open("wb")


def _remove(path: Path, root: Path) -> None:
    """Delete a file, and folders that become empty."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # not empty
            return
