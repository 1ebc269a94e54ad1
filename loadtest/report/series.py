"""Time series of a recording, for the plots and the tables."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from frameproto import RequestKind
from loadtest.checks.limits import open_over_time
from loadtest.metrics import Metric
from loadtest.monitor import PodSample, ProcessSample
from loadtest.recording import RunRecording

T = TypeVar("T")
Points = list[tuple[float, float]]
POINTS: Final = 400
"""The most points that a plot can show."""
BUCKETS: Final = 40
STORM_SECONDS: Final = 2.0
PERCENTILES: Final = (50, 95, 99)
KINDS: Final = tuple(kind.message_kind.value for kind in RequestKind)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot.

    Attributes:
        points: seconds since the run began, and a figure.
        stepped: a figure holds until the next, as with things that are counted when they happen.
    """

    name: str
    points: Points
    stepped: bool = False


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed; the values are sorted."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else 0.0


class Timeline:
    """Series of one recording."""

    def __init__(self, recording: RunRecording) -> None:
        self._recording = recording
        self._began = recording.run.began_at
        self.seconds = max(recording.run.ended_at - recording.run.began_at, 1.0)
        self._processes = recording.processes or [*_main_processes(recording.pods)]

    def pool(self, pool: str, name: str, read: Callable[..., float]) -> Series:
        """Return a figure of the looks at a pool."""
        return self._series(name, ((sample.at, read(sample)) for sample in self._recording.samples_of(pool)))

    def clients_inside(self) -> Series:
        """Return the connections that clients had open."""
        return self._series("open, as clients see it", open_over_time(self._recording, certainly=False), stepped=True)

    def pods(self, metric: Metric, prefix: str = "") -> list[Series]:
        """Return a metric of each pod that has it."""
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for sample in self._recording.pods:
            for pod, figures in sample.figures.items():
                if metric in figures and pod.startswith(prefix):
                    found[pod].append((sample.at, figures[metric]))
        return [self._series(pod, points) for pod, points in sorted(found.items())]

    def cpu(self) -> list[Series]:
        """Return the share of a processor that each process used, over stretches that are long enough to be read."""
        found: dict[str, Points] = defaultdict(list)
        since: dict[str, tuple[float, float]] = {}
        for sample in self._processes:
            for name, used in sample.cpu_seconds.items():
                began_at, before = since.setdefault(name, (sample.at, used))
                if used < before:  # it was started again
                    since[name] = sample.at, used
                elif sample.at - began_at >= self.seconds / BUCKETS:
                    found[name].append((sample.at, (used - before) / (sample.at - began_at) * 100))
                    since[name] = sample.at, used
        return [self._series(name, points) for name, points in sorted(found.items())]

    def memory(self) -> list[Series]:
        """Return the memory of each process, in MiB."""
        found: dict[str, Points] = defaultdict(list)
        for sample in self._processes:
            for name, used in sample.memory_bytes.items():
                found[name].append((sample.at, used / 2**20))
        return [self._series(name, points) for name, points in sorted(found.items())]

    def latency(self, kind: str) -> list[Series]:
        """Return percentiles of the time from sending a message to its reply, in seconds, over the run."""
        answered = sorted(
            (e for e in self._recording.clients.exchanges if e.kind == kind and e.outcome == "answered"),
            key=lambda exchange: exchange.ended_at,
        )
        buckets = self._bucketed(answered, lambda exchange: exchange.ended_at)
        taken = [(at, sorted(e.ended_at - e.sent_at for e in some)) for at, some in buckets if some]
        return [Series(f"p{p}", [(at, percentile(seconds, p)) for at, seconds in taken]) for p in PERCENTILES]

    def rate(self, name: str, times: Iterable[float]) -> Series:
        """Return how often a second something happened."""
        buckets = self._bucketed(sorted(times), lambda at: at)
        width = self.seconds / BUCKETS
        return Series(name, [(at, len(some) / width) for at, some in buckets])

    def denials(self) -> list[Series]:
        """Return denials and refusals a second, by code."""
        times: dict[str, list[float]] = defaultdict(list)
        for visit in self._recording.clients.visits.values():
            if visit.entrance in {"denied", "broken"}:
                name = visit.code or str(visit.status) if visit.entrance == "denied" else "no answer"
                times[name].append(visit.answered_at)
        for exchange in self._recording.clients.exchanges:
            if exchange.outcome == "refused":
                times[exchange.code].append(exchange.ended_at)
        return [self.rate(code, at) for code, at in sorted(times.items())]

    def marks(self) -> list[tuple[float, str]]:
        """Return when what was broken, and when everybody lost the connection; several processes tell of one storm."""
        marks = [(fault.at - self._began, fault.name) for fault in self._recording.faults]
        last = -math.inf
        for storm in sorted(self._recording.clients.storms, key=lambda storm: storm.at):
            if storm.at - last > STORM_SECONDS:
                marks.append((storm.at - self._began, "everybody cut off"))
            last = storm.at
        return sorted(marks)

    def _bucketed(self, items: Sequence[T], time_of: Callable[[T], float]) -> list[tuple[float, Sequence[T]]]:
        """Cut items that are sorted by time into stretches of equal length, named by their middle."""
        width = self.seconds / BUCKETS
        edges = [bisect_left(items, self._began + number * width, key=time_of) for number in range(BUCKETS + 1)]
        return [((number + 0.5) * width, items[edges[number] : edges[number + 1]]) for number in range(BUCKETS)]

    def _series(self, name: str, points: Iterable[tuple[float, float]], *, stepped: bool = False) -> Series:
        shifted = [(at - self._began, value) for at, value in points]
        return Series(name, thin(shifted), stepped)


def _main_processes(pods: Iterable[PodSample]) -> Iterator[ProcessSample]:
    """Yield what pods tell of themselves where their processes could not be looked at: those of another machine."""
    for sample in pods:
        there = {pod: figures for pod, figures in sample.figures.items() if Metric.CPU_SECONDS in figures}
        yield ProcessSample(
            at=sample.at,
            cpu_seconds={pod: figures[Metric.CPU_SECONDS] for pod, figures in there.items()},
            memory_bytes={pod: int(figures[Metric.MEMORY_BYTES]) for pod, figures in there.items()},
        )


def thin(points: Points, most: int = POINTS) -> Points:
    """Return points that look the same with fewer of them: of each stretch, the lowest, the highest and the last."""
    if len(points) <= most:
        return points
    size = -(-len(points) * 3 // most)
    kept: Points = []
    for start in range(0, len(points), size):
        some = points[start : start + size]
        extremes = {min(some, key=lambda p: p[1]), max(some, key=lambda p: p[1])} - {some[-1]}
        kept += [*sorted(extremes), some[-1]]
    return kept
