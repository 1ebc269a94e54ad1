"""Freed memory goes back to the system; measured in a process of its own, since the options hold for good."""

import subprocess
import sys

import pytest

FILL_AND_FREE = """
import resource, sys
from pathlib import Path
from servicekit.heap import return_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

assert return_freed_memory()
bytes(8 << 20)  # one large block that was freed: glibc takes the next ones of this size from the heap
before = resident()
kept = []
for _ in range(10):
    blocks = [bytes(range(256)) * 16_000 for _ in range(8)]
    kept.append([bytes(600) for _ in range(200)])  # small objects that live on, between the large ones
    del blocks[::2]
    kept.append([bytes(600) for _ in range(200)])
    del blocks
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc on Linux has these options")
def test_large_blocks_go_back_when_they_are_freed() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FILL_AND_FREE.format(wanted=True)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(ended.stdout) < 8 << 20
