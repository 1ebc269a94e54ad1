"""What a run has found: rows of figures, and their ratios to the floor of the same part."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench.exchanges.contenders import FLOOR, WS_USUAL
from bench.exchanges.cores import AVAILABLE
from bench.exchanges.terms import ExchangeTerms
from bench.machine import processor
from bench.samples import Sample

CPU: Final = "CPU µs"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What was measured of one contender in one part.

    Attributes:
        part: as the command line has it.
        case: what was done, where a part does several things.
        contender: who did it.
        figures: by name, which says the unit.
    """

    part: str
    case: str
    contender: str
    figures: dict[str, Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeReport:
    """One run.

    Attributes:
        store: which Valkey it was.
        busy: share of all cores that others used just before.
        terms: how much was measured.
        missing: who did not take part, and why.
        rows: what was found, part by part.
    """

    store: str
    busy: float
    terms: ExchangeTerms
    missing: dict[str, str]
    rows: Sequence[ReportRow]

    def ratio(self, row: ReportRow, peer: str = FLOOR) -> float | None:
        """Return how many times the CPU of a peer that did the same; None where there is none."""
        if CPU not in row.figures:
            return None
        for other in self.rows:
            if (other.part, other.case, other.contender) == (row.part, row.case, peer):
                return row.figures[CPU].median / other.figures[CPU].median
        return None

    def cases(self) -> Iterator[tuple[str, str, list[ReportRow]]]:
        """Yield the rows of each part and case, in the order of measuring."""
        for part, case in dict.fromkeys((row.part, row.case) for row in self.rows):
            yield part, case, [row for row in self.rows if (row.part, row.case) == (part, case)]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "machine": {
                "cores": len(AVAILABLE),
                "processor": processor(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "store": self.store,
                "busy_before": self.busy,
            },
            "terms": asdict(self.terms),
            "missing": self.missing,
            "rows": [
                {
                    "part": row.part,
                    "case": row.case,
                    "contender": row.contender,
                    "figures": {name: sample.as_dict() for name, sample in row.figures.items()},
                    "cpu_ratio_to_floor": self.ratio(row),
                    "cpu_ratio_to_usual_node": self.ratio(row, WS_USUAL),
                }
                for row in self.rows
            ],
        }
