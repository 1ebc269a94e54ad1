"""Pools for threads: the same rules, and whatever breaks off a thread."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from devtools.valkey import run_valkey
from permits import (
    ClientLimitReached,
    PermitTimeout,
    PoolClosed,
    PoolMisuse,
    PoolObserver,
    PoolState,
    PoolUnavailable,
    Reason,
    Verdict,
)
from permits.memory import MemoryPool
from permits.pool import Pool
from permits.redis import PoolOperator, RedisPool
from permits.sync import SyncPermit, SyncPool
from tests.permits.parts import SECONDS


class Opener(Protocol):
    """Opens a pool for threads that is closed as the test ends."""

    def __call__(self, capacity: int, *, per_client: int | None = None) -> SyncPool: ...


@pytest.fixture(params=["memory", "redis"])
def open_pool(request: pytest.FixtureRequest) -> Iterator[Opener]:
    with ExitStack() as stack:

        def fresh(capacity: int, *, per_client: int | None = None) -> SyncPool:
            name = f"test-{uuid4().hex}"
            if request.param == "memory":
                return stack.enter_context(SyncPool(lambda: MemoryPool(name, capacity=capacity, per_client=per_client)))
            url = request.getfixturevalue("redis_url")

            def make() -> Pool:
                return RedisPool(name, redis=Redis.from_url(url), capacity=capacity, per_client=per_client)

            pool = stack.enter_context(SyncPool(make))
            trust(name, url)
            return pool

        yield fresh


def trust(name: str, url: str) -> None:
    """Vouch that a store which is new has forgotten nothing."""

    async def vouch() -> None:
        async with Redis.from_url(url) as redis:
            await PoolOperator(name, redis).trust()

    asyncio.run(vouch())


def until(reached: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.002)


def nothing_held(pool: SyncPool) -> None:
    until(lambda: counts(pool.state()) == (0, 0))


def counts(state: PoolState) -> tuple[int, int]:
    return state.held, state.waiting


class Interrupted(BaseException):
    """What a signal raises in the middle of anything."""


@contextmanager
def interrupting() -> Iterator[Callable[[float], None]]:
    """Yield what sets an alarm that raises `Interrupted` in this thread, as a time limit of Celery does."""

    def ring(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, ring)
    try:

        def alarm(seconds: float) -> None:
            signal.setitimer(signal.ITIMER_REAL, seconds)

        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_block_holds_a_permit_and_gives_it_back(open_pool: Opener) -> None:
    pool = open_pool(1)
    assert pool.ready()
    with pool.permit("anna", wait_seconds=0) as permit:
        assert permit.valid()
        assert permit.client_id == "anna"
        assert dict(pool.state().clients) == {"anna": 1}
        assert pool.peek("ben").verdict is Verdict.WAIT
        with pytest.raises(PermitTimeout):
            pool.acquire("ben", wait_seconds=0.01)
    assert not permit.valid()
    permit.release()
    with pytest.raises(KeyError), pool.permit("anna", wait_seconds=0):
        raise KeyError
    nothing_held(pool)


def test_a_thread_that_releases_may_ask_again_at_once(open_pool: Opener) -> None:
    pool = open_pool(1, per_client=1)
    for _ in range(50):
        with pool.permit("anna", wait_seconds=0), pytest.raises(ClientLimitReached):
            pool.acquire("anna", wait_seconds=SECONDS)


def test_threads_share_the_capacity(open_pool: Opener) -> None:
    pool = open_pool(3)
    inside = 0
    most = 0
    lock = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        for _ in range(20):
            with pool.permit(f"client-{number}", wait_seconds=60) as permit:
                with lock:
                    inside += 1
                    most = max(most, inside)
                assert permit.valid()
                with lock:
                    inside -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, range(12)))
    assert most <= 3
    assert pool.state().high_water == 3
    nothing_held(pool)


def test_a_thread_that_is_broken_off_in_line_leaves_it(open_pool: Opener) -> None:
    pool = open_pool(1)
    with pool.permit("holder", wait_seconds=0), interrupting() as alarm:
        alarm(0.1)
        with pytest.raises(Interrupted):
            pool.acquire("anna", wait_seconds=SECONDS)
        until(lambda: counts(pool.state()) == (1, 0))
    nothing_held(pool)


def test_a_permit_that_nobody_has_any_more_is_given_back(open_pool: Opener) -> None:
    pool = open_pool(1)
    heard: list[SyncPermit] = []
    pool.acquire("anna", wait_seconds=0, on_lost=heard.append)
    nothing_held(pool)
    assert not heard


def test_a_decorated_function_holds_a_permit(open_pool: Opener) -> None:
    pool = open_pool(1)

    @pool.limited(lambda number, **_: f"client-{number}", wait_seconds=0)
    def clients(number: int, *, twice: bool) -> tuple[dict[str, int], bool]:
        """Say who holds."""
        return dict(pool.state().clients), twice

    @pool.limited("stream", wait_seconds=0)
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    assert clients(3, twice=True) == ({"client-3": 1}, True)
    assert (clients.__name__, clients.__doc__) == ("clients", "Say who holds.")
    nothing_held(pool)
    numbers = count(5)
    assert next(numbers) == 0
    assert pool.state().held == 1
    assert list(numbers) == [1, 2, 3, 4]
    nothing_held(pool)


def test_an_async_function_is_not_decorated() -> None:
    async def function() -> None: ...

    async def generator() -> Any:
        yield 1

    others: tuple[Any, ...] = (function, generator, 7)
    for other in others:
        with pytest.raises(TypeError, match="plain function"):
            SyncPool(lambda: MemoryPool("a", capacity=1)).limited("a", wait_seconds=0)(other)


def test_a_pool_that_closes_tells_who_waits(open_pool: Opener) -> None:
    pool = open_pool(1)
    pool.acquire("ben", wait_seconds=0).release()
    held = pool.acquire("holder", wait_seconds=0)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(pool.acquire, name, wait_seconds=60) for name in ("anna", "ben")]
        until(lambda: pool.state().waiting == 2)
        pool.close()
        for end in waiting:
            assert isinstance(end.exception(SECONDS), PoolClosed)
    assert not pool.ready()
    with pytest.raises(PoolClosed):
        pool.acquire("anna", wait_seconds=0)
    held.release()
    pool.close()


def test_a_block_closes_its_pool() -> None:
    with SyncPool(lambda: MemoryPool("block", capacity=1)) as pool:
        pool.acquire("anna", wait_seconds=0).release()
    assert not pool.ready()
    with pytest.raises(PoolClosed):
        pool.state()


def test_an_event_loop_is_not_blocked(open_pool: Opener) -> None:
    pool = open_pool(1)

    async def ask() -> None:
        with pytest.raises(PoolMisuse, match="event loop"):
            pool.acquire("anna", wait_seconds=SECONDS)
        with pytest.raises(PoolMisuse, match="event loop"):
            pool.close()
        (await asyncio.to_thread(pool.acquire, "anna", wait_seconds=0)).release()

    asyncio.run(ask())


def test_errors_of_arguments_reach_the_caller(open_pool: Opener) -> None:
    pool = open_pool(1)
    with pytest.raises(TypeError):
        pool.acquire("anna", wait_seconds="soon")  # type: ignore[arg-type]


def test_a_pool_that_cannot_be_made_says_why_each_time() -> None:
    pool = SyncPool(lambda: MemoryPool("nothing", capacity=0))
    for _ in range(2):
        with pytest.raises(ValueError, match="capacity"):
            pool.acquire("anna", wait_seconds=0)
    assert not pool.ready()
    pool.close()


def test_a_thread_that_dies_tells_who_waits_and_is_replaced() -> None:
    class Deadly:
        def granted(self, pool: str, *, waited_seconds: float, queued: bool) -> None: ...

        def timed_out(self, pool: str, *, waited_seconds: float) -> None: ...

        def refused(self, pool: str, reason: str) -> None:  # noqa: ARG002 - as the observer port has it
            raise SystemExit

        def lost(self, pool: str, permits: int) -> None: ...

        def failed(self, pool: str) -> None: ...

    observer: PoolObserver = Deadly()
    with SyncPool(lambda: MemoryPool("deadly", capacity=1, per_client=1, observer=observer)) as pool:
        pool.acquire("anna", wait_seconds=0).release()
        held = pool.acquire("holder", wait_seconds=0)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(pool.acquire, "anna", wait_seconds=60)
            until(lambda: pool.state().waiting == 1)
            with pytest.raises(PoolUnavailable):
                pool.acquire("holder", wait_seconds=60)
            assert isinstance(waiting.exception(SECONDS), PoolUnavailable)
        held.release()
        pool.acquire("anna", wait_seconds=SECONDS).release()


def test_who_holds_a_permit_hears_that_it_is_lost(tmp_path: Path) -> None:
    name = f"test-{uuid4().hex}"
    heard: list[tuple[SyncPermit, bool]] = []
    told = threading.Event()

    def on_lost(permit: SyncPermit) -> None:
        heard.append((permit, permit.valid()))
        told.set()
        raise KeyError("harms nobody")

    with run_valkey(tmp_path) as valkey:

        def make() -> Pool:
            return RedisPool(name, redis=Redis.from_url(valkey.url), capacity=2, lease_seconds=6)

        with SyncPool(make) as pool:
            trust(name, valkey.url)
            permit = pool.acquire("anna", wait_seconds=0, on_lost=on_lost)
            pool.acquire("ben", wait_seconds=0, on_lost=on_lost).release()
            valkey.process.kill()
            assert told.wait(3 * SECONDS)
            assert not permit.valid()
            with pytest.raises(PoolUnavailable):
                pool.acquire("anna", wait_seconds=SECONDS)
    assert heard == [(permit, False)]


@asynccontextmanager
async def _yields_nothing() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("make", [list, _yields_nothing])
def test_a_function_that_makes_no_pool_is_told_so_at_once(make: Any) -> None:
    pool = SyncPool(make)
    for _ in range(2):
        with pytest.raises(TypeError, match="make must "):
            pool.acquire("anna", wait_seconds=0)


SCRIPT = """
import os, signal, sys, threading, time
from redis.asyncio import Redis
from permits import PermitTimeout, PoolClosed
from permits.redis import RedisPool
from permits.sync import SyncPool

url, name, capacity = sys.argv[1], sys.argv[2], int(sys.argv[3])
pool = SyncPool(lambda: RedisPool(name, redis=Redis.from_url(url), capacity=capacity, lease_seconds=60))

def say(*words):
    print(*words, flush=True)
"""


@contextmanager
def script(lines: str, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """Run a program that has a pool with a lease of a minute, so that nothing comes back by the end of a lease."""
    quiet = ("-W", "ignore::DeprecationWarning")  # from 3.12 on, a fork of a process with threads warns
    command = [sys.executable, *quiet, "-c", SCRIPT + lines, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def watcher(redis_url: str) -> Iterator[tuple[SyncPool, Sequence[str]]]:
    """Return a pool with two permits that others use, too, and what their scripts are told."""
    name = f"test-{uuid4().hex}"
    with SyncPool(lambda: RedisPool(name, redis=Redis.from_url(redis_url), capacity=2, lease_seconds=60)) as pool:
        trust(name, redis_url)
        yield pool, (redis_url, name, "2")


def test_an_interpreter_that_ends_gives_everything_back(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    pool, words = watcher
    lines = """
permit = pool.acquire("anna", wait_seconds=0)
threading.Thread(target=lambda: pool.acquire("ben", wait_seconds=0) and say("held", permit.valid())).start()
def wait():
    try:
        pool.acquire("clara", wait_seconds=60)
    except PoolClosed:
        pass
threading.Thread(target=wait, daemon=True).start()
time.sleep(0.3)
"""
    with script(lines, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert (said, errors, process.returncode) == ("held True\n", "", 0)
    assert counts(pool.state()) == (0, 0)


def test_ctrl_c_in_line_ends_a_program_and_leaves_nothing(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    pool, words = watcher
    held = [pool.acquire("holder", wait_seconds=0) for _ in range(2)]
    with script('say("asking"); pool.acquire("anna", wait_seconds=60)', *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asking\n"
        until(lambda: pool.state().waiting == 1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert counts(pool.state()) == (2, 0)
    for permit in held:
        permit.release()


def test_a_fork_opens_a_pool_of_its_own(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    pool, words = watcher
    lines = """
permit = pool.acquire("parent", wait_seconds=0)
child = os.fork()
if child == 0:
    own = pool.acquire("child", wait_seconds=0)
    say("child", permit.valid(), own.valid(), dict(sorted(pool.state().clients.items())))
    permit.release()
    try:
        pool.acquire("child", wait_seconds=0)
    except PermitTimeout:
        say("full")
    sys.exit(0)
say("status", os.waitpid(child, 0)[1])
say("parent", permit.valid(), dict(pool.state().clients))
time.sleep(0.3)
"""
    with script(lines, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert errors == ""
    assert said.splitlines() == [
        "child False True {'child': 1, 'parent': 1}",
        "full",
        "status 0",
        "parent True {'parent': 1}",
    ]
    assert counts(pool.state()) == (0, 0)


def test_a_fork_waits_until_a_pool_is_open_that_another_thread_opens(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    _, words = watcher
    lines = """
lock, opening = threading.Lock(), threading.Event()
make = pool._make
def make_locked():
    if not lock.acquire(timeout=20):
        os._exit(8)
    opening.set()
    time.sleep(0.5)
    lock.release()
    return make()
pool = SyncPool(make_locked)
threading.Thread(target=pool.open).start()
opening.wait()
child = os.fork()
if child == 0:
    with pool.permit("child", wait_seconds=60):
        os._exit(7)
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with script(lines, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert (said, errors) == ("7\n", "")


def test_a_fork_while_other_threads_are_at_it_does_not_hang(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    pool, words = watcher
    lines = """
done = threading.Event()
def work(name):
    while not done.is_set():
        with pool.permit(name, wait_seconds=60):
            pass
threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
for thread in threads:
    thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        with pool.permit("child", wait_seconds=60):
            os._exit(7)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    break
done.set()
"""
    with script(lines, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert (said, errors) == ("7\n", "")
    assert os.getpid()
    assert pool.state().held <= 1  # the child's, which was not given the time to say goodbye


def test_a_thread_that_is_broken_off_anywhere_keeps_no_permit(watcher: tuple[SyncPool, Sequence[str]]) -> None:
    pool, words = watcher
    lines = """
import random

class Interrupted(BaseException): pass

def ring(*_):
    raise Interrupted

signal.signal(signal.SIGALRM, ring)
sys.unraisablehook = lambda _: None  # Python drops what is raised in a callback of a weak reference
pool.open()
chance = random.Random(13)
broken_off = 0
for _ in range(300):
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.002))
        for _ in range(1000):
            pool.acquire("anna", wait_seconds=30).release()
    except Interrupted:
        broken_off += 1
    except RuntimeError as exc:  # in place of it, by a lock of Python that was broken off itself
        if str(exc) not in ("release unlocked lock", "cannot release un-acquired lock"):
            raise
        broken_off += 1
say(broken_off > 200)
time.sleep(2)
say(pool.state().held, pool.state().waiting)
"""
    with script(lines, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert (said, errors) == ("True\n0 0\n", "")
    assert counts(pool.state()) == (0, 0)


CHILDREN = """
import multiprocessing

def work():
    global permit
    permit = pool.acquire("child", wait_seconds=0)
    say("held", permit.valid())

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    pool.open()
    child = context.Process(target=work)
    child.start()
    child.join()
    say("status", child.exitcode, pool.state().held)
"""


def test_a_process_of_multiprocessing_that_ends_gives_everything_back(
    watcher: tuple[SyncPool, Sequence[str]],
) -> None:
    _, words = watcher
    with script(CHILDREN, *words) as process:
        said, errors = process.communicate(timeout=60)
    assert (said.splitlines(), errors) == (["held True", "status 0 0"], "")


def test_a_place_is_named_by_threads_as_well(open_pool: Opener) -> None:
    pool = open_pool(1)
    held = pool.acquire("holder", wait_seconds=0)
    tickets = []
    for _ in range(2):
        with pytest.raises(PermitTimeout):
            pool.acquire("anna", wait_seconds=0.01, wait_id="her place")
        outlook = pool.peek("anna", wait_id="her place")
        assert outlook.waited_seconds is not None
        with pytest.raises(PermitTimeout):
            pool.acquire("ben", wait_seconds=0.01)
        tickets.append(outlook.place)
    assert tickets == [1, 1]
    held.release()
    pool.acquire("anna", wait_seconds=SECONDS, wait_id="her place").release()


def test_a_thread_can_ask_how_the_pool_is(redis_url: str) -> None:
    pool = SyncPool(lambda: RedisPool(f"test-{uuid4().hex}", redis=Redis.from_url(redis_url), capacity=1))
    assert (pool.ready(), pool.condition()) == (False, Reason.LIMITS_UNAVAILABLE)
    with pool:
        assert (pool.ready(), pool.condition()) == (True, Reason.LIMITS_LEARNING)
    assert (pool.ready(), pool.condition()) == (False, Reason.DRAINING)


def test_threads_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lock:
        """In place of the lock that a library of green threads puts there."""

    Lock.__module__ = "gevent.thread"
    pool = SyncPool(lambda: MemoryPool("memory", capacity=1))
    with monkeypatch.context() as patched:
        patched.setattr(threading, "Lock", Lock)
        with pytest.raises(PoolMisuse, match="needs real threads, and gevent has replaced them"):
            pool.acquire("anna", wait_seconds=0)
    with pool:
        pool.acquire("anna", wait_seconds=0).release()
