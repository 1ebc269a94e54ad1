"""A Valkey of our own on loopback, for the length of a benchmark."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from devtools import valkey

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class ValkeyDatabase:
    """A numbered database of a server that runs on this machine."""

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
def run_valkey() -> Iterator[ValkeyDatabase]:
    """Run the one from the test servers' environment, without persistence."""
    with TemporaryDirectory(prefix="bench-valkey-") as folder, valkey.run_valkey(Path(folder)) as server:
        yield ValkeyDatabase(server.port)
