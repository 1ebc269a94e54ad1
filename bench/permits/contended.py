"""Many tasks share few permits: grants per second, and their order."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from uuid import uuid4

from bench.permits.contenders import Contender, Semaphore
from bench.permits.terms import Run
from bench.samples import Sample
from bench.valkey import MICROSECONDS

PERMITS = 50
TASKS = 200
HOLD_SECONDS = 0.005
IDEAL_PER_SECOND = PERMITS / HOLD_SECONDS
GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Contended:
    """What one contender did.

    Attributes:
        contender: its name.
        per_second: grants.
        client_us: CPU time of the client, all threads, for one grant.
        overtaking: share of the grants that came while somebody who had asked earlier still waited.
        longest_wait_ms: the longest wait. With a fair queue it is close to the usual wait.
    """

    contender: str
    per_second: Sample
    client_us: Sample
    overtaking: Sample
    longest_wait_ms: Sample


@dataclass(slots=True)
class EventLog:
    """Requests and grants of this process, in the order in which they happened.

    Attributes:
        end: when counting ends, by the performance counter.
        waiting: arrivals that still wait, by their numbers, the earliest first; with the time of arrival.
    """

    end: float
    numbers: "count[int]" = field(default_factory=count)
    waiting: dict[int, float] = field(default_factory=dict)
    grants: int = 0
    overtaking: int = 0
    longest_wait: float = 0.0

    def arrive(self) -> int:
        """Record a request."""
        number = next(self.numbers)
        self.waiting[number] = time.perf_counter()
        return number

    def grant(self, number: int) -> None:
        """Record a grant."""
        now = time.perf_counter()
        first = next(iter(self.waiting))
        wait = now - self.waiting.pop(number)
        if now <= self.end:
            self.grants += 1
            self.overtaking += first != number
            self.longest_wait = max(self.longest_wait, wait)

    def close(self) -> None:
        """Count the wait of those that still wait."""
        now = time.perf_counter()
        for since in self.waiting.values():
            self.longest_wait = max(self.longest_wait, now - since)


async def measure(run: Run, contenders: Sequence[Contender]) -> list[Contended]:
    """Measure each contender that can wait; each repetition has a semaphore of its own."""
    turns: dict[str, list[tuple[float, float, float, float]]] = {}
    for _ in range(run.terms.repeats):
        for contender in contenders:
            name = f"contended-{uuid4().hex}"
            async with contender.open(run.valkey.url, name, PERMITS, TASKS) as semaphore:
                turns.setdefault(contender.name, []).append(await _turn(semaphore, run.terms.seconds))
            run.step(f"contended, {contender.name}")
    return [Contended(name, *(Sample(values) for values in zip(*found, strict=True))) for name, found in turns.items()]


async def _turn(semaphore: Semaphore, seconds: float) -> tuple[float, float, float, float]:
    await semaphore.release(await semaphore.acquire())  # however long that takes
    await _crowd(semaphore, EventLog(time.perf_counter()))  # opens the connections: each task once
    began, cpu_before = time.perf_counter(), time.process_time()
    log = EventLog(began + seconds)
    crowd = asyncio.create_task(_crowd(semaphore, log))
    await asyncio.sleep(seconds)
    cpu = time.process_time() - cpu_before
    await crowd
    grants = max(1, log.grants)
    return (
        log.grants / seconds,
        cpu / grants * MICROSECONDS,
        log.overtaking / grants,
        log.longest_wait * 1000,
    )


async def _crowd(semaphore: Semaphore, log: EventLog) -> None:
    """Run all tasks until the end; those that wait much longer are cancelled."""
    tasks = [asyncio.create_task(_one(semaphore, log)) for _ in range(TASKS)]
    grace = max(0.0, log.end - time.perf_counter()) + GRACE_SECONDS
    done, late = await asyncio.wait(tasks, timeout=grace)
    log.close()
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in done:
        task.result()
    await semaphore.settle()


async def _one(semaphore: Semaphore, log: EventLog) -> None:
    once = False
    while not once or time.perf_counter() < log.end:
        once = True
        number = log.arrive()
        grant = await semaphore.acquire()
        log.grant(number)
        try:
            await asyncio.sleep(HOLD_SECONDS)
        finally:
            await semaphore.release(grant)
