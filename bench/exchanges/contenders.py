"""The contenders: how they are started, and how a client connects."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from bench.exchanges.cores import cpu_us, only, split
from bench.exchanges.wire import FloorPeer, Peer, PeerV2
from bench.valkey import ValkeyDatabase
from devtools.mongod import run_mongod
from devtools.processes import start
from devtools.watching import eventually, metric
from frameproto.connection import SUBPROTOCOL_V2
from permits.redis import PoolOperator

ROOT: Final = Path(__file__).parents[2]
NODE: Final = Path(__file__).with_name("services") / "node"
FLOOR: Final = "raw TCP on uvloop (floor)"
WS_BARE: Final = "Node ws, bare"
STARLETTE_BARE: Final = "Starlette, bare"
WS_USUAL: Final = "Node ws + ioredis + mongodb"
STARLETTE_USUAL: Final = "Starlette + redis-py + Motor"
OURS: Final = "chat service (ours)"
COMMANDS: Final = {
    FLOOR: [sys.executable, "-m", "bench.exchanges.services.floor"],
    WS_BARE: ["node", str(NODE / "bare.js")],
    STARLETTE_BARE: [sys.executable, "-m", "bench.exchanges.services.starlette_bare"],
    WS_USUAL: ["node", str(NODE / "usual.js")],
    STARLETTE_USUAL: [sys.executable, "-m", "bench.exchanges.services.starlette_usual"],
}
BARE: Final = (FLOOR, WS_BARE, STARLETTE_BARE)
ALL: Final = (*BARE, WS_USUAL, STARLETTE_USUAL, OURS)
LONG_SECONDS: Final = 86_400
PATIENCE_SECONDS: Final = 60  # generous, so that a busy machine does not make it fail
OPENED_AT_ONCE: Final = 100
SETTLE_SECONDS: Final = 0.2
Step = Callable[[str], None]
"""Told what was measured just now."""


def missing() -> dict[str, str]:
    """Return the contenders that cannot run, and why."""
    if shutil.which("node") is None:
        return dict.fromkeys((WS_BARE, WS_USUAL), "there is no node here (Debian: apt-get install nodejs npm)")
    if not (NODE / "node_modules").is_dir():
        return {name: f"run npm ci in {NODE.relative_to(ROOT)}" for name in (WS_BARE, WS_USUAL)}
    return {}


@dataclass(frozen=True, slots=True)
class ServerContender:
    """A running service.

    Attributes:
        name: as tables have it.
        pid: of its process, which has a core of its own.
        port: where it listens.
    """

    name: str
    pid: int
    port: int

    async def connect(self, client_id: str, request_size: int, reply_size: int) -> Peer:
        """Open one connection; the sizes are for the floor, which knows nothing else."""
        if self.name == FLOOR:
            return await FloorPeer.floor(self.port, request_size, reply_size)
        return await Peer.websocket(self.port, client_id)

    @asynccontextmanager
    async def connections(self, count: int, request_size: int, reply_size: int = 64) -> AsyncIterator[list[Peer]]:
        """Keep so many connections for the length of a `with` block, each of a client of its own."""
        clients = iter(range(count))
        peers: list[Peer] = []

        async def open_some() -> None:
            for number in clients:
                peer = await self.connect(f"c{number}", request_size, reply_size)
                peers.append(peer)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(OPENED_AT_ONCE):
                    tasks.create_task(open_some())
            yield peers
        finally:
            for peer in peers:
                peer.close()
            await asyncio.gather(*(peer.closed for peer in peers), return_exceptions=True)

    async def settle(self) -> float:
        """Wait until it has nothing more to do for what it has answered; return the CPU, in µs, of being asked so."""
        return 0.0


@dataclass(frozen=True, slots=True)
class ChatContender(ServerContender):
    """A pod of ours.

    Attributes:
        metrics_port: where its metrics are.
        control: socket of the probe in it.
        speaks_v2: whether clients speak `chatbot.v2` to it.
    """

    metrics_port: int = 0
    control: Path = Path()
    speaks_v2: bool = False

    async def connect(self, client_id: str, request_size: int, reply_size: int) -> Peer:
        """Open one connection."""
        if self.speaks_v2:
            return await PeerV2.websocket(self.port, client_id, SUBPROTOCOL_V2)
        return await super(ChatContender, self).connect(client_id, request_size, reply_size)

    async def settle(self) -> float:
        """Wait until history has everything, because delivery is a part of what a message costs."""
        asked = 0
        cost_us = 0.0

        async def nothing_left() -> bool:
            nonlocal asked, cost_us
            await asyncio.sleep(SETTLE_SECONDS)
            before_us = cpu_us(self.pid)
            left = await metric(self.metrics_port, "chatbot_outbox_records")
            cost_us = cpu_us(self.pid) - before_us  # of the last time, when nothing else is under way
            asked += 1
            return left == 0

        await eventually(nothing_left, "the outbox to be empty", seconds=300)
        return asked * cost_us

    @asynccontextmanager
    async def probe(self, lags_us: list[float]) -> AsyncIterator[None]:
        """Add the delays of the event loop during a `with` block."""
        reader, writer = await asyncio.open_unix_connection(str(self.control), limit=1 << 24)
        try:
            yield
        finally:
            writer.write(b"end\n")
            lags_us += json.loads(await reader.readline())
            writer.close()


@dataclass(slots=True)
class Testbed:
    """The stores, and the contenders that are started on them. All ends with the `with` block of `open_testbed`."""

    folder: Path
    running: ExitStack
    valkey: ValkeyDatabase
    mongodb_url: str
    history_url: Callable[[], str]
    _started: dict[str, ServerContender] = field(default_factory=dict)

    def contender(self, name: str) -> ServerContender:
        """Return one that runs, and start it if need be."""
        if name not in self._started:
            self._started[name] = self.chat_pod("chat") if name == OURS else self._other(name)
        return self._started[name]

    @contextmanager
    def fresh(self, name: str, folder: str) -> Iterator[ServerContender]:
        """Run one of its own for the length of a `with` block, in a folder of this name."""
        with ExitStack() as running:
            part = replace(self, running=running, _started={})
            yield part.chat_pod(folder) if name == OURS else part._other(name)  # noqa: SLF001 - of our own class

    def chat_pod(self, name: str, *, media: bool = True, **settings: object) -> ChatContender:
        """Start a pod of ours with these settings; `media` says whether the media work is done."""
        folder = self.folder / name
        folder.mkdir()
        environment = {
            "PYTHONPATH": ROOT,
            "BENCH_CONTROL": folder / "control",
            "BENCH_NO_MEDIA": "" if media else "1",
            "CHAT_PORT": 0,
            "CHAT_METRICS_PORT": 0,
            "CHAT_REDIS_URL": self.valkey.url,
            "CHAT_PERMITS_PREFIX": name,
            "CHAT_HISTORY_URL": self.history_url(),
            "CHAT_DATA_DIR": folder / "data",
            "CHAT_MAX_CONNECTIONS": 100_000,
            "CHAT_MAX_CONNECTIONS_PER_CLIENT": 100_000,
            "CHAT_MAX_WAITING": 100_000,
            "CHAT_CONNECT_WAIT_SECONDS": PATIENCE_SECONDS,
            "CHAT_MESSAGE_WAIT_SECONDS": PATIENCE_SECONDS,
            "CHAT_LEASE_SECONDS": PATIENCE_SECONDS,
            "CHAT_FIRST_MESSAGE_SECONDS": LONG_SECONDS,
            "CHAT_IDLE_SECONDS": LONG_SECONDS,
            "CHAT_MEDIA_PROCESSES": 1,
            **settings,
        }
        with ThreadPoolExecutor(1) as aside:  # this thread may run a loop of its own
            aside.submit(asyncio.run, _begin_pools(self.valkey.url, name)).result()
        with only(split()[0]):
            service = start("bench.exchanges.pod", folder / "chat.log", environment)
        self.running.callback(service.stop)
        return ChatContender(
            OURS, service.process.pid, service.ports["chat"], service.ports["chat-metrics"], folder / "control"
        )

    def _other(self, name: str) -> ServerContender:
        process, port = self.running.enter_context(
            _printing_its_port(COMMANDS[name], {"REDIS_URL": self.valkey.url, "MONGODB_URL": self.mongodb_url})
        )
        return ServerContender(name, process.pid, port)


@contextmanager
def open_testbed(folder: Path, valkey: ValkeyDatabase) -> Iterator[Testbed]:
    """Run the stores, and end at last what was started on them."""
    with ExitStack() as running:
        mongodb_url = running.enter_context(run_mongod(folder))
        yield Testbed(
            folder, running, valkey, mongodb_url, cache(partial(_start_history, folder, running, mongodb_url))
        )


async def _begin_pools(redis_url: str, prefix: str) -> None:
    """Declare the pools of a new pod new, so that they need not learn for a lease."""
    async with Redis.from_url(redis_url) as redis:
        for name in ("connections", "messages"):
            await PoolOperator(name, redis, prefix=prefix).begin()


def _start_history(folder: Path, running: ExitStack, mongodb_url: str) -> str:
    settings: dict[str, object] = {
        "HISTORY_PORT": 0,
        "HISTORY_METRICS_PORT": 0,
        "HISTORY_MONGODB_URL": mongodb_url,
        "HISTORY_MONGODB_DATABASE": "ours",
        "HISTORY_DATA_DIR": folder / "history",
    }
    service = start("history_service", folder / "history.log", settings)
    running.callback(service.stop)
    return f"http://127.0.0.1:{service.ports['history']}"


@contextmanager
def _printing_its_port(
    command: Sequence[str], settings: dict[str, str]
) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    environment = {**os.environ, **settings}
    with only(split()[0]):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    with process:
        try:
            if process.stdout is None or not (port := process.stdout.readline().strip()):
                raise RuntimeError(f"{' '.join(command)} did not start")
            yield process, int(port)
        finally:
            process.terminate()
