"""The monitor samples the limits store, the pods and the processes during a run, and records what it finds.

It reads the store itself, so its figures do not depend on what the services report.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from loadtest.json_lines import as_line
from loadtest.metrics import scrape
from loadtest.target import Target
from permits import PermitError
from permits.redis import PoolOperator
from permits.redis.keys import every_pool, keys_of
from permits.redis.operator import PoolUnknown, find_pools

POOLS = ("connections", "messages")
STORE_EVERY_SECONDS = 0.1
PODS_EVERY_SECONDS = 0.5
STORE_ANSWER_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class PoolSample:
    """One pool at one moment, as the store has it.

    Attributes:
        newest_held: the highest ticket of the permits held; 0: none is held.
        oldest_waiting: the lowest ticket in the queue; 0: it is empty. Both are of one moment.
    """

    at: float
    pool: str
    held: int
    capacity: int
    high_water: int
    waiting: int
    learning: bool
    reaped: int
    newest_held: int
    oldest_waiting: int


@dataclass(slots=True, kw_only=True)
class PodSample:
    """The metrics of the pods. Those that do not answer are missing.

    Attributes:
        took_seconds: from the first request to the last answer. Pods are not sampled at the same moment.
        figures: by pod and metric.
    """

    at: float
    took_seconds: float
    figures: dict[str, dict[str, float]]


@dataclass(slots=True, kw_only=True)
class ProcessSample:
    """Usage of processes and their children: CPU seconds since their start, and bytes of memory."""

    at: float
    cpu_seconds: dict[str, float]
    memory_bytes: dict[str, int]


@dataclass
class Monitor:
    """Takes samples until it is stopped.

    Args:
        target: the system.
        write: writes one line.
    """

    target: Target
    write: Callable[[str], None]
    latest: dict[str, PoolSample] = field(default_factory=dict)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Take samples until `stop`, and then a last one."""
        async with (
            Redis.from_url(self.target.redis_url, socket_timeout=STORE_ANSWER_SECONDS) as redis,
            aiohttp.ClientSession() as http,
        ):
            samples = [
                *((self._sample_pool(redis, pool), STORE_EVERY_SECONDS) for pool in POOLS),
                (self._sample_pods(http), PODS_EVERY_SECONDS),
                (self._sample_processes(), PODS_EVERY_SECONDS),
            ]
            async with asyncio.TaskGroup() as tasks:
                for sample, every_seconds in samples:
                    tasks.create_task(self._repeat(sample, every_seconds))

    def stop(self) -> None:
        """Stop after a last sample."""
        self._done.set()

    async def _repeat(self, sample: Callable[[], Any], every_seconds: float) -> None:
        last, task = False, asyncio.current_task()
        while not last:
            last = self._done.is_set()
            found = await sample()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # the Redis client swallows a cancellation while it releases a connection
            if found is not None:
                self.write(as_line(found))
            if isinstance(found, PoolSample):
                self.latest[found.pool] = found
            try:
                async with asyncio.timeout(every_seconds):
                    await self._done.wait()
            except TimeoutError:
                continue

    def _sample_pool(self, redis: "Redis", pool: str) -> Callable[[], Any]:
        prefix = self.target.permits_prefix
        operator = PoolOperator(pool, redis, prefix)
        keys = {key.rpartition(":")[2]: key for key in keys_of(pool, prefix)}

        async def sample() -> PoolSample | None:
            try:
                async with redis.pipeline(transaction=True) as both:
                    both.hvals(keys["permits"])
                    both.zrange(keys["line"], 0, 0, withscores=True)
                    permits, head = await both.execute()
                view = await operator.show()
            except (RedisError, OSError, PermitError, PoolUnknown):
                return None
            state = view.state
            return PoolSample(
                at=time.time(), pool=pool, held=state.held, capacity=state.capacity, high_water=state.high_water,
                waiting=state.waiting, learning=state.learning_seconds > 0, reaped=state.reaped,
                newest_held=max((int(record.split(b" ", 1)[0]) for record in permits), default=0),
                oldest_waiting=int(head[0][1]) if head else 0,
            )  # fmt: skip

        return sample

    def _sample_pods(self, http: aiohttp.ClientSession) -> Callable[[], Any]:
        async def sample() -> PodSample:
            began = time.time()
            figures = await scrape(http, self.target.metrics)
            return PodSample(at=began, took_seconds=time.time() - began, figures=figures)

        return sample

    def _sample_processes(self) -> Callable[[], Any]:
        async def sample() -> ProcessSample | None:
            used = {name: usage(pid) for name, pid in self.target.pids.items()}
            there = {name: found for name, found in used.items() if found is not None}
            if not there:
                return None
            return ProcessSample(
                at=time.time(),
                cpu_seconds={name: round(cpu, 3) for name, (cpu, _) in there.items()},
                memory_bytes={name: memory for name, (_, memory) in there.items()},
            )

        return sample


async def check_store(redis_url: str, prefix: str) -> None:
    """Check that the limits are in the store that the monitor reads.

    Raises:
        ValueError: they are not, or the store does not answer.
    """
    try:
        async with Redis.from_url(redis_url, socket_timeout=STORE_ANSWER_SECONDS) as redis:
            if set(POOLS) <= set(await find_pools(redis, prefix)):
                return
            found = {bytes(key).decode().partition(":{")[0] async for key in redis.scan_iter(match=every_pool("*"))}
    except (RedisError, OSError, PermitError) as exc:
        raise ValueError(f"--redis: the store of the limits does not answer: {exc}") from exc
    there = f"there are some below {', '.join(sorted(found))}" if found else "nor below any other"
    raise ValueError(f"--permits-prefix: there are no limits below {prefix} in this store; {there}")


def usage(pid: int) -> tuple[float, int] | None:
    """Return CPU seconds and bytes of memory of a process and its children; None: it has ended."""
    cpu, memory = 0.0, 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    for member in family:
        try:
            times = member.cpu_times()
            cpu += times.user + times.system
            memory += member.memory_info().rss
        except psutil.Error:  # it ended a moment ago
            continue
    return cpu, memory
