"""One pool in the store, as one pod sees it: each script as a typed call, and the calls that are under way.

Nothing here decides when something is called or what follows from it.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from permits.redis.calls import Call, declaration_parts
from permits.redis.channel import Channel, Command, CommandHead, StoreLost, Word
from permits.redis.clock import Clock, lease_clock
from permits.redis.keys import DEFAULT_PREFIX, keys_of, script_keys_of
from permits.redis.lease import RedisPermit
from permits.redis.replies import NAMELESS, CallResult, Entry, entry_of
from permits.redis.requests import AcquireRequest, Query, Request
from permits.redis.scripts import CallStatus, LuaScript, LuaScripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers of a pool, as this pod's settings have them."""

    capacity: int
    per_client: int | None
    max_waiting: int
    lease_seconds: float


@dataclass(slots=True)
class Witness:
    """What this process knows of the store, and tells it, so that one that has gone back to an earlier state finds out.

    Attributes:
        epoch: the newest that it has heard of.
        ticket: the highest that it has heard of in that epoch.
        longest_ms: the longest lease that a pod has.
    """

    epoch: str = ""
    ticket: int = 0
    longest_ms: int = 0

    def know(self, epoch: str, longest_ms: int) -> None:
        """Hear of an epoch, and of the longest lease."""
        if epoch != self.epoch:
            self.epoch, self.ticket = epoch, 0
        self.longest_ms = longest_ms

    def saw(self, result: CallResult) -> None:
        """Hear of the tickets and the longest lease in a result."""
        if result.lease.epoch != self.epoch:
            return
        self.ticket = max([self.ticket, *[ticket for _, _, ticket, _ in result.answers]])
        if result.renewal is not None:
            self.longest_ms = result.renewal.longest_ms


class KeptOut(StoreLost):
    """The store does not let this pod in."""


class Store:
    """One pool in the store, as one pod sees it.

    Args:
        channel: the way there.
        scripts: loaded by the channel.
        name: of the pool.
        terms: its numbers.
        prefix: of the keys.
        clock: by which leases are counted.

    Attributes:
        witness: what this process knows of the store.
    """

    def __init__(
        self,
        channel: Channel,
        scripts: LuaScripts,
        name: str,
        terms: Terms,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Clock = lease_clock,
    ) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._scripts = scripts
        keys, all_keys = keys_of(name, prefix), script_keys_of(name, prefix)
        self._heads: dict[str, CommandHead] = {}
        for script in scripts.all():  # only those that let pods in and keep them need the keys of the old layout
            its_keys = all_keys if script in (scripts.enter, scripts.renew, scripts.leave) else keys
            self._heads[script.sha] = CommandHead("EVALSHA", script.sha, len(its_keys), *its_keys)
        self._terms = terms
        self._lease_ms = round(terms.lease_seconds * 1000)
        self._limits = (terms.per_client or 0, terms.max_waiting)
        self._calls: deque[Call] = deque()  # sent and not answered yet, the first first
        self.witness = Witness()

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._calls)

    def under_way(self) -> Iterator[Request]:
        """Return the requests of the calls under way, in the order in which they were sent."""
        return (request for call in self._calls for request in call.requests)

    def _knowledge(self) -> tuple[Word, ...]:
        witness = self.witness
        return witness.epoch, witness.ticket, witness.longest_ms

    async def enter(self, incarnation: str, before: str, *, news: bool) -> Entry:
        """Let this pod in; `lua/enter.lua` says more.

        Raises:
            KeptOut: it may not come in.
            StoreLost: there was no answer.
        """
        await self._channel.connect()
        terms = (before, self._terms.capacity, int(news))
        words = (incarnation, self._channel.generation, self._lease_ms, *self._knowledge(), *terms)
        sent_at = self._clock()
        [[status, *rest]] = await self._channel.exchange([self._command(self._scripts.enter, *words)])
        match CallStatus(status):
            case CallStatus.NEWER:
                raise KeptOut("a newer version of permits uses this pool; update this pod")
            case CallStatus.SHUT_OUT:
                raise KeptOut("an operator refuses this pod")
            case CallStatus.NAMELESS:
                raise KeptOut(NAMELESS)
        *entry, more = rest
        return self._entry(sent_at, entry, more=bool(more))

    def _entry(self, sent_at: float, reply: Sequence[Any], *, more: bool = False) -> Entry:
        entry, longest_ms = entry_of(sent_at, reply, more=more)
        self.witness.know(entry.epoch, longest_ms)
        return entry

    async def declare(
        self, incarnation: str, permits: Sequence[RedisPermit], waiters: Sequence[AcquireRequest]
    ) -> Entry | None:
        """Tell a store that has lost its memory what this pod holds and who waits; None: it is too late.

        Raises:
            StoreLost: there was no answer; it may be told again.
        """
        await self._channel.connect()
        generation, knowledge = self._channel.generation, self._knowledge()
        parts = list(declaration_parts(permits, waiters))
        sent_at, rest = self._clock(), list[Any]()
        for number, (some_permits, some_waiters) in enumerate(parts, 1):
            sent_at, now = self._clock(), self._loop.time()
            words: list[Word] = [incarnation, generation, self._lease_ms, *knowledge]
            words += (self._terms.capacity, self._terms.per_client or 0, number, int(number == len(parts)))
            words.append(len(some_permits))
            for permit in some_permits:
                words += (permit.id, permit.ticket, permit.client_id)
            for waiter in some_waiters:
                words += (waiter.id, waiter.ticket, waiter.client_id, waiter.wait_ms(now))
            [[status, *rest]] = await self._channel.exchange([self._command(self._scripts.declare, *words)])
            match CallStatus(status):
                case CallStatus.GONE:
                    return None
                case CallStatus.STALE | CallStatus.NAMELESS:
                    raise StoreLost("the declaration was not taken")
        return self._entry(sent_at, rest)

    async def holdings(self, incarnation: str, epoch: str) -> tuple[set[str], set[str]] | None:
        """Return the ids of the permits and of the waiters that the store has for an incarnation; None: it forgot them.

        Only what is there all the time that this takes is certain to be named.

        Raises:
            StoreLost: there was no answer.
        """
        await self._channel.connect()
        permits = await self._scan(incarnation, epoch, "permits")
        waiters = None if permits is None else await self._scan(incarnation, epoch, "waiters")
        return None if permits is None or waiters is None else (permits, waiters)

    async def _scan(self, incarnation: str, epoch: str, what: str) -> set[str] | None:
        found: set[str] = set()
        cursor = "0"
        while True:
            [[after, *ids]] = await self._channel.exchange(
                [self._command(self._scripts.holdings, incarnation, what, cursor, epoch)]
            )
            if after == CallStatus.FORGOTTEN:
                return None
            found.update(name.decode() for name in ids)
            cursor = after.decode()
            if cursor == "0":
                return found

    async def leave(self, incarnation: str) -> None:
        """Let this pod go, with all that it holds. Calls under way are given up.

        Raises:
            StoreLost: there was no answer.
        """
        if self._calls:  # their replies are still to come, and must not be taken for the one to this
            await self.close()
        await self._channel.connect()
        more = True
        while more:
            [[_, more]] = await self._channel.exchange([self._command(self._scripts.leave, incarnation)])

    async def send(self, *calls: Call) -> None:
        """Send each of these calls in a write of its own. When the connection breaks, `receive` hears of it."""
        broken = bool(self._calls) and not self._channel.connected
        self._calls.extend(calls)
        if broken:
            return  # a new connection begins with what was under way on the old one
        try:
            for call in calls:
                await self._write(call)
        except StoreLost:
            return

    async def receive(self) -> CallResult:
        """Wait for the replies to the first call under way, and sort them out. Queries are told at once.

        When the connection breaks, all that is under way is sent again, once and at once.

        Raises:
            StoreLost: there was no full answer; what is under way may have been carried out or not.
        """
        try:
            result = await self._replies()
        except StoreLost:
            await self._channel.close()
            for call in self._calls:
                await self._write(call)
            result = await self._replies()
        self._calls.popleft()
        return result

    async def _write(self, call: Call) -> None:
        await self._channel.connect()
        lease, witness = call.lease, self.witness
        ticket = witness.ticket if witness.epoch == lease.epoch else 0
        pod = (lease.incarnation, self._channel.generation, self._lease_ms, lease.epoch, ticket)
        call.sent_at, now = self._clock(), self._loop.time()
        commands = [
            self._command(batch.script, *batch.argv)
            if isinstance(batch, Query)
            else self._command(
                self._scripts.operate,
                *pod,
                *self._limits,
                *chain.from_iterable([operation.words(now) for operation in batch]),
            )
            for batch in call.batches
        ]
        if call.beat:
            commands.append(self._command(self._scripts.renew, *pod))
        await self._channel.send(commands)

    async def _replies(self) -> CallResult:
        call = self._calls[0]
        result = CallResult(call.lease)
        replies = await self._channel.receive(len(call.batches) + call.beat)
        for batch, reply in zip(call.batches, replies, strict=False):
            if isinstance(batch, Query):
                batch.tell(reply)
            else:
                result.add_operated(batch, reply)
        if call.beat:
            result.add_renewed(call.sent_at, replies[-1])
        self.witness.saw(result)
        return result

    def give_up(self) -> None:
        """Forget the calls under way. Their connection must be closed, or is."""
        self._calls.clear()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    def _command(self, script: LuaScript, *argv: Word) -> Command:
        return self._heads[script.sha], argv
