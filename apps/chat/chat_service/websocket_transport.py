"""The transport of one WebSocket connection: frames go from the protocol to the receiver by a call."""

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from chat_service.transport import Receiver
    from frameproto.connection import CloseCode

NO_STATUS: Final = 1005


class FrameProtocol(Protocol):
    """What the transport needs of the WebSocket protocol below it."""

    is_receiving: bool

    def send_frame(self, frame: bytes) -> bool:
        """Send one frame; return whether the peer has kept up."""

    def send_close(self, code: int, reason: str) -> None:
        """Close towards the peer."""

    def read_on(self) -> None:
        """Read from the socket."""

    def stop_reading(self) -> None:
        """Leave in the socket what comes."""


class WebSocketTransport:
    """See `Transport`.

    What comes before there is a receiver, or while reading is paused, waits: at most what one read of a socket brought.
    """

    __slots__ = ("_delivers", "_left", "_on_left", "_pending", "_protocol", "_reads", "_receiver")

    def __init__(self, protocol: FrameProtocol) -> None:
        self._protocol = protocol
        self._receiver: Receiver | None = None
        self._reads = True
        self._delivers = False
        self._pending: deque[bytes | None] | None = None
        self._left: tuple[int, str] | None = None
        self._on_left: Callable[[], None] | None = None

    def on_left(self, tell: "Callable[[], None]") -> None:
        """Call `tell` when the peer leaves before there is a receiver."""
        self._on_left = tell
        self._tell_left()

    @property
    def is_attached(self) -> bool:
        """Whether a receiver is told what happens."""
        return self._receiver is not None

    # The transport of a conversation.

    def attach(self, receiver: "Receiver") -> None:
        """See `Transport.attach`."""
        self._receiver, self._on_left = receiver, None
        self._deliver()
        self._tell_left()

    def pause_reading(self) -> None:
        """See `Transport.pause_reading`."""
        self._reads = False
        self._protocol.stop_reading()

    def resume_reading(self) -> None:
        """See `Transport.resume_reading`."""
        self._reads = True
        self._deliver()

    def is_receiving(self) -> bool:
        """See `Transport.is_receiving`."""
        return self._protocol.is_receiving

    def send(self, frame: bytes) -> bool:
        """See `Transport.send`."""
        return self._protocol.send_frame(frame)

    def close(self, code: "CloseCode", reason: str) -> None:
        """See `Transport.close`."""
        self._receiver = self._pending = None
        self._left = self._left or (code, reason)
        self._protocol.send_close(code, reason)

    # From the protocol.

    def received(self, frame: bytes | None) -> None:
        """A message is complete; None: a WebSocket text message."""
        if self._left is not None:
            return
        receiver = self._receiver
        if receiver is not None and self._reads and not self._pending and not self._delivers:
            self._delivers = True
            receiver.frame_received(frame)
            self._delivers = False
            if self._pending:
                self._deliver()
        else:
            if self._pending is None:
                self._pending = deque()
            self._pending.append(frame)
            self._protocol.stop_reading()

    def caught_up(self) -> None:
        """The peer has read enough for another frame."""
        if self._receiver is not None:
            self._receiver.caught_up()

    def left(self, code: int, reason: str = "") -> None:
        """The connection is over; only the first call counts."""
        if self._left is None:
            self._left = code or NO_STATUS, reason or "the client left"
            self._pending = None
            self._tell_left()

    def _tell_left(self) -> None:
        if self._left is None:
            return
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.peer_left(*self._left)
        elif self._on_left is not None:
            tell, self._on_left = self._on_left, None
            tell()

    def _deliver(self) -> None:
        """Deliver what waits, as long as it is wanted, and read on when nothing waits."""
        if self._delivers:
            return
        self._delivers = True
        while self._pending and self._reads and self._receiver is not None:
            self._receiver.frame_received(self._pending.popleft())
        self._delivers = False
        if self._reads and not self._pending and self._receiver is not None:
            self._protocol.read_on()
