"""What goes out in one write, and how much of it goes into one script call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, Operation, Query, Request

MAX_OPERATIONS = 250  # in one script call, so that no call keeps the store busy for more than a few milliseconds
MAX_WITH_PLACES = 60  # of those that come back to a place, or may: each takes two to three times as long
MAX_DECLARED = 200  # permits and waiters in one part of a declaration

Batch = Query | Sequence[Operation]
"""One script call."""


@dataclass(slots=True)
class Call:
    """What goes out in one write.

    Attributes:
        lease: of the incarnation that calls.
        requests: what it wants.
        beat: whether the heartbeat goes along.
        batches: the requests as they are grouped: each group is one script call.
        sent_at: by the clock of leases, just before it was sent.
    """

    lease: Lease
    requests: Sequence[Request]
    beat: bool
    batches: Sequence[Batch] = field(init=False)
    sent_at: float = 0.0

    def __post_init__(self) -> None:
        self.batches = _batches(self.requests)


def _batches(requests: Sequence[Request]) -> Sequence[Batch]:
    """Join neighbouring operations, for they go out as one script call."""
    most = _most_operations(requests)
    if _has_no_query(requests):
        return [requests[at : at + most] for at in range(0, len(requests), most)]
    return list(_batches_around_queries(requests, most))


def _has_no_query(requests: Sequence[Request]) -> TypeGuard[Sequence[Operation]]:
    return Query not in map(type, requests)


def _batches_around_queries(requests: Sequence[Request], most: int) -> Iterator[Batch]:
    operations: list[Operation] = []
    for request in requests:
        if not isinstance(request, Query):
            operations.append(request)
            if len(operations) < most:
                continue
        if operations:
            yield operations
            operations = []
        if isinstance(request, Query):
            yield request
    if operations:
        yield operations


def _most_operations(requests: Sequence[Request]) -> int:
    """Return how many of these go into one script call."""
    if len(requests) > MAX_WITH_PLACES and any(
        isinstance(request, AcquireRequest) and request.place_name for request in requests
    ):
        return MAX_WITH_PLACES
    return MAX_OPERATIONS


def declaration_parts(
    permits: Sequence[RedisPermit], waiters: Sequence[AcquireRequest]
) -> Iterator[tuple[Sequence[RedisPermit], Sequence[AcquireRequest]]]:
    """Cut a declaration into parts; one at least."""
    yield permits[:MAX_DECLARED], () if permits else waiters[:MAX_DECLARED]
    for at in range(MAX_DECLARED, len(permits), MAX_DECLARED):
        yield permits[at : at + MAX_DECLARED], ()
    for at in range(0 if permits else MAX_DECLARED, len(waiters), MAX_DECLARED):
        yield (), waiters[at : at + MAX_DECLARED]
