"""The time from a release in one process until a waiting task of another process has the permit."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import uvloop
from redis.asyncio import Redis

from bench.permits.contenders import ALL, Contender, Semaphore
from bench.permits.terms import Run
from bench.samples import Sample, percentile
from bench.valkey import ValkeyDatabase

QUIET_SECONDS = 0.005
FLOOR = "two PINGs, plain socket"
REDIS_PY_FLOOR = "two PINGs, redis-py"
FLOORS = (FLOOR, REDIS_PY_FLOOR)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Handoff:
    """What one contender did.

    Attributes:
        contender: its name, or that of a floor.
        p50_us: the usual latency.
        p99_us: what one in a hundred exceeds.
    """

    contender: str
    p50_us: Sample
    p99_us: Sample


class WaitingProcess:
    """A process that waits for the permit on command, and reports when it got it."""

    def __init__(self, process: "asyncio.subprocess.Process") -> None:
        self._process = process

    async def wait(self) -> None:
        """Let it wait for the permit from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"wait\n")
        await self._line()

    async def granted_at(self) -> int:
        """Return when it got the permit, in ns of the clock that all processes share; it was given back since."""
        return int(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that waits for the permit has died; see its error above")
        return line


async def measure(run: Run, contenders: Sequence[Contender]) -> list[Handoff]:
    """Measure the floors and each contender that processes can share."""
    turns: dict[str, list[list[int]]] = {}
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(_plain_socket(run.valkey))
        redis = await stack.enter_async_context(Redis.from_url(run.valkey.url, single_connection_client=True))
        pairs = [(one, *await open_pair(stack, run.valkey, one)) for one in contenders]
        for _ in range(run.terms.repeats):
            turns.setdefault(FLOOR, []).append([await _two_pings(plain) for _ in range(run.terms.handoffs)])
            run.step(FLOOR)
            turns.setdefault(REDIS_PY_FLOOR, []).append(
                [await _two_redis_pings(redis) for _ in range(run.terms.handoffs)]
            )
            run.step(REDIS_PY_FLOOR)
            for contender, semaphore, waiter in pairs:
                found = [await hand_over(semaphore, waiter) for _ in range(run.terms.handoffs)]
                turns.setdefault(contender.name, []).append(found)
                run.step(f"hand-off, {contender.name}")
    return [
        Handoff(
            name,
            Sample(tuple(percentile(turn, 0.5) / 1000 for turn in found)),
            Sample(tuple(percentile(turn, 0.99) / 1000 for turn in found)),
        )
        for name, found in turns.items()
    ]


async def open_pair(
    stack: AsyncExitStack, valkey: ValkeyDatabase, contender: Contender
) -> tuple[Semaphore, WaitingProcess]:
    """Open a semaphore here and in the process of a waiter."""
    name = f"handoff-{uuid4().hex}"
    semaphore = await stack.enter_async_context(contender.open(valkey.url, name, 1, 2))
    waiter = await stack.enter_async_context(_waiter(contender, valkey.url, name))
    for _ in range(3):
        await hand_over(semaphore, waiter)
    return semaphore, waiter


async def hand_over(semaphore: Semaphore, waiter: WaitingProcess) -> int:
    """Return how long a permit takes from here to the waiter, in ns."""
    grant = await semaphore.acquire()
    await waiter.wait()
    await asyncio.sleep(QUIET_SECONDS)  # by then it is queued, and both processes are idle
    released_at = time.monotonic_ns()
    await semaphore.release(grant)
    return await waiter.granted_at() - released_at


@asynccontextmanager
async def _waiter(contender: Contender, url: str, name: str) -> AsyncIterator[WaitingProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.permits.handoff", contender.name, url, name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield WaitingProcess(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


Plain = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def _plain_socket(valkey: ValkeyDatabase) -> AsyncIterator[Plain]:
    reader, writer = await asyncio.open_connection("127.0.0.1", valkey.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def _two_pings(plain: Plain) -> int:
    reader, writer = plain
    await asyncio.sleep(QUIET_SECONDS)
    began = time.monotonic_ns()
    for _ in range(2):
        writer.write(b"PING\r\n")
        await reader.readline()
    return time.monotonic_ns() - began


async def _two_redis_pings(redis: "Redis") -> int:
    await asyncio.sleep(QUIET_SECONDS)
    began = time.monotonic_ns()
    for _ in range(2):
        await redis.ping()
    return time.monotonic_ns() - began


async def wait_as_told(contender: str, url: str, name: str) -> None:
    """Be the process of a `WaitingProcess`."""
    [chosen] = [one for one in ALL if one.name == contender]
    loop = asyncio.get_running_loop()
    async with chosen.open(url, name, 1, 2) as semaphore:
        while await loop.run_in_executor(None, sys.stdin.readline):
            print("waiting", flush=True)
            grant = await semaphore.acquire()
            granted_at = time.monotonic_ns()
            await semaphore.release(grant)
            await semaphore.settle()
            print(granted_at, flush=True)


if __name__ == "__main__":
    uvloop.run(wait_as_told(*sys.argv[1:]))
