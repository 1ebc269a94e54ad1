"""What tests of the outbox share: reading records back, and a small disk that can be full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chat_service.outbox import Outbox
from chat_service.spool import Record
from frameproto.exchange import decode_exchange

BIG = 1 << 30


def payload(record: Record) -> bytes:
    """Return the whole encoded exchange."""
    return record.opening + b"".join(record.read_media())


def text_of(record: Record) -> str:
    return bytes(decode_exchange(payload(record)).request)[1:].decode()


async def drained(outbox: Outbox, batch_bytes: int = BIG) -> list[str]:
    """Deliver everything, and return the texts in the order of delivery."""
    texts: list[str] = []
    while (batch := await outbox.peek_batch(batch_bytes)) is not None:
        texts += [text_of(record) for record in batch.records]
        await outbox.done(batch)
    return texts


def files(folder: Path, kind: str = "waiting") -> list[Path]:
    return sorted((folder / kind).iterdir())


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """Mount a disk of this size; skips the test, loudly, where that is not allowed."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED on a real full disk: mounting a tmpfs takes root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "chatbot-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED on a real full disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
