"""When a lease ends, and what hangs on it then."""

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from permits.redis.lease import Lease, RedisPermit

pytestmark = pytest.mark.looptime

TEN = 10 * 0.75
"""For how long ten seconds of lease are counted on."""


class Ends:
    """Counts how often leases ended, and remembers what was released."""

    def __init__(self) -> None:
        self.ended: list[Lease] = []
        self.released: list[RedisPermit] = []

    def lease(self) -> Lease:
        """Return a lease of ten seconds from now."""
        lease = Lease("pod/1.1", self.ended.append, clock=asyncio.get_running_loop().time)
        lease.renewed(now(), 10)
        return lease

    def permit(self, lease: Lease) -> RedisPermit:
        """Return a permit that hangs on a lease."""
        return RedisPermit("id", "anna", 1, lease, self.released.append)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_lease_counts_from_the_sending_of_its_last_renewal() -> None:
    lease = Ends().lease()
    await asyncio.sleep(6)
    lease.renewed(now() - 2, 10)
    await asyncio.sleep(TEN - 2 - 0.1)
    assert lease.valid()
    await asyncio.sleep(0.2)
    assert not lease.valid()


async def test_it_ends_by_itself_and_once() -> None:
    ends = Ends()
    lease = ends.lease()
    permit = ends.permit(lease)
    begun = now()
    await permit.lost()
    assert now() - begun == pytest.approx(TEN)
    lease.end()
    assert not permit.valid()
    assert ends.ended == [lease]


async def test_at_its_deadline_it_counts_no_more() -> None:
    ends, time = Ends(), 100.0
    lease = Lease("pod/1.1", ends.ended.append, clock=lambda: time)
    permit = ends.permit(lease)
    assert (lease.counts(), permit.counts()) == (False, False)
    lease.renewed(time, 10)
    time += TEN - 0.001
    assert (lease.counts(), permit.counts(), lease.valid(), permit.valid()) == (True, True, True, True)
    time = 100.0 + TEN
    assert (lease.counts(), permit.counts()) == (False, False)
    assert ends.ended == [], "another thread may ask so"
    assert (lease.valid(), permit.valid()) == (False, False)
    assert ends.ended == [lease]
    time = 100.0
    assert (lease.counts(), permit.counts(), lease.valid()) == (False, False, False)


async def test_a_timer_that_rings_before_the_deadline_is_set_again() -> None:
    ends = Ends()
    lease = Lease("pod/1.1", ends.ended.append, clock=lambda: now() / 2)
    lease.renewed(0, 10)
    await lease.over.wait()
    assert now() == pytest.approx(2 * TEN)


async def test_each_renewal_replaces_the_timer_of_the_one_before() -> None:
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now()

    lease = Lease("pod/1.1", lambda _: None, clock=clock)
    for _ in range(100):
        lease.renewed(now(), 10)
        await asyncio.sleep(1)
    looks = 0
    await lease.over.wait()
    assert looks < 10


async def test_no_timer_holds_a_lease_that_has_ended() -> None:
    lease = Lease("pod/1.1", lambda _: None, clock=now)
    lease.renewed(now(), 10)
    lease.end()
    gone = weakref.ref(lease)
    del lease
    assert gone() is None


async def test_a_permit_that_was_released_is_never_lost() -> None:
    ends = Ends()
    lease = ends.lease()
    permit = ends.permit(lease)
    assert permit.counts()
    assert lease.held == {permit.id: permit}
    permit.release()
    assert not permit.counts()
    assert lease.held == {}
    lease.end()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await permit.lost()


async def test_the_holder_is_told_once_when_the_lease_ends() -> None:
    ends = Ends()
    lease = ends.lease()
    told: list[str] = []
    kept, released, released_at_the_end = (
        RedisPermit(name, "anna", 1, lease, ends.released.append) for name in ("first", "second", "third")
    )
    kept.on_lost(lambda: told.append("kept"))
    released.on_lost(lambda: told.append("released"))
    released_at_the_end.on_lost(lambda: told.append("released at the end"))
    released.release()
    lease.end()
    released_at_the_end.release()
    await asyncio.sleep(1)
    assert told == ["kept"]
    late: list[str] = []
    kept.on_lost(lambda: late.append("late"))
    await asyncio.sleep(1)
    assert (told, late) == (["kept"], ["late"])


async def test_a_renewal_that_comes_after_the_end_changes_nothing() -> None:
    ends = Ends()
    lease = ends.lease()
    sent_at = now()
    await asyncio.sleep(11)
    lease.renewed(sent_at + 7, 10)
    assert not lease.valid()


async def test_a_renewal_that_was_sent_before_the_last_one_shortens_nothing() -> None:
    lease = Ends().lease()
    lease.renewed(now() - 5, 10)
    await asyncio.sleep(TEN - 0.1)
    assert lease.valid()


async def test_a_permit_is_released_once_and_not_when_it_is_lost() -> None:
    ends = Ends()
    lease = ends.lease()
    first, second = ends.permit(lease), ends.permit(lease)
    for _ in range(2):
        first.release()
    lease.end()
    second.release()
    assert ends.released == [first]
    assert not first.valid()
    assert not second.valid()


async def test_another_thread_that_finds_a_lease_over_leaves_the_rest_to_the_event_loop() -> None:
    ends, time, told = Ends(), 100.0, asyncio.Event()
    lease = Lease("pod/1.1", ends.ended.append, clock=lambda: time)
    permit = ends.permit(lease)
    permit.on_lost(told.set)
    lease.renewed(time, 10)
    time += TEN
    with ThreadPoolExecutor(1) as thread:
        assert not thread.submit(permit.valid).result()
    assert (permit.counts(), ends.ended) == (False, [])
    async with asyncio.timeout(1):
        await told.wait()
    assert ends.ended == [lease]


def test_a_lease_whose_event_loop_is_closed_is_over_in_silence() -> None:
    ends, time = Ends(), 100.0

    async def begin() -> RedisPermit:
        lease = Lease("pod/1.1", ends.ended.append, clock=lambda: time)
        lease.renewed(time, 10)
        permit = ends.permit(lease)
        permit.on_lost(lambda: None)
        return permit

    permit = asyncio.run(begin())
    time += TEN
    assert not permit.valid()
    assert ends.ended == []
