"""One conversation over WebSocket: requests out, replies back in the same order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode, urlsplit, urlunsplit
from uuid import UUID

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.typing import Subprotocol

from chat_client.errors import ClientError, ConnectionLost, Refused, Unreachable, WrongAnswer
from chat_client.proxy import proxy_for, through
from frameproto import Buffer, FrameError, Request, RequestKind, Response, decode_response, encode_request
from frameproto.connection import CONNECT_PATH, SESSION_HEADER, SUBPROTOCOL_V1, CloseCode, Parameter

CHUNK_BYTES: Final = 64 * 1024  # a frame goes out in fragments of this size, so that its progress can be seen
MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
NOT_UNDERSTOOD: Final = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.TOO_LARGE}
ERRORS: Final = 400  # the first status of HTTP that says no
SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}

OnSent = Callable[[int], None]
"""Called with the number of bytes that have gone out so far."""


@dataclass(frozen=True, slots=True)
class _Asked:
    frame: memoryview
    on_sent: OnSent
    reply: asyncio.Future[Response]


class Chat:
    """An open conversation. `connect` makes one."""

    def __init__(self, websocket: ClientConnection, session_id: UUID | None) -> None:
        self._websocket = websocket
        self._outgoing: asyncio.Queue[_Asked] = asyncio.Queue()
        self._expected: deque[asyncio.Future[Response]] = deque()
        self._end: ClientError | None = None
        self._ended = asyncio.Event()
        self.session_id = session_id
        """Names the conversation in history; connect with it again to go on with it."""

    async def ask(self, kind: RequestKind, body: Buffer, *, on_sent: OnSent | None = None) -> Response:
        """Send one request and return its reply, which may be one that says why there is no answer.

        Several calls may be under way at once; they are answered in the order in which they were made. A call that is
        cancelled before its turn is not sent; one that is cancelled later is answered all the same, to nobody.

        Args:
            kind: what the body is.
            body: UTF-8, MP3 or MP4.
            on_sent: told how much has gone out.

        Raises:
            FrameError: this is no request: an empty body, or a text that is not UTF-8.
            ConnectionLost: the connection ended first. The request may have been answered all the same.
            WrongAnswer: what came back is not of this protocol.
        """
        frame = memoryview(encode_request(Request(kind, body)))
        if self._end is not None:
            raise self._end
        asked = _Asked(frame, on_sent or _ignore, asyncio.get_running_loop().create_future())
        self._outgoing.put_nowait(asked)
        return await asked.reply

    async def round_trip_seconds(self) -> float:
        """Measure how long a ping takes.

        Raises:
            ConnectionLost: the connection ended first.
        """
        try:
            return await (await self._websocket.ping())
        except ConnectionClosed as exc:
            raise _lost(exc) from exc

    async def ended(self) -> ClientError:
        """Return why the connection ended, once it has."""
        await self._ended.wait()
        return self._end or ConnectionLost(1006)

    async def send_requests(self) -> None:
        """Send what is asked, one after the other and each of them whole, until the connection ends."""
        while True:
            asked = await self._outgoing.get()
            if asked.reply.done():
                continue
            self._expected.append(asked.reply)
            try:
                await self._websocket.send(_fragments(asked.frame, asked.on_sent))
            except ConnectionClosed:  # the reader knows why, and tells everybody who waits
                return
            except Exception as exc:  # noqa: BLE001 - of on_sent, and so of whoever asked
                if not asked.reply.done():
                    asked.reply.set_exception(exc)

    async def read_replies(self) -> None:
        """Hand each reply to the request it answers, until the connection ends."""
        end: ClientError = ConnectionLost(1006)
        try:
            while True:
                self._answer(await self._websocket.recv())
        except ConnectionClosed as exc:
            end = _lost(exc)
        except WrongAnswer as exc:
            end = exc
        finally:
            self._end = end
            self._ended.set()
            self._tell_all(end)
        await self._websocket.close(CloseCode.PROTOCOL_ERROR)

    def _answer(self, frame: bytes | str) -> None:
        if isinstance(frame, str) or not self._expected:
            raise WrongAnswer("the server sent something that nobody asked for")
        try:
            response = decode_response(frame, max_bytes=MAX_REPLY_BYTES)
        except FrameError as exc:
            raise WrongAnswer(f"the server sent a frame that cannot be read: {exc}") from exc
        reply = self._expected.popleft()
        if not reply.done():
            reply.set_result(response)

    def _tell_all(self, end: ClientError) -> None:
        while not self._outgoing.empty():
            self._expected.append(self._outgoing.get_nowait().reply)
        for waiting in self._expected:
            if not waiting.done():
                waiting.set_exception(end)
                waiting.exception()  # whoever asked may be gone
        self._expected.clear()


@asynccontextmanager
async def connect(
    address: str,
    *,
    client_id: str,
    time_zone: str,
    session_id: UUID | None = None,
    token: str | None = None,
    open_seconds: float = 75.0,
    ping_seconds: float = 20.0,
    pong_seconds: float = 60.0,
) -> AsyncIterator[Chat]:
    """Talk to the chatbot for the length of an `async with` block.

    Args:
        address: `ws://host:port`, `wss://…`, or the same with http.
        client_id: who talks.
        time_zone: where the client is: a name such as Europe/Berlin, or an offset such as +07:00.
        session_id: the session to go on with; a new one by default.
        token: shown to the server, where it asks for one.
        open_seconds: how long connecting may take; standing in line for a place is part of it.
        ping_seconds: how often to see whether the server is still there.
        pong_seconds: how long it may be silent then; one that has as much to work on as it takes answers nothing.

    Raises:
        Refused: the server did not let us in, and said why.
        Unreachable: there is no server, or it does not answer.
    """
    query: dict[str, str] = {Parameter.CLIENT_ID: client_id, Parameter.TIME_ZONE: time_zone}
    if session_id is not None:
        query[Parameter.SESSION_ID] = str(session_id)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = connect_address(address)
    websocket = await _open(
        connect_websocket(
            f"{url}?{urlencode(query, quote_via=quote)}",
            subprotocols=[Subprotocol(SUBPROTOCOL_V1)],
            additional_headers=headers,
            compression=None,
            max_size=MAX_REPLY_BYTES,
            open_timeout=open_seconds,
            ping_interval=ping_seconds,
            ping_timeout=pong_seconds,
            close_timeout=5,
        ),
        url,
        open_seconds,
    )
    chat = Chat(websocket, _session_of(websocket) or session_id)
    reading = asyncio.create_task(chat.read_replies(), name="read replies")
    sending = asyncio.create_task(chat.send_requests(), name="send requests")
    try:
        yield chat
    finally:
        sending.cancel()
        await websocket.close()
        await asyncio.wait({reading, sending})


def connect_address(address: str) -> str:
    """Return where to connect: the address with the scheme of WebSocket and the path of connections.

    Raises:
        Unreachable: it is not an address.
    """
    given = address if "://" in address else f"ws://{address}"
    try:
        parts = urlsplit(given)
        usable = parts.hostname and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), None
    if not usable or parts.scheme not in SCHEMES:
        raise Unreachable(f"{address} is not the address of a chatbot; one looks like ws://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    return urlunsplit(
        (SCHEMES[parts.scheme], parts.netloc, path if path.endswith(CONNECT_PATH) else path + CONNECT_PATH, "", "")
    )


async def _open(opening: connect_websocket, url: str, open_seconds: float) -> ClientConnection:
    try:
        return await opening
    except InvalidStatus as exc:
        response = exc.response
        if response.status_code < ERRORS:
            raise WrongAnswer(f"what answers at {url} is not a chatbot: it said {response.status_code}") from exc
        raise Refused.from_problem(
            response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")
        ) from exc
    except TimeoutError as exc:
        raise Unreachable(f"no answer from {url} within {open_seconds:g} s{through(url)}") from exc
    except (ProxyError, InvalidProxy) as exc:
        raise Unreachable(f"{url} cannot be reached: the proxy {proxy_for(url)} does not lead there: {exc}") from exc
    except (InvalidHandshake, InvalidMessage, InvalidURI) as exc:
        raise WrongAnswer(f"what answers at {url} is not a chatbot: {exc}{through(url)}") from exc
    except OSError as exc:
        raise Unreachable(f"{url} cannot be reached: {exc.strerror or exc}{through(url)}") from exc
    except (ValueError, ImportError) as exc:  # no name of a host; a proxy of a kind that we do not speak
        raise Unreachable(f"{url} cannot be reached: {exc}{through(url)}") from exc


def _session_of(websocket: ClientConnection) -> UUID | None:
    raw = websocket.response.headers.get(SESSION_HEADER) if websocket.response else None
    try:
        return None if raw is None else UUID(raw)
    except ValueError:
        return None


async def _fragments(frame: memoryview, on_sent: OnSent) -> AsyncIterator[bytes]:
    for start in range(0, len(frame), CHUNK_BYTES):
        on_sent(start)
        yield bytes(frame[start : start + CHUNK_BYTES])
    on_sent(len(frame))


def _ignore(sent: int) -> None:
    del sent


def _lost(closed: ConnectionClosed) -> ClientError:
    if closed.sent is not None and not closed.rcvd_then_sent and closed.sent.code in NOT_UNDERSTOOD:
        return WrongAnswer(f"what the server sent cannot be read: {closed.sent.reason}")
    return ConnectionLost(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else ConnectionLost(CloseCode.ABNORMAL)
