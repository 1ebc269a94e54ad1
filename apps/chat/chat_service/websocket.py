"""The WebSocket layer under the transport port: uvicorn's sans-I/O implementation, hardened for long-lived peers.

Its behaviour differs from the parent class where a chat connection holds a cluster-wide place:

* frames go to the conversation by a call, without a queue and a task (`websocket_transport.py`), and whole ones without
  the general parser (`websocket_frames.py`);
* a peer that does not read cannot delay our close: the close frame is queued and the socket aborted after a grace time;
* a ping that goes unanswered aborts the socket, so that a vanished peer gives its place back at once; nothing is sent;
* any bytes are as good as a pong, because a peer cannot send one in the middle of a frame; and while *we* have stopped
  reading (window or byte budget full), a pong that is missing is not held against the peer;
* a message that arrives below the least rate ends the connection;
* a connection that breaks without a close frame is reported as 1006;
* what a peer sends before its handshake is answered waits, a little of it here and the rest in the sockets, and is
  processed in order when the connection is accepted;
* a handshake over the limits of the library is answered, and pings are, but not more than the peer reads;
* of what the application has not asked for, nothing is read ahead but the end of a chunk: memory is bounded by bytes;
* a frame over the size limit is answered by close 1009 and its remainder read and discarded for a grace time, because
  closing a socket with unread data makes the kernel reset it, and the peer would never see the reason;
* a text message that is not UTF-8 is answered by close 1007 in the same way, and is no event for an operator.
"""

import asyncio
from codecs import getincrementaldecoder
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import STATUS_PHRASES, WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CTRL_OPCODES, Frame
from websockets.http11 import Response
from websockets.protocol import State

from chat_service.transport import TRANSPORT
from chat_service.websocket_frames import message_head, read_message, size_on_wire
from chat_service.websocket_transport import WebSocketTransport
from frameproto.connection import CloseCode

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, WebSocketResponseBodyEvent
    from websockets.http11 import Request

    from chat_service.deadlines import Deadlines
    from chat_service.fair_bytes import Charge, FairByteBudget

CLOSE_GRACE_SECONDS: Final = 5.0
QUIET_SECONDS: Final = 0.25  # a peer that sends nothing for this long has read our close, or never will
GOING_AWAY: Final = "This server is going away; connect again.\n"
NO_ROOM: Final = (
    "This server has no memory left for what is sent before a handshake is answered; wait for the answer.\n"
)
CONTROL_HEAD_BYTES: Final = 6  # of a ping or pong from a client
DECODED_BYTES: Final = 65_536  # of a text at a time
JOINED_BYTES: Final = 65_536  # of a larger frame, the head is not worth a copy
MAX_FRAGMENTS: Final = 65_536  # of one message; the size limit counts bytes, and empty fragments have none
_OPEN: Final = State.OPEN  # looked up once: Python 3.11 takes 1,100 instructions for a member of an enum, twice a call


class ChatWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection as uvicorn drives it.

    Attributes:
        max_early_bytes: how much is read before the handshake is answered; the read that reaches it is the last one.
        pod_bytes: charged for it.
        min_upload_bytes_per_second: the least rate of a message that is arriving, over the time that a pong may take.
        deadlines: ring for pings: a timer of the event loop for each connection takes more memory.
    """

    max_early_bytes: int
    pod_bytes: "FairByteBudget"
    min_upload_bytes_per_second: float
    deadlines: "Deadlines"

    quiet_timer: asyncio.TimerHandle | None = None
    late_pong: bytes = b""
    early: bytearray | None = None
    early_charge: "Charge | None" = None
    frames_to: WebSocketTransport
    is_receiving: bool = False
    heard_at: float = 0.0
    got_event: bool = False
    upload_timer: asyncio.TimerHandle | None = None
    uploaded_bytes: int = 0
    control_bytes: int = 0
    unparsed_bytes: int = 0
    """Of a frame that the parser has begun. It stays above 0 when a client writes lengths in more bytes than needed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a transport for the conversation."""
        super().connection_made(transport)
        self.frames_to = WebSocketTransport(self)

    def handle_connect(self, event: "Request") -> None:
        """Begin to serve a handshake; the application is handed the transport for what follows it."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][TRANSPORT] = {"transport": self.frames_to}

    async def run_asgi(self) -> None:
        """Run the application on the handshake. A connection whose transport it has handed on outlives the call."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
        self.send_500_response()  # unless it was answered
        if not self.frames_to.is_attached and self.close_timer is None:
            self.transport.close()
        if self.handshake_complete:
            self._release_handshake()

    def _release_handshake(self) -> None:
        """Keep nothing of it for the length of a connection; nobody awaits the events of ASGI any more."""
        self.queue, self.writable = _NULL_QUEUE, _Flag(is_set=self.writable.is_set())  # type: ignore[assignment]
        for name in ("request", "response", "scope"):
            vars(self).pop(name, None)

    async def send(self, message: "ASGISendEvent") -> None:
        """Pass one ASGI event of the handshake to the peer. Frames go through `frames_to`."""
        match message["type"]:
            case "websocket.close":
                self.writable.set()
                await super().send(message)
                if self.close_timer is not None:
                    self._abort_after_grace()
            case "websocket.http.response.body" if self.initial_response is not None and not self.disconnected:
                self._deny(message)
            case "websocket.accept":
                await super().send(message)
                self._take_in_early()
            case _:
                await super().send(message)

    def send_frame(self, frame: bytes) -> bool:
        """Send one binary message; return whether the peer has kept up."""
        if not self.close_sent and not self.disconnected and self.conn.state is _OPEN:
            size = len(frame)
            if size < JOINED_BYTES:
                self.transport.write(message_head(size) + frame)
            else:  # no `writelines`: asyncio of 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 never calls `pause_writing` for it
                self.transport.write(message_head(size))
                self.transport.write(frame)
        return self.writable.is_set()

    def send_close(self, code: int, reason: str) -> None:
        """Close towards the peer, whether it reads or not. Does nothing when the connection is over."""
        if self.close_sent or self.disconnected or self.transport.is_closing() or self.conn.state is not _OPEN:
            return
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._stop_upload()
        self._resume_reading()
        self._abort_after_grace()

    def read_on(self) -> None:
        """Read what the peer sends."""
        if self.read_paused and self.handshake_complete and not self.transport.is_closing():
            self._resume_reading()
            self.heard_at = self.loop.time()  # what may be waiting has not been read yet
            self._follow_upload(0)

    def stop_reading(self) -> None:
        """Leave in the sockets what the peer sends. After a close it is read and discarded."""
        if not self.read_paused and not self.close_sent and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()
            self._stop_upload()

    def schedule_ping(self) -> None:
        """See the parent; with an entry in the heap of the pod in place of a timer."""
        delay = max(0.0, (self.ping_interval or 0.0) - self.last_ping_rtt)
        self.ping_timer = self.deadlines.at(self.loop.time() + delay, self.send_keepalive_ping)  # type: ignore[assignment]

    def keepalive_timeout(self) -> None:
        """Abort a peer that was not heard since the ping, unless its pong may be waiting behind data we do not read."""
        patience = self.ping_timeout or 0.0
        left = patience if self.read_paused else self.heard_at + patience - self.loop.time()
        if left > 0:
            self.pong_timer = self.loop.call_later(left, self.keepalive_timeout)
            return
        self.stop_keepalive()
        self.close_sent = self.disconnected = True
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping. While the peer reads nothing only the latest one is kept, or pings would fill our memory."""
        answers = self.conn.data_to_send()  # to all that came at once, perhaps a close among them
        if self.close_sent or not answers:
            return
        if self.writable.is_set() or self.conn.close_sent:
            self.transport.write(b"".join(answers))
        else:
            self.late_pong = answers[-1]  # it answers those before it too (RFC 6455, 5.5.3)

    def resume_writing(self) -> None:
        """Go on writing, first the pong that is due."""
        super().resume_writing()
        pong, self.late_pong = self.late_pong, b""
        if pong and not self.close_sent:
            self.transport.write(pong)
        if self.writable.is_set():
            self.frames_to.caught_up()

    def handle_events(self) -> None:
        """Handle what the bytes in hand came to."""
        self.got_event = bool(self.conn.events)
        self.control_bytes = sum(
            CONTROL_HEAD_BYTES + len(event.data)
            for event in self.conn.events
            if isinstance(event, Frame) and event.opcode in CTRL_OPCODES
        )
        if self.unparsed_bytes:
            self.unparsed_bytes -= sum(size_on_wire(event) for event in self.conn.events if isinstance(event, Frame))
        super().handle_events()

    def handle_cont(self, event: Frame) -> None:
        """Collect one fragment; a message in absurdly many fragments is refused like one that is too large."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self.conn.fail(CloseCode.TOO_LARGE, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Pass a whole message on, unless it is text that RFC 6455 does not allow.

        Of a text only the fact that it came is passed on: nobody reads it, and a string may take four times its bytes.
        """
        parts, self.frames = self.frames, []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "bytes":
            self.frames_to.received(parts[0] if len(parts) == 1 else b"".join(parts))
        elif _is_utf8(parts):
            self.frames_to.received(None)
        else:
            self.conn.fail(CloseCode.INVALID_TEXT, "text that is not UTF-8")
            self.handle_parser_exception()

    def handle_close(self, event: Frame) -> None:
        """Answer the peer's close, and do not let a peer that stopped reading keep the socket."""
        super().handle_close(event)
        self._stop_upload()
        if self.conn.close_rcvd is not None:
            self.frames_to.left(self.conn.close_rcvd.code)
        if self.close_timer is None and not self.disconnected:
            self._abort_after_grace()

    def handle_parser_exception(self) -> None:
        """Tell the peer why its bytes cannot be read, then discard the rest of them for a grace time."""
        if self.close_sent:
            return
        sent = self.conn.close_sent
        code, reason = (sent.code, sent.reason) if sent else (CloseCode.PROTOCOL_ERROR, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self._stop_upload()
        self._discard_the_rest()
        self.frames_to.left(code, reason)

    def shutdown(self) -> None:
        """End the connection for the server goes away; whatever it waits for, the peer is told."""
        if self.transport.is_closing():
            super().shutdown()
        elif self.close_sent:  # the peer may not have read it yet
            self._discard_the_rest()
        elif self.handshake_complete:
            self.conn.fail(CloseCode.DRAINING, "this server is restarting")
            self.handle_parser_exception()
        else:
            self._refuse(self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, GOING_AWAY))
            self.disconnected = True
            self._discard_the_rest()

    def data_received(self, data: bytes) -> None:
        """Take in what the peer sent; after an unreadable frame, only to see when it has stopped."""
        if self.quiet_timer is not None:
            self._close_when_quiet()
            return
        if self.handshake_initiated and not self.handshake_complete:
            self._keep_for_later(data)
            return
        self.heard_at = self.loop.time()
        if self.handshake_complete:
            data = self._take_whole_messages(data)
            if not data:
                return
            self.unparsed_bytes += len(data)
        self.got_event, self.control_bytes = False, 0
        super().data_received(data)
        self._follow_upload(len(data) - self.control_bytes)
        if not self.handshake_initiated:  # the first call brings the whole request, and there was nothing to make of it
            self._refuse_handshake()

    def _take_whole_messages(self, data: bytes) -> bytes:
        """Pass on the messages at the beginning of `data`, and return the rest, which is for the parser.

        The parser must not be in the middle of a frame or of a message in fragments.
        """
        at = 0
        while not self.unparsed_bytes and not self.frames and self.conn.state is _OPEN and not self.close_sent:
            found = read_message(data, at, self.config.ws_max_size)
            if found is None:
                break
            message, at = found
            self.frames_to.received(message)
            if at == len(data):
                if self.is_receiving:
                    self._follow_upload(0)
                return b""
        return data[at:] if at else data

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers, and report a connection that broke; if it was closed, that has been reported before."""
        if self.quiet_timer is not None:
            self.quiet_timer.cancel()
        self._stop_upload()
        self._forget_early()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL})
        super().connection_lost(exc)
        self.frames_to.left(CloseCode.ABNORMAL)
        self.conn.parser.close()  # it holds half a message, and itself
        self.conn.reader.buffer.clear()

    def _keep_for_later(self, data: bytes) -> None:
        """Keep what came before the handshake is answered; what is over the limit stays in the sockets, unread."""
        if self.early is None or self.early_charge is None:
            self.early, self.early_charge = bytearray(), self.pod_bytes.charge_early()
        if not self.early_charge.try_resize(len(self.early) + len(data)):
            self._forget_early()
            self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL})
            self._refuse(self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, NO_ROOM))
            self.disconnected = True
            self._discard_the_rest()
            return
        self.early += data
        if len(self.early) >= self.max_early_bytes and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _forget_early(self) -> bytes:
        """Hand out what came early; from now on it is somebody else's memory."""
        early, self.early = bytes(self.early or b""), None
        if self.early_charge is not None:
            self.early_charge.resize(0)
            self.early_charge = None
        return early

    def _take_in_early(self) -> None:
        """Process what came before the accept, as if it came now."""
        early = self._forget_early()
        if not self.handshake_complete or self.transport.is_closing():
            return
        self._resume_reading()
        if early:
            self.data_received(early)

    def _deny(self, message: "WebSocketResponseBodyEvent") -> None:
        """Answer the handshake with an HTTP response, in a way that a peer that has sent more already can read it."""
        assert self.initial_response is not None  # noqa: S101 - asked by the caller
        status, headers, body = self.initial_response
        body += message["body"]
        self.initial_response = (status, headers, body)
        if message.get("more_body", False):
            return
        answer = Headers(headers)
        answer.setdefault("Date", formatdate(usegmt=True))
        answer.setdefault("Connection", "close")
        answer.setdefault("Content-Length", str(len(body)))
        self._refuse(Response(status, STATUS_PHRASES[status], answer, body))
        if self._forget_early():
            self._discard_the_rest()
            self.transport.write_eof()
        else:
            self.transport.close()

    def _refuse_handshake(self) -> None:
        """Answer a request that is over the limits of the library; uvicorn would leave the peer waiting for ever."""
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            why = f"Failed to open a WebSocket connection: {self.conn.handshake_exc}.\n"
            answer = self.conn.reject(HTTPStatus.BAD_REQUEST, why).serialize()
        self.transport.write(answer)
        self.handshake_complete = self.close_sent = True
        self.transport.close()

    def _refuse(self, response: Response) -> None:
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.handshake_complete = self.close_sent = True

    def _discard_the_rest(self) -> None:
        """Read on for a grace time: a socket that is closed with unread data is reset, and our last words are lost."""
        self._resume_reading()
        self._abort_after_grace()
        self._close_when_quiet()

    def _resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _close_when_quiet(self) -> None:
        if self.quiet_timer is not None:
            self.quiet_timer.cancel()
        self.quiet_timer = self.loop.call_later(QUIET_SECONDS, self.transport.close)

    def _follow_upload(self, size: int) -> None:
        """Hold a message that is arriving to the least rate, as long as we read. `size` bytes of it came."""
        rest = len(self.conn.reader.buffer)
        self.is_receiving = bool(self.frames or rest or (size and not self.got_event))
        if not self.is_receiving or self.read_paused or not self.handshake_complete or self.close_sent:
            self._stop_upload()
            return
        self.uploaded_bytes += size
        if self.upload_timer is None:
            self.uploaded_bytes = size
            self.upload_timer = self.loop.call_later(self.ping_timeout or 0.0, self._judge_upload)

    def _judge_upload(self) -> None:
        self.upload_timer = None
        if self.uploaded_bytes >= self.min_upload_bytes_per_second * (self.ping_timeout or 0.0):
            self._follow_upload(0)
            return
        self.conn.fail(CloseCode.IDLE_TIMEOUT, "the message arrives too slowly")
        self.handle_parser_exception()

    def _stop_upload(self) -> None:
        if self.upload_timer is not None:
            self.upload_timer.cancel()
            self.upload_timer = None

    def _abort_after_grace(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(CLOSE_GRACE_SECONDS, self.transport.abort)


class _NullQueue:
    """In place of a queue that nobody reads."""

    __slots__ = ()

    def put_nowait(self, event: object) -> None:
        """Drop it."""


_NULL_QUEUE: Final = _NullQueue()


class _Flag:
    """In place of an `asyncio.Event` that nobody awaits, whose deque alone has 760 bytes."""

    __slots__ = ("_is_set",)

    def __init__(self, *, is_set: bool) -> None:
        self._is_set = is_set

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set


def chat_protocol(
    *, max_early_bytes: int, min_upload_bytes_per_second: float, pod_bytes: "FairByteBudget", deadlines: "Deadlines"
) -> type[ChatWebSocketProtocol]:
    """Return the protocol class of one pod: uvicorn makes its instances, so a pod's own things are attributes."""
    own: dict[str, Any] = {
        "max_early_bytes": max_early_bytes,
        "min_upload_bytes_per_second": min_upload_bytes_per_second,
        "pod_bytes": pod_bytes,
        "deadlines": deadlines,
    }
    return type("ChatWebSocketProtocol", (ChatWebSocketProtocol,), own)


def _is_utf8(parts: Sequence[bytes]) -> bool:
    """Say whether parts of a text are UTF-8 together; only a piece of it is decoded at a time."""
    decoder = getincrementaldecoder("utf-8")()
    try:
        for part in parts:
            for at in range(0, len(part), DECODED_BYTES):
                decoder.decode(part[at : at + DECODED_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
