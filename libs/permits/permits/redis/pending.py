"""The requests of this process that are neither granted nor refused yet.

Each acquire request that is not over is in exactly one place: in the queue, under way, set aside until nothing is under
way any more, about to be answered, or waiting. `places` says where; the tests ask it after every step. Whatever goes
wrong, requests that do not wait are refused, and those that wait have a time-out of their own.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from itertools import count
from typing import Final, Literal
from uuid import uuid4

from permits.errors import ClientLimitReached, PermitError, PermitTimeout, PoolUnavailable, WaitReplaced
from permits.redis.lease import Lease, RedisPermit
from permits.redis.replies import Answer
from permits.redis.requests import (
    AcquireRequest,
    CancelWait,
    Operation,
    Query,
    Refused,
    Release,
    Request,
    refusal_of,
)
from permits.redis.scripts import WAS_REPLACED, Code
from permits.redis.wait_deadlines import WaitDeadlines

_GRANTED: Final = Code.GRANTED  # Python 3.11 takes longer to look a member up than to call a function
MOST_SEARCHED = 200  # asked about with one heartbeat, in search of a lost notice
MAX_ATTEMPTS = 3  # of a request that meets one forgotten incarnation after the other


class PendingRequests:
    """Holds requests until they are answered, and answers them.

    Args:
        under_way: returns the requests that were sent and not answered yet.
        on_deadline: told of each request whose deadline has passed while it waited.
        wake: called when there is something to do.
    """

    def __init__(
        self,
        under_way: Callable[[], Iterable[Request]],
        *,
        on_deadline: Callable[[AcquireRequest], None],
        wake: Callable[[], None],
    ) -> None:
        self._under_way = under_way
        self._wake = wake
        self._open: dict[str, AcquireRequest] = {}  # those that are not over
        self._queue: deque[Request] = deque()
        self._set_aside: list[Operation] = []
        self._unsaid: deque[Answer] = deque()
        self._deadlines = WaitDeadlines(on_deadline)
        self._id_prefix = uuid4().hex[:16]
        self._numbers = count(1)  # with the prefix, ids that nobody else has, for a twentieth of what a UUID costs

    def new(self, client_id: str, deadline: float | None, wait_id: str | None = None) -> AcquireRequest:
        """Return a request whose id no process has used before; the deadline is event loop time."""
        place_name = "" if wait_id is None else place_name_of(client_id, wait_id)
        return AcquireRequest(f"{self._id_prefix}-{next(self._numbers):x}", client_id, deadline, place_name)

    def begin(self, request: AcquireRequest) -> None:
        """Queue a new request."""
        self._open[request.id] = request
        self._queue.append(request)
        self._wake()

    def put(self, request: Request) -> None:
        """Queue whatever is to be sent."""
        self._queue.append(request)
        self._wake()

    @property
    def queued(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._queue)

    @property
    def somebody_waits(self) -> bool:
        """Whether a request waits."""
        return self._deadlines.anybody

    def waiters(self) -> list[AcquireRequest]:
        """Return the requests that wait, as far as we know."""
        return [request for request in self._open.values() if request.waiting]

    def releases(self) -> list[Release]:
        """Return the releases that the store has not carried out yet, as far as we know."""
        return [request for request in self._all() if isinstance(request, Release)]

    def queued_releases(self) -> list[Release]:
        """Return the releases that are to be sent."""
        return [request for request in self._queue if isinstance(request, Release)]

    def ids(self) -> set[str]:
        """Return the ids of all requests that are not over."""
        return set(self._open)

    def _all(self) -> list[Request]:
        """Return what the store has not answered yet, in the order in which it was asked."""
        return [*self._set_aside, *self._under_way(), *self._queue]

    def take_queue(self) -> tuple[list[Release], list[Request]]:
        """Empty the queue to send it. Return the releases, and everything else."""
        releases: list[Release] = []
        others: list[Request] = []
        for request in self._queue:
            if isinstance(request, Release):
                releases.append(request)
            elif isinstance(request, Query):
                others.append(request)
            else:
                target = request if isinstance(request, AcquireRequest) else request.target
                if not target.over:
                    target.sent = True
                    others.append(request)
        self._queue.clear()
        return releases, others

    def set_aside(self, operations: Sequence[Operation]) -> None:
        """Keep operations that the store did not look at until nothing is under way any more."""
        self._set_aside.extend(operations)

    def queue_again(self) -> None:
        """Queue what was set aside, in front of everything else."""
        self._queue.extendleft(reversed(self._set_aside))
        self._set_aside.clear()

    def ask_next_incarnation(self) -> None:
        """Queue those that were set aside for the next incarnation: all but those that lost a place in the queue."""
        for request in self._set_aside:
            if isinstance(request, AcquireRequest):
                request.attempts += 1
                request.sent = request.waiting or request.attempts >= MAX_ATTEMPTS
        again = [request for request in self._set_aside if isinstance(request, AcquireRequest) and not request.sent]
        self._set_aside.clear()
        self._queue.extendleft(reversed(again))

    def take_answers(self, answers: Sequence[Answer]) -> None:
        """Take in answers; `answer` gives them."""
        self._unsaid.extend(answers)

    def answer(self, lease: Lease, most: int | None = None) -> None:
        """Give all answers that were taken in, or only so many."""
        counts = lease.valid()  # once is enough: a permit is looked at again when it is used
        for _ in range(len(self._unsaid) if most is None else most):
            request, code, ticket, place = self._unsaid.popleft()
            if request.over:
                continue
            if code is _GRANTED:
                if counts:  # otherwise the request was refused with all the others
                    self._grant(request, lease, ticket)
            else:
                self._give(request, code, ticket, place)

    def _give(self, request: AcquireRequest, code: Refused | Literal[Code.WAITING], ticket: int, place: int) -> None:
        match code:
            case Code.WAITING:
                if request.deadline is not None and not request.waiting:
                    self._deadlines.add(request.deadline, request)
                request.start_waiting(ticket, place)
            case Code.LEARNING:  # its ticket is for how long yet
                self._refuse(request, refusal_of(code, place=place, left_ms=ticket))
            case _:
                self._refuse(request, refusal_of(code, place=place or request.place, left_ms=0))

    def hand_over(self, lease: Lease, handed: Iterable[tuple[str, int]]) -> None:
        """Grant waiters what the store handed to them: ids and tickets.

        Ticket 0: over the limit; `WAS_REPLACED`: another request has the place.
        """
        for permit_id, ticket in handed:
            request = self._open.get(permit_id)
            if request is None:
                continue
            if ticket > 0:
                self._grant(request, lease, ticket)
            else:
                self._refuse(request, WaitReplaced() if ticket == WAS_REPLACED else ClientLimitReached())

    def search(self, missing: int) -> None:
        """Ask again for the first waiters, because up to `missing` of them have missed a notice.

        The store hands permits to the lowest tickets, so the waiters that missed a notice are the first of this pod.
        They are asked for with every heartbeat until the numbers agree: an answer may be lost as a notice may. A waiter
        that is about to leave learns it from the answer to that. A waiter that came back to an older ticket may stand
        before one that was served earlier, so all that may have done so take turns.
        """
        candidates = [request for request in self.waiters() if not request.leaving]
        plain = (request for request in candidates if not request.place_name)
        first = nsmallest(min(missing, MOST_SEARCHED), plain, key=lambda request: request.ticket)
        named = (request for request in candidates if request.place_name)
        turn = nsmallest(MOST_SEARCHED - len(first), named, key=lambda request: (request.searches, request.ticket))
        for request in turn:
            request.searches += 1
        first += turn
        queued = {request for request in self._queue if isinstance(request, AcquireRequest)}
        self._queue.extend(request for request in first if request not in queued)
        self._wake()

    def leave_queue(self, request: AcquireRequest) -> None:
        """Leave the queue, unless a permit comes at the last moment."""
        request.leaving = True
        self.put(CancelWait(request))

    def abandon(self, request: AcquireRequest) -> None:
        """Give up a request. A permit that it has or may still get is given back."""
        if request.permit is not None:
            request.permit.release()
        else:
            self.withdraw(request, PoolUnavailable())

    def withdraw(self, request: AcquireRequest, error: PermitError) -> None:
        """Refuse a request that the store may know of, or grant yet."""
        if not request.over:
            self._refuse(request, error)
            if request.sent:
                self.put(Release(request.id, withdrawn=True))

    def refuse_all(self, error: Callable[[], PermitError]) -> None:
        """Refuse every request."""
        for request in list(self._open.values()):
            self.withdraw(request, error())

    def end_lease(self) -> None:
        """Refuse the requests that the store may know under a lease that has ended, and drop their releases."""
        for request in [request for request in self._open.values() if request.sent]:
            self._refuse(request, PoolUnavailable())
        self._queue = deque(request for request in self._queue if isinstance(request, AcquireRequest | Query))
        self._set_aside.clear()
        self._wake()

    def refuse_out_of_touch(self) -> None:
        """Refuse all but the waiters, for the store cannot be asked. Keep what must be told to it later."""
        requests = self._all()
        self._queue.clear()
        self._set_aside.clear()
        self._unsaid.clear()
        self._queue.extend(request for request in requests if isinstance(request, Release))
        for request in requests:
            if isinstance(request, Query):
                request.tell(None)
        for waiter in list(self._open.values()):
            if waiter.leaving:
                self.withdraw(waiter, PermitTimeout(waiter.place))
            elif not waiter.waiting:
                self.withdraw(waiter, PoolUnavailable())

    def stop(self) -> None:
        """Refuse all requests, for good."""
        self.refuse_all(PoolUnavailable)
        for request in self._all():
            if isinstance(request, Query):
                request.tell(None)
        self._deadlines.stop()

    def places(self) -> dict[AcquireRequest, Counter[str]]:
        """Return where each request is that is not over, and how often."""
        where: dict[AcquireRequest, Counter[str]] = {request: Counter() for request in self._open.values()}
        for place, requests in (
            ("queue", self._queue),
            ("under way", self._under_way()),
            ("set aside", self._set_aside),
            ("about to be answered", [request for request, *_ in self._unsaid]),
            ("waiting", self.waiters()),
        ):
            for request in requests:
                if isinstance(request, AcquireRequest) and request in where:
                    where[request][place] += 1
        return where

    def _grant(self, request: AcquireRequest, lease: Lease, ticket: int) -> None:
        self._open.pop(request.id, None)  # as in `_forget`
        if request.ticket:
            self._deadlines.discard(request)
        request.grant(RedisPermit(request.id, request.client_id, ticket, lease, self._release))

    def _release(self, permit: RedisPermit) -> None:
        self._queue.append(Release(permit.id))
        self._wake()

    def _refuse(self, request: AcquireRequest, error: PermitError) -> None:
        self._forget(request)
        request.refuse(error)

    def _forget(self, request: AcquireRequest) -> None:
        self._open.pop(request.id, None)
        if request.ticket:
            self._deadlines.discard(request)


def place_name_of(client_id: str, wait_id: str) -> str:
    """Return what the store calls a place: it tells neither whose it is, nor how to come back to it."""
    return blake2b(client_id.encode(), key=wait_id.encode(), digest_size=16).hexdigest()
