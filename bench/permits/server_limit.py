"""What the server could do at most: redis-benchmark, which is C and does nothing else, calling a comparable script."""

import asyncio
import csv
import resource
import shutil
import subprocess
from dataclasses import dataclass
from uuid import uuid4

from redis.asyncio import Redis

from bench.permits.contenders import script_text
from bench.valkey import MICROSECONDS, ValkeyDatabase

CALLS_PER_PAIR = 2


def find_benchmark() -> str | None:
    """Return the path of redis-benchmark or its twin."""
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


@dataclass(frozen=True, slots=True)
class Limit:
    """One way for redis-benchmark to ask.

    Attributes:
        name: what tables call it.
        pipelined: whether all that is asked at the same time shares one connection.
    """

    name: str
    pipelined: bool

    async def run(self, benchmark: str, valkey: ValkeyDatabase, tasks: int, pairs: int) -> tuple[float, float, float]:
        """Return pairs per second, and CPU time of the client and of the server for a pair, in µs."""
        async with Redis.from_url(valkey.url) as redis:
            sha: str = await redis.script_load(script_text("toggle"))
        connections, pipeline = (1, tasks) if self.pipelined else (tasks, 1)
        name = f"{{limit-{uuid4().hex}}}"
        how = ["-p", valkey.port, "-c", connections, "-P", pipeline, "-r", tasks, "-n", pairs * CALLS_PER_PAIR, "--csv"]
        call = ["EVALSHA", sha, 2, f"{name}:permits", f"{name}:clients", "__rand_int__", "bench", tasks]
        server_before, client_before = await valkey.cpu_us(), _children_us()
        done = await asyncio.to_thread(
            subprocess.run, [benchmark, *map(str, how + call)], capture_output=True, text=True, check=True
        )
        server, client = await valkey.cpu_us() - server_before, _children_us() - client_before
        [row] = csv.DictReader(done.stdout.splitlines())
        return float(row["rps"]) / CALLS_PER_PAIR, client / pairs, server / pairs


LIMITS = (
    Limit("redis-benchmark", pipelined=False),
    Limit("redis-benchmark -P", pipelined=True),
)


def _children_us() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * MICROSECONDS
