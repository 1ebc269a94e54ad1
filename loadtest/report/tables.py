"""The figures of a run: what stands in the tables of the page, and in its JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from loadtest.checks.limits import high_water, most_open
from loadtest.checks.recovery import recoveries
from loadtest.checks.verdicts import CheckVerdict, all_passed
from loadtest.monitor import POOLS
from loadtest.recording import RunRecording
from loadtest.report.series import KINDS, PERCENTILES, percentile

WAITED: Final = "connect"


def times(recording: RunRecording) -> dict[str, dict[str, float]]:
    """Return how many, and percentiles in seconds, of the wait for a connection and of exchanges by kind."""
    taken: dict[str, list[float]] = defaultdict(list)
    for visit in recording.clients.visits.values():
        if visit.entrance == "let_in":
            taken[WAITED].append(visit.answered_at - visit.asked_at)
    for exchange in recording.clients.exchanges:
        if exchange.outcome == "answered":
            taken[exchange.kind].append(exchange.ended_at - exchange.sent_at)
    rows = {}
    for name in (WAITED, *KINDS):
        seconds = sorted(taken[name])
        rows[name] = {
            "count": len(seconds),
            **{f"p{p}": round(percentile(seconds, p), 3) for p in PERCENTILES},
            "most": round(seconds[-1], 3) if seconds else 0.0,
        }
    return rows


def refusals(recording: RunRecording) -> dict[str, dict[str, int]]:
    """Return how often each code occurred: denials before the upgrade, refused messages, closes by the server."""
    visits = recording.clients.visits.values()
    return {
        "denied": _counted(v.code or str(v.status) for v in visits if v.entrance == "denied"),
        "not answered": _counted(v.code for v in visits if v.entrance == "broken"),
        "refused": _counted(e.code for e in recording.clients.exchanges if e.outcome == "refused"),
        "closed by the server": _counted(
            str(v.close_code) for v in visits if v.left_at is not None and v.entrance == "let_in" and not v.by_us
        ),
    }


def as_json(recording: RunRecording, verdicts: Iterable[CheckVerdict]) -> Mapping[str, Any]:
    """Return the whole report for other programs."""
    verdicts = list(verdicts)
    run = recording.run
    return {
        "kept": all_passed(verdicts),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "run": asdict(run),
        "high_water": {pool: high_water(recording, pool) for pool in POOLS},
        "most_open_by_clients": most_open(recording),
        "seconds": times(recording),
        "codes": refusals(recording),
        "kept_in_history": len(recording.stored),
        "recoveries": [asdict(recovery) for recovery in recoveries(recording)],
    }


def _counted(codes: Iterable[str]) -> dict[str, int]:
    return dict(Counter(codes).most_common())
