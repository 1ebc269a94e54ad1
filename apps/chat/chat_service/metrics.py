"""Every metric of the chat service, declared once."""

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Gauge

from chat_service.loop_metrics import NAMESPACE, Count, Counter, Distribution, Histogram
from frameproto import RequestKind
from frameproto.connection import CloseCode
from frameproto.denials import DenialCode
from frameproto.kinds import Outcome
from permits import REFUSED_REASONS, PermitError
from servicekit.metrics import count_cuts, metrics_app, new_registry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from frameproto.exchange import Exchange
    from permits import PermitPool, Reason

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BOT_SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
BOT_FAILURES: Final = ("bot_failed", "bot_timeout", "other")
AT_ONCE: Final = "at_once"
WAITED: Final = "waited"
STATE_SECONDS: Final = 1.0  # how long a scrape may wait for the limits store
FIRST_FREE_CODE: Final = 3000  # close codes below have a meaning of their own in RFC 6455, and only a few are allowed


FAULTS: Final = ("busy", "internal", "media_failed")
"""Codes of error frames that alerts look for."""

NOT_COUNTED: Final = frozenset(
    {
        DenialCode.UPGRADE_REQUIRED,
        DenialCode.WEBSOCKET_KEY_MALFORMED,
        DenialCode.WEBSOCKET_VERSION_UNSUPPORTED,
        DenialCode.INTERNAL,
    }
)
"""Denials that do not come from the endpoint of handshakes."""


class Source(StrEnum):
    """Where the answer to a message that is sent again comes from."""

    UNDER_WAY = "under_way"  # this pod was working on it for an earlier connection
    OUTBOX = "outbox"
    HISTORY = "history"
    TURN = "turn"  # nobody has it: the bot takes a turn


class ChatMetrics:
    """What one pod counts."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or new_registry()
        self.cut_connection = count_cuts(self.registry)
        self._open = self._gauge("connections_open", "Connections open on this pod.")
        self._closed = self._counter("connections_closed", "Connections that ended, by WebSocket close code.", "code")
        self._denied = self._counter("connections_denied", "Handshakes that were denied, by problem code.", "code")
        self._in_process = self._gauge("messages_in_process", "Messages in process on this pod.", "kind")
        self._answered = self._counter(
            "messages_answered", "Messages whose exchange is in the outbox.", "kind", "outcome"
        )
        self._refused = self._counter(
            "messages_refused", "Messages answered by an error frame and not stored, by code.", "code"
        )
        self._again = self._counter(
            "messages_again", "Messages that clients sent again, by the source of the answer.", "source"
        )
        self._seconds = Histogram(
            "message_seconds",
            "From the arrival of a message to its exchange in the outbox.",
            ["kind"],
            bounds=SECONDS,
            registry=self.registry,
        )
        self.pieces = self._counter("message_pieces", "Pieces of replies for clients of chatbot.v2.").labels()
        self._first_piece_seconds = Histogram(
            "message_first_piece_seconds",
            "From the arrival of a message to the first piece of its reply, over chatbot.v2.",
            bounds=SECONDS,
            registry=self.registry,
        ).labels()
        # Shown at zero from the start, so that the first event is a rise and not an appearance.
        for close_code in CloseCode:
            self._closed.labels(str(int(close_code)))
        self._in_process_now = dict.fromkeys(RequestKind, 0)
        for kind in RequestKind:
            self._in_process.labels(kind.message_kind).set_function(partial(self._in_process_now.__getitem__, kind))
            self._seconds.labels(kind.message_kind)
            for outcome in Outcome:
                self._answered.labels(kind.message_kind, outcome)
        for code in FAULTS:
            self._refused.labels(code)
        self._refused.labels("cancelled")
        for denial_code in set(DenialCode) - NOT_COUNTED:
            self._denied.labels(denial_code)
        for source in Source:
            self._again.labels(source)
        self.permits = PermitMetrics(self.registry)
        self.delivery = DeliveryMetrics(self.registry)
        self.bot = BotMetrics(self.registry)

    def opened(self) -> None:
        """Count a connection as open, until it is `closed`."""
        self._open.inc()

    def begin(self, kind: RequestKind) -> None:
        """Count a message as in process from now on."""
        self._in_process_now[kind] += 1

    def end(self, kind: RequestKind) -> None:
        """Count it no longer."""
        self._in_process_now[kind] -= 1

    def closed(self, code: int) -> None:
        """Count the end of a connection. The private codes of clients are one figure: there are thousands of them."""
        self._open.dec()
        known = code < FIRST_FREE_CODE or code in set(CloseCode)
        self._closed.labels(str(int(code)) if known else "other").inc()

    def denied(self, code: str) -> None:
        """Count a handshake that was turned away."""
        self._denied.labels(code).inc()

    def refused(self, code: str) -> None:
        """Count a message that got an error frame and was not kept."""
        self._refused.labels(code).inc()

    def answered(self, kind: RequestKind, exchange: "Exchange") -> None:
        """Count a message whose exchange has just been kept."""
        self._answered.labels(kind.message_kind, exchange.outcome).inc()
        seconds = (exchange.answered_at - exchange.received_at).total_seconds()
        self._seconds.labels(kind.message_kind).observe(seconds)

    def first_piece(self, seconds: float) -> None:
        """Count the time to the first piece of a reply."""
        self._first_piece_seconds.observe(seconds)

    def answered_again(self, source: Source) -> None:
        """Count a message that was sent again, by where its answer comes from."""
        self._again.labels(source).inc()

    def watch(self, name: str, help_text: str, read: Callable[[], float]) -> None:
        """Report a figure that somebody else keeps; read when somebody scrapes."""
        self._gauge(name, help_text).set_function(read)

    def app(self, pools: "Sequence[PermitPool]") -> "ASGIApp":
        """Return the ASGI app of the metrics port."""
        exposition = metrics_app(self.registry)

        async def app(scope: "Scope", receive: "Receive", send: "Send") -> None:
            if scope["type"] == "http":
                await asyncio.gather(*(self.permits.read(pool) for pool in pools))
            await exposition(scope, receive, send)

        return app

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, namespace=NAMESPACE, registry=self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)


class BotMetrics:
    """The `bot_*` metrics: the `BotObserver` of the pod's bots."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, help_text: str) -> Histogram:
            return Histogram(f"bot_{name}", help_text, ["bot"], bounds=BOT_SECONDS, registry=registry)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"bot_{name}", help_text, ["bot", *labels], registry=registry)

        self._seconds = histogram("seconds", "From a turn to the whole reply of the bot.")
        self._first_piece_seconds = histogram("first_piece_seconds", "From a turn to the first piece of the reply.")
        self._pieces = counter("pieces", "Pieces of the replies of bots.")
        self._tokens = counter("tokens", "Tokens that a model reported, by direction.", "direction")
        self._failures = counter("failures", "Turns without a reply, by code.", "code")
        self._replied = cache(self._children)

    def _children(self, bot: str) -> tuple[Distribution, Distribution, Count]:
        """Return what each reply of a bot is counted with; looking these up one by one takes longer than counting."""
        return self._seconds.labels(bot), self._first_piece_seconds.labels(bot), self._pieces.labels(bot)

    def begin(self, bot: str) -> None:
        """Show a bot's counters at zero, so that the first failure is a rise and not an appearance."""
        self._pieces.labels(bot)
        for code in BOT_FAILURES:
            self._failures.labels(bot, code)
        for direction in ("asked", "replied"):
            self._tokens.labels(bot, direction)

    def replied(self, bot: str, *, seconds: float, first_piece_seconds: float, pieces: int) -> None:
        """See `BotObserver.replied`."""
        of_reply, of_first_piece, count = self._replied(bot)
        of_reply.observe(seconds)
        of_first_piece.observe(first_piece_seconds)
        count.inc(pieces)

    def failed(self, bot: str, code: str) -> None:
        """See `BotObserver.failed`."""
        self._failures.labels(bot, code if code in BOT_FAILURES else "other").inc()

    def used_tokens(self, bot: str, *, asked: int, replied: int) -> None:
        """See `BotObserver.used_tokens`."""
        self._tokens.labels(bot, "asked").inc(asked)
        self._tokens.labels(bot, "replied").inc(replied)


class DeliveryMetrics:
    """The `delivery_*` metrics: the `DeliveryObserver` of the relay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"delivery_{name}", help_text, labels, registry=registry)

        self._exchanges = counter("exchanges", "Exchanges that history accepted or refused, by outcome.", "outcome")
        self._bytes = counter("bytes", "Bytes of the batches that history accepted.").labels()
        self._retries = counter("retries", "Deliveries that failed and are retried.").labels()
        self._denied = counter("denied", "Deliveries whose token history did not accept.").labels()
        self._seconds = Histogram(
            "delivery_seconds",
            "From the sending of a batch to the answer of history.",
            bounds=SECONDS,
            registry=registry,
        ).labels()
        for outcome in ("delivered", "refused"):
            self._exchanges.labels(outcome)

    def delivered(self, exchanges: int, refused: int, size_bytes: int, seconds: float) -> None:
        """See `DeliveryObserver.delivered`."""
        self._exchanges.labels("delivered").inc(exchanges)
        self._exchanges.labels("refused").inc(refused)
        self._bytes.inc(size_bytes)
        self._seconds.observe(seconds)

    def dead_lettered(self) -> None:
        """See `DeliveryObserver.dead_lettered`."""
        self._exchanges.labels("refused").inc()

    def failed(self, *, denied: bool) -> None:
        """See `DeliveryObserver.failed`."""
        self._retries.inc()
        self._denied.inc(denied)


class PermitMetrics:
    """The `permits_*` metrics, by pool.

    Gauges tell of the whole cluster and are read when somebody scrapes. The rest tells of those who asked this pod, for
    which it is the `PoolObserver` of its pools.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(f"permits_{name}", help_text, ["pool"], namespace=NAMESPACE, registry=registry)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(f"permits_{name}", help_text, ["pool", *labels], registry=registry)

        self._held = gauge("held", "Permits held in the cluster.")
        self._waiting = gauge("waiting", "Requests in the queue, in the cluster.")
        self._capacity = gauge("capacity", "Capacity of the pool, in the cluster.")
        self._high_water = gauge("high_water", "Most permits ever held at once.")
        self._reaped = gauge("reaped", "Permits reaped so far from pods whose lease ended.")
        self._learning = gauge("learning", "1 while the pool learns its permits and grants no new ones.")
        self._readable = gauge("readable", "1 when this scrape read the gauges of the pool.")
        self._granted = counter("granted", "Permits granted, at once or after a wait in the queue.", "how")
        self._timed_out = counter("timed_out", "Requests for a permit that timed out in the queue.")
        self._refused = counter("refused", "Requests for a permit that were refused, by reason.", "reason")
        self._lost = counter("lost", "Permits lost while they were held: the lease was not renewed.")
        self._faults = counter("faults", "Internal errors of a pool on this pod.")
        self._wait_seconds = Histogram(
            "permits_wait_seconds",
            "From the request for a permit to its grant.",
            ["pool"],
            bounds=SECONDS,
            registry=registry,
        )

    def granted(self, pool: str, *, waited_seconds: float, queued: bool) -> None:
        """See `PoolObserver.granted`."""
        self._granted.labels(pool, WAITED if queued else AT_ONCE).inc()
        self._wait_seconds.labels(pool).observe(waited_seconds)

    def timed_out(self, pool: str, *, waited_seconds: float) -> None:  # noqa: ARG002 - as long as the settings allow
        """See `PoolObserver.timed_out`."""
        self._timed_out.labels(pool).inc()

    def refused(self, pool: str, reason: "Reason") -> None:
        """See `PoolObserver.refused`."""
        self._refused.labels(pool, reason).inc()

    def lost(self, pool: str, permits: int) -> None:
        """See `PoolObserver.lost`."""
        self._lost.labels(pool).inc(permits)

    def failed(self, pool: str) -> None:
        """See `PoolObserver.failed`."""
        self._faults.labels(pool).inc()

    def begin(self, pool: str) -> None:
        """Show a pool's counters at zero, so that the first event is a rise and not an appearance."""
        for how in (AT_ONCE, WAITED):
            self._granted.labels(pool, how)
        self._faults.labels(pool)
        for reason in REFUSED_REASONS:
            self._refused.labels(pool, reason)
        for metric in (self._timed_out, self._lost, self._wait_seconds):
            metric.labels(pool)

    async def read(self, pool: "PermitPool") -> None:
        """Bring the gauges of a pool up to date, or mark them stale."""
        try:
            async with asyncio.timeout(STATE_SECONDS):
                state = await pool.state(clients=False)
        except (PermitError, TimeoutError):
            self._readable.labels(pool.name).set(0)
            return
        self._held.labels(pool.name).set(state.held)
        self._waiting.labels(pool.name).set(state.waiting)
        self._capacity.labels(pool.name).set(state.capacity)
        self._high_water.labels(pool.name).set(state.high_water)
        self._reaped.labels(pool.name).set(state.reaped)
        self._learning.labels(pool.name).set(state.learning_seconds > 0)
        self._readable.labels(pool.name).set(1)
