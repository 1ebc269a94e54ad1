"""The names of a pool's keys. All of them share one hash tag, so that they live in one slot of a cluster."""

import re

from permits.arguments import POOL_NAME, check_pool_name, check_text

LAYOUT = 2
DEFAULT_PREFIX = "permits"
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
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
    "places",
    "places_until",
)


_OLD_KEYS = ("pool", "permits")
"""Of layout 1, whose pods may still be there during an upgrade."""


def _begin(pool_name: str, prefix: str) -> str:
    """Return what the names of a pool's keys begin with; they say which layout this is."""
    check_pool_name(pool_name)
    if not _PREFIX.fullmatch(check_text("prefix", prefix)):
        raise ValueError(
            f"the prefix of a pool's keys is 1 to 200 letters, digits, '_', '.', ':' and '-', not {prefix!r}"
        )
    return f"{prefix}:{{{pool_name}}}:{LAYOUT}:"


def keys_of(pool_name: str, prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """Return the keys of a pool in the order in which every script takes them; `lua/records.lua` says what they hold.

    Raises:
        ValueError: the name would not make one hash tag, or the prefix would make another.
    """
    begin = _begin(pool_name, prefix)
    return tuple(begin + key for key in _KEYS)


def script_keys_of(pool_name: str, prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """Return the keys that scripts are given: the pool's own, and those of its predecessor of layout 1."""
    return *keys_of(pool_name, prefix), *(f"permits:{{{pool_name}}}:{key}" for key in _OLD_KEYS)


def every_pool(prefix: str = DEFAULT_PREFIX) -> str:
    """Return a pattern for the first keys of all pools with this prefix."""
    return f"{prefix}:{{*}}:{LAYOUT}:pool"


def pool_of(key: str, prefix: str = DEFAULT_PREFIX) -> str | None:
    """Return the pool whose first key this is; None for the key of something else."""
    name = key.removeprefix(prefix + ":{").removesuffix(f"}}:{LAYOUT}:pool")
    return name if POOL_NAME.fullmatch(name) and key == keys_of(name, prefix)[0] else None


def channel_of(pool_name: str, pod: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the channel on which a pod hears of permits that were handed to its waiters."""
    return f"{_begin(pool_name, prefix)}pod:{pod}"
