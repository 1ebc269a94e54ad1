"""A worker of the chaos: many tasks that acquire, use and release permits, and a journal of all of it.

SIGUSR1: ask no more, give everything back, say "idle". SIGTERM: leave the pool and end. SIGUSR2: fork; the child finds
that it cannot use what was opened before, opens a pool of its own, works for a while, and ends.
"""

import asyncio
import logging
import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from redis.asyncio import Redis

from permits import PermitError, PoolMisuse, Reason
from permits.redis import RedisPool
from permits.redis.lease import RedisPermit
from tests.chaos import terms
from tests.chaos.journal import Journal

log = logging.getLogger(__name__)

PULSE_SECONDS = 0.02
GIVES_UP_SHARE = 0.03
HURRIED_SHARE = 0.1
"""Of the asks; these wait half a second at most, or not at all."""


class Worker:
    """Tasks on one pool."""

    def __init__(self, pool: RedisPool, journal: Journal, chance: random.Random, visitors: int) -> None:
        self._pool = pool
        self._visitors = visitors
        self._journal = journal
        self._chance = chance
        self._held: set[RedisPermit] = set()
        self.draining = asyncio.Event()
        self.end = asyncio.Event()

    async def run(self) -> None:
        """Work until told to drain, then wait until told to end."""
        pulse = asyncio.create_task(self._pulse())
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._visitors):
                tasks.create_task(self._come_again(f"v{number}", 0.003, 0.1))
            for number in range(terms.SITTERS):
                tasks.create_task(self._come_again(f"s{number}", terms.LEASE_SECONDS / 2, 3 * terms.LEASE_SECONDS))
        self._journal.write("idle")
        await self.end.wait()
        pulse.cancel()

    async def _come_again(self, name: str, shortest: float, longest: float) -> None:
        count = 0
        while not self.draining.is_set():
            count += 1
            await self._come(name, f"{name}.{count}", self._chance.uniform(shortest, longest))
            await asyncio.sleep(self._chance.uniform(0, 0.01))

    async def _come(self, client_id: str, ask: str, hold_seconds: float) -> None:
        gives_up = self._chance.random() < GIVES_UP_SHARE
        waits = terms.WAIT_SECONDS
        if self._chance.random() < HURRIED_SHARE:
            waits = self._chance.choice((0.0, self._chance.uniform(0, 0.5)))
        self._journal.write("asked", ask=ask, seconds=waits)
        try:
            async with asyncio.timeout(self._chance.uniform(0, 0.5) if gives_up else None):
                permit = await self._pool.acquire(client_id, wait_seconds=waits)
        except PermitError as exc:
            self._journal.write("refused", ask=ask, code=exc.code)
            is_slow = exc.code in {Reason.LIMITS_UNAVAILABLE, Reason.CLIENT_LIMIT}
            shortest, longest = (0.05, 0.3) if is_slow else (0.01, 0.05)
            await asyncio.sleep(self._chance.uniform(shortest, longest))  # asking all the time takes what others need
        except TimeoutError:
            self._journal.write("refused", ask=ask, code="gave_up")
        else:
            await self._hold(permit, ask, hold_seconds)

    async def _hold(self, permit: RedisPermit, ask: str, hold_seconds: float) -> None:
        seen = time.monotonic_ns()  # taken before the look: it was valid then, or the look would say no
        if not permit.valid():
            self._journal.write("refused", ask=ask, code="lost_at_once")
            return
        self._journal.write("granted", seen, ask=ask, ticket=permit.ticket)
        self._held.add(permit)
        leaves = seen + round(hold_seconds * 1e9)
        while seen < leaves and not self.draining.is_set():
            await asyncio.sleep(min(terms.USE_SECONDS, (leaves - seen) / 1e9))
            now = time.monotonic_ns()
            if not permit.valid():
                deadline = round(permit.lease.deadline * 1e9)  # it was valid until then, even if nobody could look
                self._journal.write("lost", deadline if seen < deadline <= now else seen, ask=ask)
                break
            seen = now
        else:
            self._journal.write("released", seen, ask=ask)
        self._held.discard(permit)
        permit.release()

    async def disowned(self) -> bool:
        """Say, in a forked process, whether nothing of this pool can be used here."""
        try:
            await self._pool.acquire("child", wait_seconds=0)
        except PoolMisuse:
            return bool(self._held) and not self._pool.ready() and not any(permit.valid() for permit in self._held)
        return False

    async def _pulse(self) -> None:
        while True:
            due = time.monotonic() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            late = time.monotonic() - due
            if late > PULSE_SECONDS:
                self._journal.write("late", seconds=late)


@dataclass(frozen=True)
class Place:
    """Where and as whom a worker works."""

    name: str
    url: str
    folder: Path
    seed: str
    lease_seconds: float
    visitors: int

    def child(self, number: int) -> "Place":
        """Return the same for a forked process."""
        return replace(self, name=f"{self.name}f{number}")


async def main(place: Place, parent: Worker | None = None) -> None:
    """Run one worker; with a parent, in a process that it has forked, and for a while only."""
    journal = Journal(place.folder / f"{place.name}.jsonl")
    if parent is not None and await parent.disowned():
        journal.write("disowned")
    async with (
        Redis.from_url(place.url) as redis,
        RedisPool(
            terms.POOL,
            redis=redis,
            capacity=terms.CAPACITY,
            per_client=terms.PER_CLIENT,
            lease_seconds=place.lease_seconds,
            pod=place.name,
        ) as pool,
    ):
        worker = Worker(pool, journal, random.Random(f"{place.seed} {place.name}"), place.visitors)
        loop = asyncio.get_running_loop()
        if parent is None:
            numbers = count()
            loop.add_signal_handler(signal.SIGUSR1, worker.draining.set)
            loop.add_signal_handler(signal.SIGTERM, worker.end.set)
            loop.add_signal_handler(signal.SIGUSR2, lambda: fork(place.child(next(numbers)), worker))
        else:
            worker.end.set()
            loop.call_later(2 * place.lease_seconds, worker.draining.set)
        journal.write("ready")
        await worker.run()
    journal.write("bye")


def fork(place: Place, parent: Worker) -> None:
    """Run a worker in a forked process."""
    pid = os.fork()
    if pid:
        threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
        return
    code = 1
    try:
        asyncio.run(main(place, parent))
        code = 0
    except BaseException:
        log.exception("the child has failed")
    finally:
        os._exit(code)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(levelname)s %(message)s")
    name, url, folder, seed, lease_seconds, visitors = sys.argv[1:]
    asyncio.run(main(Place(name, url, Path(folder), seed, float(lease_seconds), int(visitors))))
