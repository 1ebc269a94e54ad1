"""A client of the real protocol for end-to-end tests: small, and strict about what it gets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from devtools.stack import Stack
from devtools.watching import PATIENCE_SECONDS, eventually
from frameproto import Request, RequestKind, Response, decode_response, encode_request

SAMPLES = Path(__file__).parents[2] / "samples"
VOICE = (SAMPLES / "hello.mp3").read_bytes()
VIDEO = (SAMPLES / "hello.mp4").read_bytes()


@asynccontextmanager
async def visit(
    stack: Stack, client_id: str, *, subprotocol: str | None = None, **more: str
) -> AsyncIterator[ClientConnection]:
    """Connect for the length of an `async with` block."""
    url = stack.chat_url(client_id, **more)
    offered = None if subprotocol is None else [Subprotocol(subprotocol)]
    async with connect(url, subprotocols=offered, compression=None, max_size=1 << 26, open_timeout=60) as chat:
        yield chat


@asynccontextmanager
async def let_in(
    stack: Stack, client_id: str, *, subprotocol: str | None = None, **more: str
) -> AsyncIterator[ClientConnection]:
    """Connect as the protocol says: who meets a pod that is going away tries again."""
    async with AsyncExitStack() as open_until:
        for _ in range(100):
            with contextlib.suppress(InvalidStatus):
                talk = await open_until.enter_async_context(visit(stack, client_id, subprotocol=subprotocol, **more))
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError(f"{client_id} was never let in")
        yield talk


def pod_of(stack: Stack, client_id: str) -> int:
    """Return which chat pod a client is connected to."""
    for index, pod in enumerate(stack.chat):
        if any(e.get("event") == "connection.open" and e.get("client_id") == client_id for e in pod.events()):
            return index
    raise AssertionError(f"{client_id} is not connected")


async def ask(chat: ClientConnection, kind: RequestKind, body: bytes) -> Response:
    """Send one request and return its response."""
    await chat.send(encode_request(Request(kind, body)))
    return await reply(chat)


async def reply(chat: ClientConnection) -> Response:
    """Return the next response."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        frame = await chat.recv()
    assert isinstance(frame, bytes)
    return decode_response(frame, max_bytes=1 << 26)


@dataclass
class Historian:
    """Reads history over HTTP."""

    http: aiohttp.ClientSession
    stack: Stack

    async def get(self, path: str) -> Any:
        """Return what history answers. While the balancer finds no pod that is up, ask again."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            async with self.http.get(self.stack.history_url() + path) as response:
                by_balancer = response.status == HTTPStatus.SERVICE_UNAVAILABLE and response.content_type == "text/html"
                if not by_balancer or asyncio.get_running_loop().time() > deadline:
                    assert response.status == HTTPStatus.OK, (path, response.status, await response.text())
                    return await response.json()
            await asyncio.sleep(0.05)

    async def media(self, href: str) -> bytes:
        async with self.http.get(self.stack.history_url() + href) as response:
            assert response.status == 200, (href, response.status)
            return await response.read()

    async def sessions(self, client_id: str) -> list[dict[str, Any]]:
        return list((await self.get(f"/v1/clients/{client_id}/sessions"))["sessions"])

    async def messages(self, client_id: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many messages of a client are there, and return them all, oldest first."""
        messages: list[dict[str, Any]] = []

        async def enough() -> bool:
            messages.clear()
            for session in reversed(await self.sessions(client_id)):
                page = await self.get(f"/v1/sessions/{session['id']}/messages?limit=200")
                messages.extend(page["messages"])
            return len(messages) >= count

        await eventually(enough, f"{count} messages of {client_id}")
        return messages


@asynccontextmanager
async def historian(stack: Stack) -> AsyncIterator[Historian]:
    async with aiohttp.ClientSession() as http:
        yield Historian(http, stack)
