"""A conversation without sockets, disks or processes: everything it stands on, in memory and obedient."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from botkit import AudioInfo, Memory, Responder, Turn, VideoInfo
from chat_service.admission import Visitor
from chat_service.bot.reply import OnPiece
from chat_service.bot.runner import BotRunner, CircuitBreaker
from chat_service.connection import Connection
from chat_service.conversation import ConversationLimits, End
from chat_service.dialect import V1, V2, Dialect
from chat_service.fair_bytes import FairByteBudget
from chat_service.hours import OpeningHours
from chat_service.message_handler import MessageHandler
from chat_service.metrics import ChatMetrics
from chat_service.outbox import OnKept, OutboxError
from chat_service.pod import HistoryLookup, PodServices
from chat_service.transport import Receiver
from chat_service.zones import parse_time_zone
from frameproto import Request, RequestKind, Response, decode_response, encode_request
from frameproto.connection import CloseCode
from frameproto.exchange import Exchange
from frameproto.v2 import (
    Cancel,
    MessageRequest,
    MessageResponse,
    Piece,
    Progress,
    ServerFrame,
    Status,
    decode_server_frame,
    encode_client_frame,
)
from permits import Permit, PermitError, PermitPool, PermitRequest
from permits.memory import MemoryPool
from servicekit.tokens import Principal
from servicekit.uuid7 import uuid7
from tests.permits.parts import opened

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SESSION = UUID("0197b0c8-0000-7000-8000-000000000001")


class Line:
    """A transport whose peer is the test: `say` sends to the server, `heard` is what the server sent.

    The peer's frames come in turns of the event loop of their own, as those from a socket do. `heard` holds responses,
    and `told` every frame of v2.
    """

    def __init__(self, dialect: Dialect = V1) -> None:
        self.dialect = dialect
        self.heard: list[Response] = []
        self.told: list[ServerFrame] = []
        self.closed: tuple[int, str] | None = None
        self.sends_slowly = False
        self.is_closed = asyncio.Event()
        self.reads = Switch(self._read)
        self._said: deque[bytes | None] = deque()
        self._unsent: deque[bytes] = deque()
        self._left: int | None = None
        self._receiver: Receiver | None = None
        self._wanted = True
        self._progress = asyncio.Condition()
        self._tellers: set[asyncio.Task[None]] = set()

    def say(self, frame: bytes | None) -> None:
        """Send one frame; None stands for a WebSocket text message."""
        self._said.append(frame)
        asyncio.get_running_loop().call_soon(self._deliver)

    def text(self, text: str) -> UUID:
        return self.request(Request(RequestKind.TEXT, text.encode()))

    def voice(self, mp3: bytes) -> UUID:
        return self.request(Request(RequestKind.VOICE, mp3))

    def video(self, mp4: bytes) -> UUID:
        return self.request(Request(RequestKind.VIDEO, mp4))

    def request(self, request: Request, message_id: UUID | None = None, *, again: bool = False) -> UUID:
        """Send a request; return the id of the message, which counts over v2 only."""
        message_id = message_id or uuid4()
        if self.dialect is V2:
            self.say(encode_client_frame(MessageRequest(message_id, request, again)))
        else:
            self.say(encode_request(request))
        return message_id

    def cancel(self, message_id: UUID) -> None:
        self.say(encode_client_frame(Cancel(message_id)))

    def told_of(self, message_id: UUID) -> list[str | Progress | Response]:
        """What this client was told of a message, in order: texts of pieces, statuses, responses."""
        of_this = [frame for frame in self.told if frame.message_id == message_id]
        return [
            frame.text if isinstance(frame, Piece) else frame.progress if isinstance(frame, Status) else frame.response
            for frame in of_this
        ]

    def leave(self, code: int = 1000) -> None:
        self._left = code
        asyncio.get_running_loop().call_soon(self._deliver)

    @property
    def unread(self) -> int:
        """Frames that the server has not taken yet."""
        return len(self._said)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that depends on what has come."""
        async with self._progress:
            await self._progress.wait_for(holds)

    async def replies(self, count: int) -> list[Response]:
        """Wait until so many replies have come, and return all of them."""
        async with self._progress:
            await self._progress.wait_for(lambda: len(self.heard) >= count)
        return self.heard

    def _deliver(self) -> None:
        receiver = self._receiver
        if receiver is None or self.closed is not None:
            return
        while self._said and self._wanted:
            receiver.frame_received(self._said.popleft())
        if self._left is not None:
            code, self._left, self._receiver = self._left, None, None
            receiver.peer_left(code, "the client left")

    def _read(self) -> None:
        if self._unsent:
            while self._unsent:
                self._hear(self._unsent.popleft())
            if self._receiver is not None:
                self._receiver.caught_up()

    def _hear(self, frame: bytes) -> None:
        if self.dialect is V2:
            self.told.append(decode_server_frame(frame))
            if isinstance(self.told[-1], MessageResponse):
                self.heard.append(self.told[-1].response)
        else:
            self.heard.append(decode_response(frame))
        telling = asyncio.create_task(self._tell())
        self._tellers.add(telling)
        telling.add_done_callback(self._tellers.discard)

    async def _tell(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._deliver()

    def pause_reading(self) -> None:
        self._wanted = False

    def resume_reading(self) -> None:
        self._wanted = True
        asyncio.get_running_loop().call_soon(self._deliver)

    def is_receiving(self) -> bool:
        return self.sends_slowly

    def send(self, frame: bytes) -> bool:
        assert not self._unsent, "nothing is sent to a peer that has not caught up"
        if not self.reads.is_on:
            self._unsent.append(frame)
            return False
        self._hear(frame)
        return True

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = (int(code), reason)
        self._receiver = None
        self.is_closed.set()


class Switch:
    """On or off; tells when it is turned on."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.is_on = True
        self._tell = tell

    def set(self) -> None:
        self.is_on = True
        self._tell()

    def clear(self) -> None:
        self.is_on = False


class EchoBot:
    """A bot that says what it was told, at once or later, and remembers in which order."""

    replies_at_once = False

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.local_times: list[datetime] = []

    def reply(self, turn: Turn, memory: Memory, on_piece: OnPiece | None = None) -> str | Awaitable[str]:
        del on_piece
        return self._reply(turn, memory) if self.replies_at_once else self._reply_later(turn, memory)

    async def _reply_later(self, turn: Turn, memory: Memory) -> str:
        return self._reply(turn, memory)

    def _reply(self, turn: Turn, memory: Memory) -> str:
        del memory
        said = turn.text or f"{turn.kind.name.lower()}"
        self.turns.append(said)
        self.local_times.append(turn.local_time)
        if said == "crash":
            raise RuntimeError("a bug in the bot")
        return f"you said {said}"


class MediaStandIn:
    """Media workers whose pace the test sets: a voice note b"3" takes three seconds."""

    def __init__(self) -> None:
        self.working = 0
        self.fail: Exception | None = None
        self.mute: Exception | None = None

    async def probe_audio(self, file: bytes | bytearray | memoryview, *, client_id: str) -> AudioInfo:
        del client_id
        if self.fail is not None:
            raise self.fail
        self.working += 1
        job = asyncio.ensure_future(asyncio.sleep(float(bytes(file))))
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            await job  # work in a process cannot be undone: cancelling waits for its end
            raise
        finally:
            self.working -= 1
        return AudioInfo(seconds=float(bytes(file)))

    async def probe_video(self, file: bytes | bytearray | memoryview, *, client_id: str) -> VideoInfo:
        await self.probe_audio(file, client_id=client_id)
        return VideoInfo(seconds=1.0, width=64, height=48, picture=b"\xff\xd8poster", has_sound=False)

    async def synthesize(self, text: str, *, client_id: str, language: str = "") -> bytes:
        del client_id, language
        if self.mute is not None:
            raise self.mute
        return b"mp3 of " + text.encode()


class Losable:
    """A permit that the test can lose."""

    def __init__(self, permit: Permit) -> None:
        self._permit = permit
        self.lose = Switch(self._lost)
        self.lose.clear()
        self._on_lost: Callable[[], None] | None = None
        self.client_id = permit.client_id
        self.ticket = permit.ticket

    def valid(self) -> bool:
        return self._permit.valid() and not self.lose.is_on

    async def lost(self) -> None:
        raise NotImplementedError

    def on_lost(self, tell: Callable[[], None]) -> None:
        self._on_lost = tell

    def _lost(self) -> None:
        assert self._on_lost is not None
        self._on_lost()

    def release(self) -> None:
        self._permit.release()


class Refusal:
    """A request for a permit that is refused."""

    def __init__(self, refusal: PermitError) -> None:
        self._refusal = refusal

    def result(self) -> Permit:
        raise self._refusal

    def cancel(self) -> None: ...


def refused(
    refusal: PermitError,
    client_id: str,
    *,
    wait_seconds: float,
    settled: Callable[[PermitRequest], None],
    wait_id: str | None = None,
) -> PermitRequest:
    """In place of `PermitPool.request`: refuse."""
    del client_id, wait_seconds, wait_id
    request = Refusal(refusal)
    asyncio.get_running_loop().call_soon(settled, request)
    return request


class OutboxStandIn:
    """An outbox that keeps exchanges in a list, or refuses them."""

    def __init__(self) -> None:
        self.kept: list[Exchange] = []
        self.trouble: OutboxError | None = None

    def keep(self, exchange: Exchange, on_kept: OnKept) -> None:
        asyncio.get_running_loop().call_soon(self._keep, exchange, on_kept)

    async def find(self, client_id: str, message_id: UUID) -> Exchange | None:
        found = [kept for kept in self.kept if (kept.client_id, kept.message_id) == (client_id, message_id)]
        return max(found, key=lambda kept: (kept.attempt, kept.id), default=None)

    def _keep(self, exchange: Exchange, on_kept: OnKept) -> None:
        if self.trouble is None:
            self.kept.append(exchange)
        on_kept(self.trouble)


def limits(**changed: float) -> ConversationLimits:
    """The usual limits, with some of them changed."""
    usual: dict[str, float] = {
        "window": 10,
        "max_frame_bytes": 1024,
        "max_text_bytes": 1024,
        "max_bytes": 4096,
        "max_unreadable": 3,
        "message_wait_seconds": 5,
        "first_message_seconds": 60,
        "idle_seconds": 600,
        "send_seconds": 30,
    }
    whole = {"window", "max_frame_bytes", "max_text_bytes", "max_bytes", "max_unreadable"}
    return ConversationLimits(
        **{  # type: ignore[arg-type]
            name: int(value) if name in whole else value for name, value in {**usual, **changed}.items()
        }
    )


@dataclass
class Scene:
    """One conversation under way."""

    line: Line
    bot: EchoBot
    media: MediaStandIn
    outbox: OutboxStandIn
    connections: MemoryPool
    permit: Losable
    connection: Connection
    running: "asyncio.Future[End]"
    pod: PodServices = field(repr=False)

    @property
    def messages(self) -> PermitPool:
        return self.pod.messages

    @property
    def pod_bytes(self) -> FairByteBudget:
        return self.pod.pod_bytes

    @property
    def metrics(self) -> ChatMetrics:
        return self.pod.metrics

    def count(self, name: str, **labels: str) -> float:
        """What a counter of the pod says."""
        return self.metrics.registry.get_sample_value(f"chatbot_{name}_total", labels) or 0


def wall_clock() -> Callable[[], datetime]:
    """A wall clock that moves with the (virtual) time of the loop."""
    began = asyncio.get_running_loop().time()
    return lambda: START + timedelta(seconds=asyncio.get_running_loop().time() - began)


async def open_scene(
    *,
    changed: ConversationLimits | None = None,
    capacity: int = 500,
    hours: str = "",
    zone: str = "Europe/Berlin",
    typing_seconds: float = 0,
    pod_bytes: FairByteBudget | None = None,
    expires_at: datetime | None = None,
    messages: MemoryPool | None = None,
    now: Callable[[], datetime] | None = None,
    client_id: str = "anna",
    dialect: Dialect = V1,
    replies: Responder | None = None,
    history: HistoryLookup | None = None,
    goes_on: bool = False,
    pod: PodServices | None = None,
    connections: MemoryPool | None = None,
    new_id: Callable[[datetime], UUID] = uuid7,
) -> Scene:
    """Begin a conversation; `replies` is run in place of the echo bot, within the usual limits.

    `pod` is that of another conversation, whose parts this one then shares.
    """
    line, bot, media, outbox = Line(dialect), EchoBot(), MediaStandIn(), OutboxStandIn()
    connections = connections or await opened(MemoryPool("connections", capacity=50, per_client=5, max_waiting=100))
    permit = Losable(await connections.acquire(client_id, wait_seconds=0))
    if pod is None:
        metrics = ChatMetrics()
        pod = PodServices(
            handler=MessageHandler(
                bot=bot if replies is None else run_bot(replies, metrics),
                media=media,
                hours=dict.fromkeys(RequestKind, OpeningHours.parse(hours)),
                typing_seconds=typing_seconds,
            ),
            messages=await opened(messages or MemoryPool("messages", capacity=capacity, max_waiting=1000)),
            outbox=outbox,
            pod_bytes=pod_bytes or FairByteBudget(1 << 20, text_bytes=1 << 17),
            limits=changed or limits(),
            metrics=metrics,
            history=history,
            now=now or wall_clock(),
            new_id=new_id,
        )
    visitor = Visitor(
        client_id, parse_time_zone(zone), SESSION, Principal(client_id, expires_at=expires_at), goes_on=goes_on
    )
    connection = Connection(line, dialect, visitor, permit, pod)
    running: asyncio.Future[End] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(connection.start, running.set_result)
    return Scene(line, bot, media, outbox, connections, permit, connection, running, pod)


def run_bot(bot: Responder, metrics: ChatMetrics) -> BotRunner:
    """Run a bot as a pod does; it is not entered."""
    return BotRunner(
        bot,
        name="trial",
        seconds=60,
        turns_at_once=100,
        max_reply_characters=8000,
        breaker=CircuitBreaker(5, 30),
        fallback=None,
        observer=metrics.bot,
    )


def texts(responses: Sequence[Response]) -> list[str]:
    return [response.text for response in responses]
