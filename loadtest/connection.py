"""One connection of a simulated client, in plain threads: Locust replaces threads and sockets by greenlets (gevent)."""

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID, uuid4

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_websocket
from websockets.typing import Subprotocol

from frameproto import Request, Response, decode_response, encode_request
from frameproto.connection import CONNECT_PATH, SESSION_HEADER, SUBPROTOCOL_V1, SUBPROTOCOL_V2, CloseCode, Parameter
from frameproto.v2 import MessageRequest, MessageResponse, decode_server_frame, encode_client_frame

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
CLOSE_SECONDS: Final = 5.0
BROKEN: Final = int(CloseCode.ABNORMAL)
PORTS: Final = {"ws": 80, "wss": 443}
WRONG: Final = int(CloseCode.PROTOCOL_ERROR)


class Denied(Exception):
    """The server denied the connection with a reason.

    Attributes:
        status: of HTTP.
        code: of the problem; empty when the answer was none.
        place: the position in the queue at the time-out.
        retry_after_seconds: when to try again.
    """

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        try:
            problem = json.loads(body)
            self.code, self.place = str(problem["code"]), int(problem.get("place", 0))
        except (ValueError, KeyError, TypeError):
            self.code, self.place = "", 0
        super().__init__(f"denied with {status} {self.code}".strip())
        self.status = status
        self.retry_after_seconds = float(retry_after) if retry_after and retry_after.isdecimal() else 1.0


class NoConnection(Exception):
    """There was no connection, and no reason was given."""


class ConnectionEnded(Exception):
    """The connection has ended."""


class NeverSent(ConnectionEnded):
    """The connection ended before this was sent."""


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A request in flight. `said` is its unique text; `sent_at` is in seconds since 1970.

    Over version 2 it has a message id, and counts how often it was sent.
    """

    number: int
    request: Request
    said: str
    sent_at: float
    message_id: UUID | None = None
    attempts: int = 1


OnAnswer = Callable[[PendingRequest, Response | None], None]
"""Called once for each request: with its response, or with None when the connection ended first."""


class UserConnection:
    """An open connection. `open_connection` makes one.

    Attributes:
        session_id: as the server named it.
        is_v2: whether it speaks version 2.
        ended_by_us: whether this side ended it.
        open_until: when it was certainly still open: at the last data from the server, or when this side ended it.
        ended_at: when this side noticed the end.
    """

    def __init__(self, websocket: ClientConnection, *, window: int, on_answer: OnAnswer) -> None:
        self._websocket = websocket
        self.is_v2 = websocket.subprotocol == SUBPROTOCOL_V2
        self._on_answer = on_answer
        self._free = threading.Semaphore(window)
        self._window = window
        self._expected: deque[PendingRequest] = deque()
        self._sending = threading.Lock()
        self._ended = threading.Event()
        self._asked = 0
        self._close_code = BROKEN
        self.ended_by_us = False
        self.open_until = self.ended_at = time.time()
        headers = websocket.response.headers if websocket.response else {}
        self.session_id = str(headers.get(SESSION_HEADER, ""))
        self._reader = threading.Thread(target=self._read, name="replies", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Whether the connection is over."""
        return self._ended.is_set()

    @property
    def close_code(self) -> int:
        """How it ended, once it has."""
        return self._close_code

    def ask(self, request: Request, said: str) -> None:
        """Send a request as soon as the window has room for it.

        Raises:
            ConnectionEnded: the connection ended first.
        """
        self._ask(PendingRequest(0, request, said, time.time(), uuid4() if self.is_v2 else None))

    def ask_again(self, earlier: PendingRequest) -> None:
        """Send a request again, over version 2, that an earlier connection did not answer.

        Raises:
            ConnectionEnded: the connection ended first.
        """
        asked = replace(earlier, attempts=earlier.attempts + 1)
        try:
            self._ask(asked)
        except NeverSent:
            self._on_answer(asked, None)
            raise

    def _ask(self, asked: PendingRequest) -> None:
        self._free.acquire()
        if self.ended:
            self._free.release()
            raise NeverSent
        with self._sending:
            asked.number, asked.sent_at = self._asked, time.time()
            self._asked += 1
            self._expected.append(asked)
            try:
                self._websocket.send(_frame(asked))
            except ConnectionClosed:  # the reader reports the end to all that wait
                raise ConnectionEnded from None

    def wait_for_answers(self, seconds: float) -> bool:
        """Wait until everything is answered or the connection has ended; say whether that happened in time."""
        deadline = time.monotonic() + seconds
        taken = 0
        while taken < self._window and self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            taken += 1
        if taken:
            self._free.release(taken)
        return taken == self._window

    def leave(self) -> None:
        """Close the connection."""
        self.ended_by_us = self.ended_by_us or not self.ended
        self._websocket.close()
        self._reader.join(CLOSE_SECONDS)

    def abort(self) -> None:
        """Drop the connection without a close frame, as a phone in a tunnel does."""
        if not self.ended:
            self.ended_by_us, self.open_until = True, time.time()
        _shut_down(self._websocket.socket)
        self._reader.join(CLOSE_SECONDS)

    def _read(self) -> None:
        try:
            while True:
                frame = self._websocket.recv()
                self.open_until = time.time()
                if isinstance(frame, str) or not self._expected:
                    raise ValueError("nobody asked for this")
                response = _response(frame, self._expected[0])
                if response is None:
                    continue
                asked = self._expected.popleft()
                self._on_answer(asked, response)
                self._free.release()
        except ConnectionClosed as exc:
            self._close_code = exc.rcvd.code if exc.rcvd else BROKEN
        except ValueError:  # an invalid or unexpected frame
            self._close_code = WRONG
        finally:
            self.ended_at = time.time()
            self._ended.set()
            unanswered = list(self._expected)
            self._expected.clear()
            for asked in unanswered:
                self._on_answer(asked, None)
            self._free.release(self._window)  # wakes callers that wait for room, which then see the end


def open_connection(
    address: str,
    *,
    client_id: str,
    time_zone: str,
    session_id: str,
    window: int,
    wait_seconds: float,
    on_answer: OnAnswer,
    token: str | None = None,
    subprotocol: str = SUBPROTOCOL_V1,
) -> UserConnection:
    """Connect, and wait in the queue for as long as it takes.

    Raises:
        Denied: the server denied the connection with a reason.
        NoConnection: there is no connection, and no reason was given.
    """
    query: dict[str, str] = {Parameter.CLIENT_ID: client_id, Parameter.TIME_ZONE: time_zone}
    if session_id:
        query[Parameter.SESSION_ID] = session_id
    url = f"{address.rstrip('/')}{CONNECT_PATH}?{urlencode(query, quote_via=quote)}"
    parts = urlsplit(url)
    try:
        sock = socket.create_connection((parts.hostname, parts.port or PORTS[parts.scheme]), timeout=wait_seconds)
    except OSError as exc:
        raise NoConnection(str(exc)) from exc
    opening = connect_websocket(
        url,
        sock=sock,
        subprotocols=[Subprotocol(subprotocol)],
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        compression=None,
        max_size=MAX_REPLY_BYTES,
        open_timeout=wait_seconds,
        ping_interval=None,  # while the window is full nothing is read on the other side, pings included
        close_timeout=CLOSE_SECONDS,
        legacy=False,
    )
    try:
        websocket = opening.__enter__()  # a talk outlives any one function, so it closes itself
    except InvalidStatus as exc:
        response = exc.response
        raise Denied(response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")) from exc
    except (InvalidHandshake, InvalidMessage, TimeoutError, OSError, EOFError) as exc:
        raise NoConnection(str(exc) or type(exc).__name__) from exc
    except BaseException:  # Locust stops this user; an open socket would stay in the queue
        _shut_down(sock)
        raise
    return UserConnection(websocket, window=window, on_answer=on_answer)


def _frame(asked: PendingRequest) -> bytes:
    if asked.message_id is None:
        return encode_request(asked.request)
    return encode_client_frame(MessageRequest(asked.message_id, asked.request, again=asked.attempts > 1))


def _response(frame: bytes, asked: PendingRequest) -> Response | None:
    """Return the response to the request that is to be answered next; None: it is about one that is being worked on.

    Raises:
        ValueError: it is the response to another one, or no frame of the protocol.
    """
    if asked.message_id is None:
        return decode_response(frame, max_bytes=MAX_REPLY_BYTES)
    told = decode_server_frame(frame, max_bytes=MAX_REPLY_BYTES)
    if not isinstance(told, MessageResponse):
        return None
    if told.message_id != asked.message_id:
        raise ValueError("the response to another message")
    return told.response


def _shut_down(sock: socket.socket) -> None:
    """Shut down a connection while its reader runs. The reader then closes the socket.

    Closing it here would close a descriptor that gevent's loop watches, which ends the process.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
