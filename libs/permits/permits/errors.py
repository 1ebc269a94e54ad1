"""Why there is no permit.

    PermitError
    ├── PermitTimeout          cluster_full         nothing became free in time
    ├── ClientLimitReached     client_limit         this client holds or waits for all it may have
    ├── LineFull               line_full            too many wait already
    ├── PoolLearning           limits_learning      the store may have forgotten permits, and grants nothing for a while
    ├── PoolUnavailable        limits_unavailable   the store of the limits cannot be asked
    ├── PoolClosed             draining             this process gives nothing out any more
    └── PermitLost             permit_lost          the permit of a `permit()` block was lost, and the block cancelled

    RuntimeError
    └── PoolMisuse                                  a mistake of the caller: not open, another event loop, a fork

A docstring is the message of its exception.
"""

from typing import ClassVar


class PermitError(Exception):
    """No permit was granted."""

    code: ClassVar[str] = "permit_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class PermitTimeout(PermitError):
    """No permit became free in time."""

    code = "cluster_full"

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        """The place in line when the time was over; 1 was next."""


class ClientLimitReached(PermitError):
    """This client holds or waits for all the permits that it may have."""

    code = "client_limit"


class LineFull(PermitError):
    """Too many are waiting in line already."""

    code = "line_full"


class PoolLearning(PermitError):
    """The store may have forgotten who holds permits; nothing is granted until those who do have said so."""

    code = "limits_learning"

    def __init__(self, left_seconds: float, place: int = 0) -> None:
        super().__init__(f"{(type(self).__doc__ or '').strip()} That takes {left_seconds:.1f} s more at most.")
        self.left_seconds = left_seconds
        """For how much longer, at most."""
        self.place = place
        """The place in line when the time was over; 0: there was none."""


class PoolUnavailable(PermitError):
    """The store that keeps the limits cannot be asked."""

    code = "limits_unavailable"


class PoolClosed(PermitError):
    """This pool gives nothing out any more."""

    code = "draining"


class PermitLost(PermitError):
    """The permit was lost while it was held: the pool can no longer prove that the place is ours."""

    code = "permit_lost"


class PoolMisuse(RuntimeError):
    """A pool is used where or when it cannot be. The message says what to do instead."""
