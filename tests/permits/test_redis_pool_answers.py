"""What a pool of many pods makes of what its store answers. The store is the test's."""

import asyncio
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import Outlook, PermitRequest, PoolClosed, PoolMisuse, PoolUnavailable, Reason, Verdict
from permits import pool as base
from permits.redis import RedisPool
from permits.redis import pool as module
from permits.redis.channel import Reply
from permits.redis.requests import AcquireRequest, Query
from permits.redis.scripts import Code
from tests.contract.test_permit_pool_observer import Diary


class FakeStore:
    """Stands for all that belongs to an open pool, and for its store.

    Attributes:
        replies: to the next queries; None: the store cannot be asked.
        asked: what the queries said.
        requests: those who ask for a permit.
        ticket: the number that they get.
        refused: with what all requests were.
        reason: the condition of the pool, with 7 s left.
    """

    def __init__(self) -> None:
        self.replies: deque[Reply | None] = deque()
        self.asked: list[Sequence[str | int]] = []
        self.requests: list[AcquireRequest] = []
        self.ticket = 0
        self.reason: Reason | None = None
        self.stops = 0
        self.pending = SimpleNamespace(new=self._new, refuse_all=self._refuse_all)
        self.refused: list[object] = []
        self.dispatch = self

    def query(self, query: Query) -> None:
        self.asked.append(query.argv)
        query.tell(self.replies.popleft())

    def _new(self, client_id: str, deadline: float | None, wait_id: str | None) -> AcquireRequest:
        self.requests.append(AcquireRequest("id", client_id, deadline, wait_id or ""))
        return self.requests[-1]

    def _refuse_all(self, error: object) -> None:
        self.refused.append(error)

    async def acquire(self, request: AcquireRequest) -> None:
        self.begin(request)

    def begin(self, request: AcquireRequest) -> None:
        request.ticket = self.ticket
        permit: Any = "permit"
        request.grant(permit)

    def ready(self) -> bool:
        return self.reason is None

    def condition(self) -> Reason | None:
        return self.reason

    def learning_seconds(self) -> float:
        return 7.0

    async def tried(self) -> None:
        pass

    async def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = FakeStore()
    monkeypatch.setattr(module, "OpenPool", lambda *_, **__: store)
    return store


def make(**terms: Any) -> RedisPool:
    return RedisPool("answers", redis=Redis(), capacity=3, **terms)


async def test_a_peek_is_told_in_seconds(store: FakeStore) -> None:
    store.replies += [[Code.WAITING, 3, 1500, 2500, 3500], [Code.LEARNING, 0, 1500, 0, 0]]
    async with make(max_waiting=9) as pool:
        assert await pool.peek("anna", wait_id="tab") == Outlook(Verdict.WAIT, 3, 1.5, 2.5, 3.5)
        assert await pool.peek("anna") == Outlook(Verdict.LEARNING, 0, 1.5, None, 0)
    (*first, place_name), second = store.asked
    assert first == ["anna", 0, 9]
    assert place_name
    assert list(second) == ["anna", 0, 9, ""]


async def test_a_peek_asks_with_the_limit_of_a_client(store: FakeStore) -> None:
    store.replies += [[Code.CLIENT_LIMIT, 0, 0, 0, 0]]
    async with make(per_client=2, max_waiting=9) as pool:
        assert (await pool.peek("anna")).verdict is Verdict.CLIENT_LIMIT
    assert list(store.asked[0]) == ["anna", 2, 9, ""]


async def test_a_state_is_read_until_there_are_no_more_clients(store: FakeStore) -> None:
    store.replies += [[2, 3, 5, 1, 1500, 4, b"7", [b"anna", b"1"]], [0, 0, 0, 0, 0, 0, b"0", [b"ben", b"1"]]]
    async with make() as pool:
        state = await pool.state()
    assert dict(state.clients) == {"anna": 1, "ben": 1}
    assert (state.held, state.capacity, state.high_water, state.waiting) == (2, 3, 5, 1)
    assert (state.learning_seconds, state.reaped) == (1.5, 4)
    assert [cursor for cursor, _ in store.asked] == ["0", "7"]


async def test_a_state_without_clients_asks_for_none(store: FakeStore) -> None:
    store.replies += [[0, 3, 0, 0, 0, 0, b"0", []]]
    async with make() as pool:
        assert dict((await pool.state(clients=False)).clients) == {}
    assert [cursor for cursor, _ in store.asked] == [""]


async def test_a_store_that_cannot_be_asked_is_unavailable(store: FakeStore) -> None:
    store.replies += [None, None]
    async with make() as pool:
        for look in (pool.state(), pool.peek("anna")):
            with pytest.raises(PoolUnavailable):
                await look


async def test_only_a_pool_that_learns_says_how_long(store: FakeStore) -> None:
    pool = make()
    assert (pool.ready(), pool.condition(), pool.learning_seconds()) == (False, Reason.LIMITS_UNAVAILABLE, 0)
    async with pool:
        assert (pool.ready(), pool.condition(), pool.learning_seconds()) == (True, None, 0)
        store.reason = Reason.LIMITS_UNAVAILABLE
        assert (pool.ready(), pool.condition(), pool.learning_seconds()) == (False, Reason.LIMITS_UNAVAILABLE, 0)
        store.reason = Reason.LIMITS_LEARNING
        assert (pool.condition(), pool.learning_seconds()) == (Reason.LIMITS_LEARNING, 7)
        await pool.close()
        assert (pool.ready(), pool.condition(), pool.learning_seconds()) == (False, Reason.DRAINING, 0)
        assert store.refused == [PoolClosed]
        assert store.stops == 0
    assert store.stops == 1
    assert pool.condition() is Reason.DRAINING


async def test_a_pool_that_has_ended_drains(store: FakeStore) -> None:
    async with make() as pool:
        pass
    assert pool.condition() is Reason.DRAINING
    assert store.stops == 1


async def test_a_forked_process_leaves_the_pool_of_its_parent_alone(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as pool:
        monkeypatch.setattr(base, "_forks", base._forks + 1)
        assert (pool.ready(), pool.condition()) == (False, Reason.LIMITS_UNAVAILABLE)
    assert not store.refused
    assert store.stops == 0


async def test_a_pool_that_was_never_open_is_no_closed_one(store: FakeStore) -> None:
    pool = make()
    await pool.close()
    for call in (pool.peek("anna"), pool.state(), pool.acquire("anna", wait_seconds=0)):
        with pytest.raises(PoolMisuse, match="is not open"):
            await call
    with pytest.raises(PoolMisuse, match="is not open"):
        pool.request("anna", wait_seconds=0, settled=lambda _: None)


async def test_a_peek_for_no_client_is_refused(store: FakeStore) -> None:
    nobody: Any = None
    async with make() as pool:
        with pytest.raises(TypeError, match="client_id"):
            await pool.peek(nobody)
    assert not store.asked


@pytest.mark.parametrize(("ticket", "told"), [(0, "at once"), (1, "waited")])
async def test_a_grant_with_a_ticket_was_waited_for(store: FakeStore, ticket: int, told: str) -> None:
    store.ticket = ticket
    diary = Diary()
    settled: asyncio.Queue[PermitRequest] = asyncio.Queue()
    async with make(observer=diary) as pool:
        now = asyncio.get_running_loop().time()
        await pool.acquire("anna", wait_seconds=0)
        pool.request("ben", wait_seconds=0.5, settled=settled.put_nowait)
        await settled.get()
    assert diary.news == [("granted", told)] * 2
    first, second = store.requests
    assert first.deadline is None
    assert second.deadline is not None
    assert second.deadline >= now + 0.5


async def test_a_closed_pool_asks_nothing(store: FakeStore) -> None:
    async with make() as pool:
        await pool.close()
        for call in (pool.acquire("anna", wait_seconds=0), pool.peek("anna")):
            with pytest.raises(PoolClosed):
                await call
    assert not store.asked
    assert not store.requests or all(request.permit is None for request in store.requests)


async def test_a_pool_whose_opening_is_cancelled_is_closed_and_stopped(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "tried", asyncio.Event().wait)
    pool = make()
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert store.stops == 1
    assert pool.condition() is Reason.DRAINING
