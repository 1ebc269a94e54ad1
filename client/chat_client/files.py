"""Files on this machine: what is sent, and what is saved."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import uuid4

from chat_client.errors import FileError
from frameproto import Buffer

CHUNK_BYTES: Final = 1024 * 1024


class NameTaken(FileError):
    """There is a file of this name already."""


def read_upload(path: Path, max_bytes: int) -> bytes:
    """Return the content of a file that is to be sent.

    Raises:
        FileError: it cannot be read, is empty, or is larger than the server takes.
    """
    with opened(path) as file:
        return whole_message(file, str(path), max_bytes)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to read it.

    Raises:
        FileError: it cannot be read.
    """
    try:
        if path.is_dir():
            raise FileError(f"{path} is a folder")
        with path.open("rb") as file:
            yield file
    except OSError as exc:
        raise FileError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise FileError(f"{str(path)!r} is not the name of a file: {exc}") from exc


def whole_message(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    """Return all that a file holds.

    Raises:
        FileError: that is nothing, or more than the server takes.
    """
    content = read_bounded(file, max_bytes)
    if not content:
        raise FileError(f"{name} is empty")
    if len(content) > max_bytes:
        raise FileError(f"{name} is over {max_bytes} bytes, which is all that a message may have (--max-bytes)")
    return content


def read_bounded(file: BinaryIO, max_bytes: int) -> bytes:
    """Return all that a file holds; of one that is larger, one byte more than so many."""
    content = bytearray()
    while len(content) <= max_bytes and (chunk := file.read(min(CHUNK_BYTES, max_bytes + 1 - len(content)))):
        content += chunk
    return bytes(content)


def save(folder: Path, stem: str, suffix: str, content: Buffer) -> Path:
    """Write a new file into a folder, making the folder when it is not there; return its path.

    Nothing is ever written over: a name that is taken gets a number.

    Raises:
        FileError: it cannot be written.
    """
    while True:
        path = free_name(folder, stem, suffix)
        with suppress(NameTaken), whole_file(path) as file:  # taken meanwhile, by another process
            file.write(content)
            return path


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path in a folder that does not exist yet."""
    path, number = folder / f"{stem}{suffix}", 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when all of it is there.

    Raises:
        FileError: it cannot be written, or the name is taken.
    """
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):  # said now, and not only when all of it is here
            raise FileExistsError(path)
        with draft.open("xb") as file:
            yield file
        _name(draft, path)
    except FileExistsError as exc:
        if not path.parent.is_dir():
            raise FileError(f"{path} cannot be written: there is a file where its folder should be") from exc
        raise NameTaken(f"{path} is there already, and is not written over") from exc
    except OSError as exc:
        raise FileError(f"{path} cannot be written: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def replaced_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that takes the place of the one before only when all of it is there.

    Raises:
        FileError: it cannot be written.
    """
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            yield file
        draft.replace(path)
    except OSError as exc:
        raise FileError(f"{path} cannot be written: {exc.strerror}") from exc
    finally:
        with suppress(OSError):
            draft.unlink()


def _name(draft: Path, path: Path) -> None:
    """Give a file its name. Unlike a rename, this never replaces a file."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links, such as a memory card: take the name, then put the file there
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        draft.replace(path)
