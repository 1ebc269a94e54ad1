"""How long one call of permits keeps the store busy, with 10,000 in the queue: ./taskw bench:scripts.

Each case is set up in a separate Valkey. Then the scripts are called as pods would, until there is nothing more to do.
The figures are the CPU time of the server's main thread, including reading the call and writing the reply, so the load
of the machine matters little. Each case is run several times. The shortest time of each call counts, because other
processes only add time.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from bench.valkey import run_valkey
from permits.redis.calls import MAX_DECLARED, MAX_OPERATIONS, MAX_WITH_PLACES
from permits.redis.keys import keys_of
from permits.redis.operator import LINE_SHOWN, PODS_AT_ONCE
from permits.redis.replies import CLIENTS_AT_ONCE
from permits.redis.scripts import LuaScript, load_scripts

LEASE_MS = 15_000
MANY = 10_000
LIMIT_MS = 5.0
ROUNDS = 5
SCRIPTS = load_scripts()


@dataclass(frozen=True, slots=True)
class Times:
    """What one case took.

    Attributes:
        calls: how many calls.
        longest_ms: the longest.
        total_ms: all of them.
    """

    calls: int
    longest_ms: float
    total_ms: float


class MeasuredPool:
    """A pool whose pods are simulated here."""

    def __init__(self, redis: Any, name: str) -> None:  # noqa: ANN401 - its commands have no types
        self._redis = redis
        self._keys = keys_of(name)
        self._epochs: dict[str, str] = {}
        self._asked = 0
        self.times: list[float] = []

    async def run(self, script: LuaScript, *argv: str | int) -> Any:  # noqa: ANN401 - as Redis answers
        """Run a script, and note how long it kept the server."""
        before = await self._cpu_ms()
        reply = await self._redis.execute_command("EVALSHA", script.sha, len(self._keys), *self._keys, *argv)
        self.times.append(await self._cpu_ms() - before)
        return reply

    async def _cpu_ms(self) -> float:
        facts = await self._redis.info("cpu")
        seconds: float = facts["used_cpu_user_main_thread"] + facts["used_cpu_sys_main_thread"]
        return seconds * 1000

    async def enter(self, pod: str, capacity: int, lease_ms: int = LEASE_MS) -> None:
        """Let a pod in."""
        reply = await self.run(SCRIPTS.enter, pod, 1, lease_ms, "", 0, 0, "", capacity, 1)
        self._epochs[pod] = reply[2].decode()

    async def trust(self) -> None:
        """End the learning."""
        await self.run(SCRIPTS.set, "trust", "")

    async def operate(self, pod: str, *words: str | int) -> Any:  # noqa: ANN401 - as Redis answers
        """Send operations of a pod."""
        return await self.run(SCRIPTS.operate, pod, 1, LEASE_MS, self._epochs[pod], 0, 0, 1_000_000, *words)

    async def acquire(self, pod: str, many: int, wait_ms: int = 600_000) -> None:
        """Let a pod ask for many permits."""
        for start in range(0, many, MAX_OPERATIONS):
            ids = range(start, min(many, start + MAX_OPERATIONS))
            words = (word for id_ in ids for word in ("acquire", f"{pod}-{id_}", f"client-{id_ % 97}", wait_ms))
            await self.operate(pod, *words)

    async def acquire_one(self, pod: str) -> None:
        """Let a pod ask for one permit, for a client of its own."""
        self._asked += 1
        await self.operate(pod, "acquire", f"id-{self._asked}", f"client-{self._asked}", 600_000)

    async def come_back(self, pod: str, many: int) -> None:
        """Let a pod request many permits, each with a wait id."""
        for start in range(0, many, MAX_WITH_PLACES):
            ids = range(start, min(many, start + MAX_WITH_PLACES))
            names = [(id_, f"{pod}-{id_}".ljust(24, "-") + f".{id_:032x}") for id_ in ids]
            words = (word for id_, name in names for word in ("return", name, f"client-{id_ % 97}", 600_000, 0))
            await self.operate(pod, *words)

    async def renew(self, pod: str) -> Any:  # noqa: ANN401 - as Redis answers
        """Let a pod send its heartbeat."""
        return await self.run(SCRIPTS.renew, pod, 1, LEASE_MS, self._epochs[pod], 0)

    async def beat(self, pod: str) -> bool:
        """Let a pod send its heartbeat; say whether there is more to do."""
        return bool((await self.renew(pod))[5])

    async def spoil(self) -> None:
        """Change a number of the pool, as somebody's hand may."""
        await self._redis.hset(self._keys[0], "capacity", 7)

    async def beat_while_there_is_more(self, pod: str) -> None:
        """Send heartbeats until there is nothing more to do."""
        while await self.beat(pod):
            pass

    async def leave(self, pod: str) -> None:
        """Let a pod go, call by call."""
        while (await self.run(SCRIPTS.leave, pod))[1]:
            pass

    async def set_capacity(self, capacity: int) -> None:
        """Change the capacity, call by call."""
        more = (await self.run(SCRIPTS.set, "capacity", capacity))[2]
        while more:
            more = (await self.run(SCRIPTS.set, "serve", ""))[2]

    async def run_out(self, *, leases: bool) -> None:
        """Let the leases of all pods but the first expire, or the wait of all clients in the queue."""
        pool, _, lease_ends, *_ = self._keys
        if leases:
            names = await self._redis.zrange(lease_ends, 0, -1)
            over_ms = int(await self._redis.hget(pool, "clock")) - 1000
            await self._redis.zadd(lease_ends, {name: over_ms for name in names if name != b"pod/0.1"})
        else:
            waiters = self._keys[6]
            records = await self._redis.hgetall(waiters)
            over = {
                id_: b" ".join([*(words := note.split(b" ", 5))[:3], b"1", *words[4:]]) for id_, note in records.items()
            }
            await self._redis.hset(waiters, mapping=over)


Case = Callable[[MeasuredPool], Awaitable[None]]


async def pods_die(pool: MeasuredPool) -> None:
    """1,000 pods that held 10 permits each die at once."""
    await pool.enter("pod/0.1", MANY)
    await pool.trust()
    for number in range(1, 1001):
        await pool.enter(f"pod/{number}.1", MANY)
        await pool.acquire(f"pod/{number}.1", 10)
    await pool.run_out(leases=True)
    pool.times.clear()
    await pool.beat_while_there_is_more("pod/0.1")


async def line_expired(pool: MeasuredPool) -> None:
    """One release meets 10,000 waiters whose time is over."""
    await pool.enter("pod/0.1", 1)
    await pool.trust()
    await pool.acquire("pod/0.1", MANY + 1)
    await pool.run_out(leases=False)
    pool.times.clear()
    await pool.operate("pod/0.1", "release", "pod/0.1-0")
    await pool.beat_while_there_is_more("pod/0.1")


async def large_pod_leaves(pool: MeasuredPool) -> None:
    """A pod leaves that has 10,000 permits and 10,000 waiters."""
    await pool.enter("pod/0.1", MANY)
    await pool.trust()
    await pool.enter("pod/1.1", MANY)
    await pool.acquire("pod/1.1", 2 * MANY)
    pool.times.clear()
    await pool.leave("pod/1.1")


async def capacity_is_raised(pool: MeasuredPool) -> None:
    """The capacity is raised by 10,000 while 10,000 wait."""
    await pool.enter("pod/0.1", 1)
    await pool.trust()
    await pool.acquire("pod/0.1", MANY)
    pool.times.clear()
    await pool.set_capacity(2 * MANY)


async def many_pods_are_served(pool: MeasuredPool) -> None:
    """The same, with the waiters in 1,000 pods, each of which has to be told."""
    for number in range(1000):
        await pool.enter(f"pod/{number}.1", 1)
    await pool.trust()
    for _ in range(MANY // 1000):
        for number in range(1000):
            await pool.acquire_one(f"pod/{number}.1")
    pool.times.clear()
    await pool.set_capacity(2 * MANY)


async def notice_lost(pool: MeasuredPool) -> None:
    """One notice is lost among 8,000 waiters: the pod asks about the first of them."""
    await pool.enter("pod/0.1", 1)
    await pool.trust()
    await pool.acquire("pod/0.1", 8000)
    pool.times.clear()
    await pool.beat("pod/0.1")
    await pool.operate("pod/0.1", "acquire", "pod/0.1-1", "client-1", 600_000)


async def busy(pool: MeasuredPool) -> None:
    """A full call of operations, with 10,000 in the queue."""
    await pool.enter("pod/0.1", MANY)
    await pool.trust()
    await pool.acquire("pod/0.1", 2 * MANY)
    pool.times.clear()
    half = MAX_OPERATIONS // 2
    releases = (word for number in range(half) for word in ("release", f"pod/0.1-{number}"))
    asks = (w for number in range(half) for w in ("acquire", f"more-{number}", "client-1", 600_000))
    await pool.operate("pod/0.1", *releases, *asks)


async def places_taken_over(pool: MeasuredPool) -> None:
    """10,000 that wait in places come back to them through other pods, and all are granted."""
    await pool.enter("pod/0.1", 1)
    await pool.enter("pod/1.1", 1)
    await pool.trust()
    await pool.come_back("pod/0.1", MANY)
    pool.times.clear()
    await pool.come_back("pod/1.1", MANY)
    await pool.leave("pod/1.1")
    await pool.come_back("pod/0.1", MANY)
    await pool.set_capacity(2 * MANY)
    await pool.beat_while_there_is_more("pod/0.1")


async def declared(pool: MeasuredPool) -> None:
    """A pod declares 10,000 permits and 10,000 waiters, after the store has forgotten them."""
    await pool.enter("pod/0.1", MANY)
    pool.times.clear()
    parts = 2 * MANY // MAX_DECLARED
    for part in range(parts):
        ids = range(part * MAX_DECLARED, (part + 1) * MAX_DECLARED)
        held = MAX_DECLARED if part < parts // 2 else 0
        words: list[str | int] = []
        for id_ in ids:
            words += (f"id-{id_}", id_ + 1, f"client-{id_ % 97}")
            if not held:
                words.append(600_000)
        last = int(part == parts - 1)
        head = ("pod/1.1", 1, LEASE_MS, "", 0, LEASE_MS, MANY, 0, part + 1, last, held)
        await pool.run(SCRIPTS.declare, *head, *words)


async def enter_many(pool: MeasuredPool) -> None:
    """Let in 1,000 pods, whose 30,000 clients hold 20,000 permits and wait for others."""
    for number in range(1000):
        await pool.enter(f"pod/{number}.1", 2 * MANY)
    await pool.trust()
    for start in range(0, 3 * MANY, MAX_OPERATIONS):
        ids = range(start, start + MAX_OPERATIONS)
        words = (word for id_ in ids for word in ("acquire", f"id-{id_}", f"client-{id_}", 600_000))
        await pool.operate(f"pod/{start // MAX_OPERATIONS}.1", *words)
    pool.times.clear()


async def shown(pool: MeasuredPool) -> None:
    """An operator looks at 1,000 pods and 30,000 clients, and a pod at its state."""
    await enter_many(pool)
    argv = (LINE_SHOWN, CLIENTS_AT_ONCE, "0", PODS_AT_ONCE)
    _, clients, _, pods, *_ = await pool.run(SCRIPTS.show, *argv)
    while pods != b"0":
        _, _, _, pods, *_ = await pool.run(SCRIPTS.show, *argv[:2], pods.decode(), PODS_AT_ONCE)
    while clients != b"0":
        *_, clients, _ = await pool.run(SCRIPTS.state, clients.decode(), CLIENTS_AT_ONCE)


async def forgotten(pool: MeasuredPool) -> None:
    """A heartbeat begins a new epoch, and drops 1,000 pods with 20,000 permits and 10,000 waiters."""
    await enter_many(pool)
    await pool.spoil()
    await pool.renew("pod/0.1")


CASES: dict[str, Case] = {
    "1,000 pods die": pods_die,
    "a release meets 10,000 expired waiters": line_expired,
    "a pod with 20,000 leaves": large_pod_leaves,
    "the capacity is raised by 10,000": capacity_is_raised,
    "… and the waiters are in 1,000 pods": many_pods_are_served,
    "a notice is lost among 8,000 waiters": notice_lost,
    "a pod with 20,000 declares": declared,
    "250 operations, 10,000 in the queue": busy,
    "10,000 come back to their places": places_taken_over,
    "1,000 pods, 30,000 clients are shown": shown,
    "1,000 pods, 30,000 clients are forgotten": forgotten,
}


@asynccontextmanager
async def open_pool(url: str, name: str) -> AsyncIterator[MeasuredPool]:
    """Open a pool of its own for a case."""
    async with Redis.from_url(url) as redis:
        for script in SCRIPTS.all():
            await redis.script_load(script.text)
        await redis.config_set(
            "lazyfree-lazy-user-del", "no"
        )  # as in Redis; Valkey frees what DEL deletes in the background
        yield MeasuredPool(redis, name)
        await redis.flushall()


async def measure(url: str) -> dict[str, Times]:
    """Play all cases."""
    measured = {}
    for number, (title, case) in enumerate(CASES.items()):
        rounds = []
        for _ in range(ROUNDS):
            async with open_pool(url, f"case-{number}") as pool:
                await case(pool)
                rounds.append(pool.times)
        measured[title] = shortest(rounds)
    return measured


def shortest(rounds: Sequence[Sequence[float]]) -> Times:
    """Return the shortest time of each call. Rounds with another number of calls than the first cannot be compared."""
    same = [times for times in rounds if len(times) == len(rounds[0])]
    times = [min(of_one_call) for of_one_call in zip(*same, strict=True)]
    return Times(len(times), max(times), sum(times))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; the exit status says whether every call was short enough."""
    parser = argparse.ArgumentParser(prog="bench:scripts", description="How long one call keeps the store busy.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    with run_valkey() as valkey:
        measured = asyncio.run(measure(valkey.url))
    if options.json:
        print(json.dumps({title: vars_of(times) for title, times in measured.items()}))
    else:
        print(f"{'':42}{'calls':>7}{'longest':>12}{'all':>12}")
        for title, times in measured.items():
            print(f"{title:42}{times.calls:>7}{times.longest_ms:>9.2f} ms{times.total_ms:>9.0f} ms")
    return 0 if all(times.longest_ms < LIMIT_MS for times in measured.values()) else 1


def vars_of(times: Times) -> dict[str, float]:
    """Return the figures by name."""
    return {"calls": times.calls, "longest_ms": times.longest_ms, "total_ms": times.total_ms}


if __name__ == "__main__":
    sys.exit(main())
