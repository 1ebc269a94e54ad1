"""One timer for all who wait: who is told that their time is over, when, and in which order."""

import asyncio
import tracemalloc
import weakref
from random import Random

import pytest

from permits.redis.requests import AcquireRequest
from permits.redis.wait_deadlines import WaitDeadlines

pytestmark = pytest.mark.looptime


class Told:
    """Deadlines, and whose have passed: with the moment."""

    def __init__(self) -> None:
        self.over: list[tuple[str, float]] = []
        self.deadlines = WaitDeadlines(lambda request: self.over.append((request.id, now())))

    def add(self, name: str, deadline: float) -> AcquireRequest:
        """Watch a request until this moment."""
        request = AcquireRequest(name, "anna", deadline)
        self.deadlines.add(deadline, request)
        return request


def now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


async def test_each_is_told_once_at_its_deadline_and_those_of_one_moment_in_their_order() -> None:
    told = Told()
    for name, deadline in (("c", 3), ("a", 1), ("b", 1), ("d", 5)):
        told.add(name, deadline)
    assert told.deadlines.anybody
    await asyncio.sleep(2)
    assert told.over == [("a", 1), ("b", 1)]
    told.add("late", 0)
    await asyncio.sleep(10)
    assert told.over == [("a", 1), ("b", 1), ("late", 2), ("c", 3), ("d", 5)]
    assert not told.deadlines.anybody


async def test_one_that_waits_no_more_is_not_told_and_holds_up_nobody() -> None:
    told = Told()
    first, _, last = told.add("first", 1), told.add("second", 2), told.add("last", 3)
    for request in (first, first, last):
        told.deadlines.discard(request)
    assert told.deadlines.anybody
    await asyncio.sleep(10)
    assert told.over == [("second", 2)]
    assert not told.deadlines.anybody


async def test_many_that_wait_no_more_are_forgotten_while_an_earlier_deadline_is_to_come() -> None:
    told = Told()
    told.add("first", 1)
    tracemalloc.start()
    try:
        for number in range(5000):
            told.deadlines.discard(told.add(f"request-{number}", 1000 + number))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
    told.add("second", 2)
    await asyncio.sleep(10)
    assert told.over == [("first", 1), ("second", 2)]


async def test_they_are_told_in_order_also_after_many_have_gone() -> None:
    told = Told()
    names = list(range(2000))
    Random(3).shuffle(names)
    requests = [told.add(f"{name}", name) for name in names]
    for request in requests:
        if int(request.id) % 20:
            told.deadlines.discard(request)
    await asyncio.sleep(3000)
    assert told.over == [(f"{name}", name) for name in range(0, 2000, 20)]


async def test_nobody_is_told_once_it_was_stopped() -> None:
    told = Told()
    told.add("a", 1)
    told.deadlines.stop()
    assert not told.deadlines.anybody
    await asyncio.sleep(10)
    assert told.over == []
    told.add("b", 11)
    await asyncio.sleep(10)
    assert told.over == [("b", 11)]


async def test_no_timer_holds_deadlines_that_were_stopped() -> None:
    deadlines = WaitDeadlines(lambda _: None)
    deadlines.add(100, AcquireRequest("a", "anna", 100))
    deadlines.stop()
    gone = weakref.ref(deadlines)
    del deadlines
    assert gone() is None
