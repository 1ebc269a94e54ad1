"""What every permit pool promises of a wait id: a place in line to which its client may come back."""

import asyncio
from typing import Any

import pytest

from permits import ClientLimitReached, LineFull, Outlook, Permit, PermitTimeout, Verdict, WaitReplaced
from permits.pool import Pool
from tests.contract.pools import Opener
from tests.permits.parts import SECONDS, hold, queue_up, until

WAIT = "0d6b4a52-8f3c-4b44-9a39-2f3c1f0a7e11"
Asking = asyncio.Task[Permit]


async def came_back(pool: Pool, client_id: str, wait_id: str = WAIT) -> Asking:
    """Ask with a wait id, and return once that stands in line."""
    waiting = (await pool.state()).waiting
    task = asyncio.create_task(pool.acquire(client_id, wait_seconds=SECONDS, wait_id=wait_id))
    await until(pool, lambda state: task.done() or state.waiting > waiting)
    return task


async def waited_in_vain(pool: Pool, client_id: str, wait_id: str = WAIT) -> int:
    """Wait until the time is over; return the place that was reached."""
    with pytest.raises(PermitTimeout) as over:
        await pool.acquire(client_id, wait_seconds=0.02, wait_id=wait_id)
    return over.value.place


async def served(pool: Pool, first: Permit, *asking: Asking) -> None:
    """Pass the one permit on, and make sure that these get it in this order."""
    permit = first
    for index, task in enumerate(asking):
        assert not any(later.done() for later in asking[index:])
        permit.release()
        async with asyncio.timeout(SECONDS):
            permit = await task
    permit.release()
    assert (await pool.state()).held == 0


async def test_who_waited_in_vain_comes_back_to_the_same_place(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    assert await waited_in_vain(pool, "anna") == 1
    (ben,) = await queue_up(pool, "ben")
    assert await waited_in_vain(pool, "anna") == 1
    (clara,) = await queue_up(pool, "clara")
    anna = await came_back(pool, "anna")
    await served(pool, permit, anna, ben, clara)


async def test_who_left_the_line_comes_back_to_the_same_place(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    (ben,) = await queue_up(pool, "ben")
    anna = await came_back(pool, "anna")
    (clara,) = await queue_up(pool, "clara")
    anna.cancel()
    await until(pool, lambda state: state.waiting == 2)
    anna = await came_back(pool, "anna")
    await served(pool, permit, ben, anna, clara)


async def test_who_is_away_holds_up_nobody(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool, "anna")
    (ben,) = await queue_up(pool, "ben")
    await served(pool, permit, ben)
    assert (await pool.peek("anna", wait_id=WAIT)).verdict is Verdict.GRANTED
    (permit,) = await hold(pool, "clara")
    assert permit.valid()


async def test_a_place_is_told_as_it_changes_and_nothing_is_taken(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    (ben,) = await queue_up(pool, "ben")
    assert await pool.peek("anna", wait_id=WAIT) == Outlook(Verdict.WAIT, 2)
    anna = await came_back(pool, "anna")
    await queue_up(pool, "clara")
    before = await pool.state()
    outlook = await pool.peek("anna", wait_id=WAIT)
    assert (outlook.verdict, outlook.place) == (Verdict.WAIT, 2)
    assert outlook.waited_seconds is not None
    assert 0 <= outlook.waited_seconds < SECONDS < outlook.kept_seconds < 10 * SECONDS
    assert await pool.state() == before
    permit.release()
    await ben
    assert (await pool.peek("anna", wait_id=WAIT)).place == 1
    anna.cancel()
    await until(pool, lambda state: state.waiting == 1)
    outlook = await pool.peek("anna", wait_id=WAIT)
    assert (outlook.verdict, outlook.place) == (Verdict.WAIT, 1)


async def test_another_client_learns_and_takes_nothing(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    anna = await came_back(pool, "anna")
    (ben,) = await queue_up(pool, "ben")
    assert await pool.peek("mallory", wait_id=WAIT) == Outlook(Verdict.WAIT, 3)
    assert await pool.peek("anna", wait_id=f"{WAIT}x") == Outlook(Verdict.WAIT, 3)
    mallory = await came_back(pool, "mallory")
    assert not anna.done()
    await served(pool, permit, anna, ben, mallory)


async def test_a_permit_ends_the_place(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    anna = await came_back(pool, "anna")
    permit.release()
    permit = await anna
    (ben,) = await queue_up(pool, "ben")
    assert await pool.peek("anna", wait_id=WAIT) == Outlook(Verdict.WAIT, 2)
    anna = await came_back(pool, "anna")
    await served(pool, permit, ben, anna)


async def test_a_permit_that_is_granted_at_once_ends_the_place(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool, "anna")
    permit.release()
    permit = await pool.acquire("anna", wait_seconds=0, wait_id=WAIT)
    (ben,) = await queue_up(pool, "ben")
    anna = await came_back(pool, "anna")
    await served(pool, permit, ben, anna)


async def test_a_later_request_takes_the_place_over(open_pool: Opener) -> None:
    pool = await open_pool(1, per_client=1)
    (permit,) = await hold(pool, "holder")
    first = await came_back(pool, "anna")
    (ben,) = await queue_up(pool, "ben")
    second = asyncio.create_task(pool.acquire("anna", wait_seconds=SECONDS, wait_id=WAIT))
    with pytest.raises(WaitReplaced):
        await first
    assert (await pool.state()).waiting == 2
    assert (await pool.peek("anna", wait_id=WAIT)).place == 1
    with pytest.raises(ClientLimitReached):  # with another wait id it is another request, and counts
        await pool.acquire("anna", wait_seconds=SECONDS, wait_id=f"{WAIT}-2")
    await served(pool, permit, second, ben)


async def test_who_asks_now_or_never_takes_no_place_over(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    anna = await came_back(pool, "anna")
    with pytest.raises(PermitTimeout):
        await pool.acquire("anna", wait_seconds=0, wait_id=WAIT)
    (ben,) = await queue_up(pool, "ben")
    await served(pool, permit, anna, ben)


async def test_a_line_that_is_full_lets_those_in_who_come_back(open_pool: Opener) -> None:
    pool = await open_pool(1, max_waiting=1)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool, "anna")
    (ben,) = await queue_up(pool, "ben")
    assert (await pool.peek("clara")).verdict is Verdict.LINE_FULL
    assert (await pool.peek("anna", wait_id=WAIT)).verdict is Verdict.WAIT
    anna = await came_back(pool, "anna")
    with pytest.raises(LineFull):
        await pool.acquire("clara", wait_seconds=SECONDS, wait_id=WAIT)
    await served(pool, permit, anna, ben)


async def test_no_more_come_back_than_may_wait(open_pool: Opener) -> None:
    pool = await open_pool(1, max_waiting=1)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool, "anna")
    await waited_in_vain(pool, "ben")
    (clara,) = await queue_up(pool, "clara")
    ben = await came_back(pool, "ben")
    assert (await pool.peek("anna", wait_id=WAIT)).verdict is Verdict.LINE_FULL
    with pytest.raises(LineFull):
        await pool.acquire("anna", wait_seconds=SECONDS, wait_id=WAIT)
    ben.cancel()
    await until(pool, lambda state: state.waiting == 1)
    anna = await came_back(pool, "anna")
    await served(pool, permit, anna, clara)


async def test_as_many_places_are_remembered_as_may_wait(open_pool: Opener) -> None:
    pool = await open_pool(1, max_waiting=2)
    await hold(pool, "holder")
    for client_id in ("anna", "ben", "clara"):
        await waited_in_vain(pool, client_id)
    dora = await came_back(pool, "dora")
    known = {
        client_id: (await pool.peek(client_id, wait_id=WAIT)).waited_seconds is not None
        for client_id in ("anna", "ben", "clara", "dora")
    }
    assert known == {"anna": False, "ben": True, "clara": True, "dora": True}
    assert not dora.done()


async def test_a_place_is_forgotten_in_the_end(open_pool: Opener) -> None:
    pool = await open_pool(1, lease_seconds=2)
    (permit,) = await hold(pool, "holder")
    await waited_in_vain(pool, "anna")
    (ben,) = await queue_up(pool, "ben")
    async with asyncio.timeout(SECONDS):
        while (await pool.peek("anna", wait_id=WAIT)).waited_seconds is not None:  # noqa: ASYNC110 - a pool can only be asked
            await asyncio.sleep(0.02)
    assert await pool.peek("anna", wait_id=WAIT) == Outlook(Verdict.WAIT, 2)
    anna = await came_back(pool, "anna")
    await served(pool, permit, ben, anna)


@pytest.mark.parametrize("wait_id", [7, b"anna", "", "\ud800", "x" * 65, "ü" * 33], ids=ascii)
async def test_what_cannot_name_a_place_is_refused_at_once(open_pool: Opener, wait_id: Any) -> None:
    pool = await open_pool(1)
    for ask in (pool.acquire("anna", wait_seconds=0, wait_id=wait_id), pool.peek("anna", wait_id=wait_id)):
        with pytest.raises((TypeError, ValueError), match="wait_id"):
            await ask
    with pytest.raises((TypeError, ValueError), match="wait_id"):
        pool.request("anna", wait_seconds=0, settled=lambda _: None, wait_id=wait_id)
    assert (await pool.acquire("anna", wait_seconds=0, wait_id="x" * 64)).valid()


async def test_a_request_without_a_task_has_a_place_as_well(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    settled = asyncio.Event()
    first = pool.request("anna", wait_seconds=SECONDS, settled=lambda _: settled.set(), wait_id=WAIT)
    await until(pool, lambda state: state.waiting == 1)
    (ben,) = await queue_up(pool, "ben")
    anna = asyncio.create_task(pool.acquire("anna", wait_seconds=SECONDS, wait_id=WAIT))
    async with asyncio.timeout(SECONDS):
        await settled.wait()
    with pytest.raises(WaitReplaced):
        first.result()
    first.cancel()
    await served(pool, permit, anna, ben)
