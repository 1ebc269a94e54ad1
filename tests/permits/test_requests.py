"""What a request says to the store, and how it ends."""

import asyncio
import gc
import weakref

import pytest

from permits.errors import (
    ClientLimitReached,
    LineFull,
    PermitError,
    PermitTimeout,
    PoolLearning,
    PoolUnavailable,
    WaitReplaced,
)
from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, CancelWait, Query, Refused, Release, refusal_of
from permits.redis.scripts import Code, load_scripts

pytestmark = pytest.mark.looptime


def permit_for(request: AcquireRequest) -> RedisPermit:
    return RedisPermit(request.id, request.client_id, 7, Lease("pod/1.1", lambda _: None), lambda _: None)


@pytest.mark.parametrize(
    ("now", "left_ms"), [(90.0, 10_000), (99.9994, 1), (99.9996, 0), (100.0, 0), (100.5, 0)], ids=str
)
def test_one_that_would_wait_says_for_how_much_longer(now: float, left_ms: int) -> None:
    plain, named = AcquireRequest("one", "anna", 100.0), AcquireRequest("two", "anna", 100.0, "place")
    named.start_waiting(5, 2)
    assert plain.words(now) == ("acquire", "one", "anna", left_ms)
    assert named.words(now) == ("return", "two.place", "anna", left_ms, 5)
    assert plain.wait_ms(now) == left_ms


def test_one_that_would_not_wait_says_so() -> None:
    request = AcquireRequest("one", "anna", None)
    assert request.words(90) == ("try", "one", "anna")
    assert request.wait_ms(90) == 0
    assert CancelWait(request).words(90) == ("leave", "one")
    assert Release("one").words(90) == ("release", "one")


async def test_nothing_of_a_request_that_ended_is_left_to_the_garbage_collector() -> None:
    class Holder:
        def __init__(self, request: AcquireRequest) -> None:
            self.request = request
            request.on_settled(self.tell)

        def tell(self) -> None:
            self.told = True

    holder = Holder(AcquireRequest("one", "anna", 100.0))
    kept = weakref.ref(holder)
    gc.disable()
    try:
        holder.request.grant(permit_for(holder.request))
        await asyncio.sleep(1)
        assert holder.told
        del holder
        assert kept() is None
    finally:
        gc.enable()


async def test_the_first_end_counts() -> None:
    granted, refused = AcquireRequest("one", "anna", 100.0), AcquireRequest("two", "anna", 100.0)
    told: list[str] = []
    for request in (granted, refused):
        request.on_settled(lambda request=request: told.append(request.id))  # type: ignore[misc] # its own request
        assert not request.waiting
        request.start_waiting(5, 2)
        assert request.waiting
    futures = [request.settled(asyncio.get_running_loop()) for request in (granted, refused)]
    assert not any(future.done() for future in futures)
    permit = permit_for(granted)
    granted.grant(permit)
    refused.refuse(LineFull())
    assert all(future.done() for future in futures)
    assert told == [], "they are called from the event loop"
    for request in (granted, refused):
        assert request.over
        assert not request.waiting
        request.refuse(PoolUnavailable())
    await asyncio.sleep(1)
    assert told == ["one", "two"]
    assert granted.result() is permit
    with pytest.raises(LineFull):
        refused.result()


async def test_one_whose_caller_has_gone_may_still_end() -> None:
    request = AcquireRequest("one", "anna", 100.0)
    request.settled(asyncio.get_running_loop()).cancel()
    permit = permit_for(request)
    request.grant(permit)
    query = Query(load_scripts().state)
    query.answer.cancel()
    query.tell(None)
    assert request.result() is permit


@pytest.mark.parametrize(
    ("code", "error", "place", "left_seconds"),
    [
        (Code.CLIENT_LIMIT, ClientLimitReached, 0, 0),
        (Code.LINE_FULL, LineFull, 0, 0),
        (Code.LEARNING, PoolLearning, 3, 1.5),
        (Code.REPLACED, WaitReplaced, 0, 0),
        (Code.FULL, PermitTimeout, 3, 0),
        (Code.LEFT, PermitTimeout, 3, 0),
        (Code.NOWHERE, PermitTimeout, 3, 0),
    ],
)
def test_each_answer_that_is_no_permit_has_its_error(
    code: Refused, error: type[PermitError], place: int, left_seconds: float
) -> None:
    refusal = refusal_of(code, place=3, left_ms=1500)
    assert type(refusal) is error
    assert refusal.place == place
    assert refusal.left_seconds == left_seconds
