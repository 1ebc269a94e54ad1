"""Background tasks, work that ends although it is cancelled, bounded gathering, and back-off."""

import asyncio
import gc
import weakref

import pytest
import structlog

from servicekit.tasks import FullJitterBackoff, background, cancel, finish, first_of, gather_bounded, is_worth_logging

pytestmark = pytest.mark.looptime


async def test_background_work_runs_for_the_length_of_its_block() -> None:
    turns = 0

    async def work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(1)
            turns += 1

    async with background(work(), name="counter") as task:
        await asyncio.sleep(3.5)
    assert turns == 3
    assert task.cancelled()


async def test_background_work_that_cleans_up_is_waited_for() -> None:
    cleaned = False

    async def work() -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            cleaned = True

    async with background(work(), name="tidy"):
        await asyncio.sleep(0)
    assert cleaned


async def test_background_work_that_fails_is_logged_at_that_moment() -> None:
    async def work() -> None:
        raise LookupError("no such thing")

    with structlog.testing.capture_logs() as logs:
        async with background(work(), name="broken"):
            await asyncio.sleep(1)
            assert [(line["event"], line["task"]) for line in logs] == [("task.failed", "broken")]
    assert len(logs) == 1


async def test_cancelling_waits_for_the_end() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(number)
            ended.append(number)

    tasks = [asyncio.create_task(work(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    await cancel(*tasks)
    assert ended == [1, 2]
    await cancel()


@pytest.mark.parametrize("times", [1, 3])
async def test_work_ends_although_it_is_cancelled(times: int) -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        await asyncio.sleep(10)
        ended = True

    waiting = asyncio.create_task(finish(work()))
    for _ in range(times):
        await asyncio.sleep(1)
        waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert ended
    assert asyncio.get_running_loop().time() == 10


async def test_what_finished_work_returns_and_raises() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(1)
        return 10 // number

    assert await finish(work(2)) == 5
    assert await finish(asyncio.create_task(work(5))) == 2
    with pytest.raises(ZeroDivisionError):
        await finish(work(0))


async def test_the_failure_of_cancelled_work_is_dropped() -> None:
    async def work() -> None:
        await asyncio.sleep(2)
        raise LookupError

    waiting = asyncio.create_task(finish(work()))
    await asyncio.sleep(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gc.collect()  # asyncio would complain here about a failure that nobody retrieved


async def test_a_cancelled_wait_keeps_nothing_alive() -> None:
    class Large:
        pass

    held = Large()
    watched = weakref.ref(held)

    async def work(large: Large) -> Large:
        await asyncio.sleep(1)
        return large

    waiting = asyncio.create_task(finish(work(held)))
    del held
    await asyncio.sleep(0)
    gc.disable()
    try:
        waiting.cancel()
        await asyncio.wait([waiting])
        del waiting
        assert watched() is None
    finally:
        gc.enable()


async def test_gathering_is_bounded_and_in_order() -> None:
    under_way = most = 0

    async def do(seconds: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(seconds)
        under_way -= 1
        return -seconds

    assert await gather_bounded(do, iter([5, 1, 3, 2, 4]), limit=2) == [-5, -1, -3, -2, -4]
    assert most == 2
    assert await gather_bounded(do, [], limit=2) == []


async def test_the_first_failure_ends_the_gathering() -> None:
    begun: list[int] = []

    async def do(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(number)
        if number == 2:
            raise LookupError("the second")

    with pytest.raises(LookupError, match="the second"):
        await gather_bounded(do, range(1, 100), limit=2)
    assert begun == [1, 2, 3]
    assert asyncio.get_running_loop().time() == 2


async def test_the_first_condition_or_the_time() -> None:
    cancelled: list[int] = []

    async def after(seconds: int) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append(seconds)
            raise

    await first_of(after(3), after(1))
    await asyncio.sleep(0)
    assert (asyncio.get_running_loop().time(), cancelled) == (1, [3])
    await first_of(after(9), seconds=2)
    await asyncio.sleep(0)
    assert (asyncio.get_running_loop().time(), cancelled) == (3, [3, 9])


def test_pauses_double_up_to_the_longest() -> None:
    backoff = FullJitterBackoff(0.5, 15, jitter=lambda: 1.0)
    assert [backoff.pause_seconds(failures) for failures in (1, 2, 3, 5, 6, 10_000)] == [0.5, 1, 2, 8, 15, 15]


def test_jitter_takes_any_part_of_a_pause() -> None:
    assert FullJitterBackoff(2, 15, jitter=lambda: 0.25).pause_seconds(3) == 2
    pauses = {FullJitterBackoff(1, 8).pause_seconds(4) for _ in range(50)}
    assert len(pauses) > 1
    assert all(0 <= pause < 8 for pause in pauses)


def test_failures_that_are_logged() -> None:
    assert [failures for failures in range(1, 70) if is_worth_logging(failures)] == [1, 2, 4, 8, 16, 32, 64]
