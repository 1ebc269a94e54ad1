"""Deliveries go by connections that do not grow old, so that a Service spreads them over the pods of history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chat_service.delivery import HistoryService, batch_size
from chat_service.outbox import Batch

BATCHES = 6


@asynccontextmanager
async def _history() -> AsyncIterator[tuple[TestServer, list[object]]]:
    """Serve a history that takes everything; list the connection of each request."""
    seen: list[object] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.transport)  # kept, so that no other one is made in its place
        await request.read()
        return web.json_response({"results": []})

    app = web.Application()
    app.router.add_post("/v1/exchanges", take)
    server = TestServer(app)
    async with server:
        yield server, seen


@pytest.mark.parametrize(("seconds", "connections"), [(0.0, BATCHES), (3600.0, 2)], ids=["old at once", "young"])
async def test_a_connection_is_used_for_as_long_as_it_is_young(seconds: float, connections: int) -> None:
    empty = Batch(records=())
    async with _history() as (server, seen), aiohttp.ClientSession() as http:
        history = HistoryService(
            str(server.make_url("/")), http=http, token=None, request_seconds=30, connection_seconds=seconds
        )
        for _ in range(BATCHES):
            assert await history.hand_over(empty, batch_size(empty)) == {}
    assert len(seen) == BATCHES
    assert len(set(map(id, seen))) == connections  # of a young one, the first request is the last of the one before
