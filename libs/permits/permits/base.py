"""The permit port: what every pool offers, whatever its store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self

from permits.errors import Reason


class Permit(Protocol):
    """One unit of a pool's capacity, held until it is released or lost."""

    @property
    def client_id(self) -> str:
        """The client that holds it."""

    @property
    def ticket(self) -> int:
        """The number taken on arrival. Permits are granted in the order of tickets.

        Tickets begin at the clock's microseconds, so a pool that starts anew continues above all earlier ones, unless
        the clock was set back. A position that is kept for a wait id keeps its ticket.
        """

    def valid(self) -> bool:
        """Say whether the permit is held: neither released nor lost. Ask at each use."""

    async def lost(self) -> None:
        """Return when the permit is lost: the pool can no longer prove that it is held.

        A permit that is released first is never lost, and this call never returns.
        """

    def on_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` once, from the event loop, when the permit is lost. Only one function can be registered.

        A permit that is released first is never lost.
        """

    def release(self) -> None:
        """Release the permit. Synchronous and idempotent, so it is safe in any `finally`.

        `valid` and `release` may be called by any thread, everything else of a permit on the pool's event loop.
        """


class PermitRequest(Protocol):
    """A pending request for a permit, without a task that waits for it."""

    def result(self) -> Permit:
        """Return the permit.

        Raises:
            PermitError: none was granted.
        """

    def cancel(self) -> None:
        """Give up the request, and release a permit that was granted. `settled` is not called. Idempotent."""


class Verdict(Enum):
    """What `acquire` would do now. `REASONS` names the refusal that each stands for."""

    GRANTED = "granted"
    WAIT = "wait"
    CLIENT_LIMIT = "client_limit"
    LINE_FULL = "line_full"
    LEARNING = "learning"


REASONS: Final[Mapping[Verdict, Reason]] = MappingProxyType(
    {
        Verdict.WAIT: Reason.CLUSTER_FULL,
        Verdict.CLIENT_LIMIT: Reason.CLIENT_LIMIT,
        Verdict.LINE_FULL: Reason.LINE_FULL,
        Verdict.LEARNING: Reason.LIMITS_LEARNING,
    }
)
"""Why `acquire` would be refused now, without waiting; `Verdict.GRANTED` is no refusal."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The answer to a peek.

    Attributes:
        verdict: what `acquire` would do.
        place: the position in the queue that it would get; 0: it would not wait.
        learning_seconds: for how much longer nothing is granted, when the pool is learning.
        waited_seconds: for how long this wait id has had its position; None: the pool has none for it.
        kept_seconds: for how much longer the position is kept.
    """

    verdict: Verdict
    place: int = 0
    learning_seconds: float = 0.0
    waited_seconds: float | None = None
    kept_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at one moment.

    Attributes:
        held: permits held in the whole cluster.
        capacity: how many may be held. Below `held` for a while after it was lowered.
        high_water: the most that were ever held at once.
        waiting: how many requests are queued.
        clients: permits held by each client id that holds any.
        learning_seconds: for how much longer nothing new is granted, because the store may have forgotten grants.
        reaped: permits taken back so far from pods that did not renew their lease.
    """

    held: int
    capacity: int
    high_water: int
    waiting: int
    clients: Mapping[str, int]
    learning_seconds: float = 0.0
    reaped: int = 0


class PermitPool(Protocol):
    """Grants permits, first come, first served, never more than its capacity.

    A pool belongs to the event loop and the process that opened it. Every coroutine, and `request`, raises `PoolMisuse`
    elsewhere and before the pool is opened. Invalid arguments raise `TypeError` or `ValueError`.
    """

    @property
    def name(self) -> str:
        """The name of the pool in metrics and in the store."""

    def ready(self) -> bool:
        """Say whether the pool has ever been able to grant, and is not closed."""

    def condition(self) -> Reason | None:
        """Return why nothing new may be granted, as far as this process knows; None: it may."""

    def learning_seconds(self) -> float:
        """Return for how much longer nothing new is granted because the pool is learning, as this process knows it."""

    async def acquire(self, client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> Permit:
        """Return a permit, and queue for it if necessary. After a cancellation nothing is held.

        Calls of one process get tickets in the order in which they were made.

        Args:
            client_id: the client, up to 512 bytes in UTF-8. What it holds and waits for together counts against the
                limit per client.
            wait_seconds: how long to wait in the queue, up to a year; 0: do not wait.
            wait_id: 1 to 64 bytes that name this client's position in the queue, so that a later request can take it
                over. Anybody who knows client id and wait id can do so: it must be hard to guess. The position is
                kept for `wait_seconds` and one lease, and ends when a permit is granted.

        Raises:
            PermitTimeout: nothing became free in time.
            PoolLearning: nothing was granted in time, because the store may have forgotten grants.
            ClientLimitReached: at once, so that the head of the queue can always be served.
            LineFull: too many are waiting.
            WaitReplaced: a later request with the same wait id has taken the position over.
            PoolUnavailable: the store cannot be asked.
            PoolClosed: the pool was closed, also while waiting.
        """

    def request(
        self,
        client_id: str,
        *,
        wait_seconds: float,
        settled: Callable[[PermitRequest], None],
        wait_id: str | None = None,
    ) -> PermitRequest:
        """Ask for a permit as `acquire` does, without a task.

        `settled` is called once, from the event loop and after this method has returned, when there is a permit or a
        refusal. `result` then returns or raises it.
        """

    async def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """Say what `acquire` would do now. Nothing is queued, and no position is taken over.

        With the wait id of a request that waits, or has waited, the answer describes its position.

        Raises:
            PoolUnavailable: the store cannot be asked.
            PoolClosed: the pool was closed.
        """

    async def state(self, *, clients: bool = True) -> PoolState:
        """Return the permits held and the requests queued in the whole cluster.

        With more than 500 clients, they are read in several calls, so what they hold is not of one moment.

        Args:
            clients: whether to read what each client holds; otherwise `PoolState.clients` is empty.

        Raises:
            PoolUnavailable: the store cannot be asked.
        """

    async def close(self) -> None:
        """Grant no more, and refuse the queued requests. Held permits stay held until they are released."""

    async def __aenter__(self) -> Self:
        """Start what the pool needs to run."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool and free its resources."""
