"""One conversation as a state machine: what is read, answered, kept and sent, in which order, and when it ends.

No I/O happens here and no task runs. `Connection` tells the machine what has happened; the machine calls `Effects` and
`Work` to have something done. Both may be complete before the call returns, in which case the next event arrives within
it.

The connection:

    OPEN       reads and answers     -- drain()            -> DRAINING
    OPEN       reads and answers     -- an end (see below) -> CLOSED
    DRAINING   reads no more,        -- all answers sent   -> CLOSED (1012)
               answers what it has   -- an end             -> CLOSED

Ends by the peer: it says goodbye, breaks off, is idle, sends unreadable frames repeatedly, or does not read its
replies. Ends by us: the connection permit is lost, the token expires, the pod cuts the drain short, a bug.

A message goes through the stages of `pending.NEXT`, the one table of what may follow what. Messages are prepared side
by side.
The bot's turns, the writes to the outbox and the replies follow the order of the messages. A message has a slot of the
window from CHARGING on, a permit from PREPARING to KEPT, and its bytes are charged until it is DONE: first those of the
request, from KEPT on those of the reply. A peer that does not read fills its own window, never the cluster's permits.

A reply may come in pieces while the stage is REPLYING. Pieces are provisional: they leave as they come, and the whole
reply leaves after its exchange was kept. To a peer that does not keep up, the pieces of a reply are sent as one later.

A cancel takes no slot, so it is read while the window is full. It stops the work on a message that has no reply yet.
When that work has really ended, an error is its reply. Any other cancel is passed over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING, Final

from chat_service.pending import AT_WORK, UNANSWERED, IllegalEvent, PendingMessage, Stage
from frameproto import FrameError, RequestKind, encode_response, error_response
from frameproto.connection import CloseCode

if TYPE_CHECKING:
    from uuid import UUID

    from chat_service.dialect import Dialect
    from chat_service.effects import Effects, Work
    from frameproto.v2 import Progress


class ConnectionState(Enum):
    """Of a connection."""

    OPEN = auto()
    DRAINING = auto()
    CLOSED = auto()


# What each message asks for, looked up once: in Python 3.11 a member of an enum takes as long as two calls.
_READY: Final = Stage.READY
_ANSWERED: Final = Stage.ANSWERED
_KEPT: Final = Stage.KEPT
_DONE: Final = Stage.DONE
_IS_DRAINING: Final = ConnectionState.DRAINING


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


class Conversation:
    """The machine of one connection.

    Args:
        effects: what its connection does for it.
        work: what is done with messages.
        dialect: what the client speaks.
        limits: of this connection.
        clock: monotonic seconds.

    Attributes:
        state: of the connection.
        end: how it ended, once it is CLOSED.
        left_garbage: messages were under way at the end; tracebacks of what was cancelled hold them in cycles.
    """

    __slots__ = (
        "_charging",
        "_clock",
        "_delivers",
        "_dialect",
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
        "_work",
        "end",
        "left_garbage",
        "state",
    )

    def __init__(
        self,
        effects: "Effects",
        work: "Work",
        dialect: "Dialect",
        limits: ConversationLimits,
        clock: Callable[[], float],
    ) -> None:
        self.state = ConnectionState.OPEN
        self.end: End | None = None
        self.left_garbage = False
        self._effects = effects
        self._work = work
        self._dialect = dialect
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
        self._restart_idle_timeout()

    # From the transport.

    def received(self, message: PendingMessage) -> None:
        """A frame came. Once reading is paused there must be none."""
        if not self._reads:
            self._pause()
            return
        if self._in_hand is not None:
            raise IllegalEvent("a frame was delivered while reading was paused")
        cancelled = None if message.frame is None else self._dialect.cancelled(message.frame)
        if cancelled is not None:
            self._cancel(cancelled)
            return
        self._in_hand = message
        self._take()

    def caught_up(self) -> None:
        """The peer has read enough for another frame."""
        if self.end is not None:
            return
        self._is_stuck, self._stuck_at = False, inf
        message, self._sending = self._sending, None
        if message is not None:
            self._sent(message)
        self._send()
        for message in self._line:
            self._send_piece(message)

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
            message.move("admitted")
            self._work.prepare(message)

    def prepared(self, message: PendingMessage) -> None:
        """The bot can be told of a message."""
        if self.end is None:
            message.move("prepared")
            self._give_turns()

    def spoken(self, message: PendingMessage) -> None:
        """The bot's turn is over; the next message may have its own. `answered` implies it."""
        message.is_spoken = True
        if self.end is None:
            self._give_turns()

    def piece(self, message: PendingMessage, text: str) -> None:
        """A part of a reply is ready to leave, before the reply is whole."""
        if self.end is None:
            message.move("piece")
            message.add_piece(text)
            self._send_piece(message)

    def status(self, message: PendingMessage, progress: "Progress") -> None:
        """Something else happens to a message now. A peer that does not keep up is not told."""
        if self.end is None and not self._is_stuck and message.stage in UNANSWERED:
            self._hand_over(self._dialect.status(message, progress))

    def answered(self, message: PendingMessage, reply: bytes, *, keep: bool) -> None:
        """The reply to a message is there; `keep`: it leaves only after the exchange is in the outbox."""
        if self._is_over(message):
            return
        message.move("answered")
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
        """The work on a message has ended without a reply, after `Work.abandon`."""
        if self._is_over(message):
            return
        if not message.is_cancelled:
            raise IllegalEvent("the work on a message of an open connection ended without a reply")
        self._work.cancelled(message)

    # From the pod.

    def drain(self) -> None:
        """Read no more; when all that was taken is answered, close with 1012."""
        if self.state is ConnectionState.OPEN:
            self.state = ConnectionState.DRAINING
            self._reads = False
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
        self._close(End(CloseCode.PERMIT_LOST, "the permit of this connection was lost"))

    def token_expired(self) -> None:
        """The client's token counts no more."""
        self._close(End(CloseCode.TOKEN_EXPIRED, "the token has expired"))

    def fail(self) -> None:
        """Something went wrong that must not: a bug of ours."""
        self._close(End(CloseCode.INTERNAL, "internal error"))

    def wake(self) -> None:
        """A deadline may have passed."""
        self._wakes_at = inf
        if self.end is not None:
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
            self._restart_idle_timeout()
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
        message.move("take")
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
        message.move("charged")
        error = self._decode(message)
        if error is None:
            self._work.admit(message)
        else:
            self.answered(message, error, keep=False)

    def _decode(self, message: PendingMessage) -> bytes | None:
        """Find the request in a frame, or return the error frame that says why there is none."""
        try:
            if message.frame is not None:
                self._dialect.read(message, message.frame, self._limits.max_frame_bytes)
                self._unreadable_in_a_row = 0
                self._patience_seconds = self._limits.idle_seconds
                return self._check(message)
            error = self._refuse("not_binary", "send binary WebSocket messages, one frame in each")
        except FrameError as exc:
            error = self._refuse(exc.code, str(exc))
        self._unreadable_in_a_row += 1
        if self._unreadable_in_a_row >= self._limits.max_unreadable:
            message.is_last = True
            self._reads = False
            self._pause()
        return error

    def _check(self, message: PendingMessage) -> bytes | None:
        """Return the error frame for a request that can be read and must not be; None: it is in order."""
        request, most = message.request, self._limits.max_text_bytes
        if request is not None and len(request.body) > most and request.kind is RequestKind.TEXT:
            return self._refuse("text_too_long", f"this text has {len(request.body):,} bytes; {most:,} is the most")
        message_id = message.message_id
        if message_id is None or len(self._line) == 1:
            return None
        if any(each.message_id == message_id for each in self._line if each is not message):
            return self._refuse("message_id_in_use", "a message with this id is under way; choose a new id for each")
        return None

    def _cancel(self, message_id: "UUID") -> None:
        for message in self._line:
            if message.message_id == message_id:
                if message.stage in UNANSWERED and not message.is_cancelled:
                    message.is_cancelled = True
                    self._work.abandon(message)
                return

    def _refuse(self, code: str, why: str) -> bytes:
        self._effects.refused(code)
        return error_frame(code, why)

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._effects.pause_reading()

    def _read_on(self) -> None:
        """Read again where a slot or bytes became free."""
        if self._charging is None:
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
                if message.stage is not _READY or message.is_cancelled:
                    break
                message.move("turn")
                self._work.take_turn(message)
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
        while unkept and unkept[0].stage is _ANSWERED:
            message = unkept.pop(0)
            if message.must_keep:
                message.move("keep")
                self._work.keep(message)
            else:
                self._keep(message)
        self._delivers = False
        self._send()

    def _keep(self, message: PendingMessage) -> None:
        """Nothing stands between a reply and the peer any more but the replies before."""
        message.move("kept")
        message.unsent = ""
        size = len(message.reply)
        self._own_bytes += size - message.size_bytes
        message.size_bytes = size
        self._effects.recharge(message, size)
        self._work.release_permit(message)

    # Sending.

    def _send(self) -> None:
        """Send what may leave, until the peer does not keep up."""
        while self._line and not self._is_stuck:
            message = self._line[0]
            if message.stage is not _KEPT:
                return
            message.move("send")
            if not self._hand_over(self._dialect.response(message)):
                self._sending = message
                return
            self._sent(message)

    def _send_piece(self, message: PendingMessage) -> None:
        """Send what the bot has said so far and did not leave, as one piece."""
        if message.unsent and not self._is_stuck and self.end is None:
            text, message.unsent = message.unsent, ""
            self._hand_over(self._dialect.piece(message, text))

    def _hand_over(self, frame: bytes) -> bool:
        """Send a frame; return whether the peer has kept up."""
        if self._effects.send(frame):
            return True
        self._is_stuck = True
        self._stuck_at = self._clock() + self._limits.send_seconds
        self._wake_by(self._stuck_at)
        return False

    def _sent(self, message: PendingMessage) -> None:
        message.move("sent")
        self._finish(message)
        self._restart_idle_timeout()
        if message.is_last:
            self._close(End(CloseCode.BAD_FRAMES, "too many unreadable frames in a row"))
        else:
            self._end_drained()

    # Ending.

    def _end_drained(self) -> None:
        if not self._line and self.state is _IS_DRAINING:
            self._close(_DRAINED)

    def _close(self, end: End) -> None:
        if self.end is not None:
            return
        self.state = ConnectionState.CLOSED
        self.end = end
        self._reads = False
        self._in_hand = self._charging = self._sending = None
        self._turns.clear()
        self._unkept.clear()
        self.left_garbage = bool(self._line)
        if not end.by_peer:
            self._effects.close(CloseCode(end.code), end.reason)
        self._effects.closed()
        for message in list(self._line):
            if message.stage in AT_WORK:
                if not message.is_cancelled or message.stage is Stage.KEEPING:
                    self._work.abandon(message)
            elif message.stage is not _DONE:
                self._finish(message)
        self._end_finished()

    def _end_finished(self) -> None:
        if not self._line and not self._is_finished:
            self._is_finished = True
            self._effects.finished()

    def _is_over(self, message: PendingMessage) -> bool:
        """Say whether the connection is closed; a message that somebody was working on is then let go."""
        if self.end is None:
            return False
        if message.stage is not _DONE:
            self._finish(message)
            self._end_finished()
        return True

    def _finish(self, message: PendingMessage) -> None:
        """Give back all that a message holds, and read on."""
        message.stage = _DONE
        self._own_bytes -= message.size_bytes
        self._line.remove(message)
        self._work.forget(message)
        self._read_on()

    # Deadlines.

    def _restart_idle_timeout(self) -> None:
        self._idle_at = self._clock() + self._patience_seconds
        if not self._line:
            self._wake_by(self._idle_at)

    def _wake_by(self, when: float) -> None:
        if when < self._wakes_at and self.end is None:
            self._wakes_at = when
            self._effects.wake_at(when)


_DRAINED: Final = End(CloseCode.DRAINING, "this server is restarting")


def error_frame(code: str, why: str) -> bytes:
    """Return the frame that says why there is no answer."""
    return encode_response(error_response(code, why))
