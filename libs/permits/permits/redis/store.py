"""The scripts as typed calls: what goes in and what comes out of each, and nothing of when or why."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from permits.redis.channel import Channel, Reply, StoreLost, Word
from permits.redis.clock import Clock, lease_clock
from permits.redis.keys import DEFAULT_PREFIX, script_keys_of
from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, Operation, Query, Request
from permits.redis.scripts import CODES, Code, Script, Scripts, Status

MAX_OPERATIONS = 250  # in one script call, so that no call keeps the store busy for more than a few milliseconds
MAX_DECLARED = 200  # permits and waiters in one part of a declaration


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers of a pool, as this pod's settings have them."""

    capacity: int
    per_client: int | None
    max_waiting: int
    lease_seconds: float


Answer = tuple[AcquireRequest, Code, int, int]
"""What became of an ask or of leaving the line: whose, what, the ticket, the place."""


@dataclass(frozen=True, slots=True)
class Condition:
    """How the pool is.

    Attributes:
        capacity: how many permits there are.
        learning_seconds: for how much longer nothing is granted.
    """

    capacity: int
    learning_seconds: float


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that counts again.

    Attributes:
        sent_at: by the clock of leases, just before it was asked for.
        lease_seconds: for how long, from then.
        waiters: how many of this pod stand in line, as the store has it.
        held: how many permits this pod holds, as the store has it.
        condition: of the pool.
    """

    sent_at: float
    lease_seconds: float
    waiters: int
    held: int
    condition: Condition


@dataclass(slots=True)
class Call:
    """What goes out in one write.

    Attributes:
        lease: of the incarnation that calls.
        requests: what it wants.
        beat: whether the heartbeat goes along.
        batches: the requests as they are grouped: each group is one script call.
        sent_at: by the clock of leases, just before it was sent.
    """

    lease: Lease
    requests: Sequence[Request]
    beat: bool
    batches: Sequence[Query | list[Operation]] = field(init=False)
    sent_at: float = 0.0

    def __post_init__(self) -> None:
        self.batches = list(_batches(self.requests))


@dataclass(slots=True)
class Turn:
    """What came back for one call.

    Attributes:
        answers: for every ask and leave that the store looked at.
        handed: ids and tickets of waiters of this pod whom these calls gave a permit; ticket 0: over the limit.
        more: whether the store has more to do, and wants a heartbeat for it.
        renewal: of the lease, when the heartbeat went along and was welcome.
        gone: whether the incarnation is known to be over.
        forgotten: whether the store has lost its memory, and wants to be told what is held.
        unserved: operations that it did not look at, because of either.
        longest_ms: the longest lease that a pod has; 0: that was not said.
    """

    answers: list[Answer] = field(default_factory=list)
    handed: list[tuple[str, int]] = field(default_factory=list)
    more: bool = False
    renewal: Renewal | None = None
    gone: bool = False
    forgotten: bool = False
    unserved: list[Operation] = field(default_factory=list)
    longest_ms: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A lease that the store has begun or begun anew.

    Attributes:
        sent_at: by the clock of leases, just before it was asked for.
        lease_seconds: for how long it counts, from then.
        epoch: the memory of the store that knows it.
        condition: of the pool.
        more: whether the store has more to do, and wants a heartbeat for it.
    """

    sent_at: float
    lease_seconds: float
    epoch: str
    condition: Condition
    more: bool = False


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

    def saw(self, ticket: int) -> None:
        """Hear of a ticket."""
        self.ticket = max(self.ticket, ticket)


NAMELESS = "the server does not tell its run id (INFO server), so nobody could tell it from another"


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
        calls: what was sent and not answered yet, the first first.
        witness: what this process knows of the store.
    """

    def __init__(
        self,
        channel: Channel,
        scripts: Scripts,
        name: str,
        terms: Terms,
        *,
        prefix: str = DEFAULT_PREFIX,
        clock: Clock = lease_clock,
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._scripts = scripts
        self._keys = script_keys_of(name, prefix)
        self._terms = terms
        self._lease_ms = round(terms.lease_seconds * 1000)
        self._limits = (terms.per_client or 0, terms.max_waiting)
        self.calls: deque[Call] = deque()
        self.witness = Witness()

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
        [[status, *rest]] = await self._channel.exchange([self._call(self._scripts.enter, *words)])
        match Status(status):
            case Status.NEWER:
                raise KeptOut("a newer version of permits uses this pool; update this pod")
            case Status.SHUT_OUT:
                raise KeptOut("an operator refuses this pod")
            case Status.NAMELESS:
                raise KeptOut(NAMELESS)
        *entry, more = rest
        return self._entry(sent_at, entry, more=bool(more))

    def _entry(self, sent_at: float, reply: Sequence[Any], *, more: bool = False) -> Entry:
        lease_ms, epoch, capacity, longest_ms, learning_ms = reply
        self.witness.know(epoch.decode(), longest_ms)
        return Entry(sent_at, lease_ms / 1000, epoch.decode(), Condition(capacity, learning_ms / 1000), more)

    async def declare(
        self, incarnation: str, permits: Sequence[RedisPermit], waiters: Sequence[AcquireRequest]
    ) -> Entry | None:
        """Tell a store that has lost its memory what this pod holds and who waits; None: it is too late.

        Raises:
            StoreLost: there was no answer; it may be told again.
        """
        await self._channel.connect()
        generation, knowledge = self._channel.generation, self._knowledge()
        parts = list(_parts(permits, waiters))
        sent_at, rest = self._clock(), list[Any]()
        for number, (some_permits, some_waiters) in enumerate(parts, 1):
            sent_at, now = self._clock(), asyncio.get_running_loop().time()
            words: list[Word] = [incarnation, generation, self._lease_ms, *knowledge]
            words += (self._terms.capacity, self._terms.per_client or 0, number, int(number == len(parts)))
            words.append(len(some_permits))
            for permit in some_permits:
                words += (permit.id, permit.ticket, permit.client_id)
            for ask in some_waiters:
                words += (ask.id, ask.ticket, ask.client_id, ask.wait_ms(now))
            [[status, *rest]] = await self._channel.exchange([self._call(self._scripts.declare, *words)])
            match Status(status):
                case Status.GONE:
                    return None
                case Status.STALE | Status.NAMELESS:
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
                [self._call(self._scripts.holdings, incarnation, what, cursor, epoch)]
            )
            if after == Status.FORGOTTEN:
                return None
            found.update(name.decode() for name in ids)
            cursor = after.decode()
            if cursor == "0":
                return found

    async def leave(self, incarnation: str) -> None:
        """Let this pod go, with all that it holds.

        Raises:
            StoreLost: there was no answer.
        """
        await self._channel.connect()
        more = True
        while more:
            [[_, more]] = await self._channel.exchange([self._call(self._scripts.leave, incarnation)])

    async def send(self, *calls: Call) -> None:
        """Send each of these calls in a write of its own. When the connection breaks, `receive` hears of it."""
        broken = bool(self.calls) and not self._channel.connected
        self.calls.extend(calls)
        if broken:
            return  # a new connection begins with what was under way on the old one
        with suppress(StoreLost):
            for call in calls:
                await self._write(call)

    async def receive(self) -> Turn:
        """Wait for the replies to the first call under way, and sort them out. Questions are told at once.

        When the connection breaks, all that is under way is sent again, once and at once.

        Raises:
            StoreLost: there was no full answer; what is under way may have been carried out or not.
        """
        try:
            turn = await self._replies()
        except StoreLost:
            await self._channel.close()
            for call in self.calls:
                await self._write(call)
            turn = await self._replies()
        self.calls.popleft()
        return turn

    async def _write(self, call: Call) -> None:
        await self._channel.connect()
        lease, witness = call.lease, self.witness
        ticket = witness.ticket if witness.epoch == lease.epoch else 0
        pod = (lease.incarnation, self._channel.generation, self._lease_ms, lease.epoch, ticket)
        call.sent_at, now = self._clock(), asyncio.get_running_loop().time()
        commands = [
            self._call(batch.script, *batch.argv)
            if isinstance(batch, Query)
            else self._call(
                self._scripts.operate,
                *pod,
                *self._limits,
                *(word for operation in batch for word in operation.words(now)),
            )
            for batch in call.batches
        ]
        if call.beat:
            commands.append(self._call(self._scripts.renew, *pod))
        await self._channel.send(commands)

    async def _replies(self) -> Turn:
        call, turn = self.calls[0], Turn()
        replies = await self._channel.receive(len(call.batches) + call.beat)
        for batch, reply in zip(call.batches, replies, strict=False):
            if isinstance(batch, Query):
                batch.tell(reply)
            else:
                _operated(turn, batch, reply)
        if call.beat:
            _renewed(turn, call.sent_at, replies[-1])
        if call.lease.epoch == self.witness.epoch:
            if turn.answers:
                self.witness.saw(max(ticket for _, _, ticket, _ in turn.answers))
            if turn.longest_ms:
                self.witness.longest_ms = turn.longest_ms
        return turn

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    def _call(self, script: Script, *argv: Word) -> Sequence[Word]:
        return "EVALSHA", script.sha, len(self._keys), *self._keys, *argv


def _batches(requests: Sequence[Request]) -> Iterator[Query | list[Operation]]:
    """Join neighbouring operations, for they go out as one call."""
    operations: list[Operation] = []
    for request in requests:
        if not isinstance(request, Query):
            operations.append(request)
            if len(operations) < MAX_OPERATIONS:
                continue
        if operations:
            yield operations
            operations = []
        if isinstance(request, Query):
            yield request
    if operations:
        yield operations


def _parts(
    permits: Sequence[RedisPermit], waiters: Sequence[AcquireRequest]
) -> Iterator[tuple[Sequence[RedisPermit], Sequence[AcquireRequest]]]:
    """Cut a declaration into parts; one at least."""
    yield permits[:MAX_DECLARED], () if permits else waiters[:MAX_DECLARED]
    for at in range(MAX_DECLARED, len(permits), MAX_DECLARED):
        yield permits[at : at + MAX_DECLARED], ()
    for at in range(0 if permits else MAX_DECLARED, len(waiters), MAX_DECLARED):
        yield (), waiters[at : at + MAX_DECLARED]


def _operated(turn: Turn, operations: Sequence[Operation], reply: Reply) -> None:
    if not _welcome(turn, reply):
        turn.unserved.extend(operations)
        return
    _, handed, more, *numbers = reply
    turn.more |= bool(more)
    _add_handed(turn, handed)
    words = iter(numbers)
    threes = zip(words, words, words, strict=True)
    asks = [ask for operation in operations if (ask := operation.ask) is not None]
    turn.answers += [(ask, CODES[code], ticket, place) for ask, (code, ticket, place) in zip(asks, threes, strict=True)]


def _renewed(turn: Turn, sent_at: float, reply: Reply) -> None:
    if _welcome(turn, reply):
        _, handed, lease_ms, waiters, held, more, capacity, turn.longest_ms, learning_ms = reply
        turn.more |= bool(more)
        _add_handed(turn, handed)
        turn.renewal = Renewal(sent_at, lease_ms / 1000, waiters, held, Condition(capacity, learning_ms / 1000))


def _welcome(turn: Turn, reply: Reply) -> bool:
    match Status(reply[0]):
        case Status.DONE:
            return True
        case Status.GONE:
            turn.gone = True
        case Status.FORGOTTEN:
            turn.forgotten = True
        case Status.NAMELESS:
            raise StoreLost(NAMELESS)
        case _:
            raise StoreLost("another connection of this pod has spoken since")
    return False


def _add_handed(turn: Turn, handed: Sequence[bytes]) -> None:
    words = iter(handed)
    turn.handed.extend((permit_id.decode(), int(ticket)) for permit_id, ticket in zip(words, words, strict=True))
