"""What a run is aimed at: the addresses of a running system, and the limits that it is held to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from loadtest.criteria import RunLimits
from permits.redis.keys import DEFAULT_PREFIX


@dataclass(slots=True, kw_only=True)
class Target:
    """A running system. What is local and can be ended and started again changes while it runs.

    Attributes:
        chat: where clients connect; several addresses take turns.
        history: the address of the history service.
        redis_url: the store of the limits.
        permits_prefix: what the keys of the limits begin with there.
        metrics: the address of the metrics page of each pod, by its name.
        pids: the processes of this machine to be watched, by name.
        limits: what it promises.
    """

    chat: tuple[str, ...]
    history: str
    redis_url: str
    permits_prefix: str = DEFAULT_PREFIX
    metrics: Mapping[str, str]
    pids: Mapping[str, int] = field(default_factory=dict)
    limits: RunLimits = field(default_factory=RunLimits)
