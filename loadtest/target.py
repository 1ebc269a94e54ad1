"""The target of a run: the addresses of a running system, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.criteria import RunLimits
from permits.redis.keys import DEFAULT_PREFIX


@dataclass(slots=True, kw_only=True)
class Target:
    """A running system. Local processes may be restarted during a run, which changes it.

    Attributes:
        chat: where clients connect; several addresses take turns.
        history: the address of the history service.
        redis_url: the store of the limits.
        permits_prefix: what the keys of the limits begin with there.
        metrics: the address of the metrics page of each pod, by its name.
        pids: the processes of this machine to be watched, by name.
        limits: the limits that it must keep.
    """

    chat: tuple[str, ...]
    history: str
    redis_url: str
    permits_prefix: str = DEFAULT_PREFIX
    metrics: Mapping[str, str]
    pids: Mapping[str, int] = field(default_factory=dict)
    limits: RunLimits = field(default_factory=RunLimits)
