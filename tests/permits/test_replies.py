"""What the scripts reply, sorted out; `permits/lua` says what each reply means."""

import pytest

from permits.redis.channel import StoreLost
from permits.redis.lease import Lease
from permits.redis.replies import CallResult, Condition, Entry, Renewal, entry_of
from permits.redis.requests import AcquireRequest, CancelWait, Operation, Release
from permits.redis.scripts import CallStatus, Code

RENEWED = [CallStatus.DONE, [], 1600, 2, 3, 0, 50, 2400, 800]


@pytest.fixture
async def result() -> CallResult:
    return CallResult(Lease("pod/1.1", lambda _: None))


@pytest.fixture
def asked() -> tuple[AcquireRequest, list[Operation]]:
    request = AcquireRequest("a-1", "anna", None)
    return request, [Release("b-1"), request, CancelWait(request)]


def test_an_entry_has_its_times_in_seconds() -> None:
    entry, longest_ms = entry_of(5.0, [1600, b"7-abc", 50, 2400, 800])
    assert (entry, longest_ms) == (Entry(5.0, 1.6, "7-abc", Condition(50, 0.8)), 2400)
    assert entry_of(5.0, [1600, b"7-abc", 50, 2400, 800], more=True)[0].more


@pytest.mark.parametrize("more", [0, 1])
async def test_what_comes_beside_a_renewal_is_taken_in(result: CallResult, more: int) -> None:
    result.add_renewed(5.0, [CallStatus.DONE, [b"c-1", b"8", b"d-1", b"0"], *RENEWED[2:5], more, *RENEWED[6:]])
    assert (result.handed, result.more) == ([("c-1", 8), ("d-1", 0)], bool(more))


async def test_a_renewal_has_its_times_in_seconds(result: CallResult) -> None:
    assert result.only_answers
    result.add_renewed(5.0, RENEWED)
    assert result.renewal == Renewal(5.0, 1.6, 2, 3, Condition(50, 0.8), 2400)
    assert (result.more, result.handed, result.only_answers) == (False, [], False)


async def test_all_that_is_asked_but_releases_has_an_answer(
    result: CallResult, asked: tuple[AcquireRequest, list[Operation]]
) -> None:
    request, operations = asked
    result.add_operated(operations, [CallStatus.DONE, None, 0, Code.WAITING, 7, 1, Code.LEFT, 7, 1])
    assert result.answers == [(request, Code.WAITING, 7, 1), (request, Code.LEFT, 7, 1)]
    assert result.only_answers


@pytest.mark.parametrize("words", [[], [Code.WAITING, 7], [Code.WAITING, 7, 1, Code.LEFT]])
async def test_a_reply_of_another_length_is_a_fault(
    result: CallResult, asked: tuple[AcquireRequest, list[Operation]], words: list[int]
) -> None:
    request, _ = asked
    with pytest.raises(ValueError, match="zip"):
        result.add_operated([request], [CallStatus.DONE, None, 0, *words])


@pytest.mark.parametrize("handed", [[], [b"c-1", b"8", b"d-1", b"0"]], ids=["", "handed"])
@pytest.mark.parametrize("more", [0, 1])
async def test_what_comes_beside_answers_is_taken_in(result: CallResult, handed: list[bytes], more: int) -> None:
    result.add_operated([], [CallStatus.DONE, handed, more])
    assert (result.handed, result.more) == ([("c-1", 8), ("d-1", 0)] if handed else [], bool(more))
    assert result.only_answers == (not handed and not more)


@pytest.mark.parametrize("status", [CallStatus.GONE, CallStatus.FORGOTTEN])
async def test_what_the_store_did_not_look_at_is_kept(
    result: CallResult, asked: tuple[AcquireRequest, list[Operation]], status: CallStatus
) -> None:
    _, operations = asked
    result.add_operated(operations, [status])
    told = (status is CallStatus.GONE, status is CallStatus.FORGOTTEN)
    assert (result.gone, result.forgotten, result.unserved, result.answers) == (*told, operations, [])
    assert not result.only_answers


@pytest.mark.parametrize("status", [CallStatus.GONE, CallStatus.FORGOTTEN])
async def test_a_heartbeat_that_is_not_welcome_renews_nothing(result: CallResult, status: CallStatus) -> None:
    result.add_renewed(5.0, [status])
    assert (result.gone, result.forgotten) == (status is CallStatus.GONE, status is CallStatus.FORGOTTEN)
    assert result.renewal is None
    assert not result.only_answers


@pytest.mark.parametrize("status", sorted(set(CallStatus) - {CallStatus.DONE, CallStatus.GONE, CallStatus.FORGOTTEN}))
async def test_any_other_status_ends_the_connection(result: CallResult, status: CallStatus) -> None:
    words = "run id" if status is CallStatus.NAMELESS else "another connection"
    with pytest.raises(StoreLost, match=words):
        result.add_operated([], [status])
    with pytest.raises(StoreLost, match=words):
        result.add_renewed(5.0, [status])
