"""The permit port: what every pool offers, wherever it keeps its truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self

from permits.errors import Reason


class Permit(Protocol):
    """The right to one of the places of a pool, until it is released or lost."""

    @property
    def client_id(self) -> str:
        """Whose permit it is."""

    @property
    def ticket(self) -> int:
        """The number taken on arrival. Those in line are granted permits in the order of their tickets.

        Numbers begin at the clock's microseconds, so those of a pool that begins anew are above all before, unless the
        clock was set back. A place in line that was kept for a wait id keeps its number.
        """

    def valid(self) -> bool:
        """Say whether the place is still ours: neither released nor lost. Ask at each use."""

    async def lost(self) -> None:
        """Return when the permit is lost: the pool can no longer prove that the place is ours.

        A permit that is released first is never lost; waiting for it then takes for ever.
        """

    def on_lost(self, tell: Callable[[], None]) -> None:
        """Call `tell` once, from the event loop, when the permit is lost; at most one function is told.

        A permit that is released first is never lost.
        """

    def release(self) -> None:
        """Give the place back. Synchronous and idempotent, so it is safe in any `finally`."""


class PermitRequest(Protocol):
    """A request for a permit that is under way, without a task that waits for it."""

    def result(self) -> Permit:
        """Return the permit.

        Raises:
            PermitError: there is none.
        """

    def cancel(self) -> None:
        """Give everything back, also a permit that was granted, and tell nobody. Idempotent."""


class Verdict(Enum):
    """What `acquire` would meet now. `REASONS` says which refusal each stands for."""

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
        verdict: what it would be.
        place: the place in line that one would get; 0: none needed.
        learning_seconds: for how much longer nothing is granted, when the pool is learning.
        waited_seconds: how long ago the place of this wait id was taken; None: the pool knows none.
        kept_seconds: for how much longer it is kept.
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
        held: permits held, everywhere.
        capacity: permits there are. May be below `held` after it was lowered.
        high_water: the most that were ever held at once.
        waiting: how many stand in line.
        clients: permits held by each client id that holds any.
        learning_seconds: for how much longer nothing new is granted, because the store may have forgotten grants.
        reaped: permits taken back from pods that were silent for a whole lease, so far.
    """

    held: int
    capacity: int
    high_water: int
    waiting: int
    clients: Mapping[str, int]
    learning_seconds: float = 0.0
    reaped: int = 0


class PermitPool(Protocol):
    """Hands out permits, first come, first served, never more than its capacity."""

    @property
    def name(self) -> str:
        """What the pool is called, in metrics and in the store."""

    def ready(self) -> bool:
        """Say whether the pool has ever been able to grant, and is not closed."""

    def condition(self) -> Reason | None:
        """Return why nothing new may be granted, as this process knows it; None: nothing keeps it from that."""

    def learning_seconds(self) -> float:
        """Return for how much longer nothing new is granted because the pool is learning, as this process knows it."""

    async def acquire(self, client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> Permit:
        """Return a permit, waiting in line for it. Cancelling gives everything back.

        Calls of one process get tickets in the order in which they were made.

        Args:
            client_id: who asks; counts against the limit per client, held and waiting together.
            wait_seconds: how long to stand in line; 0 means now or never.
            wait_id: 1 to 64 bytes that name this client's place in line, so that it can come back to it. Whoever knows
                client id and wait id has the place, so it should be hard to guess. A place is kept for a lease longer
                than one may wait for it, and ends with a permit. It is for one: a later request takes it over.

        Raises:
            PermitTimeout: nothing became free in time.
            PoolLearning: nothing was granted in time, because the store may have forgotten grants.
            ClientLimitReached: at once, so that the head of the line may always be served.
            LineFull: too many are waiting.
            WaitReplaced: a later request with the same wait id has taken the place.
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

        `settled` is called once, from the event loop and after this returned, when there is a permit or a refusal; then
        `result` tells which.
        """

    async def peek(self, client_id: str, *, wait_id: str | None = None) -> Outlook:
        """Say what `acquire` would meet now; joins no line, and takes no place over.

        With the wait id of a request that waits, or waited, this is about its place in line.

        Raises:
            PoolUnavailable: the store cannot be asked.
            PoolClosed: the pool was closed.
        """

    async def state(self) -> PoolState:
        """Return what is held and who waits, in the whole cluster.

        Raises:
            PoolUnavailable: the store cannot be asked.
        """

    async def close(self) -> None:
        """Grant no more. Those in line are told; permits that are held stay until they are released."""

    async def __aenter__(self) -> Self:
        """Start what the pool needs to run."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool and let go of everything."""
