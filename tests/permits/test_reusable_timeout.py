"""The time limit of a task that waits again and again."""

import asyncio
import socket
import time
import weakref

import pytest

from permits.redis.reusable_timeout import ReusableTimeout

pytestmark = pytest.mark.looptime


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_block_in_time_is_left_alone_however_many_there_were() -> None:
    time_limit = ReusableTimeout(10)
    for _ in range(5):
        with time_limit:
            await asyncio.sleep(9)
    await asyncio.sleep(30)
    assert now() == pytest.approx(75)


async def test_every_block_has_the_whole_time_and_no_more() -> None:
    time_limit = ReusableTimeout(10)
    with time_limit:
        await asyncio.sleep(9)
    began = now()
    with pytest.raises(TimeoutError), time_limit:
        await asyncio.sleep(60)
    assert now() - began == pytest.approx(10)
    with pytest.raises(TimeoutError), time_limit:
        await asyncio.sleep(60)
    assert now() - began == pytest.approx(20)


async def test_an_error_in_the_block_is_that_error() -> None:
    with pytest.raises(ValueError, match="mine"), ReusableTimeout(10):
        raise ValueError("mine")


@pytest.mark.parametrize("too_late", [False, True], ids=["in time", "in the moment when time is over"])
async def test_who_is_cancelled_by_others_is_cancelled(*, too_late: bool) -> None:
    async def work() -> None:
        with ReusableTimeout(10):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_at(10 if too_late else 5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == pytest.approx(10 if too_late else 5)


async def test_a_task_goes_on_unharmed_after_its_time_was_over() -> None:
    with pytest.raises(TimeoutError), ReusableTimeout(10):
        await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(1)


async def test_nothing_rings_once_it_was_stopped() -> None:
    time_limit = ReusableTimeout(10)
    with time_limit:
        pass
    time_limit.stop()
    time_limit.stop()
    with pytest.raises(TimeoutError), time_limit:  # and it can begin again
        await asyncio.sleep(60)
    assert now() == pytest.approx(10)


async def test_no_timer_holds_one_that_was_stopped() -> None:
    time_limit = ReusableTimeout(10)
    with time_limit:
        pass
    time_limit.stop()
    gone = weakref.ref(time_limit)
    del time_limit
    assert gone() is None


@pytest.mark.looptime(False)
async def test_what_came_while_the_loop_stood_still_is_not_too_late() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        def answer_and_stand_still() -> None:
            theirs.send(b"answer")
            time.sleep(0.3)

        loop.call_later(0.01, answer_and_stand_still)
        with ReusableTimeout(0.1):
            assert await loop.sock_recv(ours, 10) == b"answer"


@pytest.mark.looptime(False)
async def test_what_never_comes_is_given_up_although_the_loop_stood_still() -> None:
    asyncio.get_running_loop().call_later(0.01, time.sleep, 0.3)
    with pytest.raises(TimeoutError), ReusableTimeout(0.1):
        await asyncio.Event().wait()
