"""A message that a conversation has read and not answered yet, and the stages that it goes through."""

from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import asyncio
    from datetime import datetime
    from uuid import UUID

    from botkit import Turn
    from chat_service.fair_bytes import Charge
    from frameproto import Request, RequestKind
    from frameproto.exchange import Exchange
    from frameproto.kinds import Buffer
    from permits import Permit, PermitRequest


class Stage(IntEnum):
    """Of a message. Which may follow which is said in `NEXT`."""

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


Event = Literal["take", "charged", "admitted", "prepared", "turn", "piece", "answered", "keep", "kept", "send", "sent"]
"""What moves a message on."""


NEXT: Final[dict[tuple[Stage, Event], Stage]] = {
    (Stage.IN_HAND, "take"): Stage.CHARGING,
    (Stage.CHARGING, "charged"): Stage.ADMITTING,
    (Stage.ADMITTING, "admitted"): Stage.PREPARING,
    (Stage.ADMITTING, "answered"): Stage.ANSWERED,  # unreadable, too long, no permit, or cancelled: an error frame
    (Stage.PREPARING, "prepared"): Stage.READY,
    (Stage.PREPARING, "answered"): Stage.ANSWERED,  # refused, failed, cancelled, or answered before
    (Stage.READY, "turn"): Stage.REPLYING,
    (Stage.READY, "answered"): Stage.ANSWERED,  # cancelled
    (Stage.REPLYING, "piece"): Stage.REPLYING,
    (Stage.REPLYING, "answered"): Stage.ANSWERED,
    (Stage.ANSWERED, "keep"): Stage.KEEPING,
    (Stage.ANSWERED, "kept"): Stage.KEPT,  # there is no exchange to keep
    (Stage.KEEPING, "kept"): Stage.KEPT,
    (Stage.KEPT, "send"): Stage.SENDING,
    (Stage.SENDING, "sent"): Stage.DONE,
}
"""Every stage but DONE also leads to DONE when the connection is CLOSED and nothing works on the message any more."""

UNANSWERED: Final = frozenset({Stage.ADMITTING, Stage.PREPARING, Stage.READY, Stage.REPLYING})
"""Stages in which a message can be cancelled: it has no reply yet."""

AT_WORK: Final = UNANSWERED | {Stage.KEEPING}
"""Stages in which something outside of the machine works on a message; `Work.abandon` stops that."""


_IN_HAND: Final = Stage.IN_HAND


class IllegalEvent(Exception):
    """An event that must not happen in this stage: a bug of ours."""


class PendingMessage:
    """One message on its way through a conversation.

    Attributes:
        frame: its request as v1 has it, until there is a reply; before it was read, the whole frame as it was received.
            None: a WebSocket text message.
        received_at: when it was complete.
        stage: of the machine.
        size_bytes: charged for it at present.
        message_id: what the client calls it; nil: nothing that can be read; None: the client speaks v1.
        is_again: the client has sent it before, over a connection that broke.
        earlier: the attempt before this one, while this pod may be working on it.
        ended: resolved when this attempt is kept or let go, if a later one waits for that.
        request: what the frame holds, until there is a reply.
        reply: the response that is to leave, as v1 has it.
        must_keep: the reply leaves only after the exchange was kept.
        is_spoken: the bot has replied to it, or never will.
        is_last: it is one unreadable frame too many.
        is_cancelled: the client does not want a reply; what works on it has been told to stop.
        said: the pieces of the reply so far.
        unsent: the end of them that has not left, because the peer has not kept up.
        id: of the exchange.
        charge: the bytes of the pod that it holds or waits for.
        asked: the request for a message permit, until it is settled.
        is_waiting: it was seen to wait for a permit.
        key: of the client and the message, among those that this pod works on.
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
        "earlier",
        "ended",
        "exchange",
        "frame",
        "id",
        "is_again",
        "is_cancelled",
        "is_last",
        "is_spoken",
        "is_waiting",
        "key",
        "kind",
        "may_speak",
        "message_id",
        "must_keep",
        "permit",
        "received_at",
        "reply",
        "request",
        "said",
        "size_bytes",
        "stage",
        "transcript",
        "turn",
        "unsent",
        "work",
    )

    def __init__(self, frame: "bytes | None", received_at: "datetime") -> None:
        self.frame: Buffer | None = frame
        self.received_at = received_at
        self.stage: Stage = _IN_HAND
        self.size_bytes = len(frame or b"")
        self.message_id: UUID | None = None
        self.earlier: PendingMessage | None = None
        self.ended: asyncio.Future[None] | None = None
        self.request: Request | None = None
        self.reply = b""
        self.transcript = ""
        self.unsent = ""
        self.must_keep = self.is_spoken = self.is_last = self.is_again = self.is_cancelled = False
        self.is_waiting = False
        self.key: bytes | None = None
        self.said: list[str] | None = None
        self.id: UUID | None = None
        self.charge: Charge | None = None
        self.asked: PermitRequest | None = None
        self.permit: Permit | None = None
        self.kind: RequestKind | None = None
        self.turn: Turn | None = None
        self.may_speak: asyncio.Future[None] | None = None
        self.work: asyncio.Task[None] | None = None
        self.exchange: Exchange | None = None

    def move(self, event: Event) -> None:
        """Go to the next stage.

        Raises:
            IllegalEvent: this must not happen now.
        """
        try:
            self.stage = NEXT[self.stage, event]
        except KeyError:
            raise IllegalEvent(f"{event} while {self.stage.name}") from None

    def answer(self, reply: bytes, *, keep: bool) -> None:
        """Take the reply in place of the request, which is not to stay in memory for as long as a reader takes."""
        self.reply = reply
        self.must_keep = keep
        self.frame = self.request = self.turn = self.said = None

    def add_piece(self, text: str) -> None:
        """Add to what the bot has said, and to what has not left."""
        if self.said is None:
            self.said = []
        self.said.append(text)
        self.unsent += text

    @property
    def shown(self) -> str:
        """What the client was shown of a reply that is not whole."""
        said = "".join(self.said or ())
        return said[: len(said) - len(self.unsent)]
