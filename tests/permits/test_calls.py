"""How much of a write goes into one script call."""

import pytest

from permits.redis.calls import MAX_OPERATIONS, MAX_WITH_PLACES, Call, declaration_parts
from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, Query, Release, Request
from permits.redis.scripts import load_scripts


@pytest.mark.parametrize("with_a_query", [False, True])
async def test_operations_are_joined_in_their_order_up_to_so_many(*, with_a_query: bool) -> None:
    many = 2 * MAX_OPERATIONS + 3
    requests: list[Request] = [Release(f"permit-{number}") for number in range(many)]
    query = Query(load_scripts().state)
    if with_a_query:
        requests.insert(1, query)
    batches = Call(Lease("pod/1.1", lambda _: None), requests, beat=False).batches
    sizes = [1 if isinstance(batch, Query) else len(batch) for batch in batches]
    assert sizes == ([1, 1, MAX_OPERATIONS, MAX_OPERATIONS, 2] if with_a_query else [MAX_OPERATIONS, MAX_OPERATIONS, 3])
    assert [one for batch in batches for one in ([batch] if isinstance(batch, Query) else batch)] == requests
    query.tell(None)


async def test_fewer_are_joined_when_some_have_places_in_line() -> None:
    requests = [AcquireRequest(f"request-{number}", "anna", 1.0) for number in range(2 * MAX_WITH_PLACES)]
    requests.append(AcquireRequest("last", "anna", 1.0, place_name="a" * 32))
    batches = Call(Lease("pod/1.1", lambda _: None), requests, beat=False).batches
    assert [len(batch) for batch in batches if not isinstance(batch, Query)] == [MAX_WITH_PLACES, MAX_WITH_PLACES, 1]


async def test_a_call_that_wants_nothing_has_no_batches() -> None:
    assert Call(Lease("pod/1.1", lambda _: None), [], beat=True).batches == []


def test_a_declaration_of_nothing_is_one_part() -> None:
    assert list(declaration_parts([], [])) == [([], [])]


def test_waiters_are_declared_in_parts() -> None:
    waiters = [AcquireRequest(f"request-{number}", "anna", None) for number in range(401)]
    assert [len(some) for _, some in declaration_parts([], waiters)] == [200, 200, 1]


async def test_permits_are_declared_in_parts_before_the_waiters() -> None:
    lease = Lease("pod/1.1", lambda _: None)
    permits = [RedisPermit(f"permit-{number}", "anna", 1, lease, lambda _: None) for number in range(601)]
    waiters = [AcquireRequest(f"request-{number}", "anna", None) for number in range(201)]
    parts = list(declaration_parts(permits, waiters))
    sizes = [(len(held), len(waiting)) for held, waiting in parts]
    assert sizes == [(200, 0), (200, 0), (200, 0), (1, 0), (0, 200), (0, 1)]
    assert [permit for held, _ in parts for permit in held] == permits
    assert [waiter for _, waiting in parts for waiter in waiting] == waiters
