"""What one connection and one message cost a pod of each service: ./taskw bench:pods -- --help."""

import argparse
import asyncio
import json
import platform
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from bench.echo import Echo, run_echo
from bench.machine import busy_share, cores, processor
from bench.valkey import MICROSECONDS, ValkeyDatabase, run_valkey
from chat_client import Chat, Content, Timing, Upload, Version, connect
from devtools.mongod import run_mongod
from devtools.processes import ServiceProcess, start
from devtools.watching import eventually, metric
from frameproto import RequestKind

KIB = 1024
SAMPLES = Path(__file__).parents[1] / "samples"
TEXT = "say good luck"
LONG = 86_400
BUSY = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done of each."""

    idle: int
    talkers: int
    texts: int
    voices: int


@dataclass(frozen=True, slots=True)
class PodFigures:
    """What was measured; CPU in microseconds of all threads, memory as the resident set grows."""

    machine: str
    busy_share: float
    echo_us: float
    chat_rest_mib: float
    workers_rest_mib: float
    connection_kib: float
    text_us: float
    text_valkey_us: float
    text_history_us: float
    voice_us: float
    voice_workers_us: float
    voice_history_us: float


@dataclass(frozen=True, slots=True)
class Pods:
    """One pod of each service, and their limits."""

    chat: ServiceProcess
    history: ServiceProcess
    valkey: ValkeyDatabase

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.chat.ports['chat']}"


@contextmanager
def _pods(size: Size) -> Iterator[Pods]:
    many = size.idle + size.talkers
    with TemporaryDirectory(prefix="bench-pods-") as name, run_valkey() as valkey:
        folder = Path(name)
        with run_mongod(folder) as mongodb_url:
            history = start(
                "history_service",
                folder / "history.log",
                {
                    "HISTORY_PORT": 0,
                    "HISTORY_METRICS_PORT": 0,
                    "HISTORY_MONGODB_URL": mongodb_url,
                    "HISTORY_DATA_DIR": folder / "history",
                },
            )
            try:
                chat = start(
                    "chat_service",
                    folder / "chat.log",
                    {
                        "CHAT_PORT": 0,
                        "CHAT_METRICS_PORT": 0,
                        "CHAT_REDIS_URL": valkey.url,
                        "CHAT_HISTORY_URL": f"http://127.0.0.1:{history.ports['history']}",
                        "CHAT_DATA_DIR": folder / "chat",
                        "CHAT_LEASE_SECONDS": 5,
                        "CHAT_MAX_CONNECTIONS": many,
                        "CHAT_MAX_CONNECTIONS_PER_CLIENT": many,
                        "CHAT_FIRST_MESSAGE_SECONDS": LONG,
                        "CHAT_MEDIA_PROCESSES": 1,
                    },
                )
                try:
                    yield Pods(chat, history, valkey)
                finally:
                    chat.stop()
            finally:
                history.stop()


@asynccontextmanager
async def _connections(address: str, count: int) -> AsyncIterator[list[Chat]]:
    async with AsyncExitStack() as stack:
        timing, versions = Timing(ping_seconds=LONG), (Version.V1,)
        clients = (
            connect(address, client_id=f"c{n}", time_zone="UTC", timing=timing, versions=versions) for n in range(count)
        )
        yield [await stack.enter_async_context(client) for client in clients]


async def _ask_all(chats: Sequence[Chat], rounds: int, content: Content) -> None:
    async def talk(chat: Chat) -> None:
        for _ in range(rounds):
            await chat.ask(content)

    async with asyncio.TaskGroup() as tasks:
        for chat in chats:
            tasks.create_task(talk(chat))


async def _delivered(pods: Pods) -> None:
    """Wait until history has everything, because its delivery is a part of what a message costs."""

    async def nothing_left() -> bool:
        return await metric(pods.chat.ports["chat-metrics"], "chatbot_outbox_records") == 0

    await eventually(nothing_left, "the outbox to be empty")


def _cpu_us(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system) * MICROSECONDS


def _workers_us(process: psutil.Process) -> float:
    return sum(_cpu_us(child) for child in process.children(recursive=True))


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


async def _measure(pods: Pods, size: Size, echo: Echo) -> PodFigures:
    chat, history = psutil.Process(pods.chat.process.pid), psutil.Process(pods.history.process.pid)
    busy = await asyncio.to_thread(busy_share)
    rest, workers_rest = _resident(chat), sum(_resident(child) for child in chat.children(recursive=True))
    async with _connections(pods.address, size.idle):
        idle = _resident(chat)
    began = _cpu_us(echo.process)
    await echo.exchange(size.talkers, size.texts, TEXT.encode())
    echo_us = (_cpu_us(echo.process) - began) / size.texts
    async with _connections(pods.address, size.talkers) as chats:
        await _ask_all(chats, 1, "hello")
        await _delivered(pods)

        async def per(count: int, content: Content) -> tuple[float, float, float, float]:
            before = _cpu_us(chat), _workers_us(chat), await pods.valkey.cpu_us(), _cpu_us(history)
            rounds = max(1, count // len(chats))
            await _ask_all(chats, rounds, content)
            await _delivered(pods)
            after = _cpu_us(chat), _workers_us(chat), await pods.valkey.cpu_us(), _cpu_us(history)
            sent = rounds * len(chats)
            first, second, third, fourth = ((now - then) / sent for then, now in zip(before, after, strict=True))
            return first, second, third, fourth

        text = await per(size.texts, TEXT)
        voice = await per(size.voices, Upload(RequestKind.VOICE, (SAMPLES / "hello.mp3").read_bytes()))
    return PodFigures(
        machine=f"{cores()} cores of {processor()}, Python {platform.python_version()}",
        busy_share=busy,
        echo_us=echo_us,
        chat_rest_mib=rest / KIB / KIB,
        workers_rest_mib=workers_rest / KIB / KIB,
        connection_kib=(idle - rest) / KIB / size.idle,
        text_us=text[0],
        text_valkey_us=text[2],
        text_history_us=text[3],
        voice_us=voice[0],
        voice_workers_us=voice[1],
        voice_history_us=voice[3],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    options = _parser().parse_args(argv)
    size = Size(options.connections, options.talkers, options.texts, options.voices)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with _pods(size) as pods, run_echo() as echo:
        found = asyncio.run(_measure(pods, size, echo))
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    show(found)
    return 0


def show(found: PodFigures) -> None:
    """Print what was found, each figure beside the floor where there is one."""
    print(f"{found.machine}{'; BUSY: others use it' if found.busy_share > BUSY else ''}\n")
    print(f"memory of a chat pod at rest     {found.chat_rest_mib:8.0f} MiB")
    print(f"memory of a media worker at rest {found.workers_rest_mib:8.0f} MiB")
    print(f"memory of an idle connection     {found.connection_kib:8.1f} KiB\n")
    print("CPU of one message, in microseconds, and times that of an echo over TCP")
    rows = (
        ("echo over TCP, the floor", found.echo_us),
        ("text: chat", found.text_us),
        ("text: Valkey", found.text_valkey_us),
        ("text: history", found.text_history_us),
        ("voice: chat", found.voice_us),
        ("voice: media workers", found.voice_workers_us),
        ("voice: history", found.voice_history_us),
    )
    for name, cost in rows:
        times = f"{cost / found.echo_us:8.1f}" if found.echo_us else "  too few messages to tell"
        print(f"{name:32} {cost:8.0f} {times}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench:pods", description="Measure what one connection and one message cost a pod of each service."
    )
    parser.add_argument("--connections", type=int, default=2000, help="idle connections that are opened")
    parser.add_argument("--talkers", type=int, default=50, help="connections that talk")
    parser.add_argument("--texts", type=int, default=20_000, help="text messages in all")
    parser.add_argument("--voices", type=int, default=200, help="voice notes in all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
