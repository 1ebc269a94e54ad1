"""One connection: the handshake, frames out and in, and every way in which it fails as an error of ours."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode
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

from chat_client.credentials import authorization
from chat_client.errors import ClientError, ConnectionLost, Refused, Unreachable, WrongAnswer
from chat_client.outgoing import MAX_REPLY_BYTES, OnSent, OutgoingFrame, Version
from chat_client.proxy import proxy_for, through
from frameproto.connection import SESSION_HEADER, CloseCode, Parameter

CHUNK_BYTES: Final = 64 * 1024  # a frame goes out in fragments of this size, so that its progress can be seen
CLOSE_SECONDS: Final = 5.0
NOT_UNDERSTOOD: Final = {CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_TEXT, CloseCode.TOO_LARGE}
NO_TLS: Final = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}  # OpenSSL, of other bytes
ERRORS: Final = 400  # the first status of HTTP that says no


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectTarget:
    """The server to connect to, and the client.

    Attributes:
        url: of connections, as `connect_address` returns it.
        client_id: who talks.
        time_zone: where the client is.
    """

    url: str
    client_id: str
    time_zone: str

    def url_for(self, session_id: UUID | None, wait_id: str | None = None) -> str:
        """Return the address with its parameters."""
        query: dict[str, str] = {Parameter.CLIENT_ID: self.client_id, Parameter.TIME_ZONE: self.time_zone}
        if session_id is not None:
            query[Parameter.SESSION_ID] = str(session_id)
        if wait_id is not None:
            query[Parameter.WAIT_ID] = wait_id
        return f"{self.url}?{urlencode(query, quote_via=quote)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time-outs of a connection.

    Attributes:
        open_seconds: how long a handshake may take, with the wait in the queue.
        ping_seconds: how often to ping the server.
        pong_seconds: how long the pong may take. A server with a full window does not read pings.
    """

    open_seconds: float = 75.0
    ping_seconds: float = 20.0
    pong_seconds: float = 60.0


class Link:
    """An open connection. `open_link` makes one.

    Attributes:
        version: that the server chose.
        session_id: as the server names it; None: it does not.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self.version = Version(websocket.subprotocol or Version.V1)
        self.session_id = _session_of(websocket)

    async def send(self, outgoing: OutgoingFrame) -> Exception | None:
        """Send a frame whole; return what `on_sent` raised.

        Raises:
            ConnectionLost: the connection ended.
        """
        message = outgoing.message
        on_sent = None if message is None else message.on_sent
        fault: list[Exception] = []
        try:
            if len(outgoing.body) <= CHUNK_BYTES and on_sent is None:
                await self._websocket.send(outgoing.head + bytes(outgoing.body))
            else:
                await self._websocket.send(_fragments(outgoing, on_sent, fault))
        except ConnectionClosed as exc:
            raise _lost(exc) from exc
        return fault[0] if fault else None

    async def receive(self) -> bytes | str:
        """Return the next message.

        Raises:
            ConnectionLost: the connection ended.
            WrongAnswer: what came is not WebSocket.
        """
        try:
            return await self._websocket.recv()
        except ConnectionClosed as exc:
            raise _lost(exc) from exc

    async def round_trip_seconds(self) -> float:
        """Measure how long a ping takes.

        Raises:
            ConnectionLost: the connection ended first.
        """
        try:
            return await (await self._websocket.ping())
        except ConnectionClosed as exc:
            raise _lost(exc) from exc

    async def close(self, code: CloseCode = CloseCode.GOODBYE) -> None:
        """Close the connection. Does nothing after its end."""
        await self._websocket.close(code)


async def open_link(url: str, token: str | None, versions: Sequence[Version], timing: Timing) -> Link:
    """Connect.

    Raises:
        Refused: the server did not let us in, and said why.
        Unreachable: there is no server, or it does not answer.
    """
    where = url.partition("?")[0]
    opening = connect_websocket(
        url,
        subprotocols=[Subprotocol(version) for version in versions],
        additional_headers=authorization(token),
        compression=None,
        max_size=MAX_REPLY_BYTES,
        open_timeout=timing.open_seconds,
        ping_interval=timing.ping_seconds,
        ping_timeout=timing.pong_seconds,
        close_timeout=CLOSE_SECONDS,
    )
    websocket = await _open(opening, where, timing.open_seconds)
    if websocket.subprotocol is None and Version.V1 not in versions:
        await websocket.close()
        raise WrongAnswer(f"what answers at {where} does not speak {', '.join(versions)}")
    return Link(websocket)


async def _open(opening: connect_websocket, where: str, open_seconds: float) -> ClientConnection:
    try:
        return await opening
    except InvalidStatus as exc:
        response = exc.response
        if response.status_code < ERRORS:
            raise WrongAnswer(f"what answers at {where} is not a chatbot: it said {response.status_code}") from exc
        raise Refused.from_problem(
            response.status_code, bytes(response.body or b""), response.headers.get("Retry-After")
        ) from exc
    except TimeoutError as exc:
        raise Unreachable(f"no answer from {where} within {open_seconds:g} s{through(where)}") from exc
    except (ProxyError, InvalidProxy) as exc:
        proxy = proxy_for(where)
        raise Unreachable(f"{where} cannot be reached: the proxy {proxy} does not lead there: {exc}") from exc
    except (InvalidHandshake, InvalidMessage, InvalidURI) as exc:
        if isinstance(exc.__cause__, EOFError | OSError):
            why = "the connection broke before there was an answer"
            raise Unreachable(f"{where} cannot be reached: {why}{through(where)}") from exc
        raise WrongAnswer(f"what answers at {where} is not a chatbot: {exc}{through(where)}") from exc
    except OSError as exc:
        raise Unreachable(f"{where} cannot be reached: {_reason(exc)}{through(where)}") from exc
    except (ValueError, ImportError) as exc:  # no name of a host; a proxy of a kind that we do not speak
        raise Unreachable(f"{where} cannot be reached: {exc}{through(where)}") from exc


def _reason(error: OSError) -> str:
    if getattr(error, "reason", None) in NO_TLS:
        return "it does not speak TLS; say ws:// instead of wss://"
    return error.strerror or str(error) or "the connection broke before there was an answer"


def _session_of(websocket: ClientConnection) -> UUID | None:
    raw = websocket.response.headers.get(SESSION_HEADER) if websocket.response else None
    try:
        return None if raw is None else UUID(raw)
    except ValueError:
        return None


async def _fragments(outgoing: OutgoingFrame, on_sent: OnSent | None, fault: list[Exception]) -> AsyncIterator[bytes]:
    """Yield a frame in parts. It is sent whole even when `on_sent` raises, as half a frame ends the connection."""
    body = memoryview(outgoing.body)
    total = len(outgoing.head) + len(body)

    def tell(sent: int) -> None:
        if on_sent is not None and not fault:
            try:
                on_sent(sent, total)
            except Exception as exc:  # noqa: BLE001 - of the caller's function, and so for the caller
                fault.append(exc)

    tell(0)
    yield outgoing.head + bytes(body[: CHUNK_BYTES - len(outgoing.head)])
    for start in range(CHUNK_BYTES - len(outgoing.head), len(body), CHUNK_BYTES):
        tell(len(outgoing.head) + start)
        yield bytes(body[start : start + CHUNK_BYTES])
    tell(total)


def _lost(closed: ConnectionClosed) -> ClientError:
    if closed.sent is not None and not closed.rcvd_then_sent and closed.sent.code in NOT_UNDERSTOOD:
        return WrongAnswer(f"what the server sent cannot be read: {closed.sent.reason}")
    return ConnectionLost(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else ConnectionLost(CloseCode.ABNORMAL)
