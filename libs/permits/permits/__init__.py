"""A distributed semaphore: permits for the cluster and for each client, first come, first served."""

from permits.base import Outlook, Permit, PermitPool, PoolState, Verdict
from permits.errors import ClientLimitReached, LineFull, PermitError, PermitTimeout, PoolClosed, PoolUnavailable
from permits.observer import PoolObserver

__all__ = [
    "ClientLimitReached",
    "LineFull",
    "Outlook",
    "Permit",
    "PermitError",
    "PermitPool",
    "PermitTimeout",
    "PoolClosed",
    "PoolObserver",
    "PoolState",
    "PoolUnavailable",
    "Verdict",
]
