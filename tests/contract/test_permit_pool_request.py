"""What every permit pool promises of `request`, which asks without a task, and of `on_lost`."""

import asyncio
import math
from typing import Any

import pytest

from permits import ClientLimitReached, LineFull, PermitRequest, PermitTimeout, PoolClosed
from permits.pool import Pool
from tests.contract.pools import Opener
from tests.permits.parts import SECONDS, hold, queue_up, until


class Asked:
    """A request, and how often it was told that it is settled."""

    def __init__(self, pool: Pool, client_id: str, *, wait_seconds: float = SECONDS) -> None:
        self.told = 0
        self.settled = asyncio.Event()
        self.request = pool.request(client_id, wait_seconds=wait_seconds, settled=self._tell)
        assert self.told == 0, "nobody is told before the call has returned"

    def _tell(self, request: PermitRequest) -> None:
        self.told += 1
        self.first = request
        self.settled.set()

    async def until_settled(self) -> PermitRequest:
        await asyncio.wait_for(self.settled.wait(), SECONDS)
        assert self.first is self.request
        return self.request


async def test_a_request_is_granted_as_a_call_of_acquire_is(open_pool: Opener) -> None:
    pool = await open_pool(2)
    asked = [Asked(pool, client_id) for client_id in ("a", "b")]
    permits = [(await each.until_settled()).result() for each in asked]
    assert [permit.client_id for permit in permits] == ["a", "b"]
    assert all(permit.valid() for permit in permits)
    assert (await pool.state()).held == 2
    for permit in permits:
        permit.release()
    assert (await pool.state()).held == 0
    assert [each.told for each in asked] == [1, 1]


async def test_requests_and_calls_stand_in_one_line(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "holder")
    (first,) = await queue_up(pool, "a")
    second = Asked(pool, "b")
    await until(pool, lambda state: state.waiting == 2)
    (third,) = await queue_up(pool, "c")
    permit.release()
    (await asyncio.wait_for(first, SECONDS)).release()
    (await second.until_settled()).result().release()
    (await asyncio.wait_for(third, SECONDS)).release()
    assert (await pool.state()).held == 0


async def test_a_refusal_is_told_and_raised_by_its_result(open_pool: Opener) -> None:
    pool = await open_pool(1, per_client=1, max_waiting=0)
    await hold(pool, "anna")
    for client_id, wait_seconds, refusal in (
        ("anna", SECONDS, ClientLimitReached),
        ("ben", SECONDS, LineFull),
        ("ben", 0, PermitTimeout),
    ):
        asked = Asked(pool, client_id, wait_seconds=wait_seconds)
        with pytest.raises(refusal):
            (await asked.until_settled()).result()


async def test_a_request_that_waits_too_long_is_refused(open_pool: Opener) -> None:
    pool = await open_pool(1)
    await hold(pool, "anna")
    asked = Asked(pool, "ben", wait_seconds=0.05)
    with pytest.raises(PermitTimeout):
        (await asked.until_settled()).result()
    assert (await pool.state()).waiting == 0


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
async def test_a_cancelled_request_leaves_nothing_and_tells_nobody(open_pool: Opener, turns: int) -> None:
    pool = await open_pool(1)
    asked = Asked(pool, "anna")
    for _ in range(turns):
        await asyncio.sleep(0)
    was_told = asked.told
    asked.request.cancel()
    asked.request.cancel()
    await until(pool, lambda state: state.held == 0)
    await asyncio.sleep(0)  # what was to be told in the next turn would be told now
    assert asked.told == was_told
    await hold(pool, "ben")


async def test_a_request_that_is_cancelled_in_line_leaves_it(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "anna")
    asked = Asked(pool, "ben")
    await until(pool, lambda state: state.waiting == 1)
    asked.request.cancel()
    await until(pool, lambda state: state.waiting == 0)
    permit.release()
    await hold(pool, "carl")
    assert asked.told == 0


async def test_a_request_that_is_cancelled_as_its_permit_comes_gives_it_back(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "anna")
    asked = Asked(pool, "ben")
    await until(pool, lambda state: state.waiting == 1)
    permit.release()
    asked.request.cancel()
    await until(pool, lambda state: (state.held, state.waiting) == (0, 0))
    assert asked.told == 0


async def test_closing_the_pool_refuses_requests(open_pool: Opener) -> None:
    pool = await open_pool(1)
    await hold(pool, "anna")
    in_queue = Asked(pool, "ben")
    await until(pool, lambda state: state.waiting == 1)
    await pool.close()
    with pytest.raises(PoolClosed):
        (await in_queue.until_settled()).result()
    with pytest.raises(PoolClosed):
        (await Asked(pool, "carl").until_settled()).result()


async def test_a_permit_that_comes_too_late_is_a_refusal_and_the_place_is_free(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "anna")
    asked = [Asked(pool, "ben", wait_seconds=seconds) for seconds in (0.05, SECONDS)]
    with pytest.raises(PermitTimeout) as refused:
        (await asked[0].until_settled()).result()
    assert refused.value.place == 1
    permit.release()
    assert (await asked[1].until_settled()).result().valid()


async def test_who_gives_a_permit_back_is_not_told_that_it_is_lost(open_pool: Opener) -> None:
    pool = await open_pool(2)
    released, kept = await hold(pool, "anna", "ben")
    told: list[str] = []
    released.on_lost(lambda: told.append("anna"))
    kept.on_lost(lambda: told.append("ben"))
    released.release()
    await pool.__aexit__(None, None, None)
    await asyncio.sleep(0.05)
    assert "anna" not in told


@pytest.mark.parametrize("client_id", [None, "\ud800"], ids=ascii)
async def test_a_request_for_no_client_is_refused_where_it_is_made(open_pool: Opener, client_id: Any) -> None:
    pool = await open_pool(1)
    with pytest.raises((TypeError, ValueError), match="client_id"):
        Asked(pool, client_id)
    assert (await pool.state()).held == 0


@pytest.mark.parametrize("wait_seconds", [math.inf, -1], ids=ascii)
async def test_a_request_with_no_end_is_refused_where_it_is_made(open_pool: Opener, wait_seconds: float) -> None:
    pool = await open_pool(1)
    with pytest.raises(ValueError, match="wait_seconds"):
        Asked(pool, "a", wait_seconds=wait_seconds)


async def test_a_request_that_could_tell_nobody_is_refused_where_it_is_made(open_pool: Opener) -> None:
    pool = await open_pool(1)
    other: Any = None
    with pytest.raises(TypeError, match="settled"):
        pool.request("anna", wait_seconds=0, settled=other)
    assert (await pool.state()).held == 0
