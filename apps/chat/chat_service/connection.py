"""One open connection: carries out what its conversation asks for, and tells it what has happened.

A text that the bot answers at once costs no task: the WebSocket layer calls with the frame, the permit pool with the
permit, the outbox when the exchange is kept, and each of these calls goes on as far as it can. Only work that takes its
time (media, a bot that awaits, typing) has a task, which this object owns until it has ended.
"""

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from chat_service.conversation import Conversation
from chat_service.fair_bytes import Use
from chat_service.message_work import MessageWork
from chat_service.pending import PendingMessage

if TYPE_CHECKING:
    from chat_service.admission import Visitor
    from chat_service.conversation import End
    from chat_service.deadlines import Deadline
    from chat_service.dialect import Dialect
    from chat_service.fair_bytes import Charge
    from chat_service.pod import PodServices
    from chat_service.transport import Transport
    from frameproto.connection import CloseCode
    from permits import Permit


_TEXT: Final = Use.TEXT  # looked up once, as in `conversation.py`


class Connection:
    """Talks with one client over one transport until either side ends it.

    It is the `Receiver` of its transport and has the `Effects` of its conversation; nobody else calls those. Its
    `MessageWork` works on the messages.
    """

    __slots__ = (
        "_clock",
        "_context",
        "_conversation",
        "_dialect",
        "_is_inside",
        "_loop",
        "_on_end",
        "_permit",
        "_pod",
        "_token_deadline",
        "_transport",
        "_visitor",
        "_wake_deadline",
    )

    def __init__(
        self, transport: "Transport", dialect: "Dialect", visitor: "Visitor", permit: "Permit", pod: "PodServices"
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._visitor = visitor
        self._permit = permit
        self._pod = pod
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # what is logged on behalf of this connection names it
        self._is_inside = False  # a context cannot be entered twice
        self._wake_deadline: Deadline | None = None
        self._token_deadline: Deadline | None = None
        work = MessageWork(visitor, permit.ticket, pod, self._run, self._context, tells=dialect.tells)
        self._conversation = Conversation(self, work, dialect, pod.limits, self._loop.time)
        work.belong_to(self._conversation)

    @property
    def left_garbage(self) -> bool:
        """See `Conversation.left_garbage`."""
        return self._conversation.left_garbage

    def start(self, on_end: "Callable[[End], None]") -> None:
        """Talk, and call `on_end` when the connection has ended and nothing works on a message of it.

        The connection permit is released as the connection closes.
        """
        self._on_end = on_end
        self._permit.on_lost(partial(self._run, self._conversation.permit_lost))
        self._run(self._conversation.start)
        self._watch_token()
        self._run(self._transport.attach, self)

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

    def close(self, code: "CloseCode", reason: str) -> None:
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
        end = self._conversation.end
        assert end is not None  # noqa: S101 - states an invariant
        self._on_end(end)

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
            self._visitor.client_id, size_bytes, self._use_of(message), partial(self._charged, message)
        )
        return charge.is_granted

    def _charged(self, message: PendingMessage, charge: "Charge") -> None:
        del charge  # the message has it
        self._run(self._conversation.charged, message)

    def _use_of(self, message: PendingMessage) -> Use:
        """Say what the bytes of a frame are held for. A text that is too long may be as large as a video."""
        frame = message.frame
        is_text = not frame or self._dialect.is_text(frame, self._pod.limits.max_text_bytes)
        return _TEXT if is_text else Use.MEDIA

    def recharge(self, message: PendingMessage, size_bytes: int) -> None:
        """See `Effects.recharge`."""
        if message.charge is not None:
            message.charge.resize(size_bytes)

    def _watch_token(self) -> None:
        """Ask the wall clock whether the token has expired, now and when it should."""
        expires_at = self._visitor.principal.expires_at
        if expires_at is None or self._conversation.end is not None:
            return
        left = (expires_at - self._pod.now()).total_seconds()
        if left <= 0:
            self._run(self._conversation.token_expired)
        else:
            self._token_deadline = self._pod.deadlines.at(self._loop.time() + left, self._watch_token)
