"""What a run has found, as JSON."""

import platform
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from bench.machine import cores, processor
from bench.permits.contended import Contended
from bench.permits.contenders import BARE, LOCAL, Contender
from bench.permits.handoff import FLOOR, Handoff
from bench.permits.pairs import Pairs
from bench.permits.server_limit import LIMITS
from bench.permits.terms import PermitTerms
from bench.samples import Sample

LIMIT_NAMES = {limit.name for limit in LIMITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitReport:
    """One run.

    Attributes:
        server: which store it was.
        busy: share of all cores that others used just before.
        terms: how much was measured.
        contenders: who took part.
        missing: who did not, and why.
        pairs: acquire and release with a permit for everybody; empty when it was not asked for, like the rest.
        contended: many want few.
        handoffs: from process to process.
    """

    server: str
    busy: float
    terms: PermitTerms
    contenders: Sequence[Contender]
    missing: dict[str, str]
    pairs: Sequence[Pairs] = ()
    contended: Sequence[Contended] = ()
    handoffs: Sequence[Handoff] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON. Each ratio is to the peer or floor of the same run that its name says."""
        return {
            "machine": {
                "cores": cores(),
                "processor": processor(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "server": self.server,
                "busy_before": self.busy,
            },
            "terms": asdict(self.terms),
            "contenders": {contender.name: contender.version() for contender in self.contenders},
            "missing": self.missing,
            "pairs": [
                {
                    **_row(row),
                    "ratio_to_redis_py": self.pairs_ratio(row, {BARE.name}),
                    "ratio_to_limit": self.pairs_ratio(row, LIMIT_NAMES),
                }
                for row in self.pairs
            ],
            "contended": [{**_row(row), "ratio_to_asyncio": self.contended_ratio(row)} for row in self.contended],
            "handoffs": [{**_row(row), "ratio_to_two_pings": self.handoff_ratio(row)} for row in self.handoffs],
        }

    def pairs_ratio(self, row: Pairs, peers: Collection[str]) -> float | None:
        """Return how many times the pairs of the best of these with as many tasks; None: none was measured."""
        others = [other for other in self.pairs if other.contender in peers and other.tasks == row.tasks]
        best = max((other.per_second.median for other in others), default=None)
        return row.per_second.median / best if best else None

    def contended_ratio(self, row: Contended) -> float:
        """Return the ratio of grants to those of `asyncio.Semaphore`."""
        [peer] = [other for other in self.contended if other.contender == LOCAL.name]
        return row.per_second.median / peer.per_second.median

    def handoff_ratio(self, row: Handoff) -> float:
        """Return how many times the latency of the two bare round trips, usual to usual."""
        [peer] = [other for other in self.handoffs if other.contender == FLOOR]
        return row.p50_us.median / peer.p50_us.median


def _row(row: Pairs | Contended | Handoff) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    return {name: value.as_dict() if isinstance(value, Sample) else value for name, value in values.items()}
