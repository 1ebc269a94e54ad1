"""A whole pod in this process: what it has is let go in the right order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect

from chat_service.app import open_chat
from chat_service.outbox import OnKept, Outbox, OutboxError
from chat_service.settings import ChatSettings
from frameproto import Request, RequestKind, encode_request
from frameproto.exchange import Exchange
from servicekit.runner import Address, serve
from servicekit.settings import load


class Disk:
    """Takes records into the outbox when it is told to, and lists what happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.story: list[str] = []
        self.asked = asyncio.Event()
        self.works = asyncio.Event()
        keep, close = Outbox.keep, Outbox.close
        self.writing: set[asyncio.Task[None]] = set()

        def slowly(outbox: Outbox, exchange: Exchange, on_kept: OnKept) -> None:
            self.asked.set()
            self.writing.add(asyncio.create_task(write(outbox, exchange, on_kept)))

        async def write(outbox: Outbox, exchange: Exchange, on_kept: OnKept) -> None:
            await self.works.wait()

            def told(error: OutboxError | None) -> None:
                self.story.append("kept")
                on_kept(error)

            keep(outbox, exchange, told)

        async def telling(outbox: Outbox) -> None:
            self.story.append("closed")
            await close(outbox)

        monkeypatch.setattr(Outbox, "keep", slowly)
        monkeypatch.setattr(Outbox, "close", telling)


@asynccontextmanager
async def serving(settings: ChatSettings, stop: asyncio.Event) -> AsyncIterator[Address]:
    """Serve a pod until told to stop, and then leave it."""
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
    async with open_chat(settings) as chat:
        running = asyncio.create_task(
            serve(
                chat.listeners(),
                chat.drain,
                settings.drain_seconds,
                ready=lambda addresses: listening.set_result(addresses[0]),
                stop=stop,
                close_seconds=0.1,
            )
        )
        yield await listening
        await running


async def test_a_pod_is_not_ready_while_it_has_all_the_connections_it_may_have(tmp_path: Path) -> None:
    settings = ChatSettings.model_validate(
        {"port": 0, "metrics_port": 0, "media_processes": 1, "data_dir": tmp_path, "max_connections_per_pod": 1}
    )
    stop = asyncio.Event()
    async with serving(settings, stop) as address, httpx2.AsyncClient(base_url=f"http://{address}") as http:
        async with connect(f"ws://{address}/connect?clientId=anna&timeZone=UTC"):
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["checks"]["connections"]) == (503, "full")
            assert (await http.get("/healthz")).status_code == 200
        async with asyncio.timeout(60):
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - a probe can only ask
                await asyncio.sleep(0.01)
        stop.set()


async def test_the_outbox_is_closed_when_the_last_conversation_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"PORT": "0", "METRICS_PORT": "0", "MEDIA_PROCESSES": "1", "DRAIN_SECONDS": "0.2"}
    for name, value in variables.items():
        monkeypatch.setenv(f"CHAT_{name}", value)
    monkeypatch.chdir(tmp_path)
    disk, stop = Disk(monkeypatch), asyncio.Event()
    async with serving(load(ChatSettings, [], prog="", description=""), stop) as address:
        async with connect(f"ws://{address}/connect?clientId=anna&timeZone=UTC") as client:
            await client.send(encode_request(Request(RequestKind.TEXT, b"hello")))
            await disk.asked.wait()
            stop.set()
            await client.wait_closed()
        asyncio.get_running_loop().call_later(3, disk.works.set)  # long after the servers have given up waiting
    assert disk.story == ["kept", "closed"]
