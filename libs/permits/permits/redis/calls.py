"""What goes out in one write, and how much of it goes into one script call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from permits.redis.lease import Lease, RedisPermit
from permits.redis.requests import AcquireRequest, Operation, Query, Request

MAX_OPERATIONS = 250  # in one script call, so that no call keeps the store busy for more than a few milliseconds
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
        self.batches = list(_batches(self.requests))


def _batches(requests: Sequence[Request]) -> Iterator[Batch]:
    """Join neighbouring operations, for they go out as one script call."""
    if Query not in map(type, requests):  # as nearly always
        for at in range(0, len(requests), MAX_OPERATIONS):
            yield cast(Sequence[Operation], requests[at : at + MAX_OPERATIONS])
        return
    operations: list[Operation] = []
    for request in requests:
        if not isinstance(request, Query):
            operations.append(request)
            if len(operations) < MAX_OPERATIONS:
                continue
        if operations:
            yield operations
            operations = []
        if isinstance(request, Query):
            yield request
    if operations:
        yield operations


def declaration_parts(
    permits: Sequence[RedisPermit], waiters: Sequence[AcquireRequest]
) -> Iterator[tuple[Sequence[RedisPermit], Sequence[AcquireRequest]]]:
    """Cut a declaration into parts; one at least."""
    yield permits[:MAX_DECLARED], () if permits else waiters[:MAX_DECLARED]
    for at in range(MAX_DECLARED, len(permits), MAX_DECLARED):
        yield permits[at : at + MAX_DECLARED], ()
    for at in range(0 if permits else MAX_DECLARED, len(waiters), MAX_DECLARED):
        yield (), waiters[at : at + MAX_DECLARED]
