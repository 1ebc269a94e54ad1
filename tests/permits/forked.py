"""Processes that are forked off one in which a pool was made, or opened. Prints what they met."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from permits import PermitError, PoolMisuse
from permits.redis import RedisPool

CHILDREN = 3


def fork(work: Callable[[], Awaitable[str]]) -> int:
    """Do it in a child, which prints what comes of it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.write(1, f"{asyncio.run(work())}\n".encode())  # type: ignore[arg-type]
            code = 0
        finally:
            os._exit(code)
    return pid


async def share(pool: RedisPool, held: int, leave: int) -> str:
    """Open the pool in this process and take a permit; hold it until all have tried."""
    async with pool:
        try:
            await pool.acquire("anna", wait_seconds=0)
        except PermitError as exc:
            said: str = exc.code
        else:
            said = "granted"
        os.write(held, b".")
        await asyncio.to_thread(os.read, leave, 1)
    return said


def before_it_is_opened(url: str, name: str) -> None:
    """Fork with a pool that was made and not opened."""
    pool = RedisPool(name, redis=Redis.from_url(url), capacity=1)
    tried, held = os.pipe()
    wait, leave = os.pipe()
    children = [fork(lambda: share(pool, held, wait)) for _ in range(CHILDREN)]
    for _ in children:
        os.read(tried, 1)
    os.write(leave, b"." * CHILDREN)
    for child in children:
        os.waitpid(child, 0)


async def after_it_was_opened(url: str, name: str) -> None:
    """Fork with a pool that is open, and a permit of it."""
    async with RedisPool(name, redis=Redis.from_url(url), capacity=2) as pool:
        permit = await pool.acquire("anna", wait_seconds=0)
        pid = os.fork()
        if pid == 0:
            said = [f"valid {permit.valid()}", f"ready {pool.ready()}"]
            for asked in (pool.acquire("ben", wait_seconds=0), pool.peek("ben"), pool.state()):
                try:
                    await asked
                except PoolMisuse as exc:
                    said.append("forked" if "fork" in str(exc) else str(exc))
            permit.release()
            os.write(1, f"{', '.join(said)}\n".encode())
            os._exit(0)
        await asyncio.to_thread(os.waitpid, pid, 0)
        state = await pool.state()
        os.write(1, f"valid {permit.valid()}, held {state.held}\n".encode())


if __name__ == "__main__":
    if sys.argv[1] == "before":
        before_it_is_opened(*sys.argv[2:])
    else:
        asyncio.run(after_it_was_opened(*sys.argv[2:]))
