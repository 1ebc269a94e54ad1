"""What the tests of servicekit share: applications served over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest
from starlette.types import ASGIApp

from servicekit.runner import Address, Listener, serve

Serving = Callable[[ASGIApp], AbstractAsyncContextManager[str]]


@pytest.fixture
def serving() -> Serving:
    """Serve an application on a free loopback port for a while; gives its address."""

    @asynccontextmanager
    async def serve_for_a_while(app: ASGIApp) -> AsyncIterator[str]:
        stop = asyncio.Event()
        where: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ready(addresses: Sequence[Address]) -> None:
            where.set_result(addresses[0].port)

        listener = Listener(app=app, host="127.0.0.1", port=0, ws="websockets-sansio")
        running = asyncio.create_task(serve([listener], nothing_left, 5, ready=ready, stop=stop))
        try:
            yield f"http://127.0.0.1:{await where}"
        finally:
            stop.set()
            assert await running == 0

    return serve_for_a_while


async def nothing_left() -> bool:
    return True


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session
