"""What tests of pools share: asking in the background, and waiting until a pool is in some state."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from permits import Permit, PermitPool, PoolState, PoolUnavailable
from permits.memory import MemoryPool

SECONDS = 60.0
"""Longer than anything may take; only a failing test waits for it."""


async def opened(pool: MemoryPool) -> MemoryPool:
    """Open a pool in memory for the rest of the test; it keeps nothing that would have to be closed."""
    return await pool.__aenter__()


async def until(pool: PermitPool, reached: Callable[[PoolState], bool]) -> PoolState:
    """Wait until a pool is in some state, and return that; a busy machine may answer too late at times."""
    async with asyncio.timeout(SECONDS):
        while True:
            with suppress(PoolUnavailable):
                state = await pool.state()
                if reached(state):
                    return state
            await asyncio.sleep(0.002)


async def ready(pool: PermitPool) -> None:
    """Wait until a pool was let in; a machine that stalls may need more than one attempt."""
    async with asyncio.timeout(SECONDS):
        while not pool.ready():  # noqa: ASYNC110 - a pool can only be asked
            await asyncio.sleep(0.002)


async def queue_up(
    pool: PermitPool, *client_ids: str, wait_seconds: float = SECONDS
) -> "tuple[asyncio.Task[Permit], ...]":
    """Put clients into the line, one behind the other, and return what becomes of them."""
    standing = (await pool.state()).waiting
    asking = tuple(ask(pool, client_id, wait_seconds) for client_id in client_ids)
    await until(pool, lambda state: state.waiting == standing + len(asking))
    return asking


def ask(pool: PermitPool, client_id: str, wait_seconds: float = SECONDS) -> "asyncio.Task[Permit]":
    """Begin to acquire."""
    return asyncio.create_task(pool.acquire(client_id, wait_seconds=wait_seconds))


async def hold(pool: PermitPool, *client_ids: str) -> tuple[Permit, ...]:
    """Acquire what is free."""
    return tuple([await pool.acquire(client_id, wait_seconds=0) for client_id in client_ids])
