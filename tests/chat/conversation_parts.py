"""A conversation without sockets, disks or processes: everything it stands on, in memory and obedient."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from botkit import AudioInfo, Memory, Turn, VideoInfo
from chat_service.admission import Visitor
from chat_service.answering import Answerer
from chat_service.conversation import Conversation, ConversationLimits, ConversationParts, Ended
from chat_service.fair_bytes import FairByteBudget
from chat_service.hours import OpeningHours
from chat_service.metrics import ChatMetrics
from chat_service.outbox import OutboxError
from chat_service.transport import NotBinary, PeerGone
from chat_service.zones import parse_time_zone
from frameproto import Request, RequestKind, Response, decode_response, encode_request
from frameproto.connection import CloseCode
from frameproto.exchange import Exchange
from permits import Permit
from permits.memory import MemoryPool
from servicekit.tokens import Principal
from tests.permits.parts import opened

START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SESSION = UUID("0197b0c8-0000-7000-8000-000000000001")


class Line:
    """A transport whose peer is the test: `say` sends to the server, `heard` is what the server sent."""

    def __init__(self) -> None:
        self.heard: list[Response] = []
        self.closed: tuple[int, str] | None = None
        self.sends_slowly = False
        self.is_closed = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._said: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._progress = asyncio.Condition()

    def say(self, frame: bytes | None) -> None:
        """Send one frame; None stands for a WebSocket text message."""
        self._said.put_nowait(frame)

    def text(self, text: str) -> None:
        self.say(encode_request(Request(RequestKind.TEXT, text.encode())))

    def voice(self, mp3: bytes) -> None:
        self.say(encode_request(Request(RequestKind.VOICE, mp3)))

    def video(self, mp4: bytes) -> None:
        self.say(encode_request(Request(RequestKind.VIDEO, mp4)))

    def leave(self, code: int = 1000) -> None:
        self._said.put_nowait(PeerGone(code))

    @property
    def unread(self) -> int:
        """Frames that the server has not taken yet."""
        return self._said.qsize()

    async def replies(self, count: int) -> list[Response]:
        """Wait until so many replies have come, and return all of them."""
        async with self._progress:
            await self._progress.wait_for(lambda: len(self.heard) >= count)
        return self.heard

    async def receive(self) -> bytes:
        said = await self._said.get()
        if isinstance(said, Exception):
            raise said
        if said is None:
            raise NotBinary
        return said

    def is_receiving(self) -> bool:
        return self.sends_slowly

    async def send(self, frame: bytes) -> None:
        await self.reads.wait()
        self.heard.append(decode_response(frame))
        async with self._progress:
            self._progress.notify_all()

    async def close(self, code: CloseCode, reason: str) -> None:
        self.closed = (int(code), reason)
        self.is_closed.set()


class Parrot:
    """A bot that says what it was told, and remembers in which order."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.local_times: list[datetime] = []

    async def reply(self, turn: Turn, memory: Memory) -> str:
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
        self.lose = asyncio.Event()
        self.client_id = permit.client_id
        self.ticket = permit.ticket

    def valid(self) -> bool:
        return self._permit.valid() and not self.lose.is_set()

    async def lost(self) -> None:
        await self.lose.wait()

    def on_lost(self, tell: Callable[[], None]) -> None:
        self._permit.on_lost(tell)

    def release(self) -> None:
        self._permit.release()


class Ledger:
    """An outbox that keeps exchanges in a list, or refuses them."""

    def __init__(self) -> None:
        self.kept: list[Exchange] = []
        self.trouble: OutboxError | None = None

    async def append(self, exchange: Exchange) -> None:
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        self.kept.append(exchange)


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
    bot: Parrot
    studio: MediaStandIn
    ledger: Ledger
    messages: MemoryPool
    connections: MemoryPool
    permit: Losable
    pod_bytes: FairByteBudget
    conversation: Conversation
    running: "asyncio.Task[Ended]"
    metrics: ChatMetrics = field(repr=False)


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
) -> Scene:
    line, bot, studio, ledger = Line(), Parrot(), MediaStandIn(), Ledger()
    messages = await opened(messages or MemoryPool("messages", capacity=capacity, max_waiting=1000))
    connections = await opened(MemoryPool("connections", capacity=50, per_client=5, max_waiting=100))
    permit = Losable(await connections.acquire(client_id, wait_seconds=0))
    budget = pod_bytes or FairByteBudget(1 << 20, text_bytes=1 << 17)
    metrics = ChatMetrics()
    parts = ConversationParts(
        answerer=Answerer(
            bot=bot,
            media=studio,
            hours=dict.fromkeys(RequestKind, OpeningHours.parse(hours)),
            typing_seconds=typing_seconds,
        ),
        messages=messages,
        outbox=ledger,
        pod_bytes=budget,
        limits=changed or limits(),
        metrics=metrics,
        now=now or wall_clock(),
    )
    visitor = Visitor(client_id, parse_time_zone(zone), SESSION, Principal(client_id, expires_at=expires_at))
    conversation = Conversation(line, visitor, permit, parts)
    running = asyncio.create_task(conversation.run())
    return Scene(line, bot, studio, ledger, messages, connections, permit, budget, conversation, running, metrics)


def texts(responses: Sequence[Response]) -> list[str]:
    return [response.text for response in responses]
