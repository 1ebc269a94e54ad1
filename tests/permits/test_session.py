"""The session of a pod with its store, told by hand what comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from permits.redis import PoolOperator
from permits.redis.calls import Call
from permits.redis.channel import Channel
from permits.redis.keys import keys_of
from permits.redis.pending import PendingRequests
from permits.redis.replies import CallResult
from permits.redis.requests import AcquireRequest, Query, Release
from permits.redis.scripts import load_scripts
from permits.redis.session import PodSession
from permits.redis.store import Store, Terms
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, hold

SCRIPTS = load_scripts()
LONG = 60.0
"""A lease whose heartbeats come later than a test waits for anything."""


@pytest.fixture
async def calls(store: "Redis", name: str) -> AsyncIterator[Store]:
    """Return the store as a pod calls it."""
    terms = Terms(capacity=1, per_client=None, max_waiting=9, lease_seconds=LONG)
    calls = Store(Channel(store, SCRIPTS.all(), name), SCRIPTS, name, terms)
    yield calls
    await calls.close()
    await store.delete(*keys_of(name))


def make_session(calls: Store, wake: Callable[[], None] = lambda: None) -> tuple[PendingRequests, PodSession]:
    """Return a session whose test does what a dispatch would do, and its requests."""
    pending = PendingRequests(calls.under_way, on_deadline=lambda _: None, wake=wake)
    session = PodSession(
        calls, pending, "pod/1", lease_seconds=LONG, on_lost=lambda _: None, on_news=lambda _: None, wake=wake
    )
    return pending, session


async def test_one_that_is_over_ends_with_the_last_answer_whatever_that_is(calls: Store) -> None:
    _, session = make_session(calls)
    try:
        lease = await session.ready()
        over = CallResult(lease)
        over.gone = True
        query = Query(SCRIPTS.peek, ("anna", 0, 9, ""))
        await calls.send(Call(lease, [query], beat=False))
        session.take_in(over)
        assert lease.valid()
        async with asyncio.timeout(SECONDS):
            session.take_in(await calls.receive())
        assert await query.answer
        assert not lease.valid()
    finally:
        session.stop()


async def test_a_lease_that_ends_while_the_store_names_what_it_has_gives_nothing_back(
    calls: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, session = make_session(calls)
    try:
        lease = await session.ready()
        unknown = AcquireRequest("unknown", "anna", asyncio.get_running_loop().time() + LONG)
        await calls.send(Call(lease, [unknown], beat=True))
        session.take_in(await calls.receive())
        ask = calls.holdings

        async def holdings(incarnation: str, epoch: str) -> tuple[set[str], set[str]] | None:
            found = await ask(incarnation, epoch)
            lease.end()
            return found

        monkeypatch.setattr(calls, "holdings", holdings)
        await session.ready()
        assert not lease.valid()
        assert list(pending.queued_releases()) == []
        assert "which nobody holds" not in caplog.text
    finally:
        session.stop()


async def test_what_is_about_to_be_given_back_is_not_given_back_twice(
    calls: Store, caplog: pytest.LogCaptureFixture
) -> None:
    pending, session = make_session(calls)
    try:
        lease = await session.ready()
        deadline = asyncio.get_running_loop().time() + LONG
        given_back = pending.new("anna", deadline)
        unknown = [pending.new("ben", deadline) for _ in range(8)]
        await calls.send(Call(lease, [given_back, *unknown], beat=True))
        session.take_in(await calls.receive())
        pending.put(Release(given_back.id))
        await session.ready()
        first, *others = [release.id for release in pending.queued_releases()]
        assert first == given_back.id
        assert set(others) == {request.id for request in unknown}
        assert len(others) == len(unknown)
        (warning,) = [record.getMessage() for record in caplog.records if "which nobody holds" in record.getMessage()]
        assert "giving back 8 of pod/1.1" in warning
        assert any(request.id in warning for request in unknown)
        assert len(warning) < 300
    finally:
        session.stop()


async def test_a_store_that_has_more_to_do_gets_a_heartbeat_at_once(calls: Store) -> None:
    wake = asyncio.Event()
    _, session = make_session(calls, wake=wake.set)
    try:
        result = CallResult(await session.ready())
        session.beat_due = False
        result.more = True
        session.take_in(result)
        assert session.beat_due
        assert wake.is_set()
    finally:
        session.stop()


async def test_what_a_lease_that_is_over_left_unserved_is_not_sent_again(calls: Store) -> None:
    pending, session = make_session(calls)
    try:
        lease = await session.ready()
        session.take_in(CallResult(lease, unserved=[Release("one")], forgotten=True))
        assert [release.id for release in pending.releases()] == ["one"]
        lease.end()
        session.take_in(CallResult(lease, unserved=[Release("two")], forgotten=True))
        assert pending.releases() == []
        assert await session.ready() is not lease
    finally:
        session.stop()


async def test_a_heartbeat_that_agrees_needs_no_closer_look(calls: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pending, session = make_session(calls)
    looks: list[str] = []

    async def look(incarnation: str, epoch: str) -> None:
        looks.append(incarnation)

    monkeypatch.setattr(calls, "holdings", look)
    try:
        lease = await session.ready()
        request = pending.new("anna", asyncio.get_running_loop().time() + LONG)
        pending.begin(request)
        await calls.send(Call(lease, [request], beat=True))
        pending.take_queue()
        result = await calls.receive()
        pending.take_answers(result.answers)
        pending.answer(lease)
        session.take_in(result)
        assert pending.waiters() == [request]
        await session.ready()
        assert looks == []
        pending.abandon(request)
        pending.take_queue()  # the store hears nothing of it, and has one waiter more
        await calls.send(Call(lease, [], beat=True))
        session.take_in(await calls.receive())
        await session.ready()
        assert looks == [lease.incarnation]
    finally:
        pending.stop()
        session.stop()


async def test_who_asks_as_the_store_has_let_the_pod_go_is_served_all_the_same(
    open_pod: OpenPod, calls: Store, store: "Redis", name: str
) -> None:
    pool = await open_pod(lease_seconds=LONG)
    (lost,) = await hold(pool, "anna")
    (gone,) = (await PoolOperator(name, store).show()).pods
    await calls.leave(f"{gone.name}.{gone.incarnation}")
    permit = await pool.acquire("ben", wait_seconds=SECONDS)
    assert (permit.valid(), lost.valid()) == (True, False)
    (back,) = (await PoolOperator(name, store).show()).pods
    assert (back.name, back.incarnation, back.held) == (gone.name, gone.incarnation + 1, 1)
