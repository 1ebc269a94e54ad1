"""How long it took after a fault until as many clients were connected as before.

A fault shows in the connections within 1½ leases: by then permits are lost, and those of dead pods have been returned.
"""

from bisect import bisect_right
from dataclasses import dataclass

from loadtest.checks.limits import open_over_time
from loadtest.recording import LEASES, RunRecording

BACK_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The recovery of the system after a fault.

    Attributes:
        fault: what was broken.
        level: how many clients were connected just before.
        lowest: the fewest afterwards.
        seconds: until nearly as many were connected again; None: never.
    """

    fault: str
    level: int
    lowest: int
    seconds: float | None


def recoveries(recording: RunRecording) -> list[Recovery]:
    """Return one recovery for each fault."""
    levels = open_over_time(recording, certainly=False)
    times = [at for at, _ in levels]
    ends = [fault.at for fault in recording.faults[1:]] + [recording.run.ended_at] * bool(recording.faults)
    found = []
    for fault, end in zip(recording.faults, ends, strict=True):
        first = bisect_right(times, fault.at)
        level = levels[first - 1][1] if first else 0
        after = [(at, there) for at, there in levels[first:] if at <= end]
        few = level * BACK_SHARE
        shown_by = fault.at + LEASES * recording.run.limits.lease_seconds
        dip = next((n for n, (at, there) in enumerate(after) if there < few and at <= shown_by), None)
        back = None if dip is None else next((at for at, there in after[dip:] if there >= few), None)
        lowest = min((there for at, there in after if back is None or at <= back), default=level)
        seconds = 0.0 if dip is None else None if back is None else back - fault.at
        found.append(Recovery(fault=fault.name, level=level, lowest=lowest, seconds=seconds))
    return found
