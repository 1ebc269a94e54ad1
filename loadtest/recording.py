"""The records of a run, and their files in its folder."""

import json
import math
from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from loadtest.client_log import ClientRecords, read_client_log
from loadtest.criteria import RunLimits
from loadtest.json_lines import read_lines
from loadtest.monitor import PodSample, PoolSample, ProcessSample
from loadtest.readback import ReadExchange

RUN: Final = "run.json"
CLIENT_LOG: Final = "ledger.jsonl"
SAMPLES: Final = "looks.jsonl"
HISTORY: Final = "history.jsonl"
FAULTS: Final = "faults.jsonl"
BEFORE_SECONDS: Final = 0.5
LEASES: Final = 1.5
SETTLING_SECONDS: Final = 3.0


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something that was broken on purpose."""

    at: float
    name: str


@dataclass(slots=True, kw_only=True)
class RunInfo:
    """The facts of a run.

    Attributes:
        shape: of the load.
        began_at, ended_at: of the swarm.
        must_reach: the pools whose limit the load was meant to reach.
        troubles: what went wrong with the run itself.
    """

    shape: str
    limits: RunLimits
    began_at: float
    ended_at: float
    must_reach: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        (folder / RUN).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the run of a folder."""
        fields = json.loads((folder / RUN).read_text(encoding="utf-8"))
        fields["limits"] = RunLimits(**fields["limits"])
        return cls(**{**fields, "must_reach": tuple(fields["must_reach"]), "troubles": tuple(fields["troubles"])})


@dataclass(frozen=True, kw_only=True)
class RunRecording:
    """A run with all its records."""

    run: RunInfo
    clients: ClientRecords
    pools: list[PoolSample] = field(default_factory=list)
    pods: list[PodSample] = field(default_factory=list)
    processes: list[ProcessSample] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    stored: list[ReadExchange] = field(default_factory=list)

    def samples_of(self, pool: str) -> list[PoolSample]:
        """Return the samples of one pool, in order of time."""
        return [sample for sample in self.pools if sample.pool == pool]

    def disturbed(self, began_at: float, ended_at: float | None = None) -> bool:
        """Say whether a fault may be behind what happened then: it was broken, or still settling."""
        limits = self.run.limits
        settled_seconds = LEASES * limits.lease_seconds + limits.connect_wait_seconds + SETTLING_SECONDS
        last = began_at if ended_at is None else ended_at
        return any(
            fault.at - BEFORE_SECONDS <= last and began_at <= fault.at + settled_seconds for fault in self.faults
        )

    def longest_delay(self, began_at: float, ended_at: float) -> float:
        """Return for how long the swarm was not run, or the pods did not answer a look, at most, around that time.

        All of them may share a few processors with others, so measured times may be too late.
        """
        first = bisect_left(self._stalls, (began_at - self._longest_stall, 0.0))
        last = bisect_left(self._stalls, (ended_at, math.inf))
        return max((stall for at, stall in self._stalls[first:last] if at + stall >= began_at), default=0.0)

    @cached_property
    def _stalls(self) -> list[tuple[float, float]]:
        """When something was not run, and for how long, in order of time."""
        swarm = ((late.at - late.seconds, late.seconds) for late in self.clients.late)
        return sorted((*swarm, *((sample.at, sample.took_seconds) for sample in self.pods)))

    @cached_property
    def _longest_stall(self) -> float:
        return max((stall for _, stall in self._stalls), default=0.0)


def read_recording(folder: Path) -> RunRecording:
    """Read the records of a run. Missing files count as empty."""
    samples = _lines(folder / SAMPLES)
    return RunRecording(
        run=RunInfo.read(folder),
        clients=read_client_log(_lines(folder / CLIENT_LOG)),
        pools=list(read_lines(samples, PoolSample)),
        pods=list(read_lines(samples, PodSample)),
        processes=list(read_lines(samples, ProcessSample)),
        faults=list(read_lines(_lines(folder / FAULTS), Fault)),
        stored=list(read_lines(_lines(folder / HISTORY), ReadExchange)),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
