import asyncio
import logging

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_service.deadlines import Deadline, Deadlines

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_is_called_once_at_its_time_and_in_order() -> None:
    deadlines, called = Deadlines(), list[tuple[str, float]]()
    began = now()
    for name, seconds in (("c", 3), ("a", 1), ("b", 2), ("a, too", 1)):
        deadlines.at(began + seconds, lambda name=name: called.append((name, now() - began)))  # type: ignore[misc]
    await asyncio.sleep(10)
    assert called == [("a", 1), ("a, too", 1), ("b", 2), ("c", 3)]
    assert len(deadlines) == 0


async def test_one_that_is_past_is_called_soon_and_not_at_once() -> None:
    deadlines, called = Deadlines(), list[float]()
    deadlines.at(now() - 1, lambda: called.append(now()))
    assert called == []
    await asyncio.sleep(0.001)
    assert len(called) == 1


async def test_one_that_is_cancelled_is_not_called() -> None:
    deadlines, called = Deadlines(), list[str]()
    kept = deadlines.at(now() + 2, lambda: called.append("kept"))
    first = deadlines.at(now() + 1, lambda: called.append("cancelled"))
    first.cancel()
    first.cancel()
    assert len(deadlines) == 1
    await asyncio.sleep(10)
    assert called == ["kept"]
    kept.cancel()
    assert len(deadlines) == 0


async def test_a_call_may_set_another_and_cancel_others() -> None:
    deadlines, called = Deadlines(), list[str]()
    began = now()
    late = deadlines.at(began + 2, lambda: called.append("late"))

    def early() -> None:
        late.cancel()
        deadlines.at(began + 1, lambda: called.append("at the same time"))
        deadlines.at(began + 5, lambda: called.append("later"))

    deadlines.at(began + 1, early)
    await asyncio.sleep(10)
    assert called == ["at the same time", "later"]


async def test_a_call_that_fails_disturbs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    deadlines, called = Deadlines(), list[str]()

    def fail() -> None:
        raise RuntimeError("a bug")

    deadlines.at(now() + 1, fail)
    deadlines.at(now() + 1, lambda: called.append("the next"))
    with caplog.at_level(logging.CRITICAL):
        await asyncio.sleep(2)
    assert called == ["the next"]


async def test_many_that_were_cancelled_take_no_memory() -> None:
    deadlines = Deadlines()
    for _ in range(10_000):
        deadlines.at(now() + 1000, lambda: None).cancel()
    assert len(deadlines._heap) < 200
    assert len(deadlines) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=200))
def test_whatever_is_cancelled_the_rest_is_called(wanted: list[tuple[float, bool]]) -> None:
    async def run() -> None:
        deadlines, called = Deadlines(), list[int]()
        began = now()
        entries: list[Deadline] = []
        for number, (seconds, _) in enumerate(wanted):
            entries.append(deadlines.at(began + seconds / 1000, lambda number=number: called.append(number)))  # type: ignore[misc]
        for entry, (_, cancelled) in zip(entries, wanted, strict=True):
            if cancelled:
                entry.cancel()
        await asyncio.sleep(0.2)
        kept = [number for number, (_, cancelled) in enumerate(wanted) if not cancelled]
        assert sorted(called) == kept
        assert called == sorted(kept, key=lambda number: wanted[number][0])

    asyncio.run(run())


def test_deadlines_that_are_past_are_no_trouble_on_uvloop() -> None:
    """Its timer for a moment that is past is a plain handle, which does not tell when."""

    async def ring() -> list[str]:
        loop, rung = asyncio.get_running_loop(), list[str]()
        deadlines, done = Deadlines(), loop.create_future()
        deadlines.at(loop.time() - 2, lambda: rung.append("first"))
        deadlines.at(loop.time() - 1, lambda: rung.append("second"))
        deadlines.at(loop.time() + 0.01, lambda: done.set_result(None))
        await done
        return rung

    assert uvloop.run(ring()) == ["first", "second"]
