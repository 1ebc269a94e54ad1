"""What the scripts reply, sorted out: answers, grants, renewals, and whether the store knows this pod."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from permits.redis.channel import Reply, StoreLost
from permits.redis.lease import Lease
from permits.redis.requests import AcquireRequest, Operation
from permits.redis.scripts import CODES, CallStatus, Code

NAMELESS = "the server does not tell its run id (INFO server), so nobody could tell it from another"

CLIENTS_AT_ONCE: Final = 1000
"""What `state.lua` and `show.lua` are told, so that no call names more than about so many clients."""

_DONE: Final = CallStatus.DONE  # Python 3.11 takes longer to look a member up than to call a function

Answer = tuple[AcquireRequest, Code, int, int]
"""The answer to an acquire or to leaving the queue: whose, what, the ticket, the place."""


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


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that counts again.

    Attributes:
        sent_at: by the clock of leases, just before it was asked for.
        lease_seconds: for how long, from then.
        waiters: how many requests of this pod are queued, as the store has it.
        held: how many permits this pod holds, as the store has it.
        condition: of the pool.
        longest_ms: the longest lease that a pod has.
    """

    sent_at: float
    lease_seconds: float
    waiters: int
    held: int
    condition: Condition
    longest_ms: int


@dataclass(slots=True)
class CallResult:
    """What came back for one call.

    Attributes:
        lease: of the incarnation that called.
        answers: for every acquire and leave that the store looked at.
        handed: ids and tickets of waiters of this pod whom this call gave a permit; ticket 0: over the limit.
        more: whether the store has more to do, and wants a heartbeat for it.
        renewal: of the lease, when the heartbeat went along and was welcome.
        gone: whether the incarnation is known to be over.
        forgotten: whether the store has lost its memory, and wants to be told what is held.
        unserved: operations that it did not look at, because of either.
    """

    lease: Lease
    answers: list[Answer] = field(default_factory=list)
    handed: list[tuple[str, int]] = field(default_factory=list)
    more: bool = False
    renewal: Renewal | None = None
    gone: bool = False
    forgotten: bool = False
    unserved: list[Operation] = field(default_factory=list)

    @property
    def only_answers(self) -> bool:
        """Whether there is nothing but answers, as nearly always."""
        return not (
            self.handed or self.more or self.unserved or self.renewal is not None or self.gone or self.forgotten
        )

    def add_operated(self, operations: Sequence[Operation], reply: Reply) -> None:
        """Take in what the operate script replied. Raises StoreLost."""
        if reply[0] != _DONE and not self._welcome(reply):
            self.unserved.extend(operations)
            return
        _, handed, more, *numbers = reply
        if more:
            self.more = True
        if handed:
            self._add_handed(handed)
        words = iter(numbers)
        threes = zip(words, words, words, strict=True)
        targets = [target for operation in operations if (target := operation.target) is not None]
        self.answers += [
            (target, CODES[code], ticket, place) for target, (code, ticket, place) in zip(targets, threes, strict=True)
        ]

    def add_renewed(self, sent_at: float, reply: Reply) -> None:
        """Take in what the renew script replied. Raises StoreLost."""
        if self._welcome(reply):
            _, handed, lease_ms, waiters, held, more, capacity, longest_ms, learning_ms = reply
            self.more |= bool(more)
            self._add_handed(handed)
            condition = Condition(capacity, learning_ms / 1000)
            self.renewal = Renewal(sent_at, lease_ms / 1000, waiters, held, condition, longest_ms)

    def _welcome(self, reply: Reply) -> bool:
        match CallStatus(reply[0]):
            case CallStatus.DONE:
                return True
            case CallStatus.GONE:
                self.gone = True
            case CallStatus.FORGOTTEN:
                self.forgotten = True
            case CallStatus.NAMELESS:
                raise StoreLost(NAMELESS)
            case _:
                raise StoreLost("another connection of this pod has spoken since")
        return False

    def _add_handed(self, handed: Sequence[bytes]) -> None:
        words = iter(handed)
        self.handed.extend((permit_id.decode(), int(ticket)) for permit_id, ticket in zip(words, words, strict=True))


def entry_of(sent_at: float, reply: Sequence[Any], *, more: bool = False) -> tuple[Entry, int]:
    """Return the lease that the enter or declare script has begun, and the longest lease (ms) that a pod has."""
    lease_ms, epoch, capacity, longest_ms, learning_ms = reply
    condition = Condition(capacity, learning_ms / 1000)
    return Entry(sent_at, lease_ms / 1000, epoch.decode(), condition, more), longest_ms


def held_by_client(words: Sequence[bytes | str]) -> dict[str, int]:
    """Read clients and how many permits each holds: words in turn, which may have been written by hand."""
    texts = iter(word if isinstance(word, str) else word.decode(errors="replace") for word in words)
    return {client: int(count) for client, count in zip(texts, texts, strict=True)}
