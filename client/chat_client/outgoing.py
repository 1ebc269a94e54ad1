"""The messages without an answer, sans I/O: what to send next, and which message a frame of the server is for.

Over v2 a message is *again* sent with its id over every new connection until its response comes, so its caller gets one
response whatever breaks. Over v1 the third response is to the third message, for as long as the connection lasts: what
was on its way at the end has no answer, and nobody can know whether the server has given one.

      add          next_frame                  receive
    ───────► queued ───────► on the wire ────────────────► answered
               ▲                 │ lost
               │     v2: again   │ v1: fails, or is sent again where the caller allows that
               └─────────────────┴───────────────────────► unanswered
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid4

from chat_client.errors import ClientError, ConnectionLost, MessageFailed, MessageInvalid, Unanswered, WrongAnswer
from frameproto import Buffer, FrameError, FrameTooLarge, Request, Response, ResponseKind, decode_response
from frameproto.connection import SUBPROTOCOL_V1, SUBPROTOCOL_V2, CloseCode
from frameproto.responses import error_response
from frameproto.v2 import (
    NO_MESSAGE,
    ClientType,
    MessageResponse,
    Piece,
    Status,
    decode_server_frame,
    envelope,
)

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
CANCELLED: Final = "cancelled"

OnSent = Callable[[int, int], None]
"""Called with the number of bytes that have gone out so far, and of those in all."""


class Version(StrEnum):
    """A version of the protocol, by its subprotocol."""

    V1 = SUBPROTOCOL_V1
    V2 = SUBPROTOCOL_V2


@dataclass(frozen=True, slots=True)
class Restarted:
    """The connection broke after pieces of the reply came. Forget them: the reply comes again from its beginning."""

    message_id: UUID


Event = Status | Piece | Restarted | Response
"""What is told of a message; the response is the last."""


def _ignore(_: object) -> None:
    """Ignore events after `abandon`."""


def _size(message: "OutgoingMessage") -> int:
    return len(message.request.body)


@dataclass(slots=True, eq=False)
class OutgoingMessage:
    """A message without an answer.

    Attributes:
        request: what is asked.
        tell: called with each event, at the end with the response or with the error that takes its place.
        on_sent: told how much has gone out.
        id: the same over every connection.
        begun: a part of it has gone out, over this connection or an earlier one.
        on_the_wire: it was sent over the connection that is open now.
        cancelled: the caller does not want the reply any more.
        shown: pieces of its reply were told.
    """

    request: Request
    tell: Callable[[Event | Exception], None]
    on_sent: OnSent | None = None
    id: UUID = field(default_factory=uuid4)
    begun: bool = False
    on_the_wire: bool = False
    cancelled: bool = False
    shown: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """A frame to send: the body is not copied behind its head.

    Attributes:
        message: whose request it is; None: a cancel.
    """

    head: bytes
    body: Buffer = b""
    message: OutgoingMessage | None = None


class OutgoingMessages:
    """The messages of one chat, over all of its connections.

    Args:
        window: how many may be on the wire at once.
        resend_on_v1: send what was on its way over v1 again, though it may have been answered.
    """

    def __init__(self, *, window: int, resend_on_v1: bool) -> None:
        self._window = window
        self._resend_on_v1 = resend_on_v1
        self._version = Version.V2
        self._messages: dict[UUID, OutgoingMessage] = {}
        self._to_send: deque[OutgoingMessage] = deque()
        self._cancels: deque[UUID] = deque()
        self._on_the_wire: dict[UUID, OutgoingMessage] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: OutgoingMessage) -> None:
        """Take a message; it is sent behind those that are here."""
        self._messages[message.id] = message
        self._to_send.append(message)

    def opened(self, version: Version) -> None:
        """Begin a connection: everything is to be sent over it, in the order in which it was added."""
        self._version = version
        if version is Version.V1:
            self._fail_uncertain(ConnectionLost(CloseCode.ABNORMAL))  # begun over v2, and v1 cannot ask for it
        self._to_send = deque(self._messages.values())
        for message in self._to_send:
            if message.shown:
                message.shown = False
                message.tell(Restarted(message.id))

    def next_frame(self) -> OutgoingFrame | None:
        """Return what is to be sent next; None: nothing, before the next call of another method."""
        if self._cancels:
            return OutgoingFrame(envelope(ClientType.CANCEL, self._cancels.popleft()))
        while self._to_send and self._to_send[0].id not in self._messages:  # it has ended meanwhile
            self._to_send.popleft()
        if not self._to_send or len(self._on_the_wire) >= self._window:
            return None
        message = self._to_send.popleft()
        head = bytes((message.request.kind,))
        if self._version is Version.V2:
            head = envelope(ClientType.AGAIN if message.begun else ClientType.REQUEST, message.id) + head
        if message.cancelled:  # it was taken back while there was no connection
            self._cancels.append(message.id)
        message.begun = message.on_the_wire = True
        self._on_the_wire[message.id] = message
        return OutgoingFrame(head, message.request.body, message)

    def receive(self, frame: bytes | str) -> bool:
        """Tell the caller of a message what came for it. Return whether it was a response.

        Raises:
            WrongAnswer: it is not of this protocol.
        """
        if isinstance(frame, str):
            raise WrongAnswer("the server sent something that nobody asked for: a text message")
        try:
            if self._version is Version.V1:
                response = decode_response(frame, max_bytes=MAX_REPLY_BYTES)
                self._answer(next(iter(self._on_the_wire), NO_MESSAGE), response)
                return True
            return self._receive_v2(frame)
        except FrameError as exc:
            raise WrongAnswer(f"the server sent a frame that cannot be read: {exc}") from exc

    def lost(self, why: ClientError) -> None:
        """End the connection. What may be sent again stays, the rest fails."""
        if isinstance(why, ConnectionLost) and why.code == CloseCode.TOO_LARGE and self._on_the_wire:
            largest = max(self._on_the_wire.values(), key=_size)  # the smaller ones before it were taken
            self._finish(largest, MessageInvalid(FrameTooLarge("it is over the size limit of the server")))
        if self._version is Version.V1:
            self._fail_uncertain(why)
        self._on_the_wire.clear()
        self._cancels.clear()
        for message in list(self._messages.values()):
            message.on_the_wire = False
            if message.tell is _ignore:
                del self._messages[message.id]
        self._to_send = deque(self._messages.values())

    def fail_all(self, why: ClientError) -> None:
        """Fail every message."""
        for message in list(self._messages.values()):
            self._finish(message, Unanswered(why, message.id, maybe_answered=message.begun))
        self._to_send.clear()

    def cancel(self, message: OutgoingMessage) -> None:
        """Take a message back. Its outcome is told: the error `cancelled`, or the reply that was faster."""
        if message.id not in self._messages or message.cancelled:
            return
        message.cancelled = True
        if not message.begun or self._version is Version.V1:
            self._finish(message, MessageFailed(error_response(CANCELLED, "the message was taken back")))
        elif message.on_the_wire:
            self._cancels.append(message.id)

    def abandon(self, message: OutgoingMessage) -> None:
        """Take a message back. Its outcome is not reported."""
        message.tell = _ignore
        self.cancel(message)
        if not message.on_the_wire:
            self._messages.pop(message.id, None)

    def fail(self, message: OutgoingMessage, why: Exception) -> None:
        """End a message for a reason of this side; the server's response to it is dropped."""
        if message.id in self._messages:
            message.tell(why)
            self.abandon(message)

    def _receive_v2(self, frame: bytes) -> bool:
        arrived = decode_server_frame(frame, max_bytes=MAX_REPLY_BYTES)
        if isinstance(arrived, MessageResponse):
            if arrived.message_id == NO_MESSAGE:
                raise WrongAnswer(f"the server could not read what was sent: {arrived.response.text}")
            self._answer(arrived.message_id, arrived.response)
            return True
        message = self._on_the_wire.get(arrived.message_id)
        if message is None:
            raise WrongAnswer("the server sent something that nobody asked for: a piece of no reply")
        message.shown = message.shown or isinstance(arrived, Piece)
        message.tell(arrived)
        return False

    def _answer(self, message_id: UUID, response: Response) -> None:
        message = self._on_the_wire.pop(message_id, None)
        if message is None:
            raise WrongAnswer("the server sent something that nobody asked for: a response")
        self._finish(message, MessageFailed(response) if response.kind is ResponseKind.ERROR else response)

    def _fail_uncertain(self, why: ClientError) -> None:
        if not self._resend_on_v1:
            for message in [each for each in self._messages.values() if each.begun]:
                self._finish(message, Unanswered(why, message.id, maybe_answered=True))

    def _finish(self, message: OutgoingMessage, outcome: Response | ClientError) -> None:
        """Tell the last event, once: a message that is not here any more had it already."""
        if self._messages.pop(message.id, None) is not None:
            message.tell(outcome)
