"""Pods and a store whose time, network and memory are in the hands of a test: nothing happens unless it says so.

The scripts run on a real server and the pods' own code runs as it is. Only the server's clock and its name for itself
are replaced, by what `VirtualStore` writes into a key, and the network, by `Way`.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis
from redis.asyncio import Redis as AsyncRedis

from permits import PermitError
from permits.redis.channel import Channel, Command, Reply, StoreLost, Word
from permits.redis.dispatch import Dispatch
from permits.redis.keys import channel_of, keys_of
from permits.redis.lease import RedisPermit
from permits.redis.requests import AcquireRequest
from permits.redis.scripts import load_scripts
from permits.redis.store import Store, Terms

SERVER_LUA = """
local function server_ms()
  return tonumber(redis.call('HGET', KEYS[1] .. ':server', 'ms'))
end
local function server_run()
  local run = redis.call('HGET', KEYS[1] .. ':server', 'run')
  return run ~= '' and run or nil
end
"""
SCRIPTS = load_scripts(SERVER_LUA, looks=2)
NAMES = {script.sha: name for name, script in zip(SCRIPTS.__dataclass_fields__, SCRIPTS.all(), strict=True)}
START_MS = 1_700_000_000_000


@dataclass
class Clock:
    """True time, in milliseconds; pods see nothing else, the server sees it with its own jumps."""

    now: int = 0


class VirtualStore:
    """One pool on a real server whose time and memory are the test's.

    Attributes:
        skew: by how much the server's clock has jumped, in milliseconds.
        run: what the server calls itself.
        nameless: whether it does not say so.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self.name = f"virtual-{uuid4().hex}"
        self.keys = keys_of(self.name)
        self.clock = clock
        self.skew = 0
        self.run = self.runs = 0
        self.nameless = False
        connect: Any = redis.Redis.from_url  # parts of what it returns have no types
        self._redis = connect(url)
        for script in SCRIPTS.all():
            self._redis.script_load(script.text)
        self._notices = self._redis.pubsub()
        self._notices.psubscribe(channel_of(self.name, "*"))
        self._heard_until_pong()

    def now(self) -> int:
        """Return what the server's clock says."""
        return START_MS + self.clock.now + self.skew

    def execute(self, name: str, *argv: Word) -> tuple[Reply, list[Any], list[str]]:
        """Run one script. Return its reply, all keys as they are then, and the notices that it published."""
        with self._redis.pipeline(transaction=False) as batch:
            batch.hset(
                f"{self.keys[0]}:server", mapping={"ms": self.now(), "run": "" if self.nameless else f"run{self.run}"}
            )
            batch.execute_command("EVALSHA", getattr(SCRIPTS, name).sha, len(self.keys), *self.keys, *argv)
            for key in self.keys:
                if key.endswith((":leases", ":line", ":places_until")):
                    batch.zrange(key, 0, -1, withscores=True)
                elif key.endswith(":refused"):
                    batch.smembers(key)
                else:
                    batch.hgetall(key)
            _, reply, *image = batch.execute()
        return reply, image, list(self._heard_until_pong())

    def forget(self) -> None:
        """Lose all data."""
        self._redis.delete(*self.keys)

    def edit(self, key: str, field: str | None = None) -> bool:
        """Delete a field, a member or a whole key by hand; say whether there was one."""
        name = next(name for name in self.keys if name.endswith(f":{key}"))
        if field is None:
            return bool(self._redis.delete(name))
        return bool(self._redis.zrem(name, field) if key == "line" else self._redis.hdel(name, field))

    def save(self) -> dict[str, bytes]:
        """Return all data."""
        return {key: dump for key in self.keys if (dump := self._redis.dump(key)) is not None}

    def restart(self, data: dict[str, bytes], run: int | None = None) -> None:
        """Become another server with some data; or one that was the store before."""
        self.forget()
        self.runs += 1
        self.run = self.runs if run is None else run
        for key, dump in data.items():
            self._redis.restore(key, 0, dump)

    def keys_left(self) -> set[str]:
        """Return the last words of the names of the keys that there are."""
        return {key.rpartition(":")[2] for key in self.keys if self._redis.exists(key)}

    def close(self) -> None:
        """Leave nothing behind."""
        self._redis.delete(*self.keys, f"{self.keys[0]}:server")
        self._notices.close()
        self._redis.close()

    def _heard_until_pong(self) -> Iterator[str]:
        self._notices.ping()
        while (message := self._notices.get_message(timeout=10)) and message["type"] != "pong":
            if message["type"] == "pmessage":
                yield message["data"].decode()


@dataclass(eq=False)
class Flight:
    """Commands on their way to the store, and the replies on their way back."""

    commands: Sequence[Command]
    answer: "asyncio.Future[list[Reply]]"
    replies: list[Reply] | None = None

    def scripts(self) -> list[str]:
        """Return the names of the scripts that they call."""
        return [NAMES[str(head.words[1])] for head, _ in self.commands]

    @property
    def orphaned(self) -> bool:
        """Whether nobody waits for its replies any more."""
        return self.answer.done()


@dataclass
class Way:
    """The network between one pod and the store.

    Attributes:
        up: whether connections can be made.
        holds_requests: whether requests stop on their way; they may arrive later.
        holds_replies: whether replies do.
        holds_notices: whether notices do.
        cuts: how often a connection was broken.
        flights: what is under way.
        notices: the same of notices.
    """

    up: bool = True
    holds_requests: bool = False
    holds_replies: bool = False
    holds_notices: bool = False
    cuts: int = 0
    flights: list[Flight] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Let everything through."""
        self.up = True
        self.holds_requests = self.holds_replies = self.holds_notices = False

    @property
    def is_open(self) -> bool:
        """Whether everything gets through."""
        return self.up and not (self.holds_requests or self.holds_replies or self.holds_notices)

    def hold(self, what: str) -> None:
        """Hold up "requests", "replies" or "notices"; any other word: nothing more."""
        self.holds_requests |= what == "requests"
        self.holds_replies |= what == "replies"
        self.holds_notices |= what == "notices"

    def cut(self) -> None:
        """Break the connection. Requests that were under way may arrive nevertheless; replies do not."""
        self.cuts += 1
        for flight in self.flights:
            if not flight.orphaned:
                flight.answer.set_exception(StoreLost("cut"))


class VirtualChannel(Channel):
    """A channel over a `Way`."""

    def __init__(self, way: Way) -> None:
        super().__init__(AsyncRedis(), (), "")
        self._way = way
        self._connected_at: int | None = None
        self._under_way: deque[Flight] = deque()

    @property
    def connected(self) -> bool:
        """See `Channel.connected`."""
        return self._connected_at is not None

    async def connect(self) -> None:
        """See `Channel.connect`."""
        if self._connected_at is None:
            if not self._way.up:
                raise StoreLost("out of reach")
            self._connected_at = self._way.cuts
            self.generation += 1

    async def send(self, commands: Sequence[Command]) -> None:
        """See `Channel.send`."""
        if self._connected_at != self._way.cuts:
            await self.close()
            raise StoreLost("was cut")
        flight = Flight(commands, asyncio.get_running_loop().create_future())
        self._under_way.append(flight)
        self._way.flights.append(flight)

    async def receive(self, count: int) -> list[Reply]:
        """See `Channel.receive`."""
        if self._connected_at is None:
            raise StoreLost("not connected")
        flight = self._under_way.popleft()
        assert len(flight.commands) == count
        try:
            return await flight.answer
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `Channel.close`."""
        self._connected_at = None
        self._under_way.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what can run now; a pod of its own loop can be paused like a process."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._true = clock

    def time(self) -> float:
        """See `asyncio.loop.time`."""
        return self._true.now / 1000

    def settle(self) -> None:
        """Run until nothing is left but waiting."""
        self.run_until_complete(_spin())


async def _spin() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class VirtualPod:
    """One pod and its callers.

    Attributes:
        way: its network.
        asks: of all its callers, also of those who have their answer.
        paused: whether the process stands still.
        gone: whether it has ended.
    """

    def __init__(self, clock: Clock, pool_name: str, terms: Terms) -> None:
        self.name = f"pod/{uuid4().hex}"
        self.way = Way()
        self.asks: list[AcquireRequest] = []
        self.paused = False
        self.gone = False
        self._loop = VirtualLoop(clock)
        self.faults = 0
        self.lease_ms = round(terms.lease_seconds * 1000)
        self._dispatch = self._loop.run_until_complete(self._open(pool_name, terms))
        self._callers: dict[AcquireRequest, asyncio.Task[None]] = {}
        self._running = self._loop.create_task(self._dispatch.run())
        self._leaving: asyncio.Task[None] | None = None

    async def _open(self, pool_name: str, terms: Terms) -> Dispatch:
        store = Store(VirtualChannel(self.way), SCRIPTS, pool_name, terms, clock=self._loop.time)
        return Dispatch(
            store,
            self.name,
            lease_seconds=terms.lease_seconds,
            answer_seconds=60,
            on_lost=lambda _: None,
            on_fault=self._note_fault,
            clock=self._loop.time,
        )

    def _note_fault(self) -> None:
        self.faults += 1

    def check_places(self) -> None:
        """Check that each ask without an answer is in exactly one place; who waits may ask again meanwhile."""
        assert not self.faults
        for ask, places in self._dispatch.pending.places().items():
            if places["waiting"]:
                assert all(count == 1 for count in places.values()), (ask.id, places)
            else:
                assert places.total() == 1, (ask.id, places)

    def settle(self) -> None:
        """Let it do what it can do now."""
        if not self.paused and not self.gone:
            self._loop.settle()
            if self._leaving is not None and self._leaving.done():
                self.crash()

    def hear(self, notice: str) -> None:
        """Take in a notice."""
        if not self.paused and not self.gone:
            self._loop.run_until_complete(self._hear(notice))

    async def _hear(self, notice: str) -> None:
        incarnation, epoch, *words = notice.split(" ")
        self._dispatch.session.hear(incarnation, epoch, zip(words[::2], map(int, words[1::2]), strict=True))

    def acquire(self, client_id: str, wait_ms: int, wait_id: str | None = None) -> None:
        """Begin to acquire."""
        ask = self._dispatch.pending.new(client_id, self._loop.time() + wait_ms / 1000 if wait_ms else None, wait_id)
        self.asks.append(ask)
        self._callers[ask] = self._loop.create_task(self._acquire(ask))

    async def _acquire(self, ask: AcquireRequest) -> None:
        try:
            await self._dispatch.acquire(ask)
        except PermitError as exc:
            ask.refuse(exc)

    def come_and_go(self, client_id: str, times: int) -> None:
        """Let a caller acquire, give it back and acquire again at once, whatever the answers are."""
        self._loop.create_task(self._come_and_go(client_id, times))

    async def _come_and_go(self, client_id: str, times: int) -> None:
        this: asyncio.Task[None] | None = asyncio.current_task()
        assert this is not None
        for _ in range(times):
            ask = self._dispatch.pending.new(client_id, None)
            self.asks.append(ask)
            self._callers[ask] = this
            await self._acquire(ask)
            if ask.permit is not None:
                ask.permit.release()

    def asking(self) -> list[AcquireRequest]:
        """Return those who have no answer yet."""
        return [ask for ask, caller in self._callers.items() if not ask.over and not caller.done()]

    def cancel(self, ask: AcquireRequest) -> None:
        """Give up asking."""
        self._callers[ask].cancel()

    def held(self) -> list[RedisPermit]:
        """Return the permits that its callers may use now. Looks, and touches nothing."""
        now = self._loop.time()
        permits = [ask.permit for ask in self.asks if ask.permit is not None]
        return [
            permit
            for permit in permits
            if permit.id in permit.lease.held and not permit.lease.over.is_set() and now < permit.lease.deadline
        ]

    def leave(self) -> None:
        """Begin to end in good order."""
        self._leaving = self._loop.create_task(self._leave())

    async def _leave(self) -> None:
        self._dispatch.pending.refuse_all(PermitError)
        await self._stop(self._running)
        with suppress(StoreLost, TimeoutError):
            await self._dispatch.leave()

    def crash(self) -> None:
        """End now. What was under way may arrive nevertheless."""
        if not self.gone:
            self.gone = True
            tasks = [self._running, *self._callers.values(), *([self._leaving] if self._leaving else [])]
            self._loop.run_until_complete(self._stop(*tasks))
            self._loop.close()

    @staticmethod
    async def _stop(*tasks: "asyncio.Task[None]") -> None:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end
