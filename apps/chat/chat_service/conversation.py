"""One open connection: read frames, hold the window, answer in order, drain.

A conversation is in one of three states, and these are all the ways between them:

    OPEN       reads and answers     -- drain()            -> FINISHING
    OPEN       reads and answers     -- an end (see below) -> CLOSED
    FINISHING  reads no more,        -- all answers sent   -> CLOSED (1012)
               answers what it has   -- an end             -> CLOSED

Ends of the peer's making: it says goodbye, vanishes, stays silent, sends unreadable frames repeatedly, or does not read
its replies. Ends of ours: the connection permit is lost, the token expires, a bug.

A request passes through four hands, each a task of its own, so that none waits for the slowest part of another:

    _read -> _answer (one task each) -> _deliver (in order) -> _send

`_read` takes a slot of the window and charges the bytes; `_answer` takes the message permit and does the work;
`_deliver` writes the exchange to the outbox and gives the permit back, in the order of the requests; `_send` waits for
the peer, then frees slot and bytes. A slow reader therefore fills its own window, never the cluster's permits.
"""

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from structlog.contextvars import bind_contextvars

from botkit import BotError, Memory
from chat_service.answering import Answerer, OutsideHours
from chat_service.fair_bytes import FairByteBudget, Use
from chat_service.media.base import MediaError
from chat_service.outbox import OutboxError
from chat_service.transport import NotBinary, PeerGone
from chat_service.turns import TurnOrder
from frameproto import FrameError, Request, RequestKind, decode_request, encode_response, error_response
from frameproto.connection import CloseCode
from frameproto.exchange import Exchange
from frameproto.kinds import Outcome
from permits import PermitError, PoolLearning, PoolUnavailable
from servicekit.budget import ByteBudget
from servicekit.logs import get_logger
from servicekit.uuid7 import uuid7

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from chat_service.admission import Visitor
    from chat_service.fair_bytes import Charge
    from chat_service.metrics import ChatMetrics
    from chat_service.transport import Transport
    from permits import Permit, PermitPool
    from servicekit.clock import Now

log = get_logger(__name__)


class ExchangeSink(Protocol):
    """Where finished exchanges go before their replies leave; the outbox."""

    async def append(self, exchange: Exchange) -> None:
        """Keep the exchange for good. Raises OutboxError when that is not possible."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationParts:
    """What all conversations of a pod share."""

    answerer: Answerer
    messages: "PermitPool"
    outbox: ExchangeSink
    pod_bytes: FairByteBudget
    limits: ConversationLimits
    metrics: "ChatMetrics"
    now: "Now"
    new_id: "Callable[[datetime], UUID]" = uuid7


class Ended(Exception):
    """The conversation is over; `by_peer` tells that there is nobody left to close."""

    def __init__(self, code: CloseCode | int, reason: str, *, by_peer: bool = False) -> None:
        super().__init__(reason)
        self.code = int(code)
        self.reason = reason
        self.by_peer = by_peer


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame that is ready to leave, and the exchange to keep first, if it is one."""

    frame: bytes
    exchange: Exchange | None = None


@dataclass(slots=True, eq=False)
class Turn:
    """One request on its way through the conversation."""

    number: int
    received_at: "datetime"
    charge: "Charge | None" = None
    permit: "Permit | None" = None
    answer: "asyncio.Task[Reply] | None" = None
    is_last: bool = False

    def release_permit(self) -> None:
        """Give the message permit back, if there is one; may be called twice."""
        if self.permit is not None:
            self.permit.release()


class Conversation:
    """Talks with one client over one transport until either side ends it."""

    def __init__(self, transport: "Transport", visitor: "Visitor", permit: "Permit", parts: ConversationParts) -> None:
        self._transport = transport
        self._visitor = visitor
        self._permit = permit
        self._parts = parts
        self._limits = parts.limits
        self._memory = Memory()
        self._window = asyncio.Semaphore(parts.limits.window)
        self._own_bytes = ByteBudget(parts.limits.max_bytes)
        self._turns: asyncio.Queue[Turn] = asyncio.Queue()
        self._outgoing: asyncio.Queue[tuple[Turn, bytes]] = asyncio.Queue()
        self._unfinished: set[Turn] = set()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._draining = asyncio.Event()
        self._patience_seconds = parts.limits.first_message_seconds
        self._silent_until = 0.0
        self._unreadable_in_a_row = 0
        self._taken = 0
        self._bot_turns = TurnOrder()
        self.left_garbage = False
        """Messages were under way at the end; tracebacks of what was cancelled hold them in reference cycles."""

    def drain(self) -> None:
        """Read no more; when all that was taken is answered, close with 1012."""
        self._draining.set()

    def cut(self) -> None:
        """Close with 1012 now; requests that are not answered yet never will be."""
        self._draining.set()
        self._all_sent.set()

    async def run(self) -> Ended:
        """Talk until the end and say how it ended. The connection permit is released as the socket closes."""
        try:
            async with asyncio.TaskGroup() as self._work:
                end = await self._talk()
                if not end.by_peer:
                    await self._transport.close(CloseCode(end.code), end.reason)
                self._permit.release()
                for turn in self._unfinished:
                    self._abandon(turn)
        finally:
            self._permit.release()
            self.left_garbage = bool(self._unfinished)
            for turn in list(self._unfinished):
                self._finish(turn)
        return end

    async def _talk(self) -> Ended:
        end: Ended | None = None
        try:
            async with asyncio.TaskGroup() as loops:
                reading = loops.create_task(self._read())
                loops.create_task(self._deliver())
                loops.create_task(self._send())
                loops.create_task(self._watch_silence())
                loops.create_task(self._watch_permit())
                loops.create_task(self._watch_token())
                loops.create_task(self._watch_drain(reading))
        except* Ended as ends:
            first = next(e for e in ends.exceptions if isinstance(e, Ended))
            end = Ended(first.code, first.reason, by_peer=first.by_peer)  # the tracebacks of the others hold messages
        except* Exception as bugs:
            log.exception("conversation.bug", exc_info=bugs)
            end = Ended(CloseCode.INTERNAL, "internal error")
        assert end is not None, "the loops of a conversation end only by raising"  # noqa: S101 - states an invariant
        return end

    async def _read(self) -> None:
        self._be_patient()
        while await self._read_one():
            pass

    async def _read_one(self) -> bool:
        """Take one message; return whether there may be another.

        Here, as in the other loops, each round is a call of its own: no variable holds a message while another is
        awaited.
        """
        try:
            frame = await self._transport.receive()
        except PeerGone as gone:
            raise Ended(gone.code, str(gone), by_peer=True) from gone
        except NotBinary:
            frame = None
        turn = Turn(self._taken, self._parts.now())
        await self._window.acquire()
        self._taken += 1
        self._unfinished.add(turn)
        self._all_sent.clear()
        try:
            await self._charge(turn, frame or b"")
        except asyncio.CancelledError:
            self._finish(turn)
            raise
        last = self._begin(turn, frame)
        self._turns.put_nowait(turn)
        return not last

    def _begin(self, turn: Turn, frame: bytes | None) -> bool:
        """Start to answer one frame. Returns whether it was one unreadable frame too many."""
        read = self._decode(frame)
        if isinstance(read, Request):
            assert frame is not None  # noqa: S101 - only a frame decodes to a request
            self._unreadable_in_a_row = 0
            self._patience_seconds = self._limits.idle_seconds
            self._be_patient()
            turn.answer = self._work.create_task(self._answer(turn, read, frame))
            return False
        self._bot_turns.done(turn.number)
        self._unreadable_in_a_row += 1
        turn.is_last = self._unreadable_in_a_row >= self._limits.max_unreadable
        turn.answer = self._work.create_task(_ready(Reply(read)))
        return turn.is_last

    def _decode(self, frame: bytes | None) -> Request | bytes:
        """Return the request, or the error frame that says why there is none."""
        try:
            if frame is not None:
                return decode_request(frame, max_bytes=self._limits.max_frame_bytes)
            code, why = "not_binary", "send binary WebSocket messages, one frame in each"
        except FrameError as unreadable:
            code, why = unreadable.code, str(unreadable)
        self._parts.metrics.refused(code)
        return _error_frame(code, why)

    async def _answer(self, turn: Turn, request: Request, frame: bytes) -> Reply:
        """Do the work of one message under a message permit; always ends in a reply."""
        visitor, answerer, size = self._visitor, self._parts.answerer, len(request.body)
        exchange_id = self._parts.new_id(turn.received_at)
        bind_contextvars(exchange_id=str(exchange_id))
        try:
            if request.kind is RequestKind.TEXT and size > self._limits.max_text_bytes:
                most = self._limits.max_text_bytes
                return self._refuse("text_too_long", f"this text has {size:,} bytes; {most:,} is the most")
            turn.permit = await self._parts.messages.acquire(
                visitor.client_id, wait_seconds=self._limits.message_wait_seconds
            )
            with self._parts.metrics.in_process(request.kind):
                local_time = self._parts.now().astimezone(visitor.time_zone.tzinfo)
                incoming = await answerer.understand(
                    request, client_id=visitor.client_id, session_id=visitor.session_id, local_time=local_time
                )
                await self._bot_turns.wait(turn.number)
                text = await answerer.take_turn(incoming, self._memory)
                self._bot_turns.done(turn.number)
                response, outcome = encode_response(await answerer.render(incoming, text)), Outcome.ANSWERED
        except PermitError as full:
            log.info("message.busy", reason=full.code)
            return self._refuse(*_why_not_now(full))
        except OutsideHours as closed:
            return self._refuse(closed.code, str(closed))
        except MediaError as unusable:
            if unusable.code != "media_failed":
                return self._refuse(unusable.code, str(unusable))
            log.warning("message.media_failed", reason=str(unusable))
            response, outcome = _error_frame(unusable.code, str(unusable)), Outcome.FAILED
        except BotError as exc:
            response, outcome = _error_frame(exc.code, str(exc)), Outcome.FAILED
        except Exception:
            log.exception("message.bug")
            response = _error_frame("internal", "this message could not be answered because of a fault of ours")
            outcome = Outcome.FAILED
        finally:
            self._bot_turns.done(turn.number)
        return Reply(
            response,
            Exchange(
                id=exchange_id,
                session_id=visitor.session_id,
                client_id=visitor.client_id,
                time_zone=visitor.time_zone.name,
                received_at=turn.received_at,
                answered_at=self._parts.now(),
                outcome=outcome,
                request=frame,
                response=response,
            ),
        )

    def _refuse(self, code: str, why: str) -> Reply:
        self._parts.metrics.refused(code)
        return Reply(_error_frame(code, why))

    async def _deliver(self) -> None:
        while True:
            await self._deliver_one(await self._turns.get())

    async def _deliver_one(self, turn: Turn) -> None:
        assert turn.answer is not None  # noqa: S101 - set before the turn is queued
        await asyncio.wait([turn.answer])  # unlike awaiting the task, this can be cancelled without cancelling it
        reply = turn.answer.result()
        turn.answer = None  # it has the request, which is not to stay in memory for as long as a reader takes
        frame = await self._keep(reply)
        self._recharge(turn, len(frame))
        self._outgoing.put_nowait((turn, frame))
        turn.release_permit()

    async def _keep(self, reply: Reply) -> bytes:
        """Put the exchange into the outbox before its reply may leave; without that there is no answer."""
        if reply.exchange is None:
            return reply.frame
        try:
            await self._parts.outbox.append(reply.exchange)
        except OutboxError as trouble:
            log.error("message.not_kept", code=trouble.code, reason=str(trouble))  # noqa: TRY400 - no traceback: the disk says it all
            return self._refuse(trouble.code, "the answer could not be kept; send the message again later").frame
        exchange, kind = reply.exchange, RequestKind(reply.exchange.request[0])
        self._parts.metrics.answered(kind, exchange)
        log.debug("message.answered", exchange_id=str(exchange.id), kind=kind.name.lower(), outcome=exchange.outcome)
        return reply.frame

    async def _send(self) -> None:
        while True:
            await self._send_one(*await self._outgoing.get())

    async def _send_one(self, turn: Turn, frame: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send_seconds):
                await self._transport.send(frame)
        except TimeoutError as stuck:
            raise Ended(CloseCode.SLOW_CONSUMER, "replies are not being read") from stuck
        except PeerGone as gone:
            raise Ended(gone.code, str(gone), by_peer=True) from gone
        self._finish(turn)
        self._be_patient()
        if turn.is_last:
            raise Ended(CloseCode.BAD_FRAMES, "too many unreadable frames in a row")

    def _finish(self, turn: Turn) -> None:
        """The turn is over: everything it held goes back."""
        turn.answer = None  # a cancelled task holds its traceback, that the message, and the turn the task: for ever
        turn.release_permit()
        self._recharge(turn, 0)
        self._unfinished.discard(turn)
        self._window.release()
        if not self._unfinished:
            self._all_sent.set()

    def _abandon(self, turn: Turn) -> None:
        """Nobody waits for this turn any more. Its permit goes back when its work has really ended."""
        if turn.answer is None or turn.answer.done():
            turn.release_permit()
        else:
            turn.answer.add_done_callback(lambda _: turn.release_permit())
            turn.answer.cancel()

    async def _charge(self, turn: Turn, frame: bytes) -> None:
        await self._own_bytes.acquire(len(frame))
        try:
            use = self._use_of(frame)
            turn.charge = await self._parts.pod_bytes.acquire(self._visitor.client_id, len(frame), use)
        except asyncio.CancelledError:
            self._own_bytes.release(len(frame))
            raise

    def _use_of(self, frame: bytes) -> Use:
        """Say what the bytes of a frame are held for. A text that is too long may be as large as a video."""
        is_text = frame[:1] == bytes([RequestKind.TEXT]) and len(frame) <= 1 + self._limits.max_text_bytes
        return Use.TEXT if is_text or not frame else Use.MEDIA

    def _recharge(self, turn: Turn, size: int) -> None:
        """Exchange what is charged for the turn: the request is gone, the reply (if any) is what we hold now."""
        if turn.charge is not None:
            self._own_bytes.charge(size)  # before giving back, or a waiting frame would slip in between
            self._own_bytes.release(turn.charge.size_bytes)
            turn.charge.resize(size)

    def _be_patient(self) -> None:
        self._silent_until = asyncio.get_running_loop().time() + self._patience_seconds

    async def _watch_silence(self) -> None:
        while True:
            await self._all_sent.wait()  # a client that waits for us is not silent
            left = self._silent_until - asyncio.get_running_loop().time()
            if left <= 0 and not self._transport.is_receiving():
                raise Ended(CloseCode.IDLE_TIMEOUT, "no message for too long")
            if left <= 0:
                self._be_patient()
            else:
                await asyncio.sleep(left)

    async def _watch_permit(self) -> None:
        await self._permit.lost()
        raise Ended(CloseCode.PERMIT_LOST, "the place of this connection was lost")

    async def _watch_token(self) -> None:
        expires_at = self._visitor.principal.expires_at
        while expires_at is not None:
            left = (expires_at - self._parts.now()).total_seconds()
            if left <= 0:
                raise Ended(CloseCode.TOKEN_EXPIRED, "the token has expired")
            await asyncio.sleep(left)

    async def _watch_drain(self, reading: "asyncio.Task[None]") -> None:
        await self._draining.wait()
        reading.cancel()
        await self._all_sent.wait()
        raise Ended(CloseCode.DRAINING, "this server is restarting")


async def _ready(reply: Reply) -> Reply:
    return reply


def _why_not_now(refusal: PermitError) -> tuple[str, str]:
    """Return the code and the sentence for a message that gets no permit."""
    match refusal:
        case PoolLearning():
            seconds = max(1, math.ceil(refusal.left_seconds))
            return refusal.code, f"the limits are being learned anew; send it again in {seconds} s"
        case PoolUnavailable():
            return refusal.code, "the limits cannot be checked at the moment; send it again in a moment"
        case _:
            return "busy", "too many messages are being processed; send it again in a moment"


def _error_frame(code: str, why: str) -> bytes:
    return encode_response(error_response(code, why))
