"""A distributed semaphore: permits for the cluster and for each client, first come, first served."""

from permits.base import REASONS, Outlook, Permit, PermitPool, PermitRequest, PoolState, Verdict
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
    Reason,
    WaitReplaced,
)
from permits.observer import REFUSED_REASONS, PoolObserver

__all__ = [
    "REASONS",
    "REFUSED_REASONS",
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
    "Reason",
    "Verdict",
    "WaitReplaced",
]
