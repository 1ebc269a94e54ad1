"""The names of a pool's keys. All of them share one hash tag, so that they live in one slot of a cluster."""

import re

LAYOUT = 2
_POOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KEYS = (
    "pool",
    "pods",
    "leases",
    "permits",
    "clients",
    "line",
    "waiters",
    "clients_waiting",
    "pods_waiting",
    "pods_held",
    "refused",
    "lease_lengths",
)


def _prefix(pool_name: str) -> str:
    """Return what the names of a pool's keys begin with; they say which layout this is."""
    if not _POOL_NAME.fullmatch(pool_name):
        raise ValueError(f"a pool's name is 1 to 64 letters, digits, '_', '.' and '-', not {pool_name!r}")
    return f"permits:{{{pool_name}}}:{LAYOUT}:"


def keys_of(pool_name: str) -> tuple[str, ...]:
    """Return the keys of a pool in the order in which every script takes them; `lua/records.lua` says what they hold.

    Raises:
        ValueError: the name would not make one hash tag.
    """
    prefix = _prefix(pool_name)
    return tuple(prefix + key for key in _KEYS)


EVERY_POOL = f"permits:{{*}}:{LAYOUT}:pool"
"""Matches the first key of every pool."""


def pool_of(key: str) -> str | None:
    """Return the pool whose first key this is; None for the key of something else."""
    name = key.removeprefix("permits:{").removesuffix(f"}}:{LAYOUT}:pool")
    return name if _POOL_NAME.fullmatch(name) and key == keys_of(name)[0] else None


def channel_of(pool_name: str, pod: str) -> str:
    """Return the channel on which a pod hears of permits that were handed to its waiters."""
    return f"{_prefix(pool_name)}pod:{pod}"
