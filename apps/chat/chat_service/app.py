"""The composition root of the chat service: settings in, a running pod out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Final

import aiohttp
from redis.asyncio import Redis
from starlette.applications import Starlette

from chat_service.admission import Admission
from chat_service.bot.choice import open_bot
from chat_service.connect import ConnectEndpoint
from chat_service.connections import ConnectionRegistry
from chat_service.conversation import ConversationLimits
from chat_service.fair_bytes import FairByteBudget
from chat_service.history_reader import HistoryReader
from chat_service.ids import ExchangeIds
from chat_service.media.base import MediaPool
from chat_service.media.choice import media_workers
from chat_service.message_handler import MessageHandler
from chat_service.metrics import ChatMetrics, PermitMetrics
from chat_service.outbox import Outbox, OutboxUnwritable
from chat_service.pod import PodServices
from chat_service.relay import OutboxRelay
from chat_service.web import web_routes
from chat_service.websocket import ChatWebSocketProtocol, chat_protocol
from frameproto import RequestKind
from frameproto.connection import CONNECT_PATH, WELL_KNOWN_PATH
from permits import PermitPool
from permits.memory import MemoryPool
from permits.redis import RedisPool
from servicekit.auth import open_authenticator
from servicekit.clock import Now, utc_now
from servicekit.cors import allow_origins
from servicekit.health import CheckResult, Health
from servicekit.logs import get_logger
from servicekit.problems import install
from servicekit.runner import Listener
from servicekit.tasks import background
from servicekit.tokens import ends_at

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from chat_service.settings import ChatSettings

log = get_logger(__name__)

TEXT_SHARE: Final = 0.125
"""The part of a pod's bytes that only texts may take, so that none waits for a video."""

MAX_EARLY_BYTES: Final = 64 * 1024
"""How much is read of what a client sends before its handshake is answered."""

MAX_UNREADABLE: Final = 5
"""How many unreadable frames in a row end a connection."""

QUIET_LIBRARIES: Final = ("httpcore", "httpx", "openai")
"""Their info lines tell of each request to a model."""

FLUSH_SHARE = 0.3  # of the drain budget that is kept for delivering the outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatServer:
    """A running pod, without its ports."""

    settings: "ChatSettings"
    app: "ASGIApp"
    websocket: type[ChatWebSocketProtocol]
    metrics_app: "ASGIApp"
    on_cut: Callable[[str], None]
    health: Health
    registry: ConnectionRegistry
    relay: OutboxRelay
    connections: PermitPool
    messages: PermitPool

    def listeners(self) -> list[Listener]:
        """Return the ports of this pod: clients and metrics."""
        settings = self.settings
        return [
            Listener(
                app=self.app,
                host=settings.host,
                port=settings.port,
                name="chat",
                hint="set CHAT_PORT",
                host_hint="set CHAT_HOST",
                ws=self.websocket,
                ws_max_bytes=settings.max_frame_bytes,
                ws_ping_seconds=settings.ping_seconds,
                ws_pong_seconds=settings.pong_seconds,
                http=settings.http_limits(),
                on_cut=self.on_cut,
                allowed_hosts=settings.served_hosts(settings.host),
            ),
            Listener(
                app=self.metrics_app,
                host=settings.host,
                port=settings.metrics_port,
                name="chat-metrics",
                hint="set CHAT_METRICS_PORT",
                host_hint="set CHAT_HOST",
                http=settings.http_limits(),
                on_cut=self.on_cut,
                allowed_hosts=settings.metrics_hosts(settings.host),
            ),
        ]

    async def drain(self) -> bool:
        """Let everybody finish and deliver what is kept, within the drain budget; say whether nothing is left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.settings.drain_seconds
        self.health.start_draining()
        talking_seconds = self.settings.drain_seconds * (1 - FLUSH_SHARE)
        spread_seconds = min(self.settings.drain_spread_seconds, talking_seconds / 2)
        try:
            async with asyncio.timeout(talking_seconds):
                await self.registry.drain(spread_seconds=spread_seconds)
        except TimeoutError:
            log.warning("drain.cut_short", reason="answers took longer than the drain budget allows")
            self.registry.abort()
        left = await self.relay.flush(max(0.0, deadline - loop.time() - 0.5))
        if left:
            log.warning("drain.undelivered", records=left, where=str(self.settings.data_dir))
        return left == 0


@asynccontextmanager
async def open_chat(
    settings: "ChatSettings",
    *,
    history_url: Awaitable[str] | None = None,
    history_token: Callable[[], str] | None = None,
    media: MediaPool | None = None,
    now: Now = utc_now,
) -> AsyncIterator[ChatServer]:
    """Open everything a pod needs, and close it again in the right order.

    Args:
        settings: what is served, to whom, and how much of it.
        history_url: where history will be, if not where the settings say; deliveries wait for it.
        history_token: gives the token that is shown to history, if the settings have none.
        media: does the media work, if not worker processes as the settings say; opened and closed with the pod.
        now: the wall clock.

    Raises:
        OutboxError: the data folder is in use by another process or cannot be written.
        MediaError: the media workers do not start.
        CannotStartBot: the bot of the settings does not start.
    """
    async with contextlib.AsyncExitStack() as stack:
        metrics = ChatMetrics()
        health = Health(metadata.version("chatbot-chat"))
        outbox = await stack.enter_async_context(_outbox(settings, now))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        address = str(settings.history_url) if history_url is None else asyncio.ensure_future(history_url)
        show = settings.history_token.get_secret_value if settings.history_token else history_token
        relay = OutboxRelay(
            outbox,
            history_url=address,
            http=http,
            token=show,
            request_seconds=settings.delivery_seconds,
            observer=metrics.delivery,
        )
        await stack.enter_async_context(background(relay.run(), name="relay"))
        media = media or media_workers(settings)
        connections, messages = await stack.enter_async_context(_pools(settings, metrics.permits))
        text_bytes = int(settings.max_pod_bytes * TEXT_SHARE)
        pod_bytes = FairByteBudget(settings.max_pod_bytes, text_bytes=text_bytes)
        metrics.bot.begin(settings.bot)
        pod = PodServices(
            handler=MessageHandler(
                bot=await stack.enter_async_context(open_bot(settings, metrics.bot)),
                media=media,
                hours={kind: settings.hours(kind) for kind in RequestKind},
                typing_seconds=settings.bot_typing_seconds,
            ),
            messages=messages,
            outbox=outbox,
            pod_bytes=pod_bytes,
            limits=_limits(settings),
            metrics=metrics,
            history=HistoryReader(
                address,
                http=http,
                token=settings.context_token.get_secret_value if settings.context_token else show,
                seconds=settings.history_seconds,
            ),
            now=now,
            new_id=stack.enter_context(_ids(settings, now)).make,
        )
        admission = Admission(
            served_zones=settings.time_zones,
            allowed_origins=frozenset(settings.allowed_origins),
            authenticator=await stack.enter_async_context(open_authenticator(settings, health, now=now)),
            now=now,
        )
        registry = ConnectionRegistry(max_open=settings.max_connections_per_pod)
        stack.push_async_callback(registry.wait_until_empty)  # before pools and outbox close: connections need them
        connect = ConnectEndpoint(
            admission,
            connections,
            registry,
            pod,
            wait_seconds=settings.connect_wait_seconds,
            kept_seconds=settings.lease_seconds,
        )
        await stack.enter_async_context(media)  # left first: its end is the end of conversations that wait for a job
        for pool in (connections, messages):
            health.register(f"permits_{pool.name}", partial(_permits_verdict, pool))
        health.register("connections", partial(_connections_verdict, registry))
        _watch(metrics, outbox, pod_bytes, media)
        _watch_token(metrics, settings)
        app = Starlette(
            routes=[
                *connect.routes(),
                *health.routes(),
                *web_routes(settings),
            ]
        )
        app.router.redirect_slashes = False  # the address would be built from the Host header
        install(app, hint=f"clients connect at {CONNECT_PATH}, and {WELL_KNOWN_PATH} describes this installation")
        allow_origins(app, settings.allowed_origins)  # for the peek; handshakes are for admission to judge
        yield ChatServer(
            settings=settings,
            app=app,
            websocket=chat_protocol(
                max_early_bytes=MAX_EARLY_BYTES,
                min_upload_bytes_per_second=settings.min_upload_bytes_per_second,
                pod_bytes=pod_bytes,
                deadlines=pod.deadlines,
            ),
            metrics_app=metrics.app([connections, messages]),
            on_cut=metrics.cut_connection,
            health=health,
            registry=registry,
            relay=relay,
            connections=connections,
            messages=messages,
        )


@asynccontextmanager
async def _outbox(settings: "ChatSettings", now: Now) -> AsyncIterator[Outbox]:
    outbox = Outbox.open(
        settings.data_dir / "outbox",
        max_bytes=settings.outbox_max_bytes,
        fsync=settings.outbox_fsync == "always",
        now=now,
    )
    try:
        yield outbox
    finally:
        await outbox.close()


@contextmanager
def _ids(settings: "ChatSettings", now: Now) -> Iterator[ExchangeIds]:
    """Open the ids, in the folder that the outbox has locked for this process."""
    try:
        ids = ExchangeIds(settings.data_dir / "outbox" / "ids", now)
    except OSError as exc:
        raise OutboxUnwritable(f"CHAT_DATA_DIR: {exc.filename} cannot be used: {exc.strerror}") from exc
    try:
        yield ids
    finally:
        ids.close()


@asynccontextmanager
async def _pools(settings: "ChatSettings", metrics: PermitMetrics) -> AsyncIterator[tuple[PermitPool, PermitPool]]:
    """Open the two pools: places for connections, and permits for messages in process."""
    async with contextlib.AsyncExitStack() as stack:
        make: Callable[..., PermitPool] = MemoryPool
        if settings.redis_url is not None:
            redis = Redis.from_url(settings.redis_url.get_secret_value())
            stack.push_async_callback(redis.aclose)
            make = partial(RedisPool, redis=redis, prefix=settings.permits_prefix)
        connections = make(
            "connections",
            capacity=settings.max_connections,
            per_client=settings.max_connections_per_client,
            max_waiting=settings.max_waiting,
            lease_seconds=settings.lease_seconds,
            observer=metrics,
        )
        messages = make(
            "messages",
            capacity=settings.max_messages,
            max_waiting=settings.max_connections * settings.window,  # all that can be asked for at once
            lease_seconds=settings.lease_seconds,
            observer=metrics,
        )
        for pool in (connections, messages):
            metrics.begin(pool.name)
            await stack.enter_async_context(pool)
        yield connections, messages


def _connections_verdict(registry: ConnectionRegistry) -> CheckResult:
    return CheckResult(ok=not registry.is_full, reason="full" if registry.is_full else "")


def _permits_verdict(pool: PermitPool) -> CheckResult:
    """Say whether a pool can serve this pod, and whether something keeps newcomers out meanwhile."""
    return CheckResult(ok=pool.ready(), reason=pool.condition() or "", left_seconds=pool.learning_seconds())


def _limits(settings: "ChatSettings") -> ConversationLimits:
    return ConversationLimits(
        window=settings.window,
        max_frame_bytes=settings.max_frame_bytes,
        max_text_bytes=settings.max_text_bytes,
        max_bytes=settings.max_connection_bytes,
        max_unreadable=MAX_UNREADABLE,
        message_wait_seconds=settings.message_wait_seconds,
        first_message_seconds=settings.first_message_seconds,
        idle_seconds=settings.idle_seconds,
        send_seconds=settings.send_seconds,
    )


def _watch_token(metrics: ChatMetrics, settings: "ChatSettings") -> None:
    """Tell when the token that is shown to history ends, where it says so."""
    end = ends_at(settings.history_token.get_secret_value()) if settings.history_token else None
    if end is not None:
        metrics.watch("delivery_token_ends_timestamp_seconds", "Expiry of the token for history.", lambda: end)


def _watch(metrics: ChatMetrics, outbox: Outbox, pod_bytes: FairByteBudget, media: MediaPool) -> None:
    metrics.watch("outbox_records", "Exchanges that wait for delivery.", lambda: outbox.depth)
    metrics.watch("outbox_bytes", "Size of the outbox on disk.", lambda: outbox.size_bytes)
    metrics.watch("outbox_oldest_seconds", "Age of the oldest undelivered exchange.", lambda: outbox.oldest_age_seconds)
    metrics.watch("outbox_deferred", "Deferred exchanges.", lambda: outbox.deferred)
    metrics.watch("outbox_refused", "Exchanges that were dead-lettered.", lambda: outbox.refused)
    metrics.watch("held_bytes", "Bytes of messages held in memory.", lambda: pod_bytes.used)
    metrics.watch("held_bytes_waiting", "Messages that wait for bytes of memory.", lambda: pod_bytes.waiting)
    metrics.watch(
        "media_jobs_waiting", "Jobs for voice, video and speech that wait for a worker.", lambda: media.waiting
    )
