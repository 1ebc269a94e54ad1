"""Why there is no permit.

    PermitError
    ├── PermitTimeout          cluster_full         nothing became free in time
    ├── ClientLimitReached     client_limit         this client holds or waits for all it may have
    ├── LineFull               line_full            too many wait already
    ├── WaitReplaced           wait_replaced        another request with the same wait id has this position in the queue
    ├── PoolLearning           limits_learning      the store may have forgotten permits, and grants nothing for a while
    ├── PoolUnavailable        limits_unavailable   the store of the limits cannot be asked
    ├── PoolClosed             draining             this process gives nothing out any more
    └── PermitLost             permit_lost          the permit of a `permit()` block was lost, and the block cancelled

    RuntimeError
    └── PoolMisuse                                  an error of the caller: not open, another event loop, a fork

A docstring is the message of its exception.
"""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why there is no permit: the code of each `PermitError`, in metrics, in logs and over HTTP."""

    CLUSTER_FULL = "cluster_full"
    CLIENT_LIMIT = "client_limit"
    LINE_FULL = "line_full"
    WAIT_REPLACED = "wait_replaced"
    LIMITS_LEARNING = "limits_learning"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    DRAINING = "draining"
    PERMIT_LOST = "permit_lost"


class PermitError(Exception):
    """No permit was granted."""

    code: ClassVar[Reason]
    place: int = 0
    """The position in the queue that was reached; 1 was next, 0: there was none."""
    left_seconds: float = 0.0
    """Upper bound of the time for which nothing is granted, when the pool is learning."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class PermitTimeout(PermitError):
    """No permit became free in time."""

    code = Reason.CLUSTER_FULL

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place


class ClientLimitReached(PermitError):
    """This client holds or waits for all the permits that it may have."""

    code = Reason.CLIENT_LIMIT


class LineFull(PermitError):
    """Too many requests wait in the queue."""

    code = Reason.LINE_FULL


class WaitReplaced(PermitError):
    """Another request with the same wait id has taken over this position in the queue."""

    code = Reason.WAIT_REPLACED


class PoolLearning(PermitError):
    """The store may have forgotten who holds permits; nothing is granted until those who do have said so."""

    code = Reason.LIMITS_LEARNING

    def __init__(self, left_seconds: float, place: int = 0) -> None:
        super().__init__(f"{(type(self).__doc__ or '').strip()} That takes {left_seconds:.1f} s more at most.")
        self.left_seconds = left_seconds
        self.place = place


class PoolUnavailable(PermitError):
    """The store that keeps the limits cannot be asked."""

    code = Reason.LIMITS_UNAVAILABLE


class PoolClosed(PermitError):
    """This pool gives nothing out any more."""

    code = Reason.DRAINING


class PermitLost(PermitError):
    """The permit was lost while it was held: the pool can no longer prove that it is ours."""

    code = Reason.PERMIT_LOST


class PoolMisuse(RuntimeError):
    """A pool is used where or when it cannot be. The message says what to do instead."""
