"""Every message sent with resend is answered once in its client's eyes, and history has the answer that it saw.

Two pods with real conversations, a client that counts what it sees, and a history that decides as the protocol says.
Hypothesis chooses when connections break (with or without the server noticing), which pod comes next, when records are
delivered and in which order, and when history cannot be asked.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from looptime import new_event_loop

from botkit import Memory, Said, Turn
from chat_service.dialect import V2
from frameproto import Request, RequestKind, Response, decode_response
from frameproto.exchange import Exchange
from permits.memory import MemoryPool
from servicekit.uuid7 import IdMint
from tests.chat.conversation_parts import Scene, open_scene, wall_clock
from tests.permits.parts import opened

CLIENT = "anna"
LONGEST_SECONDS = 3
SKEW = timedelta(hours=1)  # of the clock of the second pod, from which the ids of its exchanges come


@dataclass
class Numberer:
    """A bot of which no two replies are equal, and which takes its time in pieces."""

    seconds: list[int]
    replies: int = 0

    async def reply(self, turn: Turn, memory: Memory, /) -> AsyncIterator[str]:
        del memory
        self.replies += 1
        number = self.replies
        await asyncio.sleep(self.seconds[number % len(self.seconds)])
        yield f"{turn.text} "
        await asyncio.sleep(self.seconds[-number % len(self.seconds)])
        yield f"answered as {number}"


@dataclass
class Stored:
    """What history has of one message. The rank is twice the attempt, and one more for a record than for a claim."""

    rank: int
    exchange: Exchange


@dataclass
class ModelHistory:
    """Keeps of the answers to one message the one of the latest attempt."""

    stored: dict[UUID, Stored] = field(default_factory=dict)
    is_away: bool = False

    def deliver(self, exchange: Exchange) -> None:
        assert exchange.message_id is not None
        rank = 2 * exchange.attempt + 1
        there = self.stored.get(exchange.message_id)
        if there is None or (there.rank, there.exchange.id) < (rank, exchange.id):
            self.stored[exchange.message_id] = Stored(rank, exchange)

    async def claim(self, client_id: str, message_id: UUID, attempt: int) -> bytes | None:
        assert client_id == CLIENT
        await asyncio.sleep(0.1)
        there = self.stored.get(message_id)
        if there is None:
            return None
        there.rank = max(there.rank, 2 * attempt)
        return None if self.is_away else bytes(there.exchange.response)  # an answer may be lost after it was claimed

    async def context(self, client_id: str, session_id: UUID) -> list[Said]:
        raise AssertionError(f"the sessions of this test are new: {client_id} {session_id}")


class Client:
    """Sends messages, and again what has no answer after a break. It trusts nobody."""

    def __init__(self) -> None:
        self.scene: Scene | None = None
        self.sent: dict[UUID, str] = {}
        self.unanswered: dict[UUID, bool] = {}
        self.saw: dict[UUID, Response] = {}

    def connect(self, scene: Scene) -> None:
        self.scene = scene
        for message_id in self.unanswered:
            self._send(message_id, again=self.unanswered[message_id])

    def ask(self) -> None:
        message_id = uuid4()
        self.sent[message_id] = f"message {len(self.sent)}"
        self.unanswered[message_id] = False
        if self.scene is not None:
            self._send(message_id, again=False)

    def read(self) -> None:
        """Take what has come."""
        if self.scene is None:
            return
        heard, self.scene.line.told[:] = [*self.scene.line.told], []
        for frame in heard:
            if hasattr(frame, "response"):
                assert frame.message_id in self.unanswered, "a message is answered once over a connection"
                assert frame.message_id not in self.saw
                del self.unanswered[frame.message_id]
                self.saw[frame.message_id] = frame.response

    def _send(self, message_id: UUID, *, again: bool) -> None:
        assert self.scene is not None
        self.unanswered[message_id] = True
        request = Request(RequestKind.TEXT, self.sent[message_id].encode())
        self.scene.line.request(request, message_id, again=again)


class Town:
    """Two pods, one history, one client."""

    def __init__(self, bot: Numberer, connections: MemoryPool) -> None:
        self.history = ModelHistory()
        self.client = Client()
        self._open = partial(
            open_scene, dialect=V2, replies=bot, history=self.history, connections=connections, client_id=CLIENT
        )
        self.pods: list[Scene] = []
        self.scenes: list[Scene] = []

    async def begin(self) -> None:
        now = wall_clock()
        self.pods = [
            await self._open(now=now, new_id=IdMint().make),
            await self._open(now=lambda: now() - SKEW, new_id=IdMint().make),
        ]
        self.scenes += self.pods

    async def connect(self, pick: int) -> None:
        """Connect to one of the pods, over a connection of its own."""
        await self.cut(pick)
        scene = await self._open(pod=self.pods[pick % 2].pod)
        self.scenes.append(scene)
        self.client.connect(scene)

    async def cut(self, pick: int) -> None:
        """Break the connection; the server notices, or works on for nobody."""
        scene, self.client.scene = self.client.scene, None
        if scene is not None and pick % 3:
            scene.line.leave(1006)
            await asyncio.sleep(0)

    async def wait(self, pick: int) -> None:
        await asyncio.sleep((0.05, 0.5, 1, 2)[pick % 4])
        self.client.read()

    async def ask(self, _: int) -> None:
        self.client.ask()

    async def deliver(self, pick: int) -> None:
        """Take any record of a pod to history, perhaps once more."""
        pod = self.pods[pick % 2]
        if pod.outbox.kept:
            self.history.deliver(pod.outbox.kept[pick % len(pod.outbox.kept)])
        if pick % 5 == 0:  # history has all of it, so the outbox is empty
            for exchange in pod.outbox.kept:
                self.history.deliver(exchange)
            pod.outbox.kept.clear()

    async def turn_history(self, _: int) -> None:
        self.history.is_away = not self.history.is_away

    async def settle(self) -> None:
        """Let the client get every answer, and history every record."""
        for attempt in range(50):
            await asyncio.sleep(4 * LONGEST_SECONDS)
            self.client.read()
            if not self.client.unanswered:
                break
            await self.connect(attempt)
        assert not self.client.unanswered
        for scene in self.scenes:
            scene.line.leave()
            await scene.running
        for pod in reversed(self.pods):
            for exchange in reversed(pod.outbox.kept):
                self.history.deliver(exchange)


STEPS = {
    "connect": Town.connect,
    "connect elsewhere": Town.connect,
    "cut": Town.cut,
    "ask": Town.ask,
    "ask more": Town.ask,
    "wait": Town.wait,
    "wait on": Town.wait,
    "deliver": Town.deliver,
    "history": Town.turn_history,
}


async def live(steps: list[tuple[str, int]], seconds: list[int]) -> Town:
    connections = await opened(MemoryPool("connections", capacity=1000, per_client=1000, max_waiting=1))
    town = Town(Numberer(seconds), connections)
    await town.begin()
    await town.connect(0)
    for what, pick in steps:
        await STEPS[what](town, pick)
    await town.settle()
    return town


WAIT_LONG = [("wait", 3)] * LONGEST_SECONDS
UNSEEN = [("cut", 0), *WAIT_LONG]


@example([("ask", 0), *UNSEEN, ("connect", 1), *WAIT_LONG], [0, 1]).via(
    "answered by two pods, the first of them unseen"
)
@example([("ask", 0), *UNSEEN, ("connect", 1), *UNSEEN, ("deliver", 0), ("connect", 0), *WAIT_LONG], [0, 1]).via(
    "answered from history, while another answer is still to be delivered"
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 29)), max_size=40),
    st.lists(st.integers(0, LONGEST_SECONDS), min_size=2, max_size=5),
)
def test_what_the_client_saw_is_what_history_has(steps: list[tuple[str, int]], seconds: list[int]) -> None:
    loop = new_event_loop(end=100_000)
    try:
        town = loop.run_until_complete(live(steps, seconds))
    finally:
        loop.close()
    client, history = town.client, town.history
    assert client.saw.keys() == client.sent.keys() == history.stored.keys()
    for message_id, response in client.saw.items():
        kept = decode_response(history.stored[message_id].exchange.response)
        assert kept == response
        assert kept.text.startswith(client.sent[message_id])
