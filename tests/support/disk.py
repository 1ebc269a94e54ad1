"""A small disk in memory, which can really be full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


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
