"""The judge of the chaos: that it complains of each broken promise, and of nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import judge
from tests.chaos.journal import Ask, Journal, Story
from tests.chaos.judge import SECOND, Capacity, Lateness, Record, Return

Check = Callable[[list[Ask], Record], list[str]]


def hold(
    ticket: int, since: float, until: float | None, *, asked: float = 0, worker: str = "w0", end: str = "released"
) -> Ask:
    return Ask(
        worker, f"v{ticket}", ns(asked), 5, ns(since), "granted", ticket, None if until is None else ns(until), end
    )


def refused(asked: float, answered: float, worker: str = "w0") -> Ask:
    return Ask(worker, "v0", ns(asked), 5, ns(answered), "cluster_full")


def ns(seconds: float) -> int:
    return round(seconds * SECOND)


def capacities(*permits_since_until: tuple[int, float, float]) -> Record:
    return Record([Capacity(permits, ns(since), ns(until)) for permits, since, until in permits_since_until])


TWO = capacities((2, 0, 1000))
LOWERED = capacities((3, 0, 5.1), (2, 5, 1000))
CALM = replace(TWO, calms=[(ns(1), ns(9))])
DEAD = replace(TWO, killed={"w9": ns(5)})
BACK = replace(DEAD, returns=[Return("w9", ns(5), 2, ns(5.1))])


def endings(asks: list[Ask], record: Record) -> list[str]:
    return judge.endings(asks, record, lease_seconds=1)


def tickets(asks: list[Ask], record: Record) -> list[str]:
    return judge.tickets(asks)


def clients(asks: list[Ask], record: Record) -> list[str]:
    return judge.clients(asks, record, limit=1)


def order(asks: list[Ask], record: Record) -> list[str]:
    return judge.order(asks, record, slack_seconds=0.1, beat_seconds=0.5)


def returns(asks: list[Ask], record: Record) -> list[str]:
    return judge.returns(asks, record, within_seconds=1.5)


def case(name: str, check: Check, record: Record, *asks: Ask, well: bool = False) -> object:
    return pytest.param(check, record, list(asks), well, id=name)


@pytest.mark.parametrize(
    ("check", "record", "asks", "well"),
    [
        case("three-of-two", judge.overlap, TWO, hold(1, 1, 4), hold(2, 2, 4), hold(3, 3, 4)),
        case("one-after-the-other", judge.overlap, TWO, hold(1, 1, 3), hold(2, 2, 4), hold(3, 3, 4), well=True),
        case("of-a-dead-worker", judge.overlap, TWO, hold(1, 1, 4, end="killed"), hold(2, 2, 4), hold(3, 3, 4)),
        case("inside-when-lowered", judge.overlap, LOWERED, *(hold(n, n, 9) for n in (1, 2, 3)), well=True),
        case("asked-before-lowered", judge.overlap, LOWERED, hold(1, 1, 9), hold(2, 2, 9), hold(3, 6, 9), well=True),
        case("asked-after-lowered", judge.overlap, LOWERED, hold(1, 1, 9), hold(2, 2, 9), hold(3, 7, 9, asked=6)),
        case("two-of-one-client", clients, TWO, hold(1, 1, 4), replace(hold(2, 2, 5, worker="w1"), id="v1.7")),
        case("one-of-each-client", clients, TWO, hold(1, 1, 4), hold(2, 2, 5, worker="w1"), well=True),
        case("one-then-another", clients, TWO, hold(1, 1, 4), replace(hold(2, 4, 5), id="v1.7"), well=True),
        case("never-answered", endings, TWO, Ask("w0", "v1", ns(1), 5)),
        case("never-answered-but-dead", endings, DEAD, Ask("w9", "v1", ns(1), 5), well=True),
        case("in-time", endings, TWO, refused(1, 6.9), well=True),
        case("too-late", endings, TWO, refused(1, 7.1)),
        case("too-late-but-paused", endings, replace(TWO, paused=[("w0", ns(2), ns(3))]), refused(1, 7.1), well=True),
        case("too-late-another-paused", endings, replace(TWO, paused=[("w1", ns(2), ns(3))]), refused(1, 7.1)),
        case("too-late-but-not-run", endings, replace(TWO, late={"w0": [(ns(3), 1)]}), refused(1, 7.1), well=True),
        case("too-late-another-not-run", endings, replace(TWO, late={"w1": [(ns(3), 1)]}), refused(1, 7.1)),
        case("held-for-ever", endings, TWO, hold(1, 1, None)),
        case("ticket-twice", tickets, TWO, hold(1, 1, 2), hold(1, 3, 4, asked=2)),
        case("ticket-of-the-past", tickets, TWO, hold(2, 1, 2), hold(1, 4, 5, asked=3)),
        case("tickets-of-one-time", tickets, TWO, hold(2, 1, 2), hold(1, 4, 5, asked=0.5), well=True),
        case("overtaken", order, CALM, hold(1, 5, 6, asked=2), hold(2, 4, 6, asked=3)),
        case("news-a-little-late", order, CALM, hold(1, 4.1, 6, asked=2), hold(2, 4.05, 6, asked=3), well=True),
        case("notice-missed", order, CALM, hold(1, 4.5, 6, asked=0.5), hold(2, 4, 6, asked=3), well=True),
        case("notice-missed-heartbeat-too", order, CALM, hold(1, 5, 6, asked=0.5), hold(2, 4, 6, asked=3)),
        case("before-the-calm", order, CALM, hold(1, 0.9, 6, asked=0.5), hold(2, 0.1, 6, asked=0.1), well=True),
        case("overtaken-and-forgotten", order, CALM, hold(1, 20, 21, asked=2), hold(2, 4, 6, asked=3)),
        case("worker-not-run", order, replace(CALM, late={"w0": [(ns(5), 1)]}),
             hold(1, 5, 6, asked=2), hold(2, 4, 6, asked=3), well=True),
        case("store-not-run", order, replace(CALM, late={"store": [(ns(4.5), 0.5), (ns(5), 0.5)]}),
             hold(1, 5, 6, asked=2), hold(2, 4, 6, asked=3), well=True),
        case("store-not-run-before", order, replace(CALM, late={"store": [(ns(4), 1), (ns(6), 0.9)]}),
             hold(1, 5, 6, asked=2), hold(2, 4, 6, asked=3)),
        case("another-worker-not-run", order, replace(CALM, late={"w1": [(ns(5), 1)]}),
             hold(1, 5, 6, asked=2), hold(2, 4, 6, asked=3)),
        case("back", returns, BACK, hold(1, 6.4, 8), hold(2, 4, 8), well=True),
        case("back-too-late", returns, BACK, hold(1, 6.6, 8), hold(2, 6.6, 8)),
        case("never-back", returns, BACK, hold(1, 1, 5.05)),
    ],
)  # fmt: skip
def test_it_complains_of_a_broken_promise_only(check: Check, record: Record, asks: list[Ask], well: bool) -> None:
    assert (not check(asks, record)) is well


@pytest.mark.parametrize(("start", "end", "seconds"), [(0, 9, 3), (1.5, 5.5, 1), (2.5, 4.5, 0), (5.25, 5.5, 0.25)])
def test_lateness_is_the_time_in_which_a_process_was_not_run(start: float, end: float, seconds: float) -> None:
    record = replace(TWO, late={"w0": [(ns(2), 1), (ns(6), 1), (ns(7), 1.5)]}, paused=[("w0", ns(8.5), ns(9))])
    record.late["w0"].append((ns(8.6), 0.5))
    assert Lateness(record).between(ns(start), ns(end), ("w0", "w1")) == ns(seconds)


def test_it_shows_who_held_when_and_what_was_done_before() -> None:
    record = replace(TWO, faults=[(ns(1), "FLUSHALL"), (ns(9), "later")])
    (complaint,) = judge.overlap([hold(1, 1, 4), hold(2, 2, 4, worker="w1", end="lost"), hold(3, 3, 5)], record)
    assert complaint.splitlines() == [
        "3 permits are held and valid at once, and there are 2:",
        "  w0   v1        ticket 1 held from -2.000 s to +1.000 s, then released",
        "  w1   v2        ticket 2 held from -1.000 s to +1.000 s, then lost",
        "  w0   v3        ticket 3 held from +0.000 s to +2.000 s, then released",
        "  2.000 s before: FLUSHALL",
    ]


def test_a_killed_workers_journal_tells_of_its_last_holds(tmp_path: Path) -> None:
    path = tmp_path / "w0.jsonl"
    journal, story = Journal(path), Story("w0", path)
    journal.write("asked", 10, ask="a", seconds=5)
    journal.write("granted", 20, ask="a", ticket=1)
    story.read()
    journal.write("asked", 30, ask="b", seconds=5)
    with path.open("a") as file:
        file.write('{"at":40,"what":"gran')
    story.bury()
    assert story.granted == [Ask("w0", "a", 10, 5, 20, "granted", 1, 30, "killed")]
    assert story.asks["b"].answered is None
