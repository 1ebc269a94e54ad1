"""The scripts as typed calls: what goes in and what comes out of each, and nothing of when or why."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from permits.redis.clock import Clock, lease_clock
from permits.redis.keys import keys_of
from permits.redis.lease import Lease, RedisPermit
from permits.redis.link import Link, Reply, StoreLost, Word
from permits.redis.requests import Ask, Operation, Question, Request
from permits.redis.scripts import CODES, Code, Script, Scripts, Status

MAX_OPERATIONS = 500  # in one script call, so that no call keeps the store busy for more than a few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The numbers of a pool, as this pod's settings have them."""

    capacity: int
    per_client: int | None
    max_waiting: int
    lease_seconds: float


Answer = tuple[Ask, Code, int, int]
"""What became of an ask or of leaving the line: whose, what, the ticket, the place."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that counts again.

    Attributes:
        sent_at: by the clock of leases, just before it was asked for.
        lease_seconds: for how long, from then.
        waiters: how many of this pod stand in line, as the store has it.
        held: how many permits this pod holds, as the store has it.
    """

    sent_at: float
    lease_seconds: float
    waiters: int
    held: int


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
    batches: Sequence[Question | list[Operation]] = field(init=False)
    sent_at: float = 0.0

    def __post_init__(self) -> None:
        self.batches = list(_batches(self.requests))


@dataclass(slots=True)
class Turn:
    """What came back for one call.

    Attributes:
        answers: for every ask and leave that the store looked at.
        handed: ids and tickets of waiters of this pod whom these calls gave a permit.
        renewal: of the lease, when the heartbeat went along and was welcome.
        gone: whether the incarnation is known to be over.
        forgotten: whether the store has lost its memory, and wants to be told what is held.
        unserved: operations that it did not look at, because of either.
    """

    answers: list[Answer] = field(default_factory=list)
    handed: list[tuple[str, int]] = field(default_factory=list)
    renewal: Renewal | None = None
    gone: bool = False
    forgotten: bool = False
    unserved: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """A lease that the store has begun or begun anew.

    Attributes:
        sent_at: by the clock of leases, just before it was asked for.
        lease_seconds: for how long it counts, from then.
        epoch: the memory of the store that knows it.
    """

    sent_at: float
    lease_seconds: float
    epoch: str


class KeptOut(StoreLost):
    """The store does not let this pod in."""


class Store:
    """One pool in the store, as one pod sees it.

    Args:
        link: the way there.
        scripts: loaded by the link.
        name: of the pool.
        terms: its numbers.
        clock: by which leases are counted.

    Attributes:
        calls: what was sent and not answered yet, the first first.
    """

    def __init__(self, link: Link, scripts: Scripts, name: str, terms: Terms, *, clock: Clock = lease_clock) -> None:
        self._link = link
        self._clock = clock
        self._scripts = scripts
        self._keys = keys_of(name)
        self._terms = terms
        self._lease_ms = round(terms.lease_seconds * 1000)
        self._limits = (terms.per_client or 0, terms.max_waiting)
        self.calls: deque[Call] = deque()

    async def enter(self, incarnation: str, before: str, *, news: bool) -> Entry:
        """Let this pod in; `lua/enter.lua` says more.

        Raises:
            KeptOut: it may not come in.
            StoreLost: there was no answer.
        """
        await self._link.connect()
        words = (incarnation, self._link.generation, self._lease_ms, before, self._terms.capacity, int(news))
        sent_at = self._clock()
        [[status, *rest]] = await self._link.exchange([self._call(self._scripts.enter, *words)])
        match Status(status):
            case Status.NEWER:
                raise KeptOut("a newer version of permits uses this pool; update this pod")
            case Status.SHUT_OUT:
                raise KeptOut("an operator refuses this pod")
        lease_ms, epoch = rest
        return Entry(sent_at, lease_ms / 1000, epoch.decode())

    async def declare(
        self, incarnation: str, epoch: str, permits: Sequence[RedisPermit], waiters: Sequence[Ask]
    ) -> Entry | None:
        """Tell a store that has lost its memory what this pod holds and who waits; None: it is too late.

        Raises:
            StoreLost: there was no answer; it may be told again.
        """
        await self._link.connect()
        sent_at, now = self._clock(), asyncio.get_running_loop().time()
        words: list[Word] = [incarnation, self._link.generation, self._lease_ms, epoch, self._terms.capacity]
        words.append(len(permits))
        for permit in permits:
            words += (permit.id, permit.ticket, permit.client_id)
        for ask in waiters:
            words += (ask.id, ask.ticket, ask.client_id, ask.wait_ms(now))
        [[status, *rest]] = await self._link.exchange([self._call(self._scripts.declare, *words)])
        if Status(status) is not Status.DONE:
            return None
        lease_ms, fresh = rest
        return Entry(sent_at, lease_ms / 1000, fresh.decode())

    async def holdings(self, incarnation: str) -> tuple[set[str], set[str]]:
        """Return the ids of the permits that the store has for an incarnation, and of its waiters.

        Raises:
            StoreLost: there was no answer.
        """
        await self._link.connect()
        [[count, *ids]] = await self._link.exchange([self._call(self._scripts.holdings, incarnation)])
        names = [name.decode() for name in ids]
        return set(names[:count]), set(names[count:])

    async def leave(self, incarnation: str) -> None:
        """Let this pod go, with all that it holds.

        Raises:
            StoreLost: there was no answer.
        """
        await self._link.connect()
        await self._link.exchange([self._call(self._scripts.leave, incarnation)])

    async def send(self, *calls: Call) -> None:
        """Send each of these calls in a write of its own. When the connection breaks, `receive` hears of it."""
        broken = bool(self.calls) and not self._link.connected
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
            await self._link.close()
            for call in self.calls:
                await self._write(call)
            turn = await self._replies()
        self.calls.popleft()
        return turn

    async def _write(self, call: Call) -> None:
        await self._link.connect()
        pod = (call.lease.incarnation, self._link.generation, self._lease_ms, call.lease.epoch)
        call.sent_at, now = self._clock(), asyncio.get_running_loop().time()
        commands = [
            self._call(batch.script, *batch.argv)
            if isinstance(batch, Question)
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
        await self._link.send(commands)

    async def _replies(self) -> Turn:
        call, turn = self.calls[0], Turn()
        replies = await self._link.receive(len(call.batches) + call.beat)
        for batch, reply in zip(call.batches, replies, strict=False):
            if isinstance(batch, Question):
                batch.tell(reply)
            else:
                _operated(turn, batch, reply)
        if call.beat:
            _renewed(turn, call.sent_at, replies[-1])
        return turn

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    def _call(self, script: Script, *argv: Word) -> Sequence[Word]:
        return "EVALSHA", script.sha, len(self._keys), *self._keys, *argv


def _batches(requests: Sequence[Request]) -> Iterator[Question | list[Operation]]:
    """Join neighbouring operations, for they go out as one call."""
    operations: list[Operation] = []
    for request in requests:
        if not isinstance(request, Question):
            operations.append(request)
            if len(operations) < MAX_OPERATIONS:
                continue
        if operations:
            yield operations
            operations = []
        if isinstance(request, Question):
            yield request
    if operations:
        yield operations


def _operated(turn: Turn, operations: Sequence[Operation], reply: Reply) -> None:
    if not _welcome(turn, reply):
        turn.unserved.extend(operations)
        return
    _, handed, *numbers = reply
    _add_handed(turn, handed)
    words = iter(numbers)
    threes = zip(words, words, words, strict=True)
    asks = [ask for operation in operations if (ask := operation.ask) is not None]
    turn.answers += [(ask, CODES[code], ticket, place) for ask, (code, ticket, place) in zip(asks, threes, strict=True)]


def _renewed(turn: Turn, sent_at: float, reply: Reply) -> None:
    if _welcome(turn, reply):
        _, handed, lease_ms, waiters, held = reply
        _add_handed(turn, handed)
        turn.renewal = Renewal(sent_at, lease_ms / 1000, waiters, held)


def _welcome(turn: Turn, reply: Reply) -> bool:
    match Status(reply[0]):
        case Status.DONE:
            return True
        case Status.GONE:
            turn.gone = True
        case Status.FORGOTTEN:
            turn.forgotten = True
        case _:
            raise StoreLost("another connection of this pod has spoken since")
    return False


def _add_handed(turn: Turn, handed: Sequence[bytes]) -> None:
    words = iter(handed)
    turn.handed.extend((permit_id.decode(), int(ticket)) for permit_id, ticket in zip(words, words, strict=True))
