"""A message that a conversation has read and not answered yet, and the stages that it goes through."""

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime
    from uuid import UUID

    from botkit import Turn
    from chat_service.fair_bytes import Charge
    from frameproto import Request, RequestKind
    from frameproto.exchange import Exchange
    from permits import Permit, PermitRequest


class Stage(IntEnum):
    """Of a message. Which may follow which is said in `conversation.NEXT`."""

    IN_HAND = 0  # was read; waits for a slot of the window or for bytes of the connection
    CHARGING = 1  # waits for bytes of the pod
    ADMITTING = 2  # waits for a message permit
    PREPARING = 3  # voice or video is being decoded
    READY = 4  # waits until the bot is done with the messages before
    REPLYING = 5  # the bot's turn, and what is made of its words
    ANSWERED = 6  # has a reply; waits until those before are on their way to the outbox
    KEEPING = 7  # the exchange is on its way to the outbox
    KEPT = 8  # the reply may leave; waits for those before and for the peer
    SENDING = 9  # the reply was handed to the transport, and the peer has not caught up
    DONE = 10


class PendingMessage:
    """One message on its way through a conversation.

    Attributes:
        frame: as it was received, until there is a reply; None: a WebSocket text message.
        received_at: when it was complete.
        stage: of the machine.
        size_bytes: charged for it at present.
        request: what the frame holds, until there is a reply.
        reply: the frame that is to leave.
        must_keep: the reply leaves only after the exchange was kept.
        is_spoken: the bot has replied to it, or never will.
        is_last: it is one unreadable frame too many.
        pieces: frames of parts of the reply that wait for their turn.
        id: of the exchange.
        charge: the bytes of the pod that it holds or waits for.
        asked: the request for a message permit, until it is settled.
        permit: the message permit.
        kind: of the message, while it counts as in process.
        transcript: what is spoken in it, for history.
        turn: what the bot is told.
        may_speak: resolved when it is the bot's turn, for work in a task.
        work: the task that decodes, replies or renders, where that takes one.
        exchange: what is to be kept.
    """

    __slots__ = (
        "asked",
        "charge",
        "exchange",
        "frame",
        "id",
        "is_last",
        "is_spoken",
        "kind",
        "may_speak",
        "must_keep",
        "permit",
        "pieces",
        "received_at",
        "reply",
        "request",
        "size_bytes",
        "stage",
        "transcript",
        "turn",
        "work",
    )

    def __init__(self, frame: bytes | None, received_at: "datetime") -> None:
        self.frame = frame
        self.received_at = received_at
        self.stage = Stage.IN_HAND
        self.size_bytes = len(frame or b"")
        self.request: Request | None = None
        self.reply = b""
        self.transcript = ""
        self.must_keep = False
        self.is_spoken = False
        self.is_last = False
        self.pieces: deque[bytes] | None = None
        self.id: UUID | None = None
        self.charge: Charge | None = None
        self.asked: PermitRequest | None = None
        self.permit: Permit | None = None
        self.kind: RequestKind | None = None
        self.turn: Turn | None = None
        self.may_speak: asyncio.Future[None] | None = None
        self.work: asyncio.Task[None] | None = None
        self.exchange: Exchange | None = None

    def answer(self, reply: bytes, *, keep: bool) -> None:
        """Take the reply in place of the request, which is not to stay in memory for as long as a reader takes."""
        self.reply = reply
        self.must_keep = keep
        self.frame = self.request = self.turn = None

    def add_piece(self, frame: bytes) -> None:
        """Have a part of the reply wait for its turn to leave."""
        if self.pieces is None:
            self.pieces = deque()
        self.pieces.append(frame)
