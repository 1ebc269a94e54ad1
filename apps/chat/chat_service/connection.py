"""One open connection: carries out what its conversation asks for, and tells it what has happened.

A text that the bot answers at once costs no task: the WebSocket layer calls with the frame, the permit pool with the
permit, the outbox when the exchange is kept, and each of these calls goes on as far as it can. Only work that takes its
time (media, a bot that awaits, typing) has a task, which this object owns until it has ended.
"""

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from structlog.contextvars import bind_contextvars, bound_contextvars

from botkit import Memory, Turn
from chat_service.conversation import Conversation, ConversationLimits, End, error_frame
from chat_service.deadlines import Deadline, Deadlines
from chat_service.fair_bytes import FairByteBudget, Use
from chat_service.message_handler import Failure, MessageHandler, close, decode_text, failure_of
from chat_service.pending import PendingMessage, Stage
from frameproto import RequestKind, encode_response
from frameproto.connection import CloseCode
from frameproto.exchange import MAX_TRANSCRIPT, Exchange
from frameproto.kinds import Outcome
from permits import PermitError, Reason
from servicekit.logs import get_logger
from servicekit.uuid7 import uuid7

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from structlog.typing import FilteringBoundLogger

    from chat_service.admission import Visitor
    from chat_service.fair_bytes import Charge
    from chat_service.metrics import ChatMetrics
    from chat_service.outbox import OnKept, OutboxError
    from chat_service.transport import Transport
    from frameproto import Response
    from permits import Permit, PermitPool, PermitRequest
    from servicekit.clock import Now

TEXT = bytes((RequestKind.TEXT,))


class ExchangeSink(Protocol):
    """Where finished exchanges go before their replies leave; the outbox."""

    def keep(self, exchange: Exchange, on_kept: "OnKept") -> None:
        """Keep the exchange for good, and tell later whether that was possible. Calls are answered in their order."""


def _logger() -> "FilteringBoundLogger":
    """Return a logger that costs nothing for what is not logged; one that is made lazily is made anew each time."""
    return get_logger(__name__).bind()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodServices:
    """What all connections of a pod share."""

    handler: MessageHandler
    messages: "PermitPool"
    outbox: ExchangeSink
    pod_bytes: FairByteBudget
    limits: ConversationLimits
    metrics: "ChatMetrics"
    now: "Now"
    new_id: "Callable[[datetime], UUID]" = uuid7
    deadlines: Deadlines = field(default_factory=Deadlines)
    log: "FilteringBoundLogger" = field(default_factory=_logger)

    @property
    def logs_answers(self) -> bool:
        """Whether each answer is a line of the log."""
        return self.log.is_enabled_for(logging.DEBUG)


class Connection:
    """Talks with one client over one transport until either side ends it.

    It is the `Receiver` of its transport and has the `Effects` of its conversation; nobody else calls those.
    """

    __slots__ = (
        "_clock",
        "_context",
        "_conversation",
        "_finished",
        "_is_inside",
        "_loop",
        "_memory",
        "_permit",
        "_pod",
        "_token_deadline",
        "_transport",
        "_visitor",
        "_wake_deadline",
    )

    def __init__(self, transport: "Transport", visitor: "Visitor", permit: "Permit", pod: PodServices) -> None:
        self._transport = transport
        self._visitor = visitor
        self._permit = permit
        self._pod = pod
        self._loop = asyncio.get_running_loop()
        self._memory = Memory()
        self._context = contextvars.copy_context()  # what is logged on behalf of this connection names it
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._is_inside = False  # a context cannot be entered twice
        self._wake_deadline: Deadline | None = None
        self._token_deadline: Deadline | None = None
        self._conversation = Conversation(self, pod.limits, self._loop.time)

    @property
    def left_garbage(self) -> bool:
        """See `Conversation.left_garbage`."""
        return self._conversation.left_garbage

    async def run(self) -> End:
        """Talk until the end and say how it ended. The connection permit is released as the connection closes."""
        self._permit.on_lost(partial(self._run, self._conversation.permit_lost))
        self._run(self._conversation.start)
        self._watch_token()
        self._run(self._transport.attach, self)
        try:
            await self._finished
        except asyncio.CancelledError:
            await self._abort_to_the_end()
            raise
        end = self._conversation.end
        assert end is not None  # noqa: S101 - states an invariant
        return end

    async def _abort_to_the_end(self) -> None:
        """End, and return when the work on messages has ended, however often this is cancelled."""
        if self._finished.cancelled():
            self._finished = self._loop.create_future()
        self._run(self._conversation.abort)
        while not self._finished.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self._finished)

    def drain(self) -> None:
        """Read no more; when all that was taken is answered, close with 1012."""
        self._run(self._conversation.drain)

    def abort(self) -> None:
        """Close with 1012 now; requests that are not answered yet never will be."""
        self._run(self._conversation.abort)

    def _run(self, step: Callable[..., None], *args: Any) -> None:  # noqa: ANN401 - as the step has them
        """Let one thing happen, in the context of this connection; whatever goes wrong is a bug, and ends it."""
        if self._is_inside:
            self._step(step, *args)
            return
        self._is_inside = True
        self._context.run(self._step, step, *args)
        self._is_inside = False

    def _step(self, step: Callable[..., None], *args: Any) -> None:  # noqa: ANN401 - as the step has them
        try:
            step(*args)
        except Exception:
            self._pod.log.exception("conversation.bug")
            self._conversation.fail()

    # The receiver of the transport.

    def frame_received(self, frame: bytes | None) -> None:
        """See `Receiver.frame_received`."""
        self._run(self._conversation.received, PendingMessage(frame, self._pod.now()))

    def caught_up(self) -> None:
        """See `Receiver.caught_up`."""
        self._run(self._conversation.caught_up)

    def peer_left(self, code: int, reason: str) -> None:
        """See `Receiver.peer_left`."""
        self._run(self._conversation.peer_left, code, reason)

    # The effects of the conversation.

    def pause_reading(self) -> None:
        """See `Effects.pause_reading`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Effects.resume_reading`."""
        self._transport.resume_reading()

    def is_receiving(self) -> bool:
        """See `Effects.is_receiving`."""
        return self._transport.is_receiving()

    def send(self, frame: bytes) -> bool:
        """See `Effects.send`."""
        return self._transport.send(frame)

    def close(self, code: CloseCode, reason: str) -> None:
        """See `Effects.close`."""
        self._transport.close(code, reason)

    def closed(self) -> None:
        """See `Effects.closed`."""
        for deadline in (self._wake_deadline, self._token_deadline):
            if deadline is not None:
                deadline.cancel()
        self._permit.release()

    def finished(self) -> None:
        """See `Effects.finished`."""
        if not self._finished.done():
            self._finished.set_result(None)

    def wake_at(self, when: float) -> None:
        """See `Effects.wake_at`."""
        if self._wake_deadline is not None:
            self._wake_deadline.cancel()
        self._wake_deadline = self._pod.deadlines.at(when, partial(self._run, self._conversation.wake))

    def refused(self, code: str) -> None:
        """See `Effects.refused`."""
        self._pod.metrics.refused(code)

    def charge(self, message: PendingMessage, size_bytes: int) -> bool:
        """See `Effects.charge`."""
        charge = message.charge = self._pod.pod_bytes.request(
            self._visitor.client_id, size_bytes, self._use_of(message.frame), partial(self._charged, message)
        )
        return charge.is_granted

    def _charged(self, message: PendingMessage, charge: "Charge") -> None:
        del charge  # the message has it
        self._run(self._conversation.charged, message)

    def _use_of(self, frame: bytes | None) -> Use:
        """Say what the bytes of a frame are held for. A text that is too long may be as large as a video."""
        is_text = not frame or (frame[:1] == TEXT and len(frame) <= 1 + self._pod.limits.max_text_bytes)
        return Use.TEXT if is_text else Use.MEDIA

    def recharge(self, message: PendingMessage, size_bytes: int) -> None:
        """See `Effects.recharge`."""
        if message.charge is not None:
            message.charge.resize(size_bytes)

    def admit(self, message: PendingMessage) -> None:
        """See `Effects.admit`."""
        message.id = self._pod.new_id(message.received_at)
        message.asked = self._pod.messages.request(
            self._visitor.client_id,
            wait_seconds=self._pod.limits.message_wait_seconds,
            settled=partial(self._run, self._settled, message),
        )

    def _settled(self, message: PendingMessage, asked: "PermitRequest") -> None:
        message.asked = None
        try:
            message.permit = asked.result()
        except PermitError as exc:
            self._pod.log.info("message.busy", reason=exc.code, exchange_id=str(message.id))
            self._refuse(message, _why_not_now(exc))
        else:
            assert message.request is not None  # noqa: S101 - it is dropped with the answer only
            message.kind = message.request.kind
            self._pod.metrics.begin(message.kind)
            self._conversation.admitted(message)

    def prepare(self, message: PendingMessage) -> None:
        """See `Effects.prepare`."""
        request, visitor = message.request, self._visitor
        assert request is not None  # noqa: S101 - it is dropped with the answer only
        local_time = self._pod.now().astimezone(visitor.time_zone.tzinfo)
        try:
            self._pod.handler.check_hours(request.kind, local_time)
            if request.kind is not RequestKind.TEXT:
                self._start(message, self._work_on_media(message, local_time))
                return
            message.turn = decode_text(
                request, client_id=visitor.client_id, session_id=visitor.session_id, local_time=local_time
            )
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._fail(message, exc)
            return
        self._conversation.prepared(message)

    def take_turn(self, message: PendingMessage) -> None:
        """See `Effects.take_turn`."""
        if message.may_speak is not None:
            message.may_speak.set_result(None)
            return
        turn = message.turn
        assert turn is not None  # noqa: S101 - set as the message was prepared
        try:
            said = self._pod.handler.reply(turn, self._memory)
            response = self._pod.handler.render_now(turn, said) if isinstance(said, str) else None
            if response is None:
                self._start(message, self._finish_text(message, said), said)
                return
            self._reply(message, response)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._fail(message, exc)

    async def _work_on_media(self, message: PendingMessage, local_time: "datetime") -> None:
        request, visitor, handler = message.request, self._visitor, self._pod.handler
        assert request is not None  # noqa: S101 - it is dropped with the answer only
        try:
            turn = await handler.decode(
                request, client_id=visitor.client_id, session_id=visitor.session_id, local_time=local_time
            )
            message.transcript = turn.transcript.text[:MAX_TRANSCRIPT] if turn.transcript is not None else ""
            message.may_speak = self._loop.create_future()
            self._run(self._conversation.prepared, message)
            await message.may_speak
            said = handler.reply(turn, self._memory)
            await self._render(message, turn, said if isinstance(said, str) else await said)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)

    async def _finish_text(self, message: PendingMessage, said: str | Awaitable[str]) -> None:
        turn = message.turn
        assert turn is not None  # noqa: S101 - set as the message was prepared
        try:
            await self._render(message, turn, said if isinstance(said, str) else await said)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)

    async def _render(self, message: PendingMessage, turn: Turn, text: str) -> None:
        self._run(self._conversation.spoken, message)
        response = await self._pod.handler.render(turn, text)
        self._run(self._reply, message, response)

    def _start(
        self,
        message: PendingMessage,
        work: Coroutine[Any, Any, None],
        said: str | Awaitable[str] = "",
    ) -> None:
        """Give slow work a task, which is this connection's until it has ended."""
        message.work = self._loop.create_task(_named(message, work), context=self._context.copy())
        message.work.add_done_callback(partial(self._worked, message, work, said))

    def _worked(
        self,
        message: PendingMessage,
        work: Coroutine[Any, Any, None],
        said: str | Awaitable[str],
        task: "asyncio.Task[None]",
    ) -> None:
        message.work = message.may_speak = None  # a cancelled task holds its traceback, that the message
        work.close()  # neither may have begun
        if not isinstance(said, str):
            close(said)
        if task.cancelled():
            self._run(self._conversation.abandoned, message)

    def _reply(self, message: PendingMessage, response: "Response") -> None:
        self._finish(message, encode_response(response), Outcome.ANSWERED)

    def _fail(self, message: PendingMessage, exc: Exception) -> None:
        with bound_contextvars(exchange_id=str(message.id)):
            failure = failure_of(exc)
        if failure.is_ours:
            self._finish(message, error_frame(failure.code, failure.why), Outcome.FAILED)
        else:
            self._refuse(message, failure)

    def _refuse(self, message: PendingMessage, failure: Failure) -> None:
        self._pod.metrics.refused(failure.code)
        self._end_work(message)
        self._conversation.answered(message, error_frame(failure.code, failure.why), keep=False)

    def _end_work(self, message: PendingMessage) -> None:
        if message.kind is not None:
            self._pod.metrics.end(message.kind)
            message.kind = None

    def _finish(self, message: PendingMessage, reply: bytes, outcome: Outcome) -> None:
        visitor = self._visitor
        assert message.id is not None  # noqa: S101 - set with the permit
        assert message.frame is not None  # noqa: S101 - only a frame has a request
        message.exchange = Exchange(
            id=message.id,
            session_id=visitor.session_id,
            client_id=visitor.client_id,
            time_zone=visitor.time_zone.name,
            received_at=message.received_at,
            answered_at=self._pod.now(),
            outcome=outcome,
            request=message.frame,
            response=reply,
            transcript=message.transcript,
        )
        self._end_work(message)
        self._conversation.answered(message, reply, keep=True)

    def keep(self, message: PendingMessage) -> None:
        """See `Effects.keep`."""
        exchange, message.exchange = message.exchange, None
        assert exchange is not None  # noqa: S101 - made with the answer
        self._pod.outbox.keep(exchange, partial(self._run, self._kept, message, exchange))

    def _kept(self, message: PendingMessage, exchange: Exchange, error: "OutboxError | None") -> None:
        pod = self._pod
        if error is not None:
            pod.log.error("message.not_kept", code=error.code, reason=str(error))
            pod.metrics.refused(error.code)
            why = "the answer could not be kept; send the message again later"
            self._conversation.kept(message, error_frame(error.code, why))
            return
        kind = RequestKind(exchange.request[0])
        pod.metrics.answered(kind, exchange)
        if pod.logs_answers:
            pod.log.debug(
                "message.answered", exchange_id=str(exchange.id), kind=kind.message_kind.value, outcome=exchange.outcome
            )
        self._conversation.kept(message)

    def release_permit(self, message: PendingMessage) -> None:
        """See `Effects.release_permit`."""
        if message.permit is not None:
            message.permit.release()
            message.permit = None

    def forget(self, message: PendingMessage) -> None:
        """See `Effects.forget`."""
        self._end_work(message)
        self.release_permit(message)
        if message.charge is not None:
            message.charge.cancel()
            message.charge = None

    def abandon(self, message: PendingMessage) -> None:
        """See `Effects.abandon`."""
        if message.work is not None:
            message.work.cancel()
        elif message.stage is not Stage.KEEPING:  # what is on its way to the outbox gets there, and `_kept` follows
            if message.asked is not None:
                message.asked.cancel()
            self._conversation.abandoned(message)

    def _watch_token(self) -> None:
        """Ask the wall clock whether the token has expired, now and when it should."""
        expires_at = self._visitor.principal.expires_at
        if expires_at is None or self._finished.done():
            return
        left = (expires_at - self._pod.now()).total_seconds()
        if left <= 0:
            self._run(self._conversation.token_expired)
        else:
            self._token_deadline = self._pod.deadlines.at(self._loop.time() + left, self._watch_token)


async def _named(message: PendingMessage, work: Awaitable[None]) -> None:
    """Have all that is logged on behalf of a message name its exchange."""
    bind_contextvars(exchange_id=str(message.id))
    await work


def _why_not_now(refusal: PermitError) -> Failure:
    """Return what a message is told that gets no permit."""
    match refusal.code:
        case Reason.LIMITS_LEARNING:
            seconds = max(1, math.ceil(refusal.left_seconds))
            why = f"the limits are being learned anew; send it again in {seconds} s"
            return Failure(refusal.code, why, is_ours=False)
        case Reason.LIMITS_UNAVAILABLE | Reason.PERMIT_LOST:
            why = "the limits cannot be checked at the moment; send it again in a moment"
            return Failure(Reason.LIMITS_UNAVAILABLE, why, is_ours=False)
        case Reason.CLUSTER_FULL | Reason.CLIENT_LIMIT | Reason.LINE_FULL | Reason.DRAINING:
            why = "too many messages are being processed; send it again in a moment"
            return Failure("busy", why, is_ours=False)
        case _:
            assert_never(refusal.code)
