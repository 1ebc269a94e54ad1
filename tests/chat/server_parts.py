"""A real WebSocket server on loopback around the endpoint, with bot, media and outbox in memory."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from botkit import Responder
from chat_service.admission import Admission
from chat_service.connect import ConnectEndpoint
from chat_service.connections import ConnectionRegistry
from chat_service.conversation import ConversationLimits
from chat_service.fair_bytes import FairByteBudget
from chat_service.hours import OpeningHours
from chat_service.message_handler import MessageHandler
from chat_service.metrics import ChatMetrics
from chat_service.pod import PodServices
from chat_service.websocket import chat_protocol
from chat_service.zones import ServedZones
from frameproto import Request, RequestKind, encode_request
from permits.memory import MemoryPool
from servicekit.clock import utc_now
from servicekit.problems import install
from servicekit.runner import Address, Listener, serve
from servicekit.tokens import Authenticator, NoAuth
from tests.chat.conversation_parts import EchoBot, MediaStandIn, OutboxStandIn, limits, run_bot
from tests.permits.parts import opened

MAX_EARLY_BYTES = 65_536
KEPT_SECONDS = 15.0


@dataclass
class RunningServer:
    """A running server."""

    port: int
    endpoint: ConnectEndpoint
    registry: ConnectionRegistry
    bot: EchoBot
    media: MediaStandIn
    outbox: OutboxStandIn
    connections: MemoryPool
    messages: MemoryPool
    pod_bytes: FairByteBudget
    metrics: ChatMetrics

    def closed(self, code: int) -> float:
        """How many connections have ended with this code."""
        return self.metrics.registry.get_sample_value("chatbot_connections_closed_total", {"code": str(code)}) or 0

    def denied(self, code: str) -> float:
        """How many handshakes were turned away with this code."""
        return self.metrics.registry.get_sample_value("chatbot_connections_denied_total", {"code": code}) or 0

    def url(self, query: str = "clientId=anna&timeZone=UTC", scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/connect?{query}"

    def visit(self, client_id: str = "anna", **options: object) -> connect:
        """A client's connection; `async with` it."""
        return connect(self.url(f"clientId={client_id}&timeZone=UTC"), compression=None, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def open_server(
    *,
    changed: ConversationLimits | None = None,
    capacity: int = 50,
    per_client: int = 5,
    max_waiting: int = 100,
    wait_seconds: float = 5,
    zones: str = "*",
    origins: frozenset[str] = frozenset(),
    authenticator: Authenticator | None = None,
    ping_seconds: float = 20,
    pong_seconds: float = 20,
    max_pod_bytes: int = 1 << 26,
    max_open: int = 0,
    min_upload_bytes_per_second: float = 240,
    replies: Responder | None = None,
) -> AsyncIterator[RunningServer]:
    """Serve; `replies` is run in place of the echo bot, within the usual limits."""
    bot, media, outbox, metrics = EchoBot(), MediaStandIn(), OutboxStandIn(), ChatMetrics()
    connections = await opened(
        MemoryPool("connections", capacity=capacity, per_client=per_client, max_waiting=max_waiting)
    )
    messages = await opened(MemoryPool("messages", capacity=500, max_waiting=1000))
    bounds = changed or limits()
    pod = PodServices(
        handler=MessageHandler(
            bot=bot if replies is None else run_bot(replies, metrics),
            media=media,
            hours=dict.fromkeys(RequestKind, OpeningHours()),
            typing_seconds=0,
        ),
        messages=messages,
        outbox=outbox,
        pod_bytes=FairByteBudget(max_pod_bytes, text_bytes=max_pod_bytes // 8),
        limits=bounds,
        metrics=metrics,
        now=utc_now,
    )
    admission = Admission(
        served_zones=ServedZones.parse(zones),
        allowed_origins=origins,
        authenticator=authenticator or NoAuth(),
        now=utc_now,
    )
    registry = ConnectionRegistry(max_open=max_open)
    endpoint = ConnectEndpoint(
        admission, connections, registry, pod, wait_seconds=wait_seconds, kept_seconds=KEPT_SECONDS
    )
    app = Starlette(routes=endpoint.routes())
    install(app)
    listener = Listener(
        app=app,
        host="127.0.0.1",
        port=0,
        ws=chat_protocol(
            max_early_bytes=MAX_EARLY_BYTES,
            min_upload_bytes_per_second=min_upload_bytes_per_second,
            pod_bytes=pod.pod_bytes,
            deadlines=pod.deadlines,
        ),
        ws_max_bytes=bounds.max_frame_bytes,
        ws_ping_seconds=ping_seconds,
        ws_pong_seconds=pong_seconds,
    )
    listening: asyncio.Future[list[Address]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def drain() -> bool:
        registry.abort()
        await registry.drain(spread_seconds=0)
        return True

    serving = asyncio.create_task(
        serve([listener], drain, 10, ready=lambda at: listening.set_result(list(at)), stop=stop, close_seconds=1)
    )
    await asyncio.wait_for(listening, 60)
    try:
        yield RunningServer(
            listening.result()[0].port,
            endpoint,
            registry,
            bot,
            media,
            outbox,
            connections,
            messages,
            pod.pod_bytes,
            pod.metrics,
        )
    finally:
        stop.set()
        await serving


async def until_closed(connection: ClientConnection) -> int | None:
    """Read until the server closes; return its close code."""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionClosed):
            async for _ in connection:
                pass
        await connection.wait_closed()
    return connection.close_code


def upgrade(query: str = "", headers: str = "") -> bytes:
    """A handshake, as it is written to a socket."""
    return (
        f"GET /connect?clientId=mute&timeZone=UTC{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"{headers}\r\n"
    ).encode()


async def raw_connection(server: RunningServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Upgrade by hand, on a socket that reads nothing by itself and has small buffers."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=8192)
    writer.write(upgrade())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def masked(frame: bytes) -> bytes:
    """One binary WebSocket message with a mask of zeros."""
    return b"\x82\xff" + len(frame).to_bytes(8, "big") + bytes(4) + frame


def text(words: str) -> bytes:
    return encode_request(Request(RequestKind.TEXT, words.encode()))


async def denial(url: str, **options: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Connect, expect to be turned away, and return status, problem and headers."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, **options):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body or b""), dict(response.headers)


async def eventually(server: RunningServer, *, held: int, waiting: int = 0) -> None:
    """Wait until so many places are held and so many clients wait."""
    async with asyncio.timeout(60):
        while True:
            state = await server.connections.state()
            if (state.held, state.waiting) == (held, waiting):
                return
            await asyncio.sleep(0.005)
