"""System calls that the log and the spool of the outbox share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from frameproto import Buffer

BLOCK_BYTES: Final = 4096  # what the smallest file takes


def write_at(file: int, data: Buffer, offset: int) -> tuple[int, OSError | None]:
    """Write at this place; return how many bytes the disk took, and the error that ended it before the last one."""
    view, done = memoryview(data), 0
    try:
        while done < len(view):
            done += os.pwrite(file, view[done:], offset + done)
    except OSError as exc:
        return done, exc
    return done, None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reading(path: Path) -> Iterator[int]:
    """Open a file to read it within a `with` block."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def in_blocks(*sizes: int) -> int:
    """Return how much of a disk files of these sizes take; an empty one is none."""
    return sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in sizes)
