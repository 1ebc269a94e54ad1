"""Servers that misbehave in one way each, for what the real chatbot does not do on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import TestServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from frameproto import Response as Reply
from frameproto import ResponseKind, encode_response, error_response
from frameproto.connection import SUBPROTOCOL_V1
from frameproto.v2 import ClientFrame, MessageRequest, MessageResponse, decode_client_frame, encode_server_frame

Talk = Callable[[ServerConnection], Awaitable[None]]
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def said(text: str) -> bytes:
    """Return the frame of a reply."""
    return encode_response(Reply(ResponseKind.TEXT, text))


async def echo(websocket: ServerConnection) -> None:
    """Say back how long each message is, and how it ends."""
    async for message in websocket:
        assert isinstance(message, bytes)
        await websocket.send(said(f"{len(message)} {message[-1:].decode(errors='replace')}"))


async def heard(websocket: ServerConnection) -> ClientFrame:
    """Return the next frame of a client that speaks v2."""
    frame = await websocket.recv()
    assert isinstance(frame, bytes)
    return decode_client_frame(frame, max_bytes=len(frame))


async def asked(websocket: ServerConnection) -> MessageRequest:
    """Return the next request over v2."""
    frame = await heard(websocket)
    assert isinstance(frame, MessageRequest)
    return frame


def answered(request: MessageRequest, text: str | None = None) -> bytes:
    """Return the frame of a reply over v2; without a text, it says the request back."""
    return encode_server_frame(
        MessageResponse(request.message_id, Reply(ResponseKind.TEXT, text or request.request.text))
    )


def failed(message_id: UUID, code: str) -> bytes:
    """Return the frame of an error over v2."""
    return encode_server_frame(MessageResponse(message_id, error_response(code, "so it is")))


async def echo_v2(websocket: ServerConnection) -> None:
    """Say back each text, over v2."""
    while True:
        await websocket.send(answered(await asked(websocket)))


@asynccontextmanager
async def talking(talk: Talk, *, protocol: str = SUBPROTOCOL_V1, **options: Any) -> AsyncIterator[str]:
    """Serve WebSocket; yield the address."""
    offered = [Subprotocol(protocol)]
    async with serve(talk, "127.0.0.1", 0, subprotocols=offered, **{"max_size": None, **options}) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def denial(status: int, body: bytes, **headers: str) -> Callable[[ServerConnection, Request], Response]:
    """Return what makes `talking` refuse each handshake."""
    fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    fields["Content-Length"] = str(len(body))
    return lambda _websocket, _request: Response(status, HTTPStatus(status).phrase, fields, body)


@asynccontextmanager
async def speaking(speak: Speak) -> AsyncIterator[int]:
    """Serve bare TCP; yield the port."""
    connections: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await speak(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*connections)


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve HTTP, each path in the same way; yield the address."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("/"))
