"""What the journals of a chaos must show. Each check returns complaints, for people to read; none is well.

A hold counts from the moment at which its permit was seen valid first to the one at which it was valid last, as its
holder knows. Both should lie within what the store counts, so an overlap above the capacity is a broken promise,
however slow the machine was.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tests.chaos.journal import Ask

SECOND = 1_000_000_000
NEVER = 1 << 62
SHOWN = 80


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many permits there were, as far as the test knows: maybe from `since` on, maybe to `until`."""

    permits: int
    since: int
    until: int = NEVER


@dataclass(frozen=True, slots=True)
class Return:
    """The end of a worker whose permits had to come back.

    Attributes:
        worker: who.
        killed: when it was dead for certain.
        held: the most permits that the store was seen to have for it, dead as it was.
        looked: when that was seen.
    """

    worker: str
    killed: int
    held: int
    looked: int


@dataclass
class Record:
    """What happened, as the test and the journals have it; all times are monotonic, in nanoseconds.

    Attributes:
        capacities: one after the other; they overlap while one was being changed.
        killed: when which worker was dead.
        paused: who was stopped, from when to when.
        calms: from when to when all was well.
        returns: of dead workers' permits.
        faults: what the test did, and when.
        late: by how many seconds somebody was not run in time, until when.
    """

    capacities: list[Capacity] = field(default_factory=list)
    killed: dict[str, int] = field(default_factory=dict)
    paused: list[tuple[str, int, int]] = field(default_factory=list)
    calms: list[tuple[int, int]] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    late: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def pause(self, worker: str, start: int, end: int) -> int:
        """Return for how many of these nanoseconds the test had stopped a worker."""
        return sum(max(0, min(to, end) - max(since, start)) for stopped, since, to in self.paused if stopped == worker)

    def most(self, start: int, end: int) -> int:
        """Return the largest capacity that may have been in force between two moments."""
        return max(
            capacity.permits for capacity in self.capacities if capacity.since <= end and start <= capacity.until
        )


class Lateness:
    """When processes were not run, other than by the test's will: a chaos asks this tens of thousands of times.

    Args:
        record: of a chaos that is over.
    """

    def __init__(self, record: Record) -> None:
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self._before: dict[str, list[int]] = {}  # by name: for how long, in the spans before each
        for name, entries in record.late.items():
            spans = ((at - round(seconds * SECOND), at) for at, seconds in entries)
            self._spans[name] = _merged(span for span in spans if not record.pause(name, *span))
            self._before[name] = list(accumulate((end - start for start, end in self._spans[name]), initial=0))

    def between(self, start: int, end: int, who: Iterable[str] | None = None) -> int:
        """Return for how many of these nanoseconds each of some processes (None: of all) was not run, added up."""
        return sum(self._until(name, end) - self._until(name, start) for name in (self._spans if who is None else who))

    def _until(self, name: str, moment: int) -> int:
        spans = self._spans.get(name, [])
        begun = bisect_left(spans, (moment, 0))
        if not begun:
            return 0
        since, until = spans[begun - 1]
        return self._before[name][begun - 1] + min(until, moment) - since


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def overlap(asks: Sequence[Ask], record: Record) -> list[str]:
    """Never are more held than there are permits.

    Of those who hold at one moment, somebody was granted last, when all the others held already: not before the latest
    of them had asked, and not after now. So the capacity of that time is the limit, and what was lowered since is not
    held against those who were inside.
    """
    usual = min(capacity.permits for capacity in record.capacities)
    held: dict[int, Ask] = {}
    for moment, comes, number in _comings_and_goings(asks):
        if not comes:
            held.pop(number, None)
            continue
        held[number] = asks[number]
        if len(held) > usual:
            limit = record.most(max(ask.asked for ask in held.values()), moment)
            if len(held) > limit:
                return [_over(moment, list(held.values()), limit, record)]
    return []


def _comings_and_goings(asks: Sequence[Ask]) -> list[tuple[int, bool, int]]:
    """Return when a hold begins or ends, and the number of its ask; at one moment, ends come first."""
    moves = []
    for number, ask in enumerate(asks):
        if ask.outcome == "granted" and ask.answered is not None and ask.until is not None:
            moves += [(ask.answered, True, number), (max(ask.until, ask.answered + 1), False, number)]
    return sorted(moves)


def _over(moment: int, held: Sequence[Ask], limit: int, record: Record) -> str:
    lines = [f"{len(held)} permits are held and valid at once, and there are {limit}:"]
    lines += [_told(ask, moment) for ask in sorted(held, key=lambda ask: ask.answered or 0)][:SHOWN]
    lines += [f"{(moment - at) / SECOND:.3f} s before: {what}" for at, what in record.faults if at <= moment]
    return "\n  ".join(lines)


def _told(ask: Ask, moment: int) -> str:
    since, until = ((at - moment) / SECOND for at in (ask.answered or moment, ask.until or moment))
    return f"{ask.worker:4} {ask.id:9} ticket {ask.ticket} held from {since:+.3f} s to {until:+.3f} s, then {ask.end}"


def clients(asks: Sequence[Ask], record: Record, *, limit: int) -> list[str]:
    """Never does one client hold more than its limit."""
    complaints = []
    by_client: dict[str, list[Ask]] = {}
    for ask in asks:
        by_client.setdefault(ask.client, []).append(ask)
    for client, its_asks in by_client.items():
        if any(held > limit for _, held in _numbers_held(its_asks)):
            told = "; ".join(f"{since / SECOND:.3f} {what}" for since, what in record.faults)
            complaints.append(f"client {client} holds more than {limit} at once; faults: {told}")
    return complaints[:SHOWN]


def endings(asks: Iterable[Ask], record: Record, *, lease_seconds: float) -> list[str]:
    """Who asks ends with a grant or a told refusal, no more than one lease after the time-out; or dies."""
    complaints = []
    lateness = Lateness(record)
    for ask in asks:
        if ask.answered is None:
            if ask.worker not in record.killed:
                complaints.append(f"{ask.worker} {ask.id} was never answered")
            continue
        too_long = ask.answered - ask.asked - round((ask.wait_seconds + lease_seconds) * SECOND)
        if too_long > 0:
            excused = record.pause(ask.worker, ask.asked, ask.answered)
            excused += lateness.between(ask.asked, ask.answered, (ask.worker,))
            if too_long > excused:
                waited = (ask.answered - ask.asked) / SECOND
                complaints.append(f"{ask.worker} {ask.id} waited {waited:.3f} s until it was {ask.outcome}")
        if ask.outcome == "granted" and ask.until is None:
            complaints.append(f"{ask.worker} {ask.id} holds its permit for ever")
    return complaints[:SHOWN]


def tickets(asks: Iterable[Ask]) -> list[str]:
    """No ticket is granted twice; who asks after another was granted gets a higher one. This knows no slack."""
    granted = sorted(_granted(asks), key=lambda ask: ask[0])
    complaints = []
    owners: dict[int, Ask] = {}
    for _, ask in granted:
        other = owners.setdefault(ask.ticket, ask)
        if other is not ask:
            complaints.append(f"ticket {ask.ticket} was granted to {_name(other)} and to {_name(ask)}")
    seen = [at for at, _ in granted]
    highest = list(accumulate((ask.ticket for _, ask in granted), max))
    for _, ask in granted:
        before = bisect_left(seen, ask.asked)
        if before and highest[before - 1] > ask.ticket:
            complaints.append(
                f"{_name(ask)} asked after ticket {highest[before - 1]} was granted, and got {ask.ticket}"
            )
    return complaints[:SHOWN]


def order(asks: Iterable[Ask], record: Record, *, slack_seconds: float, beat_seconds: float) -> list[str]:
    """In calm times, permits are granted in the order of their tickets.

    The store grants in that order exactly, but what is seen here is the arrival of the news: in another process, by a
    reply or by a notice, through another socket, whenever the machine runs store, network and that process. So one that
    is granted first may be seen later by so much; a line whose waits are many times longer shows whether it keeps its
    order. Who asked before the calm may have missed a notice, and hears by the next heartbeat.
    """
    complaints = []
    lateness = Lateness(record)
    everyone = sorted(_granted(asks), key=lambda grant: grant[1].ticket, reverse=True)
    for start, end in record.calms:
        first: tuple[int, Ask] | None = None  # of those with higher tickets
        for at, ask in [(min(at, end), ask) for at, ask in everyone if start <= at and ask.asked <= end]:
            if first is not None:
                slack = round((slack_seconds + (beat_seconds if ask.asked < start else 0)) * SECOND)
                behind = at - first[0]
                if behind > slack and behind > slack + lateness.between(first[0], at, (ask.worker, "network", "store")):
                    complaints.append(
                        f"{_name(ask)} was granted {behind / SECOND:.3f} s or more after {_name(first[1])}; "
                        f"it asked {(ask.asked - start) / SECOND:+.3f} s, was granted {(at - start) / SECOND:+.3f} s "
                        "after the beginning of the calm"
                    )
            if first is None or at < first[0]:
                first = at, ask
    return complaints[:SHOWN]


def returns(asks: Sequence[Ask], record: Record, *, within_seconds: float) -> list[str]:
    """What a dead worker held comes back in time: the others hold more than what it had left to them."""
    complaints = []
    lateness = Lateness(record)
    for gone in record.returns:
        share = record.most(gone.looked, gone.looked) - gone.held
        others = [ask for ask in asks if ask.worker != gone.worker]
        back = next((at for at, held in _numbers_held(others) if at >= gone.looked and held > share), None)
        latest = gone.killed + round(within_seconds * SECOND)
        latest += lateness.between(gone.killed, latest)
        if gone.held == 0:
            complaints.append(f"{gone.worker} held nothing when it was killed")
        elif back is None or back > latest:
            when = "never" if back is None else f"{(back - gone.killed) / SECOND:.3f} s after it was killed"
            complaints.append(f"{gone.worker}'s {gone.held} permits came back {when}")
    return complaints


def _numbers_held(asks: Sequence[Ask]) -> Iterator[tuple[int, int]]:
    held = 0
    for moment, comes, _ in _comings_and_goings(asks):
        held += 1 if comes else -1
        yield moment, held


def _granted(asks: Iterable[Ask]) -> Iterator[tuple[int, Ask]]:
    for ask in asks:
        if ask.outcome == "granted" and ask.answered is not None:
            yield ask.answered, ask


def _name(ask: Ask) -> str:
    return f"{ask.worker} {ask.id} (ticket {ask.ticket})"


def outcomes(asks: Iterable[Ask]) -> Mapping[str, int]:
    """Count how asks ended."""
    counts: dict[str, int] = {}
    for ask in asks:
        for word in (ask.outcome or "unanswered", ask.end):
            if word:
                counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items()))
