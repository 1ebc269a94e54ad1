"""A pool in a forked process, before it is open, after a fault: it says so, gives nothing out twice, and goes on."""

import asyncio
import sys
import weakref
from typing import Any

import pytest
from redis.asyncio import Redis

from devtools.servers import ROOT
from permits import PermitTimeout, PoolMisuse, PoolUnavailable, Reason
from permits.memory import MemoryPool
from permits.redis import RedisPool
from permits.redis.pending import PendingRequests
from tests.contract.test_permit_pool_observer import Diary
from tests.permits.conftest import OpenPod
from tests.permits.parts import SECONDS, ask, hold, queue_up, ready, until


async def forked(when: str, url: str, name: str) -> list[str]:
    """Run `forked.py` and return what its processes said."""
    command = (sys.executable, "-m", "tests.permits.forked", when, url, name)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(4 * SECONDS):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().splitlines()


async def test_processes_that_are_forked_off_do_not_share_a_permit(
    open_pod: OpenPod, redis_url: str, name: str
) -> None:
    await open_pod()
    said = await forked("before", redis_url, name)
    assert sorted(said) == ["cluster_full", "cluster_full", "granted"]


async def test_a_pool_and_its_permits_are_of_no_use_in_a_forked_process(
    open_pod: OpenPod, redis_url: str, name: str
) -> None:
    await open_pod(capacity=2)
    child, parent = await forked("after", redis_url, name)
    assert child == "valid False, ready False, forked, forked, forked"
    assert parent == "valid True, held 1"


async def test_a_pool_that_is_not_open_says_so(redis_url: str, name: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        pool = RedisPool(name, redis=redis, capacity=1)
        assert not pool.ready()
        for asked in (pool.acquire("a", wait_seconds=0), pool.peek("a"), pool.state()):
            with pytest.raises(PoolMisuse, match="async with"):
                await asked
        async with pool:
            with pytest.raises(PoolMisuse, match="before"):
                await pool.__aenter__()


async def test_an_unforeseen_fault_is_refused_told_and_overcome(
    open_pod: OpenPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = Diary()
    pool = await open_pod(capacity=3, observer=diary)
    (held,) = await hold(pool, "a")
    grant: Any = PendingRequests._grant
    faults = iter([RuntimeError("unforeseen")] * 2)

    def fail_twice(self: PendingRequests, *words: Any) -> None:
        if (fault := next(faults, None)) is not None:
            raise fault
        grant(self, *words)

    monkeypatch.setattr(PendingRequests, "_grant", fail_twice)
    ready_then: list[bool] = []
    async with asyncio.timeout(SECONDS):
        for _ in range(2):
            with pytest.raises(PoolUnavailable):
                await pool.acquire("b", wait_seconds=SECONDS)
            ready_then.append(pool.ready())
            await _until_ready(pool)
    assert ready_then == [False, False]
    assert diary.news.count(("failed", None)) == 2
    assert held.valid()
    assert (await hold(pool, "b"))[0].valid()
    state = await until(pool, lambda state: state.held == 2)
    assert dict(state.clients) == {"a": 1, "b": 1}


async def _until_ready(pool: RedisPool) -> None:
    await asyncio.sleep(0)
    await ready(pool)
    while True:
        try:
            await pool.peek("b")
        except PoolUnavailable:
            await asyncio.sleep(0.01)
        else:
            return


@pytest.mark.parametrize("notice", [b"", b"one", b"pod epoch id", b"pod epoch id ticket", b"\xff\xfe pod", b"{}"])
async def test_a_notice_that_makes_no_sense_harms_nobody(
    open_pod: OpenPod, store: "Redis", name: str, notice: bytes
) -> None:
    one, two = [await open_pod(lease_seconds=60) for _ in range(2)]
    (permit,) = await hold(one, "a")
    (waiter,) = await queue_up(two, "b")
    for channel in await store.pubsub_channels(f"*{name}*"):
        assert await store.publish(channel, notice)
    permit.release()
    async with asyncio.timeout(SECONDS):
        assert (await waiter).valid()


class Vault:
    """Knows the password, but cannot always be asked."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def get_credentials(self) -> tuple[str]:
        return self._ask()

    async def get_credentials_async(self) -> tuple[str]:
        return self._ask()

    def _ask(self) -> tuple[str]:
        if self.failures:
            self.failures -= 1
            raise LookupError("no password today")
        return ("",)


async def test_credentials_that_cannot_be_had_once_are_asked_for_again(redis_url: str, name: str) -> None:
    provider: Any = Vault(failures=3)
    redis, diary = Redis.from_url(redis_url, credential_provider=provider), Diary()
    async with redis, RedisPool(name, redis=redis, capacity=1, lease_seconds=1.8, observer=diary) as pool:
        await ready_or_refused(pool)
    assert ("failed", None) not in diary.news  # it is no fault of the pool


async def ready_or_refused(pool: RedisPool) -> None:
    """The vault gives a password that the server wants none of; what matters is that the pool goes on asking."""
    async with asyncio.timeout(SECONDS):
        with pytest.raises((PoolUnavailable, PermitTimeout)):
            while True:
                await pool.acquire("a", wait_seconds=0)


class Name(str):
    """A client id that can be watched as it is forgotten."""

    __slots__ = ("__weakref__",)


async def test_who_is_cancelled_in_line_is_forgotten_at_once(open_pod: OpenPod) -> None:
    pool = await open_pod(per_client=None, max_waiting=1000)
    await hold(pool, "holder")
    await queue_up(pool, "waits with an earlier deadline", wait_seconds=SECONDS)
    names = [Name(f"client-{number}") for number in range(200)]
    watched = [weakref.ref(name) for name in names]
    asking = [ask(pool, name, 10 * SECONDS) for name in names]
    del names
    await until(pool, lambda state: state.waiting == 201)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    del asking, task
    await until(pool, lambda state: state.waiting == 1)
    assert [name() for name in watched if name() is not None] == []


async def test_a_pool_of_one_process_is_ready_while_it_is_open_and_then_drains() -> None:
    pool = MemoryPool("pool", capacity=1)
    seen = [(pool.ready(), pool.condition())]
    async with pool:
        seen.append((pool.ready(), pool.condition()))
    seen.append((pool.ready(), pool.condition()))
    assert seen == [(False, Reason.LIMITS_UNAVAILABLE), (True, None), (False, Reason.DRAINING)]
