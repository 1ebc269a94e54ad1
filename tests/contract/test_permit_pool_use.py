"""The ways to use a pool: blocks, decorators, and what is refused as a mistake. The same for every pool."""

import asyncio
import contextlib
import inspect
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
from redis.asyncio import Redis

from permits import PermitError, PermitLost, PermitTimeout, PoolMisuse, Reason
from permits.memory import MemoryPool
from permits.permit_block import HeldPermit
from permits.pool import Pool
from permits.redis import RedisPool
from permits.redis.lease import RedisPermit
from tests.contract.pools import Opener
from tests.permits.parts import SECONDS, hold, queue_up, until


def memory_pool() -> Pool:
    return MemoryPool("a", capacity=1)


def redis_pool() -> Pool:
    return RedisPool("a", redis=Redis(), capacity=1)


async def nothing_held(pool: Pool) -> None:
    await until(pool, lambda state: (state.held, state.waiting) == (0, 0))


def lose(permit: object) -> None:
    """Make a pool lose a permit; one in Redis goes with its lease."""
    if isinstance(permit, RedisPermit):
        permit.lease.end()
    else:
        permit.lose()  # type: ignore[attr-defined] # of a MemoryPermit


async def test_a_permit_that_another_thread_releases_goes_to_the_next(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "anna")
    (waiting,) = await queue_up(pool, "ben")
    asyncio.get_running_loop().set_debug(True)  # calls from other threads that are not safe are errors
    await asyncio.to_thread(permit.release)
    assert not permit.valid()
    async with asyncio.timeout(SECONDS):
        (await waiting).release()
    await nothing_held(pool)


async def test_a_block_holds_a_permit_and_gives_it_back(open_pool: Opener) -> None:
    pool = await open_pool(1)
    async with pool.permit("anna", wait_seconds=0) as permit:
        assert permit.valid()
        assert dict((await pool.state()).clients) == {"anna": 1}
    assert not permit.valid()
    await nothing_held(pool)


async def test_a_block_that_fails_gives_its_permit_back(open_pool: Opener) -> None:
    pool = await open_pool(1)
    with pytest.raises(KeyError):
        async with pool.permit("anna", wait_seconds=0):
            raise KeyError
    await nothing_held(pool)


async def test_a_block_waits_as_long_as_it_says(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (holder,) = await hold(pool, "holder")
    with pytest.raises(PermitTimeout):
        async with pool.permit("anna", wait_seconds=0.01):
            pytest.fail("entered without a permit")
    holder.release()
    await nothing_held(pool)


async def test_a_block_or_a_generator_leaves_no_task_behind(open_pool: Opener) -> None:
    pool = await open_pool(1)

    @pool.limited("stream", wait_seconds=0)
    async def stream() -> AsyncIterator[int]:
        yield 1

    before = asyncio.all_tasks()
    async with pool.permit("anna", wait_seconds=0):
        pass
    assert [number async for number in stream()] == [1]
    async with asyncio.timeout(SECONDS):
        while asyncio.all_tasks() - before:  # noqa: ASYNC110 - a watcher that was cancelled has one turn left
            await asyncio.sleep(0.002)


async def test_a_block_is_entered_once(open_pool: Opener) -> None:
    pool = await open_pool(2)
    block = pool.permit("anna", wait_seconds=0)
    async with block:
        with pytest.raises(PoolMisuse, match="once"):
            await block.__aenter__()
    await nothing_held(pool)


async def test_a_block_whose_permit_is_lost_is_cancelled(open_pool: Opener) -> None:
    pool = await open_pool(1)
    with pytest.raises(PermitLost):
        async with asyncio.timeout(SECONDS), pool.permit("anna", wait_seconds=0) as permit:
            lose(permit)
            await asyncio.get_running_loop().create_future()
    assert not permit.valid()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("error", [None, KeyError])
async def test_a_block_that_overhears_the_loss_ends_as_it_would(
    open_pool: Opener, error: type[Exception] | None
) -> None:
    pool = await open_pool(1)
    reached = []

    async def work() -> None:
        async with pool.permit("anna", wait_seconds=SECONDS) as permit:
            lose(permit)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            if error is not None:
                raise error
        reached.append("after")
        await asyncio.sleep(0)
        reached.append("next await")

    if error is None:
        await work()
        assert reached == ["after", "next await"]
    else:
        with pytest.raises(error):
            await work()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_is_cancelled_as_its_permit_is_lost_is_cancelled(open_pool: Opener) -> None:
    pool = await open_pool(1)
    inside: asyncio.Future[HeldPermit] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with pool.permit("anna", wait_seconds=0) as permit:
            inside.set_result(permit)
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    lose(await inside)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_is_cancelled_by_others_is_cancelled(open_pool: Opener) -> None:
    pool = await open_pool(1)
    inside = asyncio.Event()

    async def work() -> None:
        async with pool.permit("anna", wait_seconds=0):
            inside.set()
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.wait_for(inside.wait(), SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await nothing_held(pool)


async def test_a_task_that_has_survived_a_cancellation_is_told_of_a_loss_as_any_other(open_pool: Opener) -> None:
    pool = await open_pool(1)

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        async with pool.permit("anna", wait_seconds=0) as permit:
            lose(permit)
            await asyncio.get_running_loop().create_future()

    with pytest.raises(PermitLost):
        await asyncio.wait_for(asyncio.create_task(work()), SECONDS)


async def test_a_decorated_function_holds_a_permit_while_it_runs(open_pool: Opener) -> None:
    pool = await open_pool(1)

    @pool.limited("report", wait_seconds=0)
    async def report(number: int, *, extra: int = 0) -> int:
        """Say what is held."""
        return number + extra + (await pool.state()).held

    assert await report(10, extra=5) == 16
    assert (report.__name__, report.__doc__) == ("report", "Say what is held.")
    assert inspect.iscoroutinefunction(report)
    await nothing_held(pool)


async def test_a_decorator_may_look_at_the_arguments_for_the_client(open_pool: Opener) -> None:
    pool = await open_pool(5, per_client=1)

    @pool.limited(lambda user, **_: f"user-{user}", wait_seconds=0)
    async def clients(user: str, *, loud: bool) -> dict[str, int]:
        return dict((await pool.state()).clients)

    assert await clients("anna", loud=True) == {"user-anna": 1}
    async with pool.permit("user-anna", wait_seconds=0):
        with pytest.raises(PermitError):
            await clients("anna", loud=False)
        assert await clients("ben", loud=False) == {"user-anna": 1, "user-ben": 1}


async def test_a_decorated_method_is_called_with_its_object(open_pool: Opener) -> None:
    pool = await open_pool(1)

    class Account:
        name = "anna"

        @pool.limited(lambda self: str(self.name), wait_seconds=0)
        async def clients(self) -> dict[str, int]:
            return dict((await pool.state()).clients)

    assert await Account().clients() == {"anna": 1}


async def test_a_decorated_generator_holds_a_permit_until_it_is_closed(open_pool: Opener) -> None:
    pool = await open_pool(1)
    closed = []

    @pool.limited("stream", wait_seconds=0)
    async def count(to: int) -> AsyncIterator[int]:
        try:
            for number in range(to):
                yield number
        finally:
            closed.append(to)

    assert [number async for number in count(3)] == [0, 1, 2]
    await nothing_held(pool)
    numbers: Any = count(9)
    assert await anext(numbers) == 0
    assert (await pool.state()).held == 1
    await numbers.aclose()
    await nothing_held(pool)
    assert closed == [3, 9]


async def test_a_decorated_generator_is_sent_values_and_errors(open_pool: Opener) -> None:
    pool = await open_pool(1)

    @pool.limited("stream", wait_seconds=0)
    async def echo() -> AsyncIterator[object]:
        said: object = "ready"
        while said != "end":
            try:
                said = yield said
            except KeyError as exc:
                said = repr(exc)

    echoes: Any = echo()
    assert await anext(echoes) == "ready"
    assert await echoes.asend(7) == 7
    assert await echoes.athrow(KeyError("a")) == "KeyError('a')"
    with pytest.raises(StopAsyncIteration):
        await echoes.asend("end")
    await nothing_held(pool)
    echoes = echo()
    await anext(echoes)
    with pytest.raises(ValueError, match="not for it"):
        await echoes.athrow(ValueError("not for it"))
    await nothing_held(pool)


async def test_a_generator_whose_permit_is_lost_says_so_and_cancels_only_itself(open_pool: Opener) -> None:
    pool = await open_pool(1)
    held: list[RedisPermit] = []
    acquire = pool.acquire

    async def remembered(client_id: str, *, wait_seconds: float, wait_id: str | None = None) -> HeldPermit:
        permit: Any = await acquire(client_id, wait_seconds=wait_seconds, wait_id=wait_id)
        held.append(permit)
        return permit  # type: ignore[no-any-return]

    pool.acquire = remembered  # type: ignore[method-assign] # the function never sees its permit, the test must

    @pool.limited("stream", wait_seconds=SECONDS)
    async def wait_after(pieces: int) -> AsyncIterator[int]:
        for piece in range(pieces):
            yield piece
        await asyncio.get_running_loop().create_future()

    pieces: Any = wait_after(2)
    await anext(pieces)
    lose(held[-1])
    await asyncio.sleep(0.01)  # the caller's own turn is not cut short
    with pytest.raises(PermitLost):
        await anext(pieces)

    async def consume() -> None:
        async for _ in wait_after(1):
            asyncio.get_running_loop().call_later(0.01, lambda: lose(held[-1]))

    with pytest.raises(PermitLost):
        await asyncio.wait_for(consume(), SECONDS)


def test_a_plain_function_is_not_decorated() -> None:
    limited = MemoryPool("reports", capacity=1).limited("a", wait_seconds=0)

    def plain() -> int:
        return 1

    class Callable_:  # noqa: N801 - beside the type of the same name
        async def __call__(self) -> None: ...

    others: tuple[Any, ...] = (plain, Callable_(), Callable_, lambda: None, staticmethod(plain))
    for other in others:
        with pytest.raises(TypeError, match=r"reports.*async def.*SyncPool"):
            limited(other)


async def _client(**_: object) -> str:
    return "anna"


@pytest.mark.parametrize(
    "client_id",
    [None, 7, b"anna", "\ud800", "x" * 513, _client],
    ids=["none", "7", "bytes", "surrogate", "long", "async"],
)
async def test_a_decorator_refuses_what_names_no_client(open_pool: Opener, client_id: Any) -> None:
    pool = await open_pool(1)
    with pytest.raises((TypeError, ValueError), match="client_id"):
        pool.limited(client_id, wait_seconds=0)


@pytest.mark.parametrize("wait_seconds", [math.inf, -1, None, True], ids=ascii)
async def test_a_decorator_refuses_a_time_that_nobody_can_wait(open_pool: Opener, wait_seconds: Any) -> None:
    pool = await open_pool(1)
    with pytest.raises((TypeError, ValueError), match="wait_seconds"):
        pool.limited("anna", wait_seconds=wait_seconds)


async def test_a_pool_that_is_not_open_says_so(open_pool: Opener) -> None:
    pool = await open_pool(1)
    calls: tuple[Callable[[Any], Awaitable[object]], ...] = (
        lambda pool: pool.acquire("anna", wait_seconds=SECONDS),
        lambda pool: pool.peek("anna"),
        lambda pool: pool.state(),
        lambda pool: pool.permit("anna", wait_seconds=SECONDS).__aenter__(),
    )
    unopened = type(pool).__new__(type(pool))
    unopened.__dict__.update(pool.__dict__ | {"_owner": None})
    for call in calls:
        with pytest.raises(PoolMisuse, match="async with"):
            await call(unopened)


@pytest.mark.parametrize("make", [memory_pool, redis_pool])
def test_a_pool_needs_an_event_loop_of_asyncio(make: Callable[[], Pool]) -> None:
    opening = make().__aenter__()
    with pytest.raises(PoolMisuse, match="event loop of asyncio"):
        opening.send(None)  # as another library would run it


async def test_a_pool_that_is_not_open_or_closed_can_be_asked_how_it_is(open_pool: Opener) -> None:
    pool = await open_pool(1)
    assert pool.ready()
    await pool.close()
    assert (pool.ready(), pool.condition()) == (False, Reason.DRAINING)
    for unopened in (memory_pool(), redis_pool()):
        assert (unopened.ready(), unopened.condition()) == (False, Reason.LIMITS_UNAVAILABLE)


async def test_a_pool_is_opened_once(open_pool: Opener) -> None:
    pool = await open_pool(1)
    with pytest.raises(PoolMisuse, match="opened before"):
        await pool.__aenter__()
    await hold(pool, "anna")


async def test_another_event_loop_is_refused(open_pool: Opener) -> None:
    pool = await open_pool(1)

    def in_a_thread(call: Callable[[], Coroutine[Any, Any, object]]) -> BaseException | None:
        errors: list[BaseException | None] = []

        def run() -> None:
            try:
                asyncio.run(call())
            except PoolMisuse as exc:
                errors.append(exc)
            else:
                errors.append(None)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(SECONDS)
        return errors[0]

    calls: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
        lambda: pool.acquire("anna", wait_seconds=SECONDS),
        lambda: pool.peek("anna"),
        pool.state,
        pool.close,
    )
    for call in calls:
        assert "another event loop" in str(await asyncio.to_thread(in_a_thread, call))
    await hold(pool, "anna")


async def test_a_fork_has_no_pool_and_no_permit(open_pool: Opener) -> None:
    pool = await open_pool(1)
    (permit,) = await hold(pool, "anna")
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # only plain system calls and the pool; nothing of pytest may run twice
        try:
            said = f"{permit.valid() and isinstance(permit, RedisPermit)} "
            try:
                pool.acquire("anna", wait_seconds=0).send(None)
            except PoolMisuse as exc:
                said += str(exc)
            os.write(tell, said.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(tell)
    said = os.read(told, 1000).decode()
    os.close(told)
    assert said.startswith("False ")
    assert f"by process {os.getpid()}" in said
    assert permit.valid()
    (waiter,) = await queue_up(pool, "ben")
    permit.release()
    (await asyncio.wait_for(waiter, SECONDS)).release()


async def test_a_permit_can_be_looked_at_from_another_thread(open_pool: Opener) -> None:
    pool = await open_pool(1)
    async with pool.permit("anna", wait_seconds=0) as permit:
        assert await asyncio.to_thread(permit.counts)
    assert not await asyncio.to_thread(permit.counts)


async def test_a_permit_in_memory_can_be_lost_by_a_test() -> None:
    async with MemoryPool("memory", capacity=1) as pool:
        lost = await pool.acquire("anna", wait_seconds=0)
        waiting = asyncio.create_task(lost.lost())
        told: list[str] = []
        lost.on_lost(lambda: told.append("lost"))
        await asyncio.sleep(0)
        lost.lose()
        await asyncio.wait_for(waiting, SECONDS)
        assert told == ["lost"]
        await asyncio.wait_for(lost.lost(), SECONDS)
        assert not lost.valid()
        kept = await pool.acquire("ben", wait_seconds=0)
        lost.release()
        lost.lose()
        assert (await pool.state()).held == 1
        kept.release()
        kept.lose()
        assert (await pool.state()).held == 0
