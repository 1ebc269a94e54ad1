"""What a pod asks of the store, from the call until its caller has the answer.

    asked ──► granted                          the caller has a permit
      │ └───► refused                          error says why
      └─────► queued ───► granted
                  ├─────► leaving ──► granted  handed over at the last moment
                  │           └─────► refused  PermitTimeout, with the place
                  └─────► refused              the pool was closed, the lease was lost

Each of these ends, whatever happens to the connection. A request is answered or refused within the answer time, and a
queued one has a time-out of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, assert_never

from permits.errors import (
    ClientLimitReached,
    LineFull,
    PermitError,
    PermitTimeout,
    PoolLearning,
    PoolUnavailable,
    WaitReplaced,
)
from permits.redis.channel import Reply, Word
from permits.redis.lease import RedisPermit
from permits.redis.scripts import Code, LuaScript


class AcquireRequest:
    """One call of `acquire`.

    Attributes:
        id: names it to the store, and is used once; the permit that comes of it has the same id.
        place_name: names the place in the queue that it may come back to, and is the last part of the id; "" for none.
        deadline: event loop time until which it waits; None: it does not.
        sent: whether the store may know of it.
        over: whether it is granted or refused.
        ticket: the number that it waits with; 0 while it does not.
        place: the last known place in the queue.
        leaving: whether it is about to leave the queue.
        attempts: how often it was sent to a new incarnation.
        searches: how often it was asked for in search of a lost notice.
    """

    __slots__ = (
        "_news",
        "_on_settled",
        "attempts",
        "client_id",
        "deadline",
        "error",
        "id",
        "leaving",
        "over",
        "permit",
        "place",
        "place_name",
        "searches",
        "sent",
        "ticket",
    )

    def __init__(self, request_id: str, client_id: str, deadline: float | None, place_name: str = "") -> None:
        self.id = f"{request_id}.{place_name}" if place_name else request_id
        self.place_name = place_name
        self.client_id = client_id
        self.deadline = deadline
        self.permit: RedisPermit | None = None
        self.error: PermitError | None = None
        self.sent = False
        self.over = False
        self.ticket = 0
        self.place = 0
        self.leaving = False
        self.attempts = 0
        self.searches = 0
        self._news: asyncio.Future[None] | None = None
        self._on_settled: Callable[[], None] | None = None

    @property
    def target(self) -> "AcquireRequest":
        """The request that the answer is for."""
        return self

    def words(self, now: float) -> Sequence[Word]:
        """Return what the operate script is told at this event loop time."""
        if self.deadline is None:
            return "try", self.id, self.client_id
        if self.place_name:
            return "return", self.id, self.client_id, self.wait_ms(now), self.ticket
        left_seconds = self.deadline - now  # as `wait_ms`, without the call
        return "acquire", self.id, self.client_id, int(left_seconds * 1000 + 0.5) if left_seconds > 0 else 0

    def wait_ms(self, now: float) -> int:
        """Return for how much longer it waits."""
        left_seconds = (self.deadline or now) - now
        return int(left_seconds * 1000 + 0.5) if left_seconds > 0 else 0

    @property
    def waiting(self) -> bool:
        """Whether it waits for a permit, as far as we know."""
        return self.ticket > 0 and not self.over

    def start_waiting(self, ticket: int, place: int) -> None:
        """It waits."""
        self.ticket, self.place = ticket, place

    def grant(self, permit: RedisPermit) -> None:
        """It has a permit."""
        self.permit = permit
        self.over = True
        self._tell()

    def refuse(self, error: PermitError) -> None:
        """It gets nothing; no matter if it was over already."""
        if not self.over:
            self.error = error
            self.over = True
            self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        tell, self._on_settled = self._on_settled, None  # what is told usually holds this request: that was a cycle
        if tell is not None:
            asyncio.get_running_loop().call_soon(tell)

    def on_settled(self, tell: Callable[[], None]) -> None:
        """Have `tell` called from the event loop when it is granted or refused, which it is not yet."""
        self._on_settled = tell

    def settled(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Return a future of this event loop that is done when it is granted or refused, which it is not yet."""
        self._news = loop.create_future()
        return self._news

    def result(self) -> RedisPermit:
        """Return the permit.

        Raises:
            PermitError: there is none.
        """
        if self.permit is not None:
            return self.permit
        raise self.error or PoolUnavailable


class CancelWait:
    """Takes a waiter whose deadline has passed out of the queue."""

    __slots__ = ("target",)

    def __init__(self, waiter: AcquireRequest) -> None:
        self.target = waiter

    def words(self, now: float) -> Sequence[Word]:  # noqa: ARG002 - it waits no more
        """Return what the operate script is told."""
        return "leave", self.target.id


class Release:
    """A permit that goes back, or a request that was abandoned. Nobody waits for the answer.

    Attributes:
        id: of the permit, or of the request.
        withdrawn: whether it is a request, which the store may still count as a waiter.
    """

    __slots__ = ("id", "withdrawn")
    target = None

    def __init__(self, permit_id: str, *, withdrawn: bool = False) -> None:
        self.id = permit_id
        self.withdrawn = withdrawn

    def words(self, now: float) -> Sequence[Word]:  # noqa: ARG002 - whenever it is
        """Return what the operate script is told."""
        return "release", self.id


Operation = AcquireRequest | CancelWait | Release
"""What the operate script does."""


class Query:
    """A look at the pool; changes nothing."""

    __slots__ = ("answer", "argv", "script")
    target = None

    def __init__(self, script: LuaScript, argv: Sequence[str | int] = ()) -> None:
        self.script = script
        self.argv = argv
        self.answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()

    def tell(self, reply: Reply | None) -> None:
        """Answer it; None: the store cannot be asked. The caller may be gone."""
        if not self.answer.done():
            self.answer.set_result(reply)


Request = Operation | Query

Refused = Literal[Code.CLIENT_LIMIT, Code.LINE_FULL, Code.LEARNING, Code.FULL, Code.LEFT, Code.NOWHERE, Code.REPLACED]
"""The answers that are no permit."""


def refusal_of(code: Refused, *, place: int, left_ms: int) -> PermitError:
    """Return the error that stands for an answer which is no permit.

    Args:
        code: the answer.
        place: in the queue; 0 for none.
        left_ms: for how much longer (ms) the pool learns, with `Code.LEARNING`.
    """
    match code:
        case Code.CLIENT_LIMIT:
            return ClientLimitReached()
        case Code.LINE_FULL:
            return LineFull()
        case Code.LEARNING:
            return PoolLearning(left_ms / 1000, place)
        case Code.REPLACED:
            return WaitReplaced()
        case Code.FULL | Code.LEFT | Code.NOWHERE:  # the store, too, has found that the time of this waiter is over
            return PermitTimeout(place)
        case _:
            assert_never(code)
