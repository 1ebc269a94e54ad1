"""A history service whose answers the test chooses, over real HTTP, and a relay on its way to it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from chat_service.outbox import Outbox
from chat_service.relay import OutboxRelay
from frameproto.exchange import decode_batch, decode_exchange
from tests.chat.outbox.parts import append
from tests.support.exchanges import exchange

BIG = 1 << 30

Answer = Callable[[web.Request, Sequence[str]], Awaitable[web.StreamResponse]]


class History:
    """Answers with what stands in `answers`, one for each request, and then with `usual`."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.usual: Answer = self.take
        self.asked: list[list[str]] = []
        """The texts of each request."""
        self.headers: list[Mapping[str, str]] = []
        self.kept: list[str] = []
        self.ids: list[str] = []
        """The ids of all exchanges that came, in their order."""
        self._progress = asyncio.Condition()

    async def post(self, request: web.Request) -> web.StreamResponse:
        records = decode_batch(await request.read())
        texts = [text_of(record) for record in records]
        self.ids += [str(decode_exchange(record).id) for record in records]
        self.headers.append(request.headers)
        self.asked.append(texts)
        async with self._progress:
            self._progress.notify_all()
        answer = self.answers.popleft() if self.answers else self.usual
        return await answer(request, texts)

    async def take(self, _request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        results = [{"outcome": "duplicate" if text in self.kept else "stored"} for text in texts]
        self.kept += [text for text in texts if text not in self.kept]
        return web.json_response({"results": results})

    async def asked_times(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(60), self._progress:
            await self._progress.wait_for(lambda: len(self.asked) >= count)

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator[str]:
        """Listen; yields the address."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/exchanges", self.post)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def text_of(record: bytes) -> str:
    return bytes(decode_exchange(record).request)[1:].decode()


def outcomes(*results: object) -> Answer:
    """Answer with these results, whatever was asked; a string is short for an outcome without details."""
    return body({"results": [{"outcome": one} if isinstance(one, str) else one for one in results]})


def body(value: object) -> Answer:
    async def answer(_request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
        return web.json_response(value)

    return answer


def problem(status: int, code: str, **headers: str) -> Answer:
    async def answer(_request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
        return web.json_response(
            {"code": code}, status=status, content_type="application/problem+json", headers=_dashed(headers)
        )

    return answer


def page(status: int, text: str, content_type: str = "text/html") -> Answer:
    async def answer(_request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=content_type)

    return answer


async def hang(_request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hang_up(request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang_up_in_the_middle(request: web.Request, _texts: Sequence[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"results": [')
    assert request.transport is not None
    request.transport.close()
    return response


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)


@dataclass
class Round:
    """A relay at work between an outbox and a history."""

    history: History
    outbox: Outbox
    relay: OutboxRelay
    running: "asyncio.Task[None]"

    async def keep(self, *texts: str) -> None:
        for text in texts:
            await append(self.outbox, exchange(text))

    async def all_gone(self) -> None:
        """Wait until the outbox is empty; fail when the relay gives up before."""
        empty = asyncio.create_task(self.outbox.wait_until_empty())
        try:
            async with asyncio.timeout(60):
                await asyncio.wait([empty, self.running], return_when=asyncio.FIRST_COMPLETED)
            assert empty.done(), "the relay has given up"
        finally:
            empty.cancel()

    async def failures(self, count: int) -> None:
        """Wait until so many deliveries have failed."""
        async with asyncio.timeout(60):
            while self.relay.stats.retries < count:  # noqa: ASYNC110 - the relay sets no event for it
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])


@asynccontextmanager
async def on_its_way(
    folder: Path, history: History, *texts: str, url: str | None = None, **options: Any
) -> AsyncIterator[Round]:
    """Run a relay, with these texts in the outbox before it begins."""
    usual: dict[str, Any] = {
        "first_retry_seconds": 0.001,
        "last_retry_seconds": 0.01,
        "denied_retry_seconds": 0.01,
        "jitter": lambda: 1.0,
    }
    outbox = Outbox.open(folder, max_bytes=BIG)
    for text in texts:
        await append(outbox, exchange(text))
    async with aiohttp.ClientSession() as http, history.open() as own_url:
        relay = OutboxRelay(outbox, history_url=url or own_url, http=http, **{**usual, **options})
        round_ = Round(history, outbox, relay, asyncio.create_task(relay.run()))
        try:
            yield round_
            # A relay that gave up would leave everything behind for good.
            assert not round_.running.done() or round_.running.cancelled()
        finally:
            await round_.stop()
            await outbox.close()
