"""Four workers, one store, and a network between them: all that a fault may lay hands on."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from devtools.servers import ROOT
from permits.redis import PoolOperator
from permits.redis.keys import keys_of
from permits.redis.operator import PodView, PoolUnknown, PoolView
from tests.chaos import terms
from tests.chaos.journal import Ask, Story
from tests.chaos.judge import Capacity, Record
from tests.chaos.stores import Store
from tests.support.network import Line, Network

SECONDS = 120.0
"""Longer than anything may take; only a failing chaos waits for it."""
POLL_SECONDS = 0.02
CALM_GRANTS = 300
"""How many grants make a calm: enough to see the order of the line."""
SIGNS_OF_ERROR = ("Traceback", " ERROR ", "which nobody holds")
"""In what a worker logs. The last one is of a permit that had leaked, until the heartbeat found it."""
PROMPT_SECONDS = 0.04
"""A PING of the store, or a pause between two, that takes longer is noted: then the store was not run, or the test."""


@dataclass(eq=False)
class Worker:
    """A running worker, its way to the store, and what it has written down."""

    name: str
    process: "subprocess.Popen[bytes]"
    line: Line
    story: Story
    errors: Path


class Stuck(Exception):
    """Something that had to happen did not."""


class Cluster:
    """The whole of it.

    Attributes:
        seed: what chances depend on.
        chance: the source of every choice.
        workers: those that live.
        stories: of all workers, also of the dead.
        record: what happened.
        closed: whether it is over.
    """

    def __init__(self, folder: Path, seed: str, network: Network, *, remembers: bool) -> None:
        self.chance = random.Random(seed)
        self.workers: list[Worker] = []
        self.stories: list[Story] = []
        self.record = Record()
        self.store = Store(folder, remembers=remembers)
        self.redis: Redis = Redis.from_url(self.store.url)
        self.operator = PoolOperator(terms.POOL, self.redis)
        self.network = network
        self._folder = folder
        self.seed = seed
        self.closed = False
        self._calm_since = 0

    async def begin(self) -> None:
        """Start all, and wait until all is calm."""
        self.record.capacities.append(Capacity(terms.CAPACITY, 0))
        self.store.start()
        for _ in range(terms.WORKERS):
            self.start_worker()
        await self.until(lambda: all("ready" in worker.story.said for worker in self.workers), "the workers are ready")
        await self.reach(self._trusted, "the store has let somebody in")
        await self.calm()

    async def _trusted(self) -> bool:
        with suppress(PoolUnknown):  # a worker is ready, too, when the store could not be asked in time
            await self.operator.trust()
            return True
        return False

    def start_worker(self, lease_seconds: float = terms.LEASE_SECONDS, *, visitors: int = terms.VISITORS) -> Worker:
        """Start one more."""
        name = f"w{len(self.stories)}"
        line = self.network.open(self.store.port)
        journal, errors = self._folder / f"{name}.jsonl", self._folder / f"{name}.log"
        words = [
            name,
            f"redis://127.0.0.1:{line.port}/0",
            str(self._folder),
            self.seed,
            str(lease_seconds),
            str(visitors),
        ]
        with errors.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", *words], stdout=out, stderr=out, cwd=ROOT
            )
        worker = Worker(name, process, line, Story(name, journal), errors)
        self.workers.append(worker)
        self.stories.append(worker.story)
        return worker

    def adopt_child(self, worker: Worker) -> Story:
        """Return what the child will write that a worker is about to fork; it ends by itself."""
        count = sum(story.worker.startswith(f"{worker.name}f") for story in self.stories)
        child = Story(f"{worker.name}f{count}", self._folder / f"{worker.name}f{count}.jsonl")
        self.stories.append(child)
        return child

    async def retire(self, worker: Worker) -> None:
        """Let one worker give everything back and end."""
        worker.process.send_signal(signal.SIGUSR1)
        await self.until(lambda: "idle" in worker.story.said, f"{worker.name} is idle")
        self.workers.remove(worker)
        worker.process.terminate()

        async def ended() -> bool:
            return worker.process.poll() is not None

        await self.reach(ended, f"{worker.name} ends")
        if worker.process.returncode:
            raise Stuck(f"{worker.name} did not end well, exit code {worker.process.returncode}")

    async def start_other_store(self, *, replica: bool) -> Store:
        """Start another server, empty or with all that the store has."""
        folder = self._folder / f"store-{len(self.record.faults)}"
        folder.mkdir()
        other = Store(folder, remembers=False)
        other.start()
        if replica:
            await self.follow(other, self.store)
        return other

    async def follow(self, follower: Store, primary: Store) -> None:
        """Let a server take over all data of another, and then be a primary itself."""
        async with Redis.from_url(follower.url) as redis:
            await redis.replicaof("127.0.0.1", str(primary.port))

            async def synced() -> bool:
                return (await redis.info("replication")).get("master_link_status") == "up"

            await self.reach(synced, "the replica has everything")
            await redis.replicaof("NO", "ONE")

    def lead(self, store: Store) -> None:
        """Let all workers reach the store at another server, over new connections."""
        for worker in self.workers:
            worker.line.lead(store.port)

    async def epoch(self) -> bytes | None:
        """Return the epoch of the pool, if it has one."""
        epoch: Any = await self.redis.hget(keys_of(terms.POOL)[0], "epoch")
        return epoch if epoch is None else bytes(epoch)

    def some(self, least: int = 1, most: int = terms.WORKERS - 1) -> list[Worker]:
        """Choose some of the workers."""
        return self.chance.sample(self.workers, self.chance.randint(least, most))

    def fault(self, what: str) -> None:
        """Write down what is done now; the calm is over."""
        now = time.monotonic_ns()
        if self._calm_since:
            self.record.calms.append((self._calm_since, now))
            self._calm_since = 0
        self.record.faults.append((now, what))

    async def calm(self) -> None:
        """Wait until all is well again, and stays so for a while.

        Each worker has been granted what it asked for after the fault, and hears notices again.
        """
        mended = time.monotonic_ns()
        await self.until(lambda: all(worker.story.grants_since(mended) for worker in self.workers), "grants go on")
        await self.reach(self._notices_flow, "all hear notices")
        since = self._calm_since = time.monotonic_ns()
        await self.granted(CALM_GRANTS, since)

    async def granted(self, count: int, since: int) -> None:
        """Wait until so many were granted that were asked for after a moment."""
        await self.until(
            lambda: sum(worker.story.grants_since(since) for worker in self.workers) >= count, f"{count} more grants"
        )

    async def _all_ended(self) -> bool:
        return all(worker.process.poll() is not None for worker in self.workers)

    async def _notices_flow(self) -> bool:
        """Say whether each worker listens by a connection that carries; a store may not know yet that one is dead."""
        listening = {int(client["addr"].rpartition(":")[2]) for client in await self.redis.client_list("pubsub")}
        return all(worker.line.flowing() & listening for worker in self.workers)

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until the journals show something."""

        async def read() -> bool:
            for story in self.stories:
                story.read()
            gone = [worker.name for worker in self.workers if worker.process.poll() is not None]
            if gone:
                raise Stuck(f"{gone} ended while we waited until {what}")
            return reached()

        await self.reach(read, what)

    async def reach(self, reached: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + SECONDS
        while not await reached():
            if time.monotonic() > deadline:
                raise Stuck(f"{what}: not within {SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    async def show(self) -> PoolView:
        """Look into the store."""
        return await self.operator.show()

    async def watch_store(self) -> None:
        """Write down when the store, or this process, is not run in time; until the cluster is closed."""
        redis = Redis.from_url(self.store.url)
        late = self.record.late.setdefault("store", [])
        while not self.closed:
            begun = time.monotonic()
            with suppress(RedisError, OSError):  # a fault of the test
                await redis.ping()
            await asyncio.sleep(POLL_SECONDS)
            if (took := time.monotonic() - begun) > PROMPT_SECONDS:
                late.append((time.monotonic_ns(), took))
        await redis.aclose()

    async def pods(self, worker: Worker) -> list[PodView]:
        """Return what the store has of a worker."""
        return [pod for pod in (await self.show()).pods if pod.name.startswith(f"{worker.name}/")]

    def kill(self, worker: Worker) -> None:
        """Kill a worker, and bury it."""
        worker.process.kill()
        worker.process.wait()
        self.record.killed[worker.name] = time.monotonic_ns()
        worker.story.bury()
        self.workers.remove(worker)

    async def set_capacity(self, permits: int) -> None:
        """Change the capacity live."""
        before = time.monotonic_ns()
        await self.operator.set_capacity(permits)
        last = self.record.capacities.pop()
        self.record.capacities += [
            Capacity(last.permits, last.since, time.monotonic_ns()),
            Capacity(permits, before),
        ]

    async def drain(self) -> PoolView:
        """Let all workers give everything back, wait until the store is as empty as it will be, and return that."""
        self.fault("the end")
        for worker in self.workers:
            worker.process.send_signal(signal.SIGUSR1)
        await self.until(lambda: all("idle" in worker.story.said for worker in self.workers), "all are idle")
        deadline = time.monotonic() + 2 * terms.LEASE_SECONDS
        view = await self.show()
        while view.state.held or view.state.waiting:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
            view = await self.show()
        return view

    async def leave(self) -> PoolView:
        """Let all workers end, and return what is left in the store."""
        for worker in self.workers:
            worker.process.terminate()
        await self.reach(self._all_ended, "the workers end")
        codes = {worker.name: worker.process.returncode for worker in self.workers}
        if any(codes.values()):
            raise Stuck(f"workers did not end well, exit codes {codes}")
        return await self.show()

    def asks(self) -> list[Ask]:
        """Return what was asked by all workers; the record, too, is complete now."""
        for story in self.stories:
            story.read()
            self.record.late[story.worker] = story.late
        self.record.late["network"] = self.network.late
        return [ask for story in self.stories for ask in story.asks.values()]

    def errors(self) -> str:
        """Return what went wrong in the workers, by their own word."""
        return "\n".join(self._errors())

    def _errors(self) -> Iterator[str]:
        for story in self.stories:
            log = self._folder / f"{story.worker.partition('f')[0]}.log"  # a child writes into that of its parent
            text = log.read_text(errors="replace")
            if any(sign in text for sign in SIGNS_OF_ERROR):
                yield f"{story.worker}: {text[-3000:]}"

    async def close(self) -> None:
        """End whatever is left of it."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        await self.redis.aclose()
        self.store.stop()


@asynccontextmanager
async def open_cluster(folder: Path, seed: str, *, remembers: bool = False) -> AsyncIterator[Cluster]:
    """Run a cluster for the length of a `with` block, entered when it is calm."""
    with Network() as network:
        cluster = Cluster(folder, seed, network, remembers=remembers)
        watching = asyncio.create_task(cluster.watch_store())
        try:
            await cluster.begin()
            yield cluster
        finally:
            cluster.closed = True
            await cluster.close()
            await watching
