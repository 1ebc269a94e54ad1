"""The work on the messages of one connection: a permit, decoding, the bot's turn, the voice, keeping the exchange.

The machine of the conversation says when which of these begins (see `Work`), and is told how it ended. A text that the
bot answers at once costs no task. Other work has one, which is this object's until it has ended.
"""

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

from structlog.contextvars import bind_contextvars, bound_contextvars

from botkit import Memory, Turn
from chat_service.answers import EarlierAnswer, find_answer
from chat_service.conversation import error_frame
from chat_service.message_handler import Failure, close, decode_text, failure_of
from chat_service.metrics import Source
from chat_service.pending import PendingMessage, Stage
from frameproto import RequestKind, Response, ResponseKind, encode_response
from frameproto.exchange import MAX_TRANSCRIPT, Exchange
from frameproto.kinds import Outcome
from frameproto.requests import request_kind
from frameproto.v2 import Progress
from permits import PermitError, Reason

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from chat_service.admission import Visitor
    from chat_service.conversation import Conversation
    from chat_service.outbox import OutboxError
    from chat_service.pod import PodServices
    from permits import PermitRequest

TOLD_SECONDS: Final = 0.25
"""How often is looked for messages that wait for their permits; a client is told of one that is seen twice."""

_TEXT: Final = RequestKind.TEXT  # looked up once, as in `conversation.py`
_WAS_ANSWERED: Final = Outcome.ANSWERED


class MessageWork:
    """Works on the messages of one connection: the `Work` of its conversation.

    Args:
        visitor: whose messages these are.
        attempt: the ticket of the connection, by which history knows which of two answers to one message is the later.
        pod: what does the work.
        run: lets one thing happen in the context of the connection.
        context: of the connection; tasks have a copy of it.
        tells: whether the client is told how a reply comes along.
    """

    __slots__ = (
        "_asking",
        "_attempt",
        "_context",
        "_conversation",
        "_is_watching",
        "_loop",
        "_memory",
        "_must_recall",
        "_pod",
        "_run",
        "_tells",
        "_visitor",
    )

    def __init__(
        self,
        visitor: "Visitor",
        attempt: int,
        pod: "PodServices",
        run: "Callable[..., None]",
        context: "contextvars.Context",
        *,
        tells: bool,
    ) -> None:
        self._visitor = visitor
        self._attempt = attempt
        self._pod = pod
        self._tells = tells
        self._run = run
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._memory = Memory()
        self._asking: list[PendingMessage] = []  # that wait for permits, over v2
        self._is_watching = False
        self._must_recall = visitor.goes_on and pod.history is not None

    def belong_to(self, conversation: "Conversation") -> None:
        """Tell this conversation how work has ended."""
        self._conversation = conversation

    # A permit.

    def admit(self, message: PendingMessage) -> None:
        """See `Work.admit`."""
        message.id = self._pod.new_id(message.received_at)
        self._pod.in_flight.begin(self._visitor.client_id, message)
        message.asked = self._pod.messages.request(
            self._visitor.client_id,
            wait_seconds=self._pod.limits.message_wait_seconds,
            settled=partial(self._run, self._settled, message),
        )
        if self._tells:
            self._asking.append(message)
            if not self._is_watching:
                self._watch()

    def _watch(self) -> None:
        """Look in a moment at the messages that wait for permits; one timer for all of them, while there are any."""
        self._is_watching = True
        look = partial(self._run, self._notify_waiting)
        self._pod.deadlines.at(self._loop.time() + TOLD_SECONDS, look)

    def _notify_waiting(self) -> None:
        self._is_watching = False
        for message in self._asking:
            if message.is_waiting:
                self._conversation.status(message, Progress.WAITING)
            message.is_waiting = True
        if self._asking:
            self._watch()

    def _settled(self, message: PendingMessage, asked: "PermitRequest") -> None:
        self._stop_asking(message)
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

    def _stop_asking(self, message: PendingMessage) -> None:
        message.asked = None
        if self._tells:
            self._asking.remove(message)

    def release_permit(self, message: PendingMessage) -> None:
        """See `Work.release_permit`."""
        self._pod.in_flight.end(message)
        if message.permit is not None:
            message.permit.release()
            message.permit = None

    # Decoding, the bot's turn, the voice.

    def prepare(self, message: PendingMessage) -> None:
        """See `Work.prepare`."""
        if message.is_again:
            self._start(message, self._answer_again(message))
        elif message.kind is _TEXT:
            self._prepare_text(message)
        else:
            self._start(message, self._work_on_media(message))

    def _prepare_text(self, message: PendingMessage) -> None:
        request, visitor = message.request, self._visitor
        assert request is not None  # noqa: S101 - it is dropped with the answer only
        try:
            local_time = self._local_time(request.kind)
            message.turn = decode_text(
                request, client_id=visitor.client_id, session_id=visitor.session_id, local_time=local_time
            )
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._fail(message, exc)
        else:
            self._conversation.prepared(message)

    def _local_time(self, kind: RequestKind) -> "datetime":
        """Return the client's local time. Raises OutsideHours."""
        local_time = self._pod.now().astimezone(self._visitor.time_zone.tzinfo)
        self._pod.handler.check_hours(kind, local_time)
        return local_time

    async def _answer_again(self, message: PendingMessage) -> None:
        """Answer a message that was sent before: by the answer that there is already, or by a turn of the bot."""
        try:
            earlier = await find_answer(self._pod, self._visitor.client_id, message, self._attempt)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)
            return
        self._pod.metrics.answered_again(earlier.source)
        if earlier.source is not Source.TURN:
            self._run(self._repeat, message, earlier)
        elif message.kind is _TEXT:
            self._run(self._prepare_text, message)
        else:
            await self._work_on_media(message)

    def take_turn(self, message: PendingMessage) -> None:
        """See `Work.take_turn`."""
        if message.may_speak is not None:
            message.may_speak.set_result(None)
            return
        turn = message.turn
        assert turn is not None  # noqa: S101 - set as the message was prepared
        if self._must_recall:
            self._start(message, self._recall_and_reply(message, turn))
            return
        try:
            said = self._ask_bot(message, turn)
            response = self._pod.handler.render_now(turn, said) if isinstance(said, str) else None
            if response is None:
                self._start(message, self._finish_text(message, turn, said), said)
                return
            self._reply(message, response)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._fail(message, exc)

    def _ask_bot(self, message: PendingMessage, turn: Turn) -> "str | Awaitable[str]":
        if not self._tells:
            return self._pod.handler.reply(turn, self._memory)
        said = self._pod.handler.reply(turn, self._memory, partial(self._run, self._piece, message))
        if not isinstance(said, str):
            self._tell(message, Progress.THINKING)
        return said

    def _piece(self, message: PendingMessage, text: str) -> None:
        if message.said is None:
            self._pod.metrics.first_piece((self._pod.now() - message.received_at).total_seconds())
        self._pod.metrics.pieces.inc()
        self._conversation.piece(message, text)

    def _tell(self, message: PendingMessage, progress: Progress) -> None:
        if self._tells:
            self._run(self._conversation.status, message, progress)

    async def _recall(self) -> None:
        """Let the bot remember what was said before, in a session that goes on; once, at the first turn."""
        history, visitor = self._pod.history, self._visitor
        if self._must_recall and history is not None:
            self._memory.recall(await history.context(visitor.client_id, visitor.session_id))
            self._must_recall = False

    async def _recall_and_reply(self, message: PendingMessage, turn: Turn) -> None:
        try:
            await self._recall()
            said = self._ask_bot(message, turn)
            await self._render(message, turn, said if isinstance(said, str) else await said)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)

    async def _work_on_media(self, message: PendingMessage) -> None:
        request, visitor = message.request, self._visitor
        assert request is not None  # noqa: S101 - it is dropped with the answer only
        try:
            local_time = self._local_time(request.kind)
            self._tell(message, Progress.LISTENING)
            turn = await self._pod.handler.decode(
                request, client_id=visitor.client_id, session_id=visitor.session_id, local_time=local_time
            )
            message.turn = turn
            message.transcript = turn.transcript.text[:MAX_TRANSCRIPT] if turn.transcript is not None else ""
            message.may_speak = self._loop.create_future()
            self._run(self._conversation.prepared, message)
            await message.may_speak
            await self._recall()
            said = self._ask_bot(message, turn)
            await self._render(message, turn, said if isinstance(said, str) else await said)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)

    async def _finish_text(self, message: PendingMessage, turn: Turn, said: "str | Awaitable[str]") -> None:
        try:
            await self._render(message, turn, said if isinstance(said, str) else await said)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the client is told
            self._run(self._fail, message, exc)

    async def _render(self, message: PendingMessage, turn: Turn, text: str) -> None:
        self._run(self._conversation.spoken, message)
        if turn.kind.answered_by.parts:
            self._tell(message, Progress.SPEAKING)
        response = await self._pod.handler.render(turn, text)
        self._run(self._reply, message, response)

    def _start(
        self, message: PendingMessage, work: "Coroutine[Any, Any, None]", said: "str | Awaitable[str]" = ""
    ) -> None:
        """Give slow work a task, which is this object's until it has ended."""
        message.work = self._loop.create_task(_named(message, work), context=self._context.copy())
        message.work.add_done_callback(partial(self._worked, message, work, said))

    def _worked(
        self,
        message: PendingMessage,
        work: "Coroutine[Any, Any, None]",
        said: "str | Awaitable[str]",
        task: "asyncio.Task[None]",
    ) -> None:
        if message.work is task:  # a message that is sent again may have got another one
            message.work = message.may_speak = None  # a cancelled task holds its traceback, that the message
        work.close()  # neither may have begun
        if not isinstance(said, str):
            close(said)
        if task.cancelled():
            self._run(self._conversation.abandoned, message)

    def abandon(self, message: PendingMessage) -> None:
        """See `Work.abandon`."""
        if message.work is not None and message.work.cancel():  # it has not ended a moment ago
            return
        if message.stage is not Stage.KEEPING:  # what is on its way to the outbox gets there, and `_kept` follows
            if message.asked is not None:
                message.asked.cancel()
                self._stop_asking(message)
            self._conversation.abandoned(message)

    # How it ended.

    def _repeat(self, message: PendingMessage, earlier: EarlierAnswer) -> None:
        """Give the answer that there is already. One from the outbox is kept once more, for this attempt."""
        if earlier.exchange is None:
            assert earlier.claimed is not None  # noqa: S101 - it is one of the two
            self._end_work(message)
            self._conversation.answered(message, earlier.claimed, keep=False)
        else:
            message.transcript = earlier.exchange.transcript
            response = bytes(earlier.exchange.response)
            self._finish(message, response, response, earlier.exchange.outcome)

    def _reply(self, message: PendingMessage, response: Response) -> None:
        reply = encode_response(response)
        self._finish(message, reply, reply, _WAS_ANSWERED)

    def _fail(self, message: PendingMessage, exc: Exception) -> None:
        with bound_contextvars(exchange_id=str(message.id)):
            failure = failure_of(exc)
        if failure.is_ours:
            reply = error_frame(failure.code, failure.why)
            self._finish(message, reply, reply, Outcome.FAILED)
        else:
            self._refuse(message, failure)

    def _refuse(self, message: PendingMessage, failure: Failure) -> None:
        self._pod.metrics.refused(failure.code)
        self._end_work(message)
        self._conversation.answered(message, error_frame(failure.code, failure.why), keep=False)

    def cancelled(self, message: PendingMessage) -> None:
        """See `Work.cancelled`. What the client was shown of a reply is kept, and remembered."""
        shown = message.shown
        if not shown:
            self._refuse(message, _CANCELLED)
            return
        self._pod.metrics.refused(_CANCELLED.code)
        if message.turn is not None and not message.is_spoken:
            self._memory.add(message.turn, shown)
        so_far = encode_response(Response(ResponseKind.TEXT, shown))
        self._finish(message, error_frame(_CANCELLED.code, _CANCELLED.why), so_far, Outcome.ANSWERED)

    def _end_work(self, message: PendingMessage) -> None:
        if message.kind is not None:
            self._pod.metrics.end(message.kind)
            message.kind = None

    def _finish(self, message: PendingMessage, reply: bytes, kept: bytes, outcome: Outcome) -> None:
        """Have a reply leave after the exchange was kept, with `kept` as its response."""
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
            response=kept,
            transcript=message.transcript,
            message_id=message.message_id,
            attempt=self._attempt,
        )
        self._end_work(message)
        self._conversation.answered(message, reply, keep=True)

    def keep(self, message: PendingMessage) -> None:
        """See `Work.keep`."""
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
        kind = request_kind(exchange.request)
        pod.metrics.answered(kind, exchange)
        if pod.logs_answers:
            pod.log.debug(
                "message.answered", exchange_id=str(exchange.id), kind=kind.message_kind.value, outcome=exchange.outcome
            )
        self._conversation.kept(message)

    def forget(self, message: PendingMessage) -> None:
        """See `Work.forget`."""
        self._end_work(message)
        self.release_permit(message)
        if message.charge is not None:
            message.charge.cancel()
            message.charge = None


_CANCELLED: Final = Failure("cancelled", "the client has cancelled this message", is_ours=False)


async def _named(message: PendingMessage, work: "Awaitable[None]") -> None:
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
        case Reason.CLUSTER_FULL | Reason.CLIENT_LIMIT | Reason.LINE_FULL | Reason.DRAINING | Reason.WAIT_REPLACED:
            why = "too many messages are being processed; send it again in a moment"
            return Failure("busy", why, is_ours=False)
        case _:
            assert_never(refusal.code)
