"""uvicorn's HTTP with bounds on what a peer may send and how long it may take, and with checked heads.

httptools by itself keeps a request line, a header or a trailer of any size in memory, and waits for its end for ever.
It does not tell where in what it was fed a head ended. A head and a chunked body both end with an empty line, so
feeding up to each empty line (and a body of known length up to its end) makes the counted bytes exact.
"""

import asyncio
import json
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from servicekit.capacity import Capacity
from servicekit.health import PROBE_PATHS
from servicekit.http_head import asks_for_websocket, check_handshake, check_host, read_target
from servicekit.http_pace import LeastRate, unsent_bytes
from servicekit.listener import Listener
from servicekit.problems import MEDIA_TYPE, Problem, problem_response

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

LINGER_SECONDS: Final = 1.0
"""How long to read on behind a last answer. Closing a socket with unread data resets it, and the peer may never see
the answer."""

EMPTY_LINE: Final = b"\r\n\r\n"
ANSWERED_ALWAYS: Final = PROBE_PATHS | {"/metrics"}
"""Paths that are answered though there is no room: a busy pod is alive, and its operator looks at it."""

FRAMING: Final = {b"content-length", b"transfer-encoding"}
REFUSAL: Final = "servicekit.refusal"
"""Member of a scope: the problem that a request is answered with, whatever it asks for."""


class HeadPart(Enum):
    """What the next bytes of the peer belong to."""

    HEAD = auto()
    BODY = auto()  # of known length
    CHUNKS = auto()
    NOTHING = auto()  # they are thrown away


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection.

    Attributes:
        listener: what it may do. As much as a head may have may come of a chunked body that is not body.
        capacity: how many such connections there may be.
    """

    listener: Listener
    capacity: Capacity

    _part: HeadPart = HeadPart.HEAD
    _counted_bytes: int = 0  # of a head, or of what stands between the parts of a chunked body
    _tail: bytes = b""  # the last that was fed, where an empty line may have begun
    _body_left: int = 0
    _upgrades: bool = False
    _reads_body: bool = False  # the parser knows nothing but the body of this request
    _running: "RequestResponseCycle | None" = None
    _turned_away: bool = False
    _head_timed: bool = False
    _timer: asyncio.TimerHandle | None = None  # of a head, of idleness, or of a rest that nobody wants
    _body_timer: asyncio.TimerHandle | None = None
    _body_bytes: int = 0
    _body_waited: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look for room, and give the first request its time."""
        super().connection_made(transport)
        self._receiving = LeastRate(self.listener.http, self._received_bytes, self._body_too_slow)
        self._sending = LeastRate(self.listener.http, self._sent_bytes, self._cut_reader)
        self._turned_away = not self.capacity.admit(self)
        if self._turned_away:
            self.listener.on_cut("turned_away")
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        self._stop_timers()
        self._sending.stop()
        self.capacity.gone(self)
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Close at once, for a newcomer that may have a request."""
        self.listener.on_cut("made_room")
        if self._counted_bytes and self._part is HeadPart.HEAD:  # it had begun one
            self.transport.write(_as_bytes(_no_room()))
            self.transport.close()
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in what the peer sent, as long as it comes to something."""
        while data and not self.transport.is_closing() and self._part is not HeadPart.NOTHING:
            end = self._next_end(data)
            if self._part is HeadPart.HEAD and self._counted_bytes + end > self.listener.http.max_head_bytes:
                self._fail(
                    Problem(431, "head_too_large", f"a head has at most {self.listener.http.max_head_bytes} bytes")
                )
                return
            piece, data = data[:end], data[end:]
            if not self._feed(piece):
                self._hand_over(data)
                return
            if self._counted_bytes > self.listener.http.max_head_bytes:
                self._fail(Problem(431, "head_too_large", "too much stands between the parts of the body"))

    def on_message_begin(self) -> None:
        """Give each request its time."""
        super().on_message_begin()
        if not self._head_timed:
            self._time_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but not one behind the body: it would become one of the head (RFC 9110, 6.5.1)."""
        if self._part is HeadPart.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: check it."""
        self._stop_timers()
        self.capacity.busy(self)
        self._upgrades = False
        try:
            self._check_head()
        except Problem as exc:
            self.scope[REFUSAL] = exc  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if REFUSAL in self.scope:
            self.cycle.keep_alive = False
        self._begin_body()

    def on_body(self, body: bytes) -> None:
        """A part of the body is no head."""
        self._counted_bytes = 0
        self._body_left -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Nor is anything else of a request that is whole."""
        if self.parser.should_upgrade() and not self._upgrades and self._part is not HeadPart.HEAD:
            return  # the parser takes what follows an upgrade for no body; see _go_on
        wanted = self._part is HeadPart.HEAD or self._body_timer is not None
        self._part = HeadPart.HEAD
        self._counted_bytes = 0
        self._stop_timers()
        if not wanted:  # its answer had been sent before
            self._time_idleness()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, if there is one. This takes the place of the parent's keep-alive."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._sending.start()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self._head_timed and self._part is not HeadPart.NOTHING:
            self._stop_timers()
            self._time_idleness()

    def pause_writing(self) -> None:
        """The peer has not taken what was sent: see that it does."""
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        """The peer has taken it."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._sending.stop()

    def _next_end(self, data: bytes) -> int:
        """Return up to where `data` belongs to the same part of a request."""
        if self._part is HeadPart.BODY:
            return min(len(data), self._body_left)
        across = (self._tail + data[: len(EMPTY_LINE) - 1]).find(EMPTY_LINE)
        if across >= 0:
            return across + len(EMPTY_LINE) - len(self._tail)
        found = data.find(EMPTY_LINE)
        return found + len(EMPTY_LINE) if found >= 0 else len(data)

    def _feed(self, piece: bytes) -> bool:
        """Parse what is of one part; say whether the peer still talks HTTP."""
        before = self._part
        self._counted_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._upgrades and not self._end_after_answers():
                return False
            self._go_on()
        except httptools.HttpParserError:
            self._fail(Problem(400, "request_malformed", "this is not a request of HTTP/1.1"))
        self._tail = piece[-(len(EMPTY_LINE) - 1) :] if self._part is before else b""
        if self._part is HeadPart.HEAD and self._reads_body:
            self.parser, self._reads_body = httptools.HttpRequestParser(self), False
        return True

    def _hand_over(self, rest: bytes) -> None:
        """The peer talks WebSocket from here on."""
        self._stop_timers()
        self.handle_websocket_upgrade()
        transport = self.transport
        vars(self).clear()  # these refer to each other, and would wait for the garbage collector
        if rest:
            transport.get_protocol().data_received(rest)  # type: ignore[attr-defined]

    def _go_on(self) -> None:
        """Read what follows an upgrade that is not taken: the body, if there is one, as that of any request."""
        if self._part is HeadPart.HEAD:
            return
        framing = [b"%b: %b\r\n" % header for header in self.headers if header[0] in FRAMING]
        self.parser, self._reads_body = httptools.HttpRequestParser(_BodyOnly(self)), True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))

    def _begin_body(self) -> None:
        self._counted_bytes = 0
        for name, value in self.headers:
            if name == b"transfer-encoding":
                self._part = HeadPart.CHUNKS
            elif name == b"content-length" and int(value) > 0:
                self._part, self._body_left = HeadPart.BODY, int(value)
        if self._part is not HeadPart.HEAD:
            self._body_bytes = 0
            self._body_waited = False
            self._receiving.start()
            self._body_timer = self.loop.call_later(self.listener.http.body_seconds, self._body_too_long)

    def _check_head(self) -> None:
        version, method = self.parser.get_http_version(), self.parser.get_method().decode("ascii")
        target = read_target(version, self.url, self.headers)
        self.url, self.headers[:] = target.path_and_query, target.headers
        if self._turned_away and target.path not in ANSWERED_ALWAYS:
            raise _no_room()
        if self.listener.allowed_hosts is not None:
            check_host(self.listener.allowed_hosts, target)
        if self.ws_protocol_class is not None and asks_for_websocket(version, method, self.headers):
            check_handshake(self.headers)
            self._upgrades = True

    def _should_upgrade(self) -> bool:
        return self._upgrades

    def _start_asgi_task(self, cycle: "RequestResponseCycle", app: "ASGI3Application") -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _fail(self, problem: Problem) -> None:
        """Close the connection of a peer that sends what is no request, or none that will be whole.

        It is told why, unless it is still being told something else. Requests before that one are answered.
        """
        receiving, self._part = self._part, HeadPart.NOTHING
        self._stop_timers()
        running = self._running
        if receiving is not HeadPart.HEAD:  # the request that was read last will never be whole
            if self.pipeline:
                self.pipeline.popleft()
            elif running is not None:
                running.disconnected = True
                running.message_event.set()
                if running.response_started:
                    self._linger()
                    return
        if not self._end_after_answers():
            self.transport.write(_as_bytes(problem))
            self._linger()

    def _end_after_answers(self) -> bool:
        """Let requests that came before be answered and then close, if there are any; say whether there are.

        A handshake behind them is not looked at: the client has to come again (RFC 9112, 9.3.2).
        """
        running = self._running
        if running is None or running.response_complete or running.disconnected:
            return False
        last = self.pipeline[0][0] if self.pipeline else running
        last.keep_alive = False
        self._part = HeadPart.NOTHING
        return True

    def _linger(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _time_head(self) -> None:
        self._stop_timers()
        self._head_timed = True
        self._timer = self.loop.call_later(self.listener.http.head_seconds, self._head_too_slow)

    def _time_idleness(self) -> None:
        self.capacity.idle(self)
        self._timer = self.loop.call_later(self.listener.http.idle_seconds, self._close)

    def _stop_timers(self) -> None:
        self._head_timed = False
        self._receiving.stop()
        for timer in (self._timer, self._body_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._body_timer = None

    def _close(self) -> None:
        self._sending.start()
        self.transport.close()

    def _head_too_slow(self) -> None:
        if not self._counted_bytes:
            self._close()
            return
        self.listener.on_cut("head_too_slow")
        self._fail(Problem(408, "head_too_slow", f"a head arrives within {self.listener.http.head_seconds:g} s"))

    def _body_too_long(self) -> None:
        waited, self._body_waited = self._body_waited, self.flow.read_paused
        if waited or self._body_waited:  # it is us who do not read, or did not until a moment ago
            self._body_timer = self.loop.call_later(self.listener.http.stall_seconds, self._body_too_long)
        else:
            self._body_too_slow()

    def _body_too_slow(self) -> None:
        limits = self.listener.http
        self.listener.on_cut("body_too_slow")
        detail = f"a body arrives within {limits.body_seconds:g} s, and by {limits.min_bytes_per_second} bytes a second"
        self._fail(Problem(408, "body_too_slow", detail))

    def _cut_reader(self) -> None:
        self.listener.on_cut("reader_too_slow")
        self.transport.abort()

    def _received_bytes(self) -> int | None:
        return None if self.flow.read_paused else self._body_bytes

    def _sent_bytes(self) -> int | None:
        """Return a number that grows by what the peer takes, as long as nothing more is sent."""
        return -unsent_bytes(self.transport) if self.transport.get_write_buffer_size() else None


class _BodyOnly:
    """What a parser calls that is to find the end of a body."""

    def __init__(self, connection: BoundedHttpProtocol) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def bounded(listener: Listener, capacity: Capacity) -> type[asyncio.Protocol]:
    """Return the protocol of a listener."""
    return type("BoundedHttpProtocol", (BoundedHttpProtocol,), {"listener": listener, "capacity": capacity})


def answer_refusals(app: ASGIApp) -> ASGIApp:
    """Put this before an application: requests whose head is refused do not come to it."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        refused: Problem | None = scope.get(REFUSAL)
        await (app if refused is None else problem_response(refused))(scope, receive, send)

    return refusing


def _no_room() -> Problem:
    detail = "this server has all the connections that it can have; come again"
    return Problem(503, "connections_exhausted", detail, headers={"retry-after": "1"})


def _as_bytes(problem: Problem) -> bytes:
    """Write a problem down as an answer: where there is no request, no application can answer."""
    body = json.dumps(problem.body(), separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n"
    )
    more = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
    return f"{head}{more}\r\n".encode() + body
