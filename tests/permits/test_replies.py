"""Replies of the scripts, sorted out."""

from typing import Any, cast

import pytest

from permits.redis.channel import StoreLost
from permits.redis.lease import Lease
from permits.redis.replies import CallResult, Condition, Entry, Renewal, entry_of
from permits.redis.requests import AcquireRequest
from permits.redis.scripts import CODES, CallStatus


class Operation:
    """An operation of a call; `target` is the request that waits for its answer, if any."""

    def __init__(self, target: AcquireRequest | None = None) -> None:
        self.target = target


def result() -> CallResult:
    return CallResult(cast("Lease", None))


def operations(*targets: AcquireRequest | None) -> list[Any]:
    return [Operation(target) for target in targets]


async def test_answers_go_to_the_requests_that_wait_for_one() -> None:
    first, second = AcquireRequest("1", "anna", None), AcquireRequest("2", "ben", None)
    code, other = list(CODES)[:2]
    call = result()
    call.add_operated(operations(first, None, second), [CallStatus.DONE, [], 0, code, 7, 0, other, 8, 3])
    assert call.answers == [(first, CODES[code], 7, 0), (second, CODES[other], 8, 3)]
    assert call.only_answers


def test_permits_that_were_handed_over_have_ids_and_tickets() -> None:
    call = result()
    call.add_operated([], [CallStatus.DONE, [b"a.1", b"7", b"a.2", b"0"], 1])
    assert (call.handed, call.more, call.only_answers) == ([("a.1", 7), ("a.2", 0)], True, False)


@pytest.mark.parametrize(
    ("status", "gone", "forgotten"), [(CallStatus.GONE, True, False), (CallStatus.FORGOTTEN, False, True)]
)
def test_operations_of_a_pod_that_the_store_does_not_know_are_unserved(
    status: CallStatus, gone: bool, forgotten: bool
) -> None:
    call, unserved = result(), operations(None, None)
    call.add_operated(unserved, [status])
    assert (call.gone, call.forgotten, call.unserved, call.answers) == (gone, forgotten, unserved, [])
    call.add_renewed(1.0, [status])
    assert call.renewal is None


@pytest.mark.parametrize("status", sorted(set(CallStatus) - {CallStatus.DONE, CallStatus.GONE, CallStatus.FORGOTTEN}))
def test_any_other_status_ends_the_connection(status: CallStatus) -> None:
    with pytest.raises(StoreLost, match="run id" if status is CallStatus.NAMELESS else "another connection"):
        result().add_operated([], [status])


def test_a_renewal_is_in_seconds() -> None:
    call = result()
    call.add_renewed(1.0, [CallStatus.DONE, [b"a.1", b"7"], 15_000, 2, 3, 0, 50, 20_000, 1500])
    assert call.renewal == Renewal(1.0, 15.0, 2, 3, Condition(50, 1.5), 20_000)
    assert (call.handed, call.more) == ([("a.1", 7)], False)


def test_a_lease_begins_when_it_was_asked_for() -> None:
    entry, longest_ms = entry_of(1.0, [15_000, b"epoch", 50, 20_000, 0], more=True)
    assert (entry, longest_ms) == (Entry(1.0, 15.0, "epoch", Condition(50, 0.0), more=True), 20_000)
