"""Were there ever more than the limit? Asked of the store, of the pods and of the clients; none answers for another."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from loadtest.metrics import Metric
from loadtest.recording import Recording
from loadtest.watch import PodsLook

GAUGES: Final = {"connections": Metric.CONNECTIONS_OPEN, "messages": Metric.MESSAGES_IN_PROCESS}


def by_store(recording: Recording, pool: str) -> Iterator[str]:
    """Yield what the store itself says: a mark or a capacity above the limit."""
    limit: int = getattr(recording.run.limits, pool)
    looks = recording.looks_at(pool)
    high_water = max((look.high_water for look in looks), default=0)
    if high_water > limit:
        yield f"the high-water mark of the store is {high_water}"
    held = max((look.held for look in looks), default=0)
    if held > limit:
        yield f"the store had {held} held at once"
    for look in looks:
        if look.capacity > limit:
            yield f"the store has a capacity of {look.capacity}"
            return


def by_pods(recording: Recording, pool: str) -> Iterator[str]:
    """Yield when the pods together work on more than the limit, less what may have moved between the looks at them."""
    limit: int = getattr(recording.run.limits, pool)
    gauge = GAUGES[pool]
    excess = 0
    for before, look in pairwise(recording.pods):
        moved = _moved(before, look) if pool == "messages" else 0
        sum_of_pods = sum(figures.get(gauge, 0) for figures in look.figures.values())
        excess = max(excess, int(sum_of_pods) - moved - limit)
    if excess > 0:
        yield f"the pods together had {limit + excess} {pool}"


def by_clients(recording: Recording, pool: str) -> Iterator[str]:
    """Yield when more clients than places were certainly inside at once."""
    most = most_open(recording)
    if pool == "connections" and most > recording.run.limits.connections:
        yield f"clients saw {most} of their own connections open at once"


def open_over_time(recording: Recording, *, certainly: bool) -> list[tuple[float, int]]:
    """Return how many connections were open for the clients, by each moment at which that changed.

    Args:
        recording: of what.
        certainly: count a connection that the server ended to the server's last word only: the place is taken before
            the client knows that it has it, and free after that. Otherwise it counts until the client noticed the end.
    """
    changes: list[tuple[float, int]] = []
    for visit in recording.seen.visits.values():
        if visit.entrance == "let_in":
            left_at = visit.left_at if certainly or visit.by_us else visit.ended_at
            left_at = recording.run.ended_at if left_at is None else left_at
            if left_at > visit.answered_at:
                changes += [(visit.answered_at, 1), (left_at, -1)]
    changes.sort()  # at the same moment, those who leave first
    there, found = 0, []
    for at, change in changes:
        there += change
        found.append((at, there))
    return found


def most_open(recording: Recording) -> int:
    """Return the most connections that were certainly open at once."""
    return max((there for _, there in open_over_time(recording, certainly=True)), default=0)


def _moved(before: PodsLook, look: PodsLook) -> int:
    """Return how many messages may have ended at one pod and begun at another while both were looked at."""
    passed_seconds = max(look.at - before.at, 0.001)
    ended = _total(look, Metric.MESSAGES_ANSWERED) - _total(before, Metric.MESSAGES_ANSWERED)
    return math.ceil(max(ended, 0) / passed_seconds * look.took_seconds) + 1


def _total(look: PodsLook, *metrics: Metric) -> float:
    return sum(figures.get(metric, 0) for figures in look.figures.values() for metric in metrics)


ASKED: Final = (by_store, by_pods, by_clients)
