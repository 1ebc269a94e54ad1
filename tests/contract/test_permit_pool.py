"""What every permit pool promises: the one in memory, and Redis on a real server."""

import asyncio
import math
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from permits import (
    ClientLimitReached,
    LineFull,
    Outlook,
    Permit,
    PermitError,
    PermitTimeout,
    PoolClosed,
    Verdict,
)
from tests.contract.pools import Opener
from tests.permits.parts import SECONDS, ask, hold, queue_up, until


async def test_a_fresh_pool_is_ready_and_empty(open_pool: Opener) -> None:
    pool = await open_pool(3)
    assert pool.ready()
    state = await pool.state()
    assert (state.held, state.capacity, state.high_water, state.waiting, dict(state.clients)) == (0, 3, 0, 0, {})


async def test_there_are_as_many_permits_as_the_capacity_says(open_pool: Opener) -> None:
    pool = await open_pool(3)
    permits = await hold(pool, "a", "b", "a")
    assert [permit.client_id for permit in permits] == ["a", "b", "a"]
    assert all(permit.valid() for permit in permits)
    with pytest.raises(PermitTimeout):
        await hold(pool, "c")
    permits[1].release()
    await hold(pool, "c")
    with pytest.raises(PermitTimeout):
        await hold(pool, "d")


async def test_who_asked_first_is_served_first(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    asking = await queue_up(pool, "a", "b", "a", "c")
    for index, task in enumerate(asking):
        assert not any(later.done() for later in asking[index:])
        permit.release()
        async with asyncio.timeout(SECONDS):
            permit = await task
        assert permit.valid()


async def test_a_call_does_not_overtake_the_line(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    (first,) = await queue_up(pool, "first")
    permit.release()
    with pytest.raises(PermitTimeout):
        await hold(pool, "late")
    assert (await first).valid()


async def test_tickets_rise_in_the_order_of_the_calls(open_pool: Opener) -> None:
    pool = await open_pool(5)
    asking = [ask(pool, f"client-{n}") for n in range(15)]
    tickets = []
    for task in asking:
        permit = await task
        tickets.append(permit.ticket)
        permit.release()
    assert tickets == sorted(set(tickets))


async def test_a_pool_that_begins_anew_gives_higher_tickets_than_the_one_before(open_pool: Opener) -> None:
    (before,) = await hold(await open_pool(1), "anna")
    begun_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == begun_ms:
        pass  # a millisecond at the most
    (after,) = await hold(await open_pool(1), "anna")
    assert after.ticket > before.ticket


@pytest.mark.parametrize(("held", "waiting"), [(2, 0), (1, 1), (0, 2)], ids=["held", "held-and-waiting", "waiting"])
async def test_a_client_at_its_limit_is_refused_at_once(open_pool: Opener, held: int, waiting: int) -> None:
    pool = await open_pool(2, per_client=2)
    permits = await hold(pool, *["anna"] * held, *[f"other-{n}" for n in range(2 - held)])
    asking = await queue_up(pool, *["anna"] * waiting)
    for wait_seconds in (0, SECONDS):
        with pytest.raises(ClientLimitReached):
            await pool.acquire("anna", wait_seconds=wait_seconds)
    others = await queue_up(pool, "ben")
    for permit in permits:
        permit.release()
    for task in (*asking, *others):
        (await task).release()
    assert len(await hold(pool, "anna", "anna")) == 2


async def test_a_client_that_was_in_line_has_the_limit_that_it_had(open_pool: Opener) -> None:
    pool = await open_pool(3, per_client=2)
    permits = await hold(pool, "a", "b", "c")
    with pytest.raises(PermitTimeout):
        await pool.acquire("anna", wait_seconds=0.01)
    (waiting,) = await queue_up(pool, "anna")
    permits[0].release()
    served = await waiting
    permits[1].release()
    await hold(pool, "anna")
    with pytest.raises(ClientLimitReached):
        await pool.acquire("anna", wait_seconds=SECONDS)
    served.release()
    await hold(pool, "anna")
    with pytest.raises(ClientLimitReached):
        await pool.acquire("anna", wait_seconds=SECONDS)


async def test_a_line_that_is_full_is_refused_at_once(open_pool: Opener) -> None:
    pool = await open_pool(1, max_waiting=2)
    (permit,) = await hold(pool, "holder")
    first, _ = await queue_up(pool, "a", "b")
    with pytest.raises(LineFull):
        await pool.acquire("c", wait_seconds=SECONDS)
    permit.release()
    await first
    await queue_up(pool, "c")


async def test_who_waited_long_enough_is_told_the_place_and_stands_in_line_no_more(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    await queue_up(pool, "a")
    with pytest.raises(PermitTimeout) as over:
        await pool.acquire("b", wait_seconds=0.02)
    assert over.value.place == 2
    await queue_up(pool, "c")
    permit.release()
    state = await until(pool, lambda state: state.waiting == 1)
    assert dict(state.clients) == {"a": 1}


@pytest.mark.parametrize("max_waiting", [0, 1000])
async def test_now_or_never(open_pool: Opener, max_waiting: int) -> None:
    pool = await open_pool(1, max_waiting=max_waiting)
    await hold(pool, "holder")
    with pytest.raises(PermitTimeout) as never:
        await pool.acquire("a", wait_seconds=0)
    assert never.value.place == 1
    assert (await pool.state()).waiting == 0


async def test_who_is_cancelled_in_line_leaves_nothing_behind(open_pool: Opener) -> None:
    pool = await open_pool(1, per_client=1)
    (permit,) = await hold(pool, "holder")
    asking = await queue_up(pool, "a", "b", "c")
    for index in (0, 2):
        asking[index].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking[index]
    assert (await pool.state()).waiting == 1
    permit.release()
    await asking[1]
    await queue_up(pool, "a")


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_that_meets_the_grant_loses_no_permit(open_pool: Opener, turns: int) -> None:
    pool = await open_pool(1, per_client=1)
    for _ in range(10):
        (permit,) = await hold(pool, "holder")
        (asking,) = await queue_up(pool, "a")
        permit.release()
        await _turn_the_loop(turns)
        asking.cancel()
        await _let_go(asking)
        assert (await pool.state()).held == 0


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_that_meets_the_asking_loses_no_permit(open_pool: Opener, turns: int) -> None:
    pool = await open_pool(1, per_client=1)
    for _ in range(10):
        asking = ask(pool, "a")
        await _turn_the_loop(turns)
        asking.cancel()
        await _let_go(asking)
        assert (await pool.state()).held == 0


async def test_an_end_of_waiting_that_meets_the_grant_loses_no_permit(open_pool: Opener) -> None:
    pool = await open_pool(1)
    for _ in range(20):
        (permit,) = await hold(pool, "holder")
        asking = ask(pool, "a", wait_seconds=0.01)
        asyncio.get_running_loop().call_later(0.01, permit.release)
        await _let_go(asking)
        await until(pool, lambda state: (state.held, state.waiting) == (0, 0))


async def test_release_counts_once_and_at_once(open_pool: Opener) -> None:
    pool = await open_pool(2)
    first, second = await hold(pool, "a", "b")
    for _ in range(3):
        first.release()
        assert not first.valid()
    assert second.valid()
    assert dict((await pool.state()).clients) == {"b": 1}
    await hold(pool, "c")
    first.release()
    assert (await pool.state()).held == 2


async def test_a_released_permit_is_never_lost(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "a")
    before = asyncio.create_task(permit.lost())
    await _turn_the_loop(3)
    permit.release()
    await pool.__aexit__(None, None, None)
    after = asyncio.create_task(permit.lost())
    done, waiting = await asyncio.wait([before, after], timeout=0.05)
    assert not done
    for task in waiting:
        task.cancel()


@pytest.mark.parametrize(
    ("held", "waiting", "expected"),
    [
        ((), (), Outlook(Verdict.GRANTED)),
        (("anna",), (), Outlook(Verdict.GRANTED)),
        (("a", "b"), (), Outlook(Verdict.WAIT, 1)),
        (("a", "b"), ("c",), Outlook(Verdict.WAIT, 2)),
        (("a", "b"), ("c", "d"), Outlook(Verdict.LINE_FULL, 3)),
        (("anna", "anna"), (), Outlook(Verdict.CLIENT_LIMIT)),
        (("a", "anna"), ("anna",), Outlook(Verdict.CLIENT_LIMIT)),
        (("anna", "anna"), ("a", "b"), Outlook(Verdict.CLIENT_LIMIT)),
    ],
    ids=["empty", "free", "next", "second", "line-full", "limit-held", "limit-waiting", "limit-before-line-full"],
)
async def test_a_peek_tells_and_changes_nothing(
    open_pool: Opener, held: tuple[str, ...], waiting: tuple[str, ...], expected: Outlook
) -> None:
    pool = await open_pool(2, per_client=2, max_waiting=2)
    await hold(pool, *held)
    await queue_up(pool, *waiting)
    before = await pool.state()
    assert [await pool.peek("anna") for _ in range(3)] == [expected] * 3
    assert await pool.state() == before


async def test_the_state_tells_what_is_held_by_whom_and_the_most_there_ever_was(open_pool: Opener) -> None:
    pool = await open_pool(3)
    permits = await hold(pool, "anna", "ben", "anna")
    await queue_up(pool, "clara", "dora")
    state = await pool.state()
    assert (state.held, state.capacity, state.high_water, state.waiting) == (3, 3, 3, 2)
    assert dict(state.clients) == {"anna": 2, "ben": 1}
    assert await pool.state(clients=False) == replace(state, clients={})
    for permit in permits:
        permit.release()
    state = await until(pool, lambda state: state.waiting == 0)
    assert (state.held, state.high_water, dict(state.clients)) == (2, 3, {"clara": 1, "dora": 1})


async def test_the_state_tells_of_many_clients(open_pool: Opener) -> None:
    pool = await open_pool(1500)
    names = [f"client-{number}" for number in range(1200)]
    await hold(pool, *names)
    assert dict((await pool.state()).clients) == dict.fromkeys(names, 1)


async def test_a_pool_that_closes_tells_who_waits_and_leaves_what_is_held(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    asking = (*await queue_up(pool, "a", "b"), ask(pool, "c"))
    await pool.close()
    for task in asking:
        with pytest.raises(PoolClosed):
            await task
    assert not pool.ready()
    assert permit.valid()
    assert dict((await pool.state()).clients) == {"holder": 1}
    permit.release()
    assert (await pool.state()).held == 0
    await pool.close()


async def test_a_closed_pool_gives_nothing_out(open_pool: Opener) -> None:
    pool = await open_pool(1)
    await pool.close()
    for wait_seconds in (0, SECONDS):
        with pytest.raises(PoolClosed):
            await pool.acquire("a", wait_seconds=wait_seconds)
    with pytest.raises(PoolClosed):
        await pool.peek("a")


async def test_a_pool_needs_a_capacity(open_pool: Opener) -> None:
    with pytest.raises(ValueError, match="capacity"):
        await open_pool(0)


@pytest.mark.parametrize("client_id", [None, 7, b"anna", "\ud800", "x" * 513, "ü" * 257], ids=ascii)
async def test_what_cannot_name_a_client_is_refused_at_once_and_harms_nobody(open_pool: Opener, client_id: Any) -> None:
    pool = await open_pool(1)
    with pytest.raises((TypeError, ValueError), match="client_id"):
        await pool.acquire(client_id, wait_seconds=0)
    with pytest.raises((TypeError, ValueError), match="client_id"):
        await pool.peek(client_id)
    assert await hold(pool, "x" * 512)


@pytest.mark.parametrize("wait_seconds", [math.inf, math.nan, -1, 1e10, None, "5", True], ids=ascii)
async def test_a_time_that_nobody_can_wait_is_refused_at_once_and_harms_nobody(
    open_pool: Opener, wait_seconds: Any
) -> None:
    pool = await open_pool(1)
    with pytest.raises((TypeError, ValueError), match="wait_seconds"):
        await pool.acquire("anna", wait_seconds=wait_seconds)
    assert await hold(pool, "anna")


async def test_whatever_happens_no_more_are_held_than_there_are(open_pool: Opener) -> None:
    pool = await open_pool(4, per_client=3, max_waiting=12)
    chance = random.Random(7)
    holders: list[int] = []

    async def come_and_go(client_id: str) -> int:
        served = 0
        for _ in range(25):
            try:
                async with asyncio.timeout(chance.choice([0.001, 0.01, 1])):
                    permit = await pool.acquire(client_id, wait_seconds=chance.choice([0, 0.002, 0.02, 1]))
            except (PermitError, TimeoutError):
                continue
            holders.append(permit.ticket)
            assert len(holders) <= 4
            await _turn_the_loop(chance.randrange(20))
            assert permit.valid()
            holders.remove(permit.ticket)
            permit.release()
            served += 1
        return served

    async with asyncio.timeout(SECONDS):
        served = await asyncio.gather(*(come_and_go(f"client-{n % 8}") for n in range(24)))
    assert sum(served) > 50
    state = await pool.state()
    assert (state.held, state.waiting, dict(state.clients)) == (0, 0, {})
    assert state.high_water <= 4
    assert len(await hold(pool, "a", "b", "c", "d")) == 4


async def _turn_the_loop(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def _let_go(asking: "asyncio.Task[Permit]") -> None:
    """Release what may have come of it in spite of all."""
    try:
        permit = await asking
    except (asyncio.CancelledError, PermitTimeout):
        return
    permit.release()
