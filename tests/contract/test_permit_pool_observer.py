"""What every permit pool tells its observer: the one in memory, and Redis on a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from permits import PermitError, PermitPool, PermitRequest, PoolObserver
from permits.memory import MemoryPool
from permits.observer import OBSERVED
from permits.redis import PoolOperator, RedisPool
from tests.permits.parts import SECONDS, ask, hold, queue_up, until

OpenPool = Callable[..., Awaitable[PermitPool]]
News = tuple[str, object]
SHORTEST_SECONDS = 0.05  # that a wait is told to have taken


class Diary:
    """Writes down what it is told, and how long those who waited did."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.waits: list[float] = []
        self.pools: set[str] = set()

    def granted(self, pool: str, *, waited_seconds: float, queued: bool) -> None:
        self._note(pool, "granted", "waited" if queued else "at once")
        self.waits.append(waited_seconds)

    def timed_out(self, pool: str, *, waited_seconds: float) -> None:
        self._note(pool, "timed out", None)
        self.waits.append(waited_seconds)

    def refused(self, pool: str, reason: str) -> None:
        self._note(pool, "refused", reason)

    def lost(self, pool: str, permits: int) -> None:
        self._note(pool, "lost", permits)

    def failed(self, pool: str) -> None:
        self._note(pool, "failed", None)

    def _note(self, pool: str, what: str, detail: object) -> None:
        self.pools.add(pool)
        self.news.append((what, detail))


class Broken(Diary):
    """An observer with a bug."""

    def _note(self, pool: str, what: str, detail: object) -> None:
        raise RuntimeError(pool, what, detail)


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture(params=["memory", "redis"])
async def open_pool(request: pytest.FixtureRequest) -> AsyncIterator[OpenPool]:
    async with AsyncExitStack() as stack:

        async def fresh(observer: PoolObserver, **terms: Any) -> PermitPool:
            name = f"test-{uuid4().hex}"
            if request.param == "memory":
                return await stack.enter_async_context(MemoryPool(name, observer=observer, **terms))
            redis = Redis.from_url(request.getfixturevalue("redis_url"))
            stack.push_async_callback(redis.aclose)
            pool = await stack.enter_async_context(RedisPool(name, redis=redis, observer=observer, **terms))
            await PoolOperator(name, redis).trust()
            return pool

        yield fresh


async def refusal(pool: PermitPool, client_id: str, wait_seconds: float = SECONDS) -> str:
    """AcquireRequest, expect to be refused, and return the code."""
    with pytest.raises(PermitError) as refused:
        await pool.acquire(client_id, wait_seconds=wait_seconds)
    return refused.value.code


async def test_a_grant_at_once_and_one_after_waiting_are_told_apart(open_pool: OpenPool, diary: Diary) -> None:
    pool = await open_pool(diary, capacity=1)
    (permit,) = await hold(pool, "anna")
    (waiting,) = await queue_up(pool, "ben")
    assert diary.news == [("granted", "at once")]
    await asyncio.sleep(2 * SHORTEST_SECONDS)
    permit.release()
    (await waiting).release()
    assert diary.news == [("granted", "at once"), ("granted", "waited")]
    assert diary.waits[0] >= 0
    assert diary.waits[1] >= SHORTEST_SECONDS
    assert diary.pools == {pool.name}


@pytest.mark.parametrize("wait_seconds", [0, SHORTEST_SECONDS], ids=["now-or-never", "in-line"])
async def test_nothing_free_in_time(open_pool: OpenPool, diary: Diary, wait_seconds: float) -> None:
    pool = await open_pool(diary, capacity=1)
    await hold(pool, "anna")
    assert await refusal(pool, "ben", wait_seconds) == "cluster_full"
    assert diary.news[1:] == [("timed out", None)]
    assert diary.waits[1] >= wait_seconds


async def test_requests_without_a_task_are_told_of_as_calls_are(open_pool: OpenPool, diary: Diary) -> None:
    pool = await open_pool(diary, capacity=1, per_client=1)
    settled: asyncio.Queue[PermitRequest] = asyncio.Queue()

    def ask_for(client_id: str, wait_seconds: float = SECONDS) -> None:
        pool.request(client_id, wait_seconds=wait_seconds, settled=settled.put_nowait)

    ask_for("anna")
    permit = (await settled.get()).result()
    for client_id, wait_seconds in (("anna", SECONDS), ("ben", 0)):
        ask_for(client_id, wait_seconds)
        await settled.get()
    ask_for("carl")
    await until(pool, lambda state: state.waiting == 1)
    permit.release()
    (await settled.get()).result().release()
    assert diary.news == [
        ("granted", "at once"),
        ("refused", "client_limit"),
        ("timed out", None),
        ("granted", "waited"),
    ]


async def test_refusals_are_told_by_their_codes(open_pool: OpenPool, diary: Diary) -> None:
    pool = await open_pool(diary, capacity=1, per_client=1, max_waiting=0)
    await hold(pool, "anna")
    codes = [await refusal(pool, "anna"), await refusal(pool, "ben")]
    await pool.close()
    codes.append(await refusal(pool, "carl"))
    assert codes == ["client_limit", "line_full", "draining"]
    assert diary.news[1:] == [("refused", code) for code in codes]


async def test_closing_refuses_those_in_line(open_pool: OpenPool, diary: Diary) -> None:
    pool = await open_pool(diary, capacity=1)
    await hold(pool, "anna")
    asking = await queue_up(pool, "ben", "carl")
    await pool.close()
    await asyncio.gather(*asking, return_exceptions=True)
    assert diary.news[1:] == [("refused", "draining")] * 2


async def test_who_stops_waiting_is_no_news(open_pool: OpenPool, diary: Diary) -> None:
    pool = await open_pool(diary, capacity=1)
    (permit,) = await hold(pool, "anna")
    (waiting,) = await queue_up(pool, "ben")
    waiting.cancel()
    await asyncio.wait([waiting])
    permit.release()
    assert diary.news == [("granted", "at once")]


async def test_an_observer_with_a_bug_harms_nobody(open_pool: OpenPool, caplog: pytest.LogCaptureFixture) -> None:
    pool = await open_pool(Broken(), capacity=1, per_client=1)
    (permit,) = await hold(pool, "anna")
    assert await refusal(pool, "anna") == "client_limit"
    assert await refusal(pool, "ben", 0) == "cluster_full"
    waiting = ask(pool, "ben")
    permit.release()
    assert (await waiting).valid()
    assert sum(record.name == "permits.observer" for record in caplog.records) == 4


async def test_permits_that_were_lost_are_counted_and_those_given_back_are_not(redis_url: str, diary: Diary) -> None:
    name = f"test-{uuid4().hex}"
    async with (
        Redis.from_url(redis_url) as redis,
        RedisPool(name, redis=redis, capacity=3, lease_seconds=1.5, observer=diary) as pool,
    ):
        operator = PoolOperator(name, redis)
        await operator.trust()
        permits = await hold(pool, "anna", "ben", "carl")
        permits[0].release()
        [pod] = (await operator.show()).pods
        await operator.refuse(pod.name)
        async with asyncio.timeout(SECONDS):
            await permits[1].lost()
        assert diary.news[3:] == [("lost", 2)]
        permits[2].release()
    assert diary.news[3:] == [("lost", 2)]


async def test_a_store_that_is_away_is_a_refusal(diary: Diary) -> None:
    async with (
        Redis.from_url("redis://127.0.0.1:1/0") as redis,
        RedisPool("away", redis=redis, capacity=1, observer=diary) as pool,
    ):
        assert await refusal(pool, "anna") == "limits_unavailable"
    assert diary.news == [("refused", "limits_unavailable")]


@pytest.mark.parametrize("missing", OBSERVED)
def test_an_observer_without_one_of_its_methods_is_refused(missing: str) -> None:
    methods = dict.fromkeys(OBSERVED, staticmethod(lambda *_, **__: None))
    del methods[missing]
    observer: Any = type("Partial", (), methods)()
    for make in (
        lambda: MemoryPool("a", capacity=1, observer=observer),
        lambda: RedisPool("a", redis=Redis(), capacity=1, observer=observer),
    ):
        with pytest.raises(TypeError, match=f"has no {missing}"):
            make()
