"""The transport port under a conversation: whole frames in, whole frames out.

A conversation knows nothing of sockets, so it can be tested without one and the WebSocket layer can be exchanged. The
WebSocket layer calls the `Receiver` directly; there is no queue and no task between them.
"""

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from frameproto.connection import CloseCode

TRANSPORT: Final = "chatbot.transport"
"""The ASGI extension under which the WebSocket layer hands over the `Transport` of a handshake."""


class Receiver(Protocol):
    """What a transport tells, always from the event loop. Nothing is told before `Transport.attach` was called."""

    def frame_received(self, frame: bytes | None) -> None:
        """A frame came; None: a WebSocket text message, where only binary ones are spoken."""

    def caught_up(self) -> None:
        """The peer has read enough for another frame, after a `send` that returned False."""

    def peer_left(self, code: int, reason: str) -> None:
        """The connection is over; nothing more can be read or written. Told once, and not after our own close."""


class Transport(Protocol):
    """A connection that is open."""

    def attach(self, receiver: Receiver) -> None:
        """Deliver frames to this receiver from now on, first those that came before."""

    def pause_reading(self) -> None:
        """Deliver no frame from now on; what arrives stays in the socket. May be called by the receiver."""

    def resume_reading(self) -> None:
        """Deliver frames again; some may be delivered before this returns."""

    def is_receiving(self) -> bool:
        """Say whether a frame is arriving, which may take its time."""

    def send(self, frame: bytes) -> bool:
        """Hand one frame over, in any case; return whether the peer has kept up enough for another one.

        When it has not, `Receiver.caught_up` follows. Does nothing when the connection is over.
        """

    def close(self, code: "CloseCode", reason: str) -> None:
        """End the connection. Never waits for the peer, and does nothing when it is gone already."""
