"""Several pods, one pool: what they share, and what becomes of what a dead pod held."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from permits import ClientLimitReached, LineFull, Permit, PermitTimeout, Verdict
from permits.redis import PoolOperator, RedisPool
from tests.permits.conftest import OpenPod
from tests.permits.gate import open_gate
from tests.permits.parts import SECONDS, ask, hold, queue_up, until

LONG = 60.0
"""A lease whose heartbeats come later than a test waits for anything."""


async def test_pods_share_capacity_line_and_client_limits(open_pod: OpenPod) -> None:
    one, two = [await open_pod(capacity=3, per_client=2, max_waiting=2) for _ in range(2)]
    await hold(one, "anna", "ben")
    await hold(two, "anna")
    for pod in (one, two):
        with pytest.raises(ClientLimitReached):
            await pod.acquire("anna", wait_seconds=SECONDS)
        with pytest.raises(PermitTimeout):
            await hold(pod, "clara")
        assert (await pod.peek("clara")).verdict is Verdict.WAIT
    await queue_up(one, "clara")
    await queue_up(two, "dora")
    for pod in (one, two):
        with pytest.raises(LineFull):
            await pod.acquire("emil", wait_seconds=SECONDS)
    assert await one.state() == await two.state()
    assert (await one.state()).clients == {"anna": 2, "ben": 1}


async def test_the_line_is_one_whatever_pod_its_people_came_through(open_pod: OpenPod) -> None:
    pods = [await open_pod() for _ in range(3)]
    (permit,) = await hold(pods[0], "holder")
    asking = [(await queue_up(pods[n % 3], f"client-{n}"))[0] for n in range(9)]
    tickets = [permit.ticket]
    for index, task in enumerate(asking):
        permit.release()
        async with asyncio.timeout(SECONDS):
            permit = await task
        tickets.append(permit.ticket)
        assert not any(later.done() for later in asking[index + 1 :])
    assert tickets == sorted(set(tickets))


async def test_a_release_serves_a_waiter_of_another_pod_who_asks_for_nothing_meanwhile(
    open_pod: OpenPod, redis_url: str
) -> None:
    async with open_gate(redis_url) as gate:
        one, two = await open_pod(lease_seconds=LONG), await open_pod(gate.url, lease_seconds=LONG)
        (permit,) = await hold(one, "a")
        (waiter,) = await queue_up(two, "b")
        asked = gate.requests
        permit.release()
        async with asyncio.timeout(SECONDS):
            assert (await waiter).valid()
        assert gate.requests == asked


async def test_a_pod_that_leaves_gives_everything_back_at_once(open_pod: OpenPod, redis_url: str, name: str) -> None:
    stays = await open_pod(capacity=2, lease_seconds=LONG)
    async with (
        Redis.from_url(redis_url) as redis,
        RedisPool(name, redis=redis, capacity=2, lease_seconds=LONG) as leaves,
    ):
        permits = await hold(leaves, "a", "b")
        asking = await queue_up(leaves, "c")
        waiting = await queue_up(stays, "d", "e")
    async with asyncio.timeout(SECONDS):
        for waiter in waiting:
            assert (await waiter).valid()
        for permit in permits:
            await permit.lost()
            assert not permit.valid()
    assert asking[0].exception() is not None
    assert (await stays.state()).clients == {"d": 1, "e": 1}


async def test_what_a_killed_pod_held_comes_back_within_a_lease_and_a_half(
    open_pod: OpenPod, redis_url: str, name: str
) -> None:
    lease_seconds = 1.8
    pool = await open_pod(capacity=2, lease_seconds=lease_seconds)
    async with pod_process(redis_url, name, 2, lease_seconds) as (process, _):
        process.kill()
        await process.wait()
        for asking in [ask(pool, client_id, wait_seconds=1.5 * lease_seconds) for client_id in ("a", "b")]:
            assert (await asking).valid()
    assert (await pool.state()).clients == {"a": 1, "b": 1}


async def test_many_releases_are_few_calls_and_one_when_nobody_waits(open_pod: OpenPod, store: "Redis") -> None:
    pool = await open_pod(capacity=20, lease_seconds=LONG)
    names = [f"client {number}" for number in range(40)]
    permits = await hold(pool, *names[:20])
    waiting = await queue_up(pool, *names[20:])

    async def calls_of_releasing(permits: Iterable[Permit]) -> int:
        before = await script_calls(store)
        for permit in permits:
            permit.release()
        await pool.state()
        return await script_calls(store) - before - 1

    assert await calls_of_releasing(permits) == 3  # of 8, 8 and 4
    served = [await task for task in waiting]
    assert [permit.client_id for permit in sorted(served, key=lambda permit: permit.ticket)] == names[20:]
    assert await calls_of_releasing(served) == 1
    assert (await pool.state()).held == 0


async def script_calls(store: "Redis") -> int:
    stats = await store.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


async def test_a_paused_pod_wakes_up_with_nothing_and_waits_its_turn(
    open_pod: OpenPod, redis_url: str, name: str
) -> None:
    pool = await open_pod(capacity=2, lease_seconds=4)
    async with pod_process(redis_url, name, 2, 4) as (process, says):
        process.send_signal(signal.SIGSTOP)
        permits = [await pool.acquire("a", wait_seconds=SECONDS) for _ in range(2)]
        process.send_signal(signal.SIGCONT)
        assert await says() == "lost, 0 valid"
        await until(pool, lambda state: state.waiting == 1)
        assert (await pool.state()).clients == {"a": 2}
        for permit in permits:
            assert permit.valid()
            permit.release()
        assert await says() == "holding"
        assert (await pool.state()).high_water == 2


async def test_capacity_set_by_hand_counts_until_the_settings_change(
    open_pod: OpenPod, store: "Redis", name: str
) -> None:
    operator = PoolOperator(name, store)
    pool = await open_pod(capacity=2, lease_seconds=LONG)
    permits = await hold(pool, "a", "b")
    waiting = await queue_up(pool, "c", "d")
    await operator.set_capacity(3)
    async with asyncio.timeout(SECONDS):
        assert (await waiting[0]).valid()
    await operator.set_capacity(1)
    assert all(permit.valid() for permit in permits)
    permits[0].release()
    await open_pod(capacity=2)
    state = await pool.state()
    assert (state.held, state.capacity, state.waiting) == (2, 1, 1)
    await open_pod(capacity=4)
    async with asyncio.timeout(SECONDS):
        assert (await waiting[1]).valid()
    assert (await pool.state()).capacity == 4


async def test_a_thousand_come_through_four_pods(open_pod: OpenPod) -> None:
    pods = [await open_pod(capacity=20, per_client=4) for _ in range(4)]
    holders = 0

    async def visit(number: int) -> None:
        nonlocal holders
        permit = await pods[number % 4].acquire(f"client-{number}", wait_seconds=SECONDS)
        holders += 1
        assert holders <= 20
        await asyncio.sleep(0)
        holders -= 1
        permit.release()

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as visitors:
        for number in range(1000):
            visitors.create_task(visit(number))
    state = await until(pods[0], lambda state: state.held == 0)
    assert (state.high_water, state.waiting, state.clients) == (20, 0, {})


@asynccontextmanager
async def pod_process(
    url: str, name: str, capacity: int, lease_seconds: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Callable[[], Awaitable[str]]]]:
    """Run a pod of its own process that holds all permits; yield it, and what reads a line of what it says."""
    words = [str(Path(__file__).with_name("pod.py")), url, name, str(capacity), str(lease_seconds)]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    lines = process.stdout
    assert lines is not None

    async def says() -> str:
        async with asyncio.timeout(SECONDS):
            return (await lines.readline()).decode().strip()

    try:
        assert await says() == "holding"
        yield process, says
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
