"""A distributed semaphore: permits for the cluster and for each client, first come, first served."""

from permits.base import Outlook, Permit, PermitPool, PermitRequest, PoolState, Verdict
from permits.errors import (
    ClientLimitReached,
    LineFull,
    PermitError,
    PermitLost,
    PermitTimeout,
    PoolClosed,
    PoolLearning,
    PoolMisuse,
    PoolUnavailable,
)
from permits.observer import PoolObserver

__all__ = [
    "ClientLimitReached",
    "LineFull",
    "Outlook",
    "Permit",
    "PermitError",
    "PermitLost",
    "PermitPool",
    "PermitRequest",
    "PermitTimeout",
    "PoolClosed",
    "PoolLearning",
    "PoolMisuse",
    "PoolObserver",
    "PoolState",
    "PoolUnavailable",
    "Verdict",
]
