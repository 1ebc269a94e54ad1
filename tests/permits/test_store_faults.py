"""A store that is away, silent, restarted or emptied; a network that loses, delays and doubles."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from devtools.ports import free_port
from devtools.valkey import ValkeyServer, run_valkey
from permits import Permit, PermitPool, PermitTimeout, PoolLearning, PoolState, PoolUnavailable, Reason, Verdict
from permits.redis import PoolOperator
from permits.redis.lease import RedisPermit
from tests.permits.conftest import OpenPod
from tests.permits.gate import Gate, Valve, open_gate
from tests.permits.parts import SECONDS, ask, hold, queue_up, until

LONG = 60.0
"""A lease whose heartbeats come later than a test waits for anything."""


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[ValkeyServer]:
    with run_valkey(tmp_path) as valkey:
        yield valkey
        valkey.process.send_signal(signal.SIGCONT)


async def test_a_store_that_falls_silent_for_a_lease_loses_the_permits_and_gives_new_ones_when_it_speaks(
    open_pod: OpenPod, own_store: ValkeyServer
) -> None:
    pool = await open_pod(own_store.url, lease_seconds=4)
    (permit,) = await hold(pool, "a")
    (waiter,) = await queue_up(pool, "b")
    own_store.process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(SECONDS):
        await permit.lost()
        assert not permit.valid()
        with pytest.raises(PoolUnavailable):
            await waiter
    with pytest.raises(PoolUnavailable):
        await pool.acquire("c", wait_seconds=SECONDS)
    own_store.process.send_signal(signal.SIGCONT)
    permit.release()
    assert (await back(pool)).held == 0
    assert (await pool.acquire("a", wait_seconds=SECONDS)).valid()


async def test_a_short_silence_loses_nothing(open_pod: OpenPod, own_store: ValkeyServer) -> None:
    pool = await open_pod(own_store.url, lease_seconds=LONG, answer_seconds=2)
    (permit,) = await hold(pool, "a")
    (waiter,) = await queue_up(pool, "b")
    own_store.process.send_signal(signal.SIGSTOP)
    with pytest.raises(PoolUnavailable):
        await pool.acquire("c", wait_seconds=SECONDS)
    permit.release()
    own_store.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(SECONDS):
        assert (await waiter).valid()
    assert (await back(pool)).clients == {"b": 1}


async def test_a_permit_is_invalid_before_another_pod_has_its_place(open_pod: OpenPod, redis_url: str) -> None:
    async with open_gate(redis_url) as gate:
        cut_off = await open_pod(gate.url, capacity=3, lease_seconds=4)
        pool = await open_pod(capacity=3, lease_seconds=4)
        permits = await hold(cut_off, "a", "a", "a")
        gate.valve.requests.clear()
        (first, *_) = [ask(pool, "b") for _ in range(3)]
        first.add_done_callback(lambda _: valid.extend(permit.valid() for permit in permits))
        valid: list[bool] = []
        async with asyncio.timeout(SECONDS):
            assert (await first).valid()
        assert valid == [False] * 3


@pytest.mark.parametrize("ask_it", [lambda pool: pool.acquire("a", wait_seconds=SECONDS), lambda pool: pool.peek("a")])
async def test_who_asks_a_silent_store_is_refused(
    open_pod: OpenPod, own_store: ValkeyServer, ask_it: Callable[[PermitPool], Awaitable[object]]
) -> None:
    pool = await open_pod(own_store.url, answer_seconds=1)
    own_store.process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(SECONDS):
        with pytest.raises(PoolUnavailable):
            await ask_it(pool)
        with pytest.raises(PoolUnavailable):
            await pool.state()


async def test_a_pod_that_starts_before_its_store_is_ready_when_that_is_there(
    open_pod: OpenPod, tmp_path: Path
) -> None:
    port = free_port()
    async with asyncio.timeout(SECONDS):
        pool = await open_pod(f"redis://127.0.0.1:{port}/0", lease_seconds=6)
    assert not pool.ready()
    for asked in (pool.acquire("a", wait_seconds=SECONDS), pool.peek("a"), pool.state()):
        with pytest.raises(PoolUnavailable):
            await asked
    with run_valkey(tmp_path, port):
        await back(pool)
        assert pool.ready()
        assert (await pool.acquire("a", wait_seconds=SECONDS)).valid()


async def test_an_emptied_store_learns_from_its_pods_and_grants_nothing_new_meanwhile(
    open_pod: OpenPod, own_store: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = [await open_pod(own_store.url, capacity=3, lease_seconds=6) for _ in range(2)]
    permits = [*await hold(one, "a"), *await hold(two, "b")]
    tickets = [permit.ticket for permit in permits]
    async with Redis.from_url(own_store.url) as redis:
        await redis.flushall()
    with pytest.raises(PoolLearning) as learning:
        await hold(one, "c")
    assert 0 < learning.value.left_seconds <= 6
    assert one.condition() is Reason.LIMITS_LEARNING
    assert 0 < one.learning_seconds() <= 6
    outlook = await one.peek("c")
    assert (outlook.verdict, outlook.learning_seconds > 0) == (Verdict.LEARNING, True)
    with pytest.raises(PoolLearning) as learning:
        await one.acquire("c", wait_seconds=0.05)
    assert learning.value.place == 1
    state = await until(two, lambda state: state.held == 2)
    assert (state.clients, state.capacity, state.learning_seconds > 1) == ({"a": 1, "b": 1}, 3, True)
    assert all(permit.valid() for permit in permits)
    newcomer = ask(one, "c")
    assert (await newcomer).ticket > max(tickets)
    assert (await one.state()).learning_seconds == 0
    assert (await one.state()).clients == {"a": 1, "b": 1, "c": 1}
    async with asyncio.timeout(SECONDS):
        while one.condition() is not None:  # noqa: ASYNC110 - a pool can only be asked
            await asyncio.sleep(0.01)
    assert one.learning_seconds() == 0
    assert "grants nothing new for " in caplog.text


async def test_while_learning_nothing_is_handed_on_and_then_it_goes_in_the_order_of_tickets(
    open_pod: OpenPod, own_store: ValkeyServer
) -> None:
    one, two = [await open_pod(own_store.url, lease_seconds=6) for _ in range(2)]
    (permit,) = await hold(one, "a")
    (first,), (second,) = await queue_up(two, "b"), await queue_up(one, "c")
    async with Redis.from_url(own_store.url) as redis:
        await redis.flushall()
    await until(one, lambda state: (state.held, state.waiting) == (1, 2))
    permit.release()
    state = await until(one, lambda state: state.held == 0)
    assert (state.waiting, state.learning_seconds > 0) == (2, True)
    async with asyncio.timeout(SECONDS):
        handed = await first
    assert (await one.state()).learning_seconds == 0
    assert not second.done()
    handed.release()
    async with asyncio.timeout(SECONDS):
        assert (await second).ticket > handed.ticket > permit.ticket


async def test_what_a_pod_did_not_declare_is_lost_there_before_the_store_has_learned(
    open_pod: OpenPod, own_store: ValkeyServer
) -> None:
    async with open_gate(own_store.url) as gate:
        pool, cut_off = [await open_pod(url, lease_seconds=4) for url in (own_store.url, gate.url)]
        (permit,) = await hold(cut_off, "a")
        gate.valve.requests.clear()
        async with Redis.from_url(own_store.url) as redis:
            await redis.flushall()
        waiter = ask(pool, "b")
        waiter.add_done_callback(lambda _: valid.append(permit.valid()))
        valid: list[bool] = []
        async with asyncio.timeout(SECONDS):
            assert (await waiter).valid()
        assert valid == [False]


async def test_capacity_by_the_settings_is_back_in_an_emptied_store(open_pod: OpenPod, own_store: ValkeyServer) -> None:
    pool = await open_pod(own_store.url, capacity=7, lease_seconds=6)
    async with Redis.from_url(own_store.url) as redis:
        await redis.flushall()
    state = await until(pool, lambda state: state.capacity > 0)
    assert state.capacity == 7


@pytest.mark.parametrize("remembers", [True, False], ids=["with-its-data", "without-its-data"])
async def test_a_store_that_is_started_again_learns(open_pod: OpenPod, tmp_path: Path, remembers: bool) -> None:
    with run_valkey(tmp_path, appendonly=remembers) as before:
        pool = await open_pod(before.url, capacity=2, lease_seconds=9, answer_seconds=1)
        (permit,) = await hold(pool, "a")
    with run_valkey(tmp_path, before.port, appendonly=remembers):
        await back(pool)
        with pytest.raises(PoolLearning):
            await hold(pool, "b")
        state = await until(pool, lambda state: state.held == 1)
        assert (state.clients, state.learning_seconds > 0) == ({"a": 1}, True)
        assert permit.valid()


async def test_a_permit_whose_notice_was_lost_is_found_by_the_heartbeat(open_pod: OpenPod, redis_url: str) -> None:
    async with open_gate(redis_url) as gate:
        one, two = await open_pod(lease_seconds=LONG), await open_pod(gate.url, lease_seconds=6)
        (permit,) = await hold(one, "a")
        asking = await queue_up(two, "b", "c")
        gate.drops_notices = True
        permit.release()
        async with asyncio.timeout(SECONDS):
            assert (await asking[0]).valid()
        assert gate.notices_dropped == 1
        assert (await one.state()).clients == {"b": 1}
        assert not asking[1].done()


async def test_a_connection_that_breaks_in_the_middle_costs_nobody_a_permit(open_pod: OpenPod, redis_url: str) -> None:
    async with open_gate(redis_url) as gate:
        pool = await open_pod(gate.url, capacity=2, lease_seconds=LONG, answer_seconds=SECONDS)
        (permit,) = await hold(pool, "a")
        gate.valve.replies.clear()
        asking = ask(pool, "b")
        await gate.next_request()
        gate.cut()
        async with asyncio.timeout(SECONDS):
            assert (await asking).valid()
        assert permit.valid()
        assert (await pool.state()).clients == {"a": 1, "b": 1}


async def test_a_request_that_arrives_after_its_pod_gave_up_on_it_is_refused(
    open_pod: OpenPod, redis_url: str, store: "Redis"
) -> None:
    async with open_gate(redis_url) as gate:
        pool = await open_pod(gate.url, lease_seconds=LONG, answer_seconds=1)
        late, gate.valve = gate.valve, Valve()
        late.requests.clear()
        with pytest.raises(PoolUnavailable):
            await pool.acquire("a", wait_seconds=SECONDS)
        (permit,) = await _served_again(pool)
        permit.release()
        served = (await store.info("commandstats"))["cmdstat_evalsha"]["calls"]
        late.open()
        async with asyncio.timeout(SECONDS):
            while (await store.info("commandstats"))["cmdstat_evalsha"]["calls"] <= served:
                await pool.peek("a")
        assert (await pool.state()).held == 0


@pytest.mark.parametrize("forgotten", [False, True], ids=["known", "forgotten"])
async def test_who_leaves_the_line_while_the_pod_looks_for_a_lost_notice_leaves_nothing_behind(
    open_pod: OpenPod, own_store: ValkeyServer, forgotten: bool
) -> None:
    async with open_gate(own_store.url) as gate, Redis.from_url(own_store.url) as redis:
        one = await open_pod(own_store.url, lease_seconds=LONG)
        two = await open_pod(gate.url, lease_seconds=3)
        gate.drops_notices = True
        await gate.next_request()  # a heartbeat; the next one comes a second later
        (permit,) = await hold(one, "a")
        (stays,), (leaves,) = await queue_up(two, "b"), await queue_up(two, "c", wait_seconds=1.3)
        permit.release()
        await until(one, lambda state: state.waiting == 1)
        gate.valve.replies.clear()
        await gate.next_request()
        await asyncio.wait([leaves], timeout=0.5)  # it cannot end, but it can begin to leave
        if forgotten:
            await _forget_behind_a_heartbeat(gate, redis)
        gate.valve.open()
        async with asyncio.timeout(SECONDS):
            await asyncio.wait([leaves])
            await PoolOperator(one.name, redis).trust()
            ends = await asyncio.gather(stays, leaves, return_exceptions=True)
        assert isinstance(ends[1], PoolLearning if forgotten else PermitTimeout)
        assert isinstance(ends[0], RedisPermit)
        state = await two.state()
        assert (state.clients, state.waiting) == ({"b": 1}, 0)


async def _forget_behind_a_heartbeat(gate: Gate, redis: "Redis") -> None:
    """Let the reply of the heartbeat through, and empty the store before the next request gets there."""
    gate.valve.requests.clear()
    gate.valve.replies.set()
    await gate.next_request()
    await redis.flushall()


async def _served_again(pool: PermitPool) -> tuple[Permit, ...]:
    await back(pool)
    return await hold(pool, "b")


async def back(pool: PermitPool) -> PoolState:
    """Wait until the store can be asked again."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await pool.state()
            except PoolUnavailable:
                await asyncio.sleep(0.01)
