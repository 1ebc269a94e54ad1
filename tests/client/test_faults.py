"""Connections that break at any byte: every message is answered once in its caller's eyes, and stands once in history.

`CLIENT_FAULTS=1000` breaks as many connections; the default keeps the test short.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from pathlib import Path

from chat_client import (
    Backoff,
    Change,
    Chat,
    Connected,
    History,
    Piece,
    Response,
    Restarted,
    Timing,
    connect,
)
from devtools.processes import ServiceProcess, running
from devtools.watching import eventually, metric
from tests.client.conftest import as_chatbot, settings
from tests.support.fault_proxy import FaultProxy

log = logging.getLogger(__name__)

FAULTS = int(os.environ.get("CLIENT_FAULTS", "40"))
SEED = int(os.environ.get("CLIENT_FAULTS_SEED", "1"))
CLIENTS = 8
PATIENCE_SECONDS = 120.0


BOT = """
import asyncio
from uuid import uuid4


async def bot(turn, memory):
    for piece in (turn.text, " ", uuid4().hex):
        await asyncio.sleep(0.002)
        yield piece
"""
"""Says something else at each turn, so that two turns for one message would show."""


class Talker:
    """A client that talks until it is told to stop, and takes down what it was answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said = 0
        self.replies: dict[str, list[str]] = {}
        self.changes: Counter[type[Change]] = Counter()
        self.is_in = asyncio.Event()
        self.enough = asyncio.Event()

    def note(self, change: Change) -> None:
        self.changes[type(change)] += 1

    def next_text(self) -> str:
        self.said += 1
        padding = "x" * (self.said % 7 * 200)  # so that some frames are long enough to be cut in the middle
        return f"{self.name} {self.said} {padding}".strip()

    async def ask(self, chat: Chat) -> None:
        text = self.next_text()
        self.replies[text] = []
        self.replies[text].append((await chat.ask(text)).text)

    async def stream(self, chat: Chat) -> None:
        text = self.next_text()
        self.replies[text] = []
        pieces = ""
        async for event in chat.stream(text):
            match event:
                case Piece():
                    pieces += event.text
                case Restarted():
                    pieces = ""
                case Response():
                    self.replies[text].append(event.text)
                    assert event.text.startswith(pieces)

    async def talk(self, url: str) -> None:
        async with connect(
            url,
            client_id=self.name,
            time_zone="UTC",
            on_change=self.note,
            patience_seconds=PATIENCE_SECONDS,
            backoff=Backoff(0.02, 0.2),
            timing=Timing(open_seconds=10, ping_seconds=1, pong_seconds=3),
        ) as chat:
            self.is_in.set()
            while not self.enough.is_set():
                async with asyncio.TaskGroup() as group:
                    for number in range(6):
                        group.create_task(self.stream(chat) if number % 3 == 0 else self.ask(chat))
            await self.ask(chat)


async def kept(history_url: str, name: str) -> list[tuple[str, str]]:
    """Return what history has of a client: each text with its reply."""
    sides: dict[str, dict[str, str]] = {}
    async with History(history_url) as history:
        (session,) = [session async for session in history.sessions(name)]
        async for message in history.messages(session.id):
            exchange_id, _, side = message.id.rpartition(".")
            sides.setdefault(exchange_id, {})[side] = message.text or ""
    return [(each["request"], each["reply"]) for each in sides.values()]


async def nothing_waits(service: ServiceProcess) -> bool:
    return await metric(service.ports["chat-metrics"], "chatbot_outbox_records") == 0


async def converse(port: int, names: list[str]) -> tuple[list[Talker], FaultProxy]:
    """Let clients talk through a line that breaks, until it has broken often enough; return what they went through."""
    talkers = [Talker(name) for name in names]
    async with FaultProxy(port, seed=SEED) as proxy, asyncio.TaskGroup() as group:
        for talker in talkers:
            group.create_task(talker.talk(f"ws://127.0.0.1:{proxy.port}"))
        for talker in talkers:
            await talker.is_in.wait()
        proxy.breaking = True
        await eventually(lambda: proxy.faults.total() >= FAULTS, f"{FAULTS} faults", PATIENCE_SECONDS + FAULTS)
        proxy.breaking = False
        for talker in talkers:
            talker.enough.set()
    return talkers, proxy


async def test_each_message_is_answered_once_and_stands_once_in_history(tmp_path: Path) -> None:
    (tmp_path / "fresh_bot.py").write_text(BOT)
    more = {"CHAT_MAX_CONNECTIONS_PER_CLIENT": 100, "CHAT_MAX_CONNECTIONS": 1000, "CHAT_BOT": "fresh_bot:bot"}
    with running("standalone", tmp_path / "log", settings(tmp_path, **more)) as service:
        history_url = as_chatbot(service).history_url
        began = time.monotonic()
        talkers, proxy = await converse(service.ports["chat"], [f"c{number}" for number in range(CLIENTS)])
        took = time.monotonic() - began
        for talker in talkers:
            assert all(len(replies) == 1 for replies in talker.replies.values())
            assert all(replies[0].startswith(f"{text} ") for text, replies in talker.replies.items())
            seen = sorted((text, replies[0]) for text, replies in talker.replies.items())

            async def all_there(name: str = talker.name, wanted: list[tuple[str, str]] = seen) -> bool:
                return len(await kept(history_url, name)) >= len(wanted)

            await eventually(all_there, "all to be in history", PATIENCE_SECONDS)
        for talker in talkers:  # by now, whatever was kept by an attempt that nobody saw has been delivered as well
            seen = sorted((text, replies[0]) for text, replies in talker.replies.items())
            await eventually(lambda: nothing_waits(service), "all to be delivered", PATIENCE_SECONDS)
            assert sorted(await kept(history_url, talker.name)) == seen
    said = sum(len(talker.replies) for talker in talkers)
    connections = sum(talker.changes[Connected] for talker in talkers)
    log.info("%d messages, %d connections, %s in %.1f s", said, connections, dict(proxy.faults), took)
