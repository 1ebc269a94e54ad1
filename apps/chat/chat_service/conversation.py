"""One conversation as a state machine: what is read, answered, kept and sent, in which order, and when it ends.

No I/O happens here and no task runs. `Connection` tells the machine what has happened; the machine calls `Effects` to
have something done. An effect may be complete before its call returns, in which case the next event arrives within it.

The connection:

    OPEN       reads and answers     -- drain()            -> DRAINING
    OPEN       reads and answers     -- an end (see below) -> CLOSED
    DRAINING   reads no more,        -- all answers sent   -> CLOSED (1012)
               answers what it has   -- an end             -> CLOSED

Ends by the peer: it says goodbye, breaks off, is idle, sends unreadable frames repeatedly, or does not read its
replies. Ends by us: the connection permit is lost, the token expires, the pod cuts the drain short, a bug.

A message goes through the stages of `NEXT`, the one table of what may follow what. Messages are prepared side by side.
The bot's turns, the writes to the outbox and the replies follow the order of the messages. A message has a slot of the
window from CHARGING on, a permit from PREPARING to KEPT, and its bytes are charged until it is DONE: first those of the
request, from KEPT on those of the reply. A peer that does not read fills its own window, never the cluster's permits.

A reply may come in pieces while the stage is REPLYING. Pieces are provisional: they leave in the order of the messages,
and the whole reply leaves after its exchange was kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from math import inf
from typing import Final, Protocol

from chat_service.pending import PendingMessage, Stage
from frameproto import FrameError, Request, RequestKind, decode_request, encode_response, error_response
from frameproto.connection import CloseCode


class State(Enum):
    """Of a connection."""

    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


class Event(IntEnum):
    """What moves a message on."""

    TAKE = 0
    CHARGED = 1
    ADMITTED = 2
    PREPARED = 3
    TURN = 4
    PIECE = 5
    ANSWERED = 6
    KEEP = 7
    KEPT = 8
    SEND = 9
    SENT = 10


NEXT: Final = {
    (Stage.IN_HAND, Event.TAKE): Stage.CHARGING,
    (Stage.CHARGING, Event.CHARGED): Stage.ADMITTING,
    (Stage.ADMITTING, Event.ADMITTED): Stage.PREPARING,
    (Stage.ADMITTING, Event.ANSWERED): Stage.ANSWERED,  # unreadable, too long, or no permit: an error frame
    (Stage.PREPARING, Event.PREPARED): Stage.READY,
    (Stage.PREPARING, Event.ANSWERED): Stage.ANSWERED,  # refused, or failed
    (Stage.READY, Event.TURN): Stage.REPLYING,
    (Stage.REPLYING, Event.PIECE): Stage.REPLYING,
    (Stage.REPLYING, Event.ANSWERED): Stage.ANSWERED,
    (Stage.ANSWERED, Event.KEEP): Stage.KEEPING,
    (Stage.ANSWERED, Event.KEPT): Stage.KEPT,  # there is no exchange to keep
    (Stage.KEEPING, Event.KEPT): Stage.KEPT,
    (Stage.KEPT, Event.SEND): Stage.SENDING,
    (Stage.SENDING, Event.SENT): Stage.DONE,
}
"""Every stage but DONE also leads to DONE when the connection is CLOSED and nothing works on the message any more."""

AT_WORK: Final = frozenset({Stage.ADMITTING, Stage.PREPARING, Stage.READY, Stage.REPLYING, Stage.KEEPING})
"""Stages in which something outside of the machine works on a message; `Effects.abandon` stops that."""


class IllegalEvent(Exception):
    """An event that must not happen in this stage: a bug of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationLimits:
    """What one connection may do; every figure is a setting."""

    window: int
    max_frame_bytes: int
    max_text_bytes: int
    max_bytes: int
    max_unreadable: int
    message_wait_seconds: float
    first_message_seconds: float
    idle_seconds: float
    send_seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """How a conversation ended; `by_peer` tells that there is nobody left to close."""

    code: int
    reason: str
    by_peer: bool = False


class Effects(Protocol):
    """What a machine has done for it. Each is called once for what it says, and none raises."""

    def pause_reading(self) -> None:
        """Deliver no frames for now."""

    def resume_reading(self) -> None:
        """Deliver frames again."""

    def is_receiving(self) -> bool:
        """Say whether a frame is arriving."""

    def charge(self, message: PendingMessage, size_bytes: int) -> bool:
        """Charge the pod's budget; False: it is full, and `charged` follows unless the message is released before."""

    def recharge(self, message: PendingMessage, size_bytes: int) -> None:
        """Charge this much instead."""

    def refused(self, code: str) -> None:
        """Count a message that gets an error frame and is not kept."""

    def admit(self, message: PendingMessage) -> None:
        """Get a message permit; `admitted` or `answered` follows."""

    def prepare(self, message: PendingMessage) -> None:
        """Decode the message; `prepared` or `answered` follows."""

    def take_turn(self, message: PendingMessage) -> None:
        """Let the bot reply; `spoken`, `piece` and at last `answered` follow."""

    def keep(self, message: PendingMessage) -> None:
        """Put the exchange into the outbox; `kept` follows, perhaps with another reply."""

    def release_permit(self, message: PendingMessage) -> None:
        """Give the message permit back, if there is one."""

    def forget(self, message: PendingMessage) -> None:
        """Give back all that the message holds: permit, bytes."""

    def abandon(self, message: PendingMessage) -> None:
        """Stop working on a message; `abandoned` follows when the work has really ended."""

    def send(self, frame: bytes) -> bool:
        """Hand a frame to the transport; False: the peer has not kept up, and `caught_up` follows."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection towards the peer."""

    def closed(self) -> None:
        """The connection is closed, from either side: give its permit back."""

    def finished(self) -> None:
        """The connection is closed and nothing works on any message of it."""

    def wake_at(self, when: float) -> None:
        """Have `wake` called at this time; an earlier one that was asked for before counts no more."""


class Conversation:
    """The machine of one connection.

    Args:
        effects: what it has done for it.
        limits: of this connection.
        clock: monotonic seconds.

    Attributes:
        state: of the connection.
        end: how it ended, once it has.
        left_garbage: messages were under way at the end; tracebacks of what was cancelled hold them in cycles.
    """

    __slots__ = (
        "_charging",
        "_clock",
        "_delivers",
        "_effects",
        "_gives_turns",
        "_idle_at",
        "_in_hand",
        "_is_finished",
        "_is_paused",
        "_is_stuck",
        "_limits",
        "_line",
        "_own_bytes",
        "_patience_seconds",
        "_reads",
        "_sending",
        "_stuck_at",
        "_turns",
        "_unkept",
        "_unreadable_in_a_row",
        "_wakes_at",
        "end",
        "left_garbage",
        "state",
    )

    def __init__(self, effects: Effects, limits: ConversationLimits, clock: Callable[[], float]) -> None:
        self.state = State.OPEN
        self.end: End | None = None
        self.left_garbage = False
        self._effects = effects
        self._limits = limits
        self._clock = clock
        # Lists, for they are short, and an empty deque has ten times the size.
        self._line: list[PendingMessage] = []  # all that have a slot, in order
        self._turns: list[PendingMessage] = []  # those that the bot may still have to reply to, in order
        self._unkept: list[PendingMessage] = []  # those that are not on their way to the outbox, in order
        self._in_hand: PendingMessage | None = None
        self._charging: PendingMessage | None = None
        self._sending: PendingMessage | None = None
        self._own_bytes = 0
        self._reads = True
        self._is_paused = False
        self._gives_turns = False
        self._delivers = False
        self._is_stuck = False
        self._is_finished = False
        self._unreadable_in_a_row = 0
        self._patience_seconds = limits.first_message_seconds
        self._idle_at = 0.0
        self._stuck_at = inf
        self._wakes_at = inf

    @property
    def unfinished(self) -> int:
        """How many messages have a slot of the window."""
        return len(self._line)

    def start(self) -> None:
        """The connection is open; from now on silence counts."""
        self._be_patient()

    # From the transport.

    def received(self, message: PendingMessage) -> None:
        """A frame came. Once reading is paused there must be none."""
        if self.state is not State.OPEN or not self._reads:
            self._pause()
            return
        if self._in_hand is not None:
            raise IllegalEvent("a frame was delivered while reading was paused")
        self._in_hand = message
        self._take()

    def caught_up(self) -> None:
        """The peer has read enough for another frame."""
        if self.state is State.CLOSED:
            return
        self._is_stuck, self._stuck_at = False, inf
        message, self._sending = self._sending, None
        if message is not None:
            self._sent(message)
        self._send()

    def peer_left(self, code: int, reason: str) -> None:
        """The peer has closed, or the connection broke."""
        self._close(End(code, reason, by_peer=True))

    # From the work on messages.

    def charged(self, message: PendingMessage) -> None:
        """There are bytes for a message that had to wait for them."""
        if message is self._charging:
            self._charging = None
            self._begin(message)
            self._read_on()

    def admitted(self, message: PendingMessage) -> None:
        """A message has its permit."""
        if not self._is_over(message):
            self._move(message, Event.ADMITTED)
            self._effects.prepare(message)

    def prepared(self, message: PendingMessage) -> None:
        """The bot can be told of a message."""
        if self.state is not State.CLOSED:
            self._move(message, Event.PREPARED)
            self._give_turns()

    def spoken(self, message: PendingMessage) -> None:
        """The bot's turn is over; the next message may have its own. `answered` implies it."""
        message.is_spoken = True
        if self.state is not State.CLOSED:
            self._give_turns()

    def piece(self, message: PendingMessage, frame: bytes) -> None:
        """A part of a reply is ready to leave, before the reply is whole."""
        if self.state is not State.CLOSED:
            self._move(message, Event.PIECE)
            message.add_piece(frame)
            self._send_pieces(message)

    def answered(self, message: PendingMessage, reply: bytes, *, keep: bool) -> None:
        """The reply to a message is there; `keep`: it leaves only after the exchange is in the outbox."""
        if self._is_over(message):
            return
        self._move(message, Event.ANSWERED)
        message.answer(reply, keep=keep)
        if not message.is_spoken:
            message.is_spoken = True
            self._give_turns()
        self._deliver()

    def kept(self, message: PendingMessage, instead: bytes | None = None) -> None:
        """The exchange is in the outbox. When it cannot be there, an error frame leaves in place of the reply."""
        if not self._is_over(message):
            if instead is not None:
                message.reply = instead
            self._keep(message)
            self._send()

    def abandoned(self, message: PendingMessage) -> None:
        """The work on a message has ended without a reply, after `Effects.abandon`."""
        if not self._is_over(message):
            raise IllegalEvent("the work on a message of an open connection ended without a reply")

    # From the pod.

    def drain(self) -> None:
        """Read no more; when all that was taken is answered, close with 1012."""
        if self.state is State.OPEN:
            self.state = State.DRAINING
            self._in_hand = None
            charging, self._charging = self._charging, None
            if charging is not None:
                self._turns.remove(charging)
                self._unkept.remove(charging)
                self._finish(charging)
            self._end_drained()

    def abort(self) -> None:
        """Close with 1012 now; requests that are not answered yet never will be."""
        self._close(_DRAINED)

    def permit_lost(self) -> None:
        """The limits may have given this connection's place to another one."""
        self._close(End(CloseCode.PERMIT_LOST, "the place of this connection was lost"))

    def token_expired(self) -> None:
        """The client's token counts no more."""
        self._close(End(CloseCode.TOKEN_EXPIRED, "the token has expired"))

    def fail(self) -> None:
        """Something went wrong that must not: a bug of ours."""
        self._close(End(CloseCode.INTERNAL, "internal error"))

    def wake(self) -> None:
        """A deadline may have passed."""
        self._wakes_at = inf
        if self.state is State.CLOSED:
            return
        now = self._clock()
        if now >= self._stuck_at:
            self._close(End(CloseCode.SLOW_CONSUMER, "replies are not being read"))
            return
        self._wake_by(self._stuck_at)
        if self._line:
            return  # a client that waits for us is not idle; the last reply sets the deadline anew
        if now >= self._idle_at and not self._effects.is_receiving():
            self._close(End(CloseCode.IDLE_TIMEOUT, "no message for too long"))
        elif now >= self._idle_at:
            self._be_patient()
        else:
            self._wake_by(self._idle_at)

    # Reading.

    def _take(self) -> None:
        """Give the frame in hand its slot and its bytes, if there are any."""
        message = self._in_hand
        if message is None:
            return
        size = message.size_bytes
        if len(self._line) >= self._limits.window or (
            self._own_bytes and self._own_bytes + size > self._limits.max_bytes
        ):
            self._pause()
            return
        self._in_hand = None
        self._move(message, Event.TAKE)
        for order in (self._line, self._turns, self._unkept):
            order.append(message)
        self._own_bytes += size
        self._charging = message
        if self._effects.charge(message, size):
            self._charging = None
            self._begin(message)
        else:
            self._pause()

    def _begin(self, message: PendingMessage) -> None:
        """Read a frame that is charged, and have it admitted."""
        self._move(message, Event.CHARGED)
        error = self._decode(message)
        if error is None:
            self._effects.admit(message)
        else:
            self.answered(message, error, keep=False)

    def _decode(self, message: PendingMessage) -> bytes | None:
        """Find the request in a frame, or return the error frame that says why there is none."""
        try:
            if message.frame is not None:
                request = decode_request(message.frame, max_bytes=self._limits.max_frame_bytes)
                self._unreadable_in_a_row = 0
                self._patience_seconds = self._limits.idle_seconds
                message.request = request
                return self._check_text(request)
            error = self._refuse("not_binary", "send binary WebSocket messages, one frame in each")
        except FrameError as exc:
            error = self._refuse(exc.code, str(exc))
        self._unreadable_in_a_row += 1
        if self._unreadable_in_a_row >= self._limits.max_unreadable:
            message.is_last = True
            self._reads = False
            self._pause()
        return error

    def _check_text(self, request: Request) -> bytes | None:
        size, most = len(request.body), self._limits.max_text_bytes
        if request.kind is RequestKind.TEXT and size > most:
            return self._refuse("text_too_long", f"this text has {size:,} bytes; {most:,} is the most")
        return None

    def _refuse(self, code: str, why: str) -> bytes:
        self._effects.refused(code)
        return error_frame(code, why)

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._effects.pause_reading()

    def _read_on(self) -> None:
        """Read again where a slot or bytes became free."""
        if self._charging is None and self.state is State.OPEN:
            self._take()
            if self._is_paused and self._reads and self._in_hand is None and self._charging is None:
                self._is_paused = False
                self._effects.resume_reading()

    # Answering.

    def _give_turns(self) -> None:
        """Let the bot reply to the next message in order, if that is prepared."""
        if self._gives_turns:
            return
        self._gives_turns = True
        turns = self._turns
        while turns:
            message = turns[0]
            if not message.is_spoken:
                if message.stage is not Stage.READY:
                    break
                self._move(message, Event.TURN)
                self._effects.take_turn(message)
                if not message.is_spoken:
                    break
            if turns and turns[0] is message:
                del turns[0]
        self._gives_turns = False

    def _deliver(self) -> None:
        """Send replies to the outbox and to the peer, in order."""
        if self._delivers:
            return
        self._delivers = True
        unkept = self._unkept
        while unkept and unkept[0].stage is Stage.ANSWERED:
            message = unkept.pop(0)
            if message.must_keep:
                self._move(message, Event.KEEP)
                self._effects.keep(message)
            else:
                self._keep(message)
        self._delivers = False
        self._send()

    def _keep(self, message: PendingMessage) -> None:
        """Nothing stands between a reply and the peer any more but the replies before."""
        self._move(message, Event.KEPT)
        message.pieces = None
        size = len(message.reply)
        self._own_bytes += size - message.size_bytes
        message.size_bytes = size
        self._effects.recharge(message, size)
        self._effects.release_permit(message)

    # Sending.

    def _send(self) -> None:
        """Send what may leave, until the peer does not keep up."""
        while self._line and not self._is_stuck:
            message = self._line[0]
            if message.stage is not Stage.KEPT:
                self._send_pieces(message)
                return
            self._move(message, Event.SEND)
            if not self._hand_over(message.reply):
                self._sending = message
                return
            self._sent(message)

    def _send_pieces(self, message: PendingMessage) -> None:
        """Send the pieces of a reply, if it is its turn. A peer that does not keep up gets them later."""
        while message.pieces and not self._is_stuck and self._line[0] is message:
            self._hand_over(message.pieces.popleft())

    def _hand_over(self, frame: bytes) -> bool:
        """Send a frame; return whether the peer has kept up."""
        if self._effects.send(frame):
            return True
        self._is_stuck = True
        self._stuck_at = self._clock() + self._limits.send_seconds
        self._wake_by(self._stuck_at)
        return False

    def _sent(self, message: PendingMessage) -> None:
        self._move(message, Event.SENT)
        self._finish(message)
        self._be_patient()
        if message.is_last:
            self._close(End(CloseCode.BAD_FRAMES, "too many unreadable frames in a row"))
        else:
            self._end_drained()

    # Ending.

    def _end_drained(self) -> None:
        if self.state is State.DRAINING and not self._line:
            self._close(_DRAINED)

    def _close(self, end: End) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.end = end
        self._in_hand = self._charging = self._sending = None
        self._turns.clear()
        self._unkept.clear()
        self.left_garbage = bool(self._line)
        if not end.by_peer:
            self._effects.close(CloseCode(end.code), end.reason)
        self._effects.closed()
        for message in list(self._line):
            if message.stage in AT_WORK:
                self._effects.abandon(message)
            elif message.stage is not Stage.DONE:
                self._finish(message)
        self._end_finished()

    def _end_finished(self) -> None:
        if not self._line and not self._is_finished:
            self._is_finished = True
            self._effects.finished()

    def _is_over(self, message: PendingMessage) -> bool:
        """Say whether the connection is closed; a message that somebody was working on is then let go."""
        if self.state is not State.CLOSED:
            return False
        if message.stage is not Stage.DONE:
            self._finish(message)
            self._end_finished()
        return True

    def _finish(self, message: PendingMessage) -> None:
        """Give back all that a message holds, and read on."""
        message.stage = Stage.DONE
        self._own_bytes -= message.size_bytes
        self._line.remove(message)
        self._effects.forget(message)
        self._read_on()

    def _move(self, message: PendingMessage, event: Event) -> None:
        try:
            message.stage = NEXT[message.stage, event]
        except KeyError:
            raise IllegalEvent(f"{event.name} while {message.stage.name}") from None

    # Deadlines.

    def _be_patient(self) -> None:
        self._idle_at = self._clock() + self._patience_seconds
        if not self._line:
            self._wake_by(self._idle_at)

    def _wake_by(self, when: float) -> None:
        if when < self._wakes_at and self.state is not State.CLOSED:
            self._wakes_at = when
            self._effects.wake_at(when)


_DRAINED: Final = End(CloseCode.DRAINING, "this server is restarting")


def error_frame(code: str, why: str) -> bytes:
    """Return the frame that says why there is no answer."""
    return encode_response(error_response(code, why))
