"""Checks that no limit was exceeded, by independent records of the store, the pods and the clients."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from loadtest.metrics import Metric
from loadtest.monitor import PodSample
from loadtest.recording import RunRecording

COUNTED: Final = {
    "connections": (Metric.CONNECTIONS_OPEN, Metric.CONNECTIONS_CLOSED),
    "messages": (Metric.MESSAGES_IN_PROCESS, Metric.MESSAGES_ANSWERED),
}
"""The gauge of a pod, and the counter of those that have ended."""


def by_store(recording: RunRecording, pool: str) -> Iterator[str]:
    """Yield violations in the store: a high-water mark or a capacity above the limit."""
    limit: int = getattr(recording.run.limits, pool)
    samples = recording.samples_of(pool)
    mark = high_water(recording, pool)
    if mark > limit:
        yield f"the high-water mark of the store is {mark}"
    held = max((sample.held for sample in samples), default=0)
    if held > limit:
        yield f"the store had {held} held at once"
    for sample in samples:
        if sample.capacity > limit:
            yield f"the store has a capacity of {sample.capacity}"
            return


def high_water(recording: RunRecording, pool: str) -> int:
    """Return the most that were held at once in this run: the store's mark, or what looks saw where it did not rise.

    A store that was in use before has a mark from then, which says nothing of this run until it is passed.
    """
    samples = recording.samples_of(pool)
    mark = max((sample.high_water for sample in samples), default=0)
    if samples and mark > samples[0].high_water:
        return mark
    return max((sample.held for sample in samples), default=0)


def by_pods(recording: RunRecording, pool: str) -> Iterator[str]:
    """Yield the times when the pods together exceed the limit in two samples in a row.

    Pods are not sampled at the same moment, so what may have ended at one and begun at another meanwhile is
    subtracted. A pod also counts a connection for a moment longer than it holds the permit.
    """
    limit: int = getattr(recording.run.limits, pool)
    gauge, ended = COUNTED[pool]
    excess = [
        _total(sample, gauge) - _moved(before, sample, ended) - limit for before, sample in pairwise(recording.pods)
    ]
    most = max((min(two) for two in pairwise(excess)), default=0)
    if most > 0:
        yield f"the pods together had {limit + most:g} {pool}"


def by_clients(recording: RunRecording, pool: str) -> Iterator[str]:
    """Yield the times when certainly more clients were connected than there are permits."""
    most = most_open(recording)
    if pool == "connections" and most > recording.run.limits.connections:
        yield f"clients saw {most} of their own connections open at once"


def open_over_time(recording: RunRecording, *, certainly: bool) -> list[tuple[float, int]]:
    """Return how many connections the clients had open, at each moment when that changed.

    Args:
        recording: the run.
        certainly: count a connection that the server ended to the server's last word only: the permit is granted before
            the client knows that it has it, and free after that. Otherwise it counts until the client noticed the end.
    """
    changes: list[tuple[float, int]] = []
    for visit in recording.clients.visits.values():
        if visit.entrance == "let_in":
            left_at = visit.left_at if certainly or visit.by_us else visit.ended_at
            left_at = recording.run.ended_at if left_at is None else left_at
            if left_at > visit.answered_at:
                changes += [(visit.answered_at, 1), (left_at, -1)]
    changes.sort()  # at the same moment, ends first
    there, found = 0, []
    for at, change in changes:
        there += change
        found.append((at, there))
    return found


def most_open(recording: RunRecording) -> int:
    """Return the most connections that were certainly open at once."""
    return max((there for _, there in open_over_time(recording, certainly=True)), default=0)


def _moved(before: PodSample, sample: PodSample, ended: Metric) -> int:
    """Return how many may have ended at one pod and begun at another while both were looked at."""
    passed_seconds = max(sample.at - before.at, 0.001)
    went = max(_total(sample, ended) - _total(before, ended), 0)
    return math.ceil(went / passed_seconds * sample.took_seconds)


def _total(sample: PodSample, metric: Metric) -> float:
    return sum(figures.get(metric, 0) for figures in sample.figures.values())


OBSERVERS: Final = (by_store, by_pods, by_clients)
