"""How many pairs of acquire and release one process gets done when there is a permit for everybody."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

from bench.permits.contenders import Contender, Semaphore
from bench.permits.server_limit import LIMITS, Limit
from bench.permits.terms import Run
from bench.samples import Sample
from bench.valkey import MICROSECONDS, ValkeyDatabase

WARM_PAIRS = 2
LEAST_PAIRS = 2_000  # of redis-benchmark, so that its start does not count for much
FIRST_GUESS = 40_000.0  # pairs per second, until a limit was measured once


@dataclass(frozen=True, slots=True)
class PairsOfATurn:
    """One repetition."""

    per_second: float
    client_us: float
    server_us: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """What one contender did with so many tasks.

    Attributes:
        contender: its name.
        tasks: how many tasks asked at the same time.
        per_second: pairs of acquire and release.
        client_us: CPU time of the client, all threads, for one pair.
        server_us: CPU time of the server's main thread for one pair.
    """

    contender: str
    tasks: int
    per_second: Sample
    client_us: Sample
    server_us: Sample


async def measure(run: Run, contenders: Sequence[Contender], benchmark: str | None) -> list[Pairs]:
    """Measure each contender at each number of tasks.

    Args:
        run: where and how much.
        contenders: who takes part.
        benchmark: path of redis-benchmark; None leaves the server's limit out.
    """
    found = []
    for tasks in run.terms.tasks:
        found += await _level(run, contenders, LIMITS if benchmark else (), benchmark or "", tasks)
    return found


async def _level(
    run: Run, contenders: Sequence[Contender], limits: Sequence[Limit], benchmark: str, tasks: int
) -> list[Pairs]:
    turns: dict[str, list[PairsOfATurn]] = {}
    async with AsyncExitStack() as stack:
        opened: list[tuple[str, Semaphore]] = []
        for contender in contenders:
            name = f"pairs-{uuid4().hex}"
            semaphore = await stack.enter_async_context(contender.open(run.valkey.url, name, tasks, tasks))
            await asyncio.gather(*(some(semaphore, WARM_PAIRS) for _ in range(tasks)))
            opened.append((contender.name, semaphore))
        for _ in range(run.terms.repeats):
            for limit in limits:
                known = turns.get(limit.name)
                guess = known[-1].per_second if known else FIRST_GUESS
                pairs = max(LEAST_PAIRS, round(guess * run.terms.seconds))
                turn = PairsOfATurn(*await limit.run(benchmark, run.valkey, tasks, pairs))
                turns.setdefault(limit.name, []).append(turn)
                run.step(f"{tasks} tasks, {limit.name}")
            for title, semaphore in opened:
                turns.setdefault(title, []).append(await one_turn(run.valkey, semaphore, tasks, run.terms.seconds))
                run.step(f"{tasks} tasks, {title}")
    return [
        Pairs(
            title,
            tasks,
            Sample(tuple(turn.per_second for turn in found)),
            Sample(tuple(turn.client_us for turn in found)),
            Sample(tuple(turn.server_us for turn in found)),
        )
        for title, found in turns.items()
    ]


async def one_turn(valkey: ValkeyDatabase, semaphore: Semaphore, tasks: int, seconds: float) -> PairsOfATurn:
    """Let so many tasks acquire and release for so long."""
    await semaphore.settle()
    server_before = await valkey.cpu_us()
    cpu_before, began = time.process_time(), time.perf_counter()
    counts = await asyncio.gather(*(_until(semaphore, began + seconds) for _ in range(tasks)))
    await semaphore.settle()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_before
    pairs = sum(counts)
    server = await valkey.cpu_us() - server_before
    return PairsOfATurn(pairs / took, cpu / pairs * MICROSECONDS, server / pairs)


async def _until(semaphore: Semaphore, end: float) -> int:
    pairs = 0
    while pairs == 0 or time.perf_counter() < end:
        grant = await semaphore.acquire()
        await semaphore.release(grant)
        pairs += 1
    return pairs


async def some(semaphore: Semaphore, pairs: int) -> None:
    """Acquire and release so many times."""
    for _ in range(pairs):
        await semaphore.release(await semaphore.acquire())
