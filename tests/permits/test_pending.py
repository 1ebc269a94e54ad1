"""The requests of a pod that the store has not answered, without a store."""

import asyncio
import gc
import weakref

import pytest

from permits.errors import ClientLimitReached, PermitTimeout, PoolClosed, PoolLearning, PoolUnavailable, WaitReplaced
from permits.redis.lease import Lease
from permits.redis.pending import MAX_ATTEMPTS, MOST_SEARCHED, PendingRequests
from permits.redis.replies import Answer
from permits.redis.requests import AcquireRequest, CancelWait, Query, Release, Request
from permits.redis.scripts import WAS_REPLACED, Code, load_scripts

pytestmark = pytest.mark.looptime

LEASE_SECONDS = 10


class Passed(list[AcquireRequest]):
    """Requests whose deadlines have passed."""


class Pod:
    """Pending requests, and what is under way."""

    def __init__(self) -> None:
        self.under_way: list[Request] = []
        self.deadlines_passed = Passed()
        self.woken = 0
        self.pending = PendingRequests(
            lambda: self.under_way, on_deadline=self.deadlines_passed.append, wake=self._wake
        )
        self.lease = Lease("pod/1.1", lambda _: None, clock=asyncio.get_running_loop().time)
        self.lease.renewed(asyncio.get_running_loop().time(), LEASE_SECONDS)

    def _wake(self) -> None:
        self.woken += 1

    def begin(self, *, deadline: float | None = 100.0, wait_id: str | None = None) -> AcquireRequest:
        """Queue a request."""
        request = self.pending.new("anna", deadline, wait_id)
        self.pending.begin(request)
        return request

    def send(self) -> list[Request]:
        """Send what is queued, and have it under way no longer."""
        releases, others = self.pending.take_queue()
        return [*releases, *others]

    def answer(self, *answers: Answer, most: int | None = None) -> None:
        """Answer requests."""
        self.pending.take_answers(answers)
        self.pending.answer(self.lease, most)

    def waiter(self, ticket: int, *, wait_id: str | None = None) -> AcquireRequest:
        """Have a request stand in line."""
        request = self.begin(wait_id=wait_id)
        self.send()
        self.answer((request, Code.WAITING, ticket, ticket))
        return request

    def held(self, ticket: int) -> AcquireRequest:
        """Have a request granted."""
        request = self.begin()
        self.send()
        self.answer((request, Code.GRANTED, ticket, 0))
        return request


@pytest.fixture
async def pod() -> Pod:
    return Pod()


async def test_what_is_queued_is_sent_once_releases_apart_and_only_for_those_who_still_ask(pod: Pod) -> None:
    asked, gone, query, release = pod.begin(), pod.begin(), Query(load_scripts().state), Release("held")
    pod.pending.put(query)
    pod.pending.put(release)
    assert pod.woken == 4
    pod.pending.abandon(gone)
    assert pod.woken == 4, "the store never knew of it"
    assert pod.pending.take_queue() == ([release], [asked, query])
    assert (asked.sent, gone.sent, gone.over) == (True, False, True)
    assert not pod.pending.queued
    assert pod.send() == []


async def test_answers_are_given_in_their_order_and_as_many_as_wanted(pod: Pod) -> None:
    granted, waits, learns, full = [pod.begin() for _ in range(4)]
    pod.send()
    pod.answer(
        (granted, Code.GRANTED, 5, 0),
        (waits, Code.WAITING, 6, 2),
        (learns, Code.LEARNING, 1500, 3),
        (full, Code.FULL, 0, 4),
        most=2,
    )
    assert (granted.over, waits.waiting, waits.place) == (True, True, 2)
    assert granted.result().ticket == 5
    assert granted.result().valid()
    assert pod.pending.somebody_waits
    assert not learns.over
    assert [*pod.pending.places()[learns]] == ["about to be answered"]
    pod.pending.answer(pod.lease)
    assert isinstance(learns.error, PoolLearning)
    assert (learns.error.left_seconds, learns.error.place) == (1.5, 3)
    assert isinstance(full.error, PermitTimeout)
    assert full.error.place == 4
    assert pod.pending.ids() == {waits.id}
    await asyncio.sleep(200)
    assert pod.deadlines_passed == [waits], "one timer, although it was told twice where it stands"


async def test_a_waiter_that_is_refused_without_a_place_keeps_the_last_that_it_heard_of(pod: Pod) -> None:
    waits = pod.waiter(3)
    pod.answer((waits, Code.WAITING, 3, 2))
    pod.answer((waits, Code.LEFT, 0, 0))
    assert isinstance(waits.error, PermitTimeout)
    assert waits.error.place == 2
    await asyncio.sleep(200)
    assert pod.deadlines_passed == []


@pytest.mark.parametrize("ended", [False, True])
async def test_a_grant_counts_only_under_a_lease_that_does(pod: Pod, *, ended: bool) -> None:
    request = pod.begin()
    pod.send()
    if ended:
        pod.lease.end()
    pod.answer((request, Code.GRANTED, 5, 0))
    assert request.over is not ended


async def test_an_answer_that_comes_too_late_changes_nothing(pod: Pod) -> None:
    request = pod.begin()
    pod.send()
    pod.pending.withdraw(request, PoolClosed())
    (release,) = pod.send()
    assert isinstance(release, Release)
    assert (release.id, release.withdrawn) == (request.id, True)
    pod.pending.withdraw(request, PoolClosed())
    pod.answer((request, Code.GRANTED, 5, 0))
    assert isinstance(request.error, PoolClosed)
    assert request.permit is None
    assert not pod.pending.queued, "it is given back once"


async def test_what_is_handed_over_goes_to_those_who_wait(pod: Pod) -> None:
    one, two, three = (pod.waiter(ticket) for ticket in (1, 2, 3))
    pod.pending.hand_over(pod.lease, [(one.id, 1), (two.id, 0), (three.id, WAS_REPLACED), ("nobody", 4)])
    assert one.result().ticket == 1
    assert isinstance(two.error, ClientLimitReached)
    assert isinstance(three.error, WaitReplaced)
    assert pod.pending.ids() == set()
    assert not pod.pending.somebody_waits
    assert set(pod.lease.held) == {one.id}


async def test_a_permit_that_nobody_waits_for_any_more_goes_back(pod: Pod) -> None:
    request = pod.held(1)
    pod.pending.abandon(request)
    (release,) = pod.pending.queued_releases()
    assert (release.id, release.withdrawn) == (request.id, False)
    assert pod.pending.releases() == [release]


async def test_one_that_leaves_tells_the_store(pod: Pod) -> None:
    request = pod.waiter(1)
    pod.pending.leave_queue(request)
    (leave,) = pod.send()
    assert isinstance(leave, CancelWait)
    assert (leave.target, request.leaving, request.waiting) == (request, True, True)


async def test_a_lost_notice_is_searched_for_among_the_first_that_stay(pod: Pod) -> None:
    late, early, leaving, middle = (pod.waiter(ticket) for ticket in (9, 2, 1, 5))
    pod.pending.leave_queue(leaving)
    pod.send()
    pod.woken = 0
    pod.pending.search(2)
    assert pod.woken == 1
    pod.pending.search(3)
    assert pod.send() == [early, middle, late], "each is asked for once"


async def test_those_who_may_have_come_back_to_an_older_place_take_turns(pod: Pod) -> None:
    named = [pod.waiter(ticket, wait_id=f"wait-{ticket}") for ticket in range(1, MOST_SEARCHED + 2)]
    plain = pod.waiter(MOST_SEARCHED + 2)
    pod.pending.search(1)
    assert pod.send() == [plain, *named[: MOST_SEARCHED - 1]]
    pod.pending.search(1)
    assert pod.send() == [plain, *named[MOST_SEARCHED - 1 :], *named[: MOST_SEARCHED - 3]]


async def test_what_was_set_aside_goes_first_and_is_refused_after_so_many_incarnations(pod: Pod) -> None:
    waits, unlucky = pod.waiter(1), pod.begin()
    pod.send()
    pod.pending.set_aside([waits])
    for _ in range(MAX_ATTEMPTS - 1):
        pod.pending.set_aside([unlucky, Release("moot")])
        assert pod.pending.places()[unlucky] == {"set aside": 1}
        pod.pending.ask_next_incarnation()
        pod.pending.end_lease()
        assert not unlucky.over
        later = pod.begin()
        assert pod.send() == [unlucky, later]
        pod.pending.withdraw(later, PoolClosed())
        pod.send()
    assert isinstance(waits.error, PoolUnavailable), "its place is lost"
    pod.pending.set_aside([unlucky])
    pod.pending.ask_next_incarnation()
    assert not pod.pending.queued
    pod.pending.end_lease()
    assert isinstance(unlucky.error, PoolUnavailable)


async def test_what_was_set_aside_is_asked_again_in_its_order(pod: Pod) -> None:
    first, second = pod.begin(), pod.begin()
    pod.send()
    third = pod.begin()
    pod.pending.set_aside([first])
    pod.pending.set_aside([second])
    pod.pending.queue_again()
    assert pod.send() == [first, second, third]
    pod.pending.queue_again()
    assert not pod.pending.queued


async def test_the_end_of_a_lease_makes_releases_moot_and_leaves_who_was_not_sent(pod: Pod) -> None:
    sent, query = pod.begin(), Query(load_scripts().state)
    pod.send()
    unsent = pod.begin()
    pod.pending.put(Release("moot"))
    pod.pending.put(query)
    pod.pending.set_aside([Release("moot, too")])
    pod.woken = 0
    pod.pending.end_lease()
    assert isinstance(sent.error, PoolUnavailable)
    assert pod.woken == 1
    assert pod.pending.releases() == []
    assert pod.send() == [unsent, query]
    query.tell(None)


async def test_out_of_touch_only_those_in_line_stay_and_what_must_be_told_is_kept(pod: Pod) -> None:
    waits, leaving, sent = pod.waiter(1), pod.waiter(2), pod.begin()
    pod.pending.leave_queue(leaving)
    query, queued_query = Query(load_scripts().state), Query(load_scripts().state)
    pod.under_way = [*pod.send(), Release("under way"), query]
    queued = pod.begin()
    pod.pending.put(queued_query)
    pod.pending.put(Release("queued"))
    pod.pending.set_aside([Release("set aside")])
    pod.pending.take_answers([(sent, Code.GRANTED, 3, 0)])
    pod.pending.refuse_out_of_touch()
    pod.under_way = []
    assert not waits.over
    assert isinstance(leaving.error, PermitTimeout)
    assert leaving.error.place == 2
    assert isinstance(sent.error, PoolUnavailable)
    assert isinstance(queued.error, PoolUnavailable)
    assert [await each.answer for each in (query, queued_query)] == [None, None]
    kept = pod.pending.releases()
    assert len(kept) == 5
    assert [(release.id, release.withdrawn) for release in kept[:3]] == [
        (name, False) for name in ("set aside", "under way", "queued")
    ]
    assert {(release.id, release.withdrawn) for release in kept[3:]} == {(leaving.id, True), (sent.id, True)}
    pod.pending.answer(pod.lease)
    assert pod.lease.held == {}, "no answer is left"


async def test_each_request_that_is_not_over_is_in_one_place(pod: Pod) -> None:
    waits, sent = pod.waiter(1), pod.begin()
    pod.under_way = pod.send()
    queued = pod.begin()
    over = pod.held(2)
    pod.under_way = [sent]
    pod.pending.put(queued)
    withdrawn = pod.begin()
    pod.pending.withdraw(withdrawn, PoolClosed())
    places = pod.pending.places()
    assert over not in places
    assert withdrawn not in places, "it is over, although it stands in the queue"
    assert {request: dict(where) for request, where in places.items()} == {
        waits: {"waiting": 1},
        sent: {"under way": 1},
        queued: {"queue": 1},
    }


async def test_once_stopped_everybody_is_refused_and_no_timer_is_left(pod: Pod) -> None:
    waits, queued, query = pod.waiter(1), pod.begin(), Query(load_scripts().state)
    pod.pending.put(query)
    pod.pending.stop()
    assert isinstance(waits.error, PoolUnavailable)
    assert isinstance(queued.error, PoolUnavailable)
    assert await query.answer is None
    await asyncio.sleep(200)
    assert pod.deadlines_passed == []


async def test_no_timer_is_left_of_one_that_was_stopped() -> None:
    pod = Pod()
    pod.waiter(1)
    pod.pending.stop()
    pod.lease.end()
    gone = weakref.ref(pod.deadlines_passed)
    del pod
    gc.collect()
    assert gone() is None


async def test_ids_are_those_of_nobody_else_and_places_tell_nothing(pod: Pod) -> None:
    other = Pod()
    requests = [each.pending.new(client, None, "wait") for each in (pod, other) for client in ("anna", "ben")]
    assert len({request.id for request in requests}) == 4
    names = [request.place_name for request in requests]
    assert names[:2] == names[2:]
    assert len(set(names)) == 2
    assert not any("anna" in name or "wait" in name for name in names)
    assert pod.pending.new("anna", None).place_name == ""
