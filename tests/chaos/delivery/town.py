"""Two chat and two history processes with their stores, clients that talk, and all that a fault may lay hands on."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.mongod import run_mongod
from devtools.ports import free_port
from devtools.stack import Stack, StoreAddresses, open_stack
from devtools.swift import S3
from devtools.valkey import run_valkey
from devtools.watching import metric
from tests.chaos.delivery import bot
from tests.chaos.delivery.journal import Kept, Kill, Story, digest
from tests.chaos.delivery.resender import Resender
from tests.chaos.delivery.talker import VISIT, Talker
from tests.e2e.talking import Historian, historian
from tests.support.disk import small_disk
from tests.support.network import Line, Network

ROOT = Path(__file__).parents[3]
SECONDS = 240.0
"""Longer than anything may take; only a failing chaos waits for it."""
POLL_SECONDS = 0.05
CLIENTS = 6
RESENDERS = 3
"""So many of them speak v2."""
LEASE_SECONDS = 6.0
"""Of the pods' permits, which are not what is tried here. A pod keeps its permits when the machine does not run it for
three quarters of this; with 1.5 s a busy machine took them, and connections ended with 1013."""
DISK_BYTES = 24 * 1024 * 1024
PAGE = 200
READERS = 8
BUGS = {"conversation.bug", "message.bug", "delivery.bug", "request failed", "outbox.damaged", "delivery.refused"}
"""What no process may log, whatever is done to it."""


class Stuck(Exception):
    """Something that had to happen did not."""


class Mongod:
    """A MongoDB that can be started again in the same place."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._running = ExitStack()
        self.url = self.start()

    def start(self) -> str:
        """Start it on what it has."""
        return self._running.enter_context(run_mongod(self._folder, self.port))

    def stop(self) -> None:
        """End it in good order."""
        self._running.close()


class Town:
    """The whole of it.

    Attributes:
        chance: the source of every choice.
        outage_seconds: how long S3 is away.
        stack: the processes.
        mongod: the store of messages.
        media: the way from history to the store of media.
        disk: that of the first chat process's outbox; None: it is no small one.
        story: what happened.
    """

    def __init__(
        self, seed: str, stack: Stack, mongod: Mongod, media: Line, disk: Path | None, outage_seconds: float
    ) -> None:
        self.chance = random.Random(seed)
        self.outage_seconds = outage_seconds
        self.stack = stack
        self.mongod = mongod
        self.media = media
        self.disk = disk
        self.story = Story()
        self.talkers = [
            *(Talker(stack, f"talker-{number}", seed) for number in range(CLIENTS - RESENDERS)),
            *(Resender(stack, f"resender-{number}", seed) for number in range(RESENDERS)),
        ]

    def fault(self, what: str) -> None:
        """Write down what is done now."""
        self.story.faults.append((time.monotonic(), what))

    @property
    def answers(self) -> int:
        """How many requests were answered so far."""
        return sum(talker.answers for talker in self.talkers)

    @property
    def refusals(self) -> list[str]:
        """The codes of all errors so far."""
        return [code for talker in self.talkers for code in talker.refusals]

    async def answered(self, count: int) -> None:
        """Wait until so many more are answered."""
        goal = self.answers + count
        await self.until(lambda: self.answers >= goal, f"{count} more answers")

    async def calm(self) -> None:
        """Wait until each client is answered again, then let all of them pause until the outboxes are empty, or nearly.

        However slow the machine is, the next fault so meets a system that has got over the last one.
        """
        goals = [talker.answers + 4 for talker in self.talkers]
        await self.until(
            lambda: all(talker.answers >= goal for talker, goal in zip(self.talkers, goals, strict=True)),
            "each client is answered",
        )

        async def few() -> bool:
            return await self.undelivered() <= 2 * CLIENTS

        for talker in self.talkers:
            talker.pause()
        await self.until(few, "what is undelivered is little")
        for talker in self.talkers:
            talker.go_on()

    async def undelivered(self) -> float:
        """Return how many exchanges wait in the outboxes."""
        return sum([await metric(pod.ports["chat-metrics"], "chatbot_outbox_records") for pod in self.stack.chat])

    async def until(self, reached: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait until something is so, while all processes live."""
        deadline = time.monotonic() + SECONDS
        while True:
            answer = reached()
            if answer if isinstance(answer, bool) else await answer:
                return
            dead = [pod.log.stem for pod in [*self.stack.chat, *self.stack.history] if pod.process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise Stuck(f"{what}: not within {SECONDS:.0f} s" if not dead else f"{dead} ended by themselves")
            await asyncio.sleep(POLL_SECONDS)

    async def kill_chat(self, index: int) -> None:
        """Kill a chat process, and start it again on its folder."""
        began = time.monotonic()
        self.stack.chat[index].kill()
        await asyncio.to_thread(self.stack.chat[index].process.wait)
        self.story.kills.append(Kill(began, time.monotonic()))
        await asyncio.to_thread(self.stack.restart_chat, index)

    async def kill_history(self, index: int) -> None:
        """Kill a history process, and start it again."""
        self.stack.history[index].kill()
        await asyncio.to_thread(self.stack.history[index].process.wait)
        await asyncio.to_thread(self.stack.restart_history, index)

    async def end(self) -> None:
        """Let everybody finish, wait until history has everything, and read it."""
        self.fault("the end")
        for talker in self.talkers:
            talker.finish()
        await self._talking  # set by `talk`
        await self.until(self._delivered, "everything is delivered")
        self.story.complaints = [complaint for talker in self.talkers for complaint in talker.complaints]
        self.story.said = [said for talker in self.talkers for said in talker.said]
        async with historian(self.stack) as history:
            self.story.kept = await read_all(history, [talker.name for talker in self.talkers])

    async def talk(self) -> None:
        """Let the clients begin, and wait until they are under way."""
        self._talking: asyncio.Future[list[None]] = asyncio.gather(*(talker.talk() for talker in self.talkers))
        await self.calm()

    def silence(self) -> None:
        """End what is left of the talk, after a failure."""
        self._talking.cancel()

    async def _delivered(self) -> bool:
        return await self.undelivered() == 0

    def leftovers(self) -> Iterator[str]:
        """Complain of what should not be on disk or in a log at the end."""
        for index, settings in enumerate(self.stack.chat_settings):
            outbox = Path(str(settings["CHAT_DATA_DIR"])) / "outbox"
            for folder in ("writing", "waiting", "media", "refused"):
                if left := [file.name for file in (outbox / folder).iterdir()]:
                    yield f"chat{index} has left in {folder}: {left[:5]}"
            if left := [file.name for file in (outbox / "log").iterdir() if file.stat().st_size]:
                yield f"chat{index} has left in its log: {left[:5]}"
        for log in self.stack.folder.glob("*.log"):
            text = log.read_text(errors="replace")
            if "Traceback" in text or any(f'"event": "{bug}"' in text for bug in BUGS):
                yield f"{log.name}: {text[-3000:]}"


async def read_all(history: Historian, clients: list[str]) -> list[Kept]:
    """Return all that history has of these clients, media included, sessions in their order."""
    places = asyncio.Semaphore(READERS)

    async def body(message: dict[str, Any], part: str) -> bytes:
        if part not in message["media"]:
            return b""
        async with places:
            return await history.media(message["media"][part]["href"])

    async def exchange(client: str, request: dict[str, Any], reply: dict[str, Any]) -> Kept:
        kind = request["kind"]
        asked = (request["text"] or "").encode() if kind == "text" else await body(request, kind)
        spoken, shown = await asyncio.gather(body(reply, "voice"), body(reply, "image"))
        return Kept(
            client,
            request["session_id"],
            request["exchange_id"],
            digest(kind, asked),
            digest(reply["kind"], (reply["text"] or "").encode(), spoken, shown),
        )

    kept: list[Kept] = []
    for client in clients:
        sessions = (await history.get(f"/v1/clients/{client}/sessions?limit={PAGE}"))["sessions"]
        assert len(sessions) < PAGE, "more sessions than a page shows; let the chaos be shorter"
        for session in reversed(sessions):
            page = (await history.get(f"/v1/sessions/{session['id']}/messages?limit={PAGE}"))["messages"]
            assert len(page) <= 2 * (VISIT + 2)
            pairs = zip(page[::2], page[1::2], strict=True)
            kept += await asyncio.gather(*(exchange(client, asked, reply) for asked, reply in pairs))
    return kept


@contextmanager
def _disk(folder: Path) -> Iterator[Path | None]:
    """Mount a small disk where it is allowed; say so where it is not."""
    with ExitStack() as stack:
        try:
            disk: Path | None = stack.enter_context(small_disk(folder, DISK_BYTES))
        except pytest.skip.Exception as exc:
            print(f"\n{exc}")  # noqa: T201 - seen with -rA and -s
            disk = None
        yield disk


@asynccontextmanager
async def open_town(folder: Path, seed: str, s3: S3, *, outage_seconds: float) -> AsyncIterator[Town]:
    """Run a town for the length of a `with` block, entered when its clients talk."""
    with ExitStack() as running, Network() as network:
        running.callback((mongod := Mongod(folder)).stop)
        valkey = running.enter_context(run_valkey(folder))
        media = network.open(int(s3.endpoint_url.rpartition(":")[2]))
        way = S3(f"http://127.0.0.1:{media.port}", s3.access_key, s3.secret_key)
        disk = running.enter_context(_disk(folder / "chat0"))
        settings = {
            "CHAT_LEASE_SECONDS": LEASE_SECONDS,
            "CHAT_MEDIA_PROCESSES": 1,
            "CHAT_DELIVERY_SECONDS": 10,
            "CHAT_BOT": f"{bot.__name__}:bot",
            "PYTHONPATH": str(ROOT),
        }
        stack = running.enter_context(
            open_stack(
                folder,
                StoreAddresses(valkey.url, mongod.url, way),
                name=f"chaos-{folder.name}-{mongod.port}",
                chat=settings,
                history={"HISTORY_STORE_SECONDS": 2},
            )
        )
        town = Town(seed, stack, mongod, media, disk, outage_seconds)
        try:
            await town.talk()
            yield town
        finally:
            town.silence()
            media.resume()
