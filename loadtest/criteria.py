"""The criteria of a run: the limits, and the codes with which a correct server may refuse."""

from dataclasses import dataclass
from typing import Final

from frameproto.connection import CloseCode
from frameproto.denials import DenialCode

EXPLAINED_DENIALS: Final[frozenset[str]] = frozenset(
    {
        DenialCode.CLUSTER_FULL,
        DenialCode.LINE_FULL,
        DenialCode.CLIENT_LIMIT,
        DenialCode.POD_FULL,
        DenialCode.DRAINING,
        DenialCode.LIMITS_LEARNING,
        DenialCode.LIMITS_UNAVAILABLE,
    }
)
EXPLAINED_REFUSALS: Final = frozenset({"busy"})
EXPLAINED_CLOSES: Final = frozenset({CloseCode.GOODBYE, CloseCode.DRAINING, CloseCode.PERMIT_LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """The limits that the servers of a run are configured with, and must keep.

    Attributes:
        connections, messages: the most at once, in the whole cluster.
        window: requests that one connection may have in flight.
        connect_wait_seconds: how long a client waits in the queue before it is denied.
        lease_seconds: the lease. After a fault the system recovers within a few leases.
        refused_share: the error budget: the share of messages that may be refused, with a code that is explained.
    """

    connections: int = 50
    messages: int = 500
    window: int = 20
    connect_wait_seconds: float = 10.0
    lease_seconds: float = 15.0
    refused_share: float = 0.01
