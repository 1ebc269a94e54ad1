"""The transport port under a conversation, and its WebSocket adapter.

A conversation reads and writes whole frames and knows nothing of sockets, so it can be tested without one and the
WebSocket layer can be exchanged.
"""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from starlette.websockets import WebSocketDisconnect, WebSocketDisconnected

from frameproto.connection import CloseCode

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

PEER_STATE: Final = "chatbot.peer"  # the ASGI extension under which the WebSocket layer hands over a PeerState


@dataclass(slots=True)
class PeerState:
    """What the WebSocket layer knows of a peer beside its messages.

    Attributes:
        is_sending: a message is arriving, and not too slowly.
        close_code: of the close frame that ended the connection, if one did.
        why_closed: what was wrong with what the peer sent, when the WebSocket layer ended the connection.
    """

    is_sending: bool = False
    close_code: int | None = None
    why_closed: str = ""


class PeerGone(Exception):
    """The connection is over; nothing more can be read or written."""

    def __init__(self, code: int = CloseCode.ABNORMAL, why: str = "") -> None:
        super().__init__(why or "the client left")
        self.code = code


class NotBinary(Exception):
    """A WebSocket text message arrived where only binary ones are spoken."""


class Transport(Protocol):
    """Whole frames in, whole frames out."""

    async def receive(self) -> bytes:
        """Return the next frame. Cancelling loses none.

        Raises:
            PeerGone: the connection is over.
            NotBinary: a text message came; the next call goes on behind it.
        """

    def is_receiving(self) -> bool:
        """Say whether a frame is arriving, which may take its time."""

    async def send(self, frame: bytes) -> None:
        """Hand one frame over; returns when the peer has kept up enough for another.

        Raises:
            PeerGone: the connection is over.
        """

    async def close(self, code: CloseCode, reason: str) -> None:
        """End the connection. Never waits for the peer, and does nothing when it is gone already."""


class WebSocketTransport:
    """The transport of an accepted Starlette WebSocket."""

    def __init__(self, websocket: "WebSocket") -> None:
        self._websocket = websocket
        self._peer: PeerState = websocket.scope["extensions"][PEER_STATE]["state"]

    async def receive(self) -> bytes:
        """See `Transport.receive`."""
        try:
            event = await self._websocket.receive()
        except WebSocketDisconnected as gone:
            raise PeerGone from gone
        if event["type"] == "websocket.disconnect":
            raise PeerGone(event.get("code") or CloseCode.NO_STATUS, self._peer.why_closed)
        frame: bytes | None = event.get("bytes")
        if frame is None:
            raise NotBinary
        return frame

    def is_receiving(self) -> bool:
        """See `Transport.is_receiving`."""
        return self._peer.is_sending

    async def send(self, frame: bytes) -> None:
        """See `Transport.send`."""
        try:
            await self._websocket.send({"type": "websocket.send", "bytes": frame})
        except (WebSocketDisconnect, WebSocketDisconnected) as gone:
            raise PeerGone(self._peer.close_code or CloseCode.ABNORMAL, self._peer.why_closed) from gone

    async def close(self, code: CloseCode, reason: str) -> None:
        """See `Transport.close`."""
        with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected):
            await self._websocket.close(code, reason)
