"""Readers of media that stall, on a real S3 store and a real server: they hold up nobody, and not for long."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from devtools.swift import S3
from frameproto import Response, ResponseKind
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from history_service.app import open_history
from history_service.settings import HistorySettings
from servicekit.runner import Address, serve
from tests.history.pod import MSGPACK, rich_exchange
from tests.support.exchanges import exchange

READERS = 60
IMAGE_BYTES = 6 * 1024 * 1024  # more than the sockets on the way can hold
LARGE = exchange(response=Response(ResponseKind.VIDEO, "look", voice=b"ID3", image=bytes(IMAGE_BYTES)))
IMAGE = f"/v1/messages/{LARGE.id}.reply/media/image"


@dataclass
class Served:
    """A history pod on ports of its own."""

    port: int
    http: httpx2.AsyncClient
    metrics: httpx2.AsyncClient

    async def ingest(self, one: Exchange) -> httpx2.Response:
        return await self.http.post("/v1/exchanges", content=encode_batch([encode_exchange(one)]), headers=MSGPACK)

    async def metric(self, name: str) -> float:
        lines = (await self.metrics.get("/metrics")).text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)

    async def until_under_way(self, count: int) -> None:
        async with asyncio.timeout(60):
            while await self.metric("chatbot_history_downloads") != count:  # noqa: ASYNC110 - a scrape can only ask
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def stalled(self, count: int) -> AsyncIterator[list[socket.socket]]:
        """Ask for media so many times and read nothing of it."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            for sock in sockets:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", self.port))
                await loop.sock_sendall(sock, f"GET {IMAGE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            yield sockets


@asynccontextmanager
async def served(folder: Path, s3: S3, **changed: Any) -> AsyncIterator[Served]:
    given: dict[str, Any] = {
        "data_dir": folder,
        "port": 0,
        "metrics_port": 0,
        "s3_bucket": f"test-{uuid4().hex}",
        "s3_endpoint_url": s3.endpoint_url,
        "s3_create_bucket": True,
        "http_stall_seconds": 300,
        "store_seconds": 120,
        "max_downloads": READERS + 4,
        "max_downloads_per_client": READERS + 4,
        **changed,
    }
    at: asyncio.Future[Sequence[Address]] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    async with open_history(HistorySettings(**given)) as history:
        serving = asyncio.create_task(
            serve(history.listeners(), history.drain, 5, ready=at.set_result, stop=stop, close_seconds=1)
        )
        one, other = await at
        async with (
            httpx2.AsyncClient(base_url=f"http://{one}", timeout=60) as http,
            httpx2.AsyncClient(base_url=f"http://{other}", timeout=60) as metrics,
        ):
            pod = Served(one.port, http, metrics)
            async with asyncio.timeout(60):
                while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - a probe can only ask
                    await asyncio.sleep(0.02)
            assert (await pod.ingest(LARGE)).status_code == 200
            yield pod
        stop.set()
        await serving


@pytest.fixture(autouse=True)
def credentials(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


async def test_ingest_and_other_readers_go_on_beside_readers_that_stall(tmp_path: Path, s3: S3) -> None:
    async with served(tmp_path, s3) as pod, pod.stalled(READERS):
        await pod.until_under_way(READERS)
        text, media = exchange("a text"), rich_exchange()
        for handed_in in (text, media):
            answer = await pod.ingest(handed_in)
            assert answer.json()["results"][0]["outcome"] == "stored"
        video = await pod.http.get(f"/v1/messages/{media.id}.request/media/video")
        assert (video.status_code, len(video.content)) == (200, len(media.request) - 1)
        assert len((await pod.http.get(IMAGE)).content) == IMAGE_BYTES
        assert (await pod.http.delete(f"/v1/messages/{media.id}.request")).status_code == 204
        assert (await pod.http.get("/readyz")).status_code == 200
        assert await pod.metric("chatbot_history_downloads") == READERS


async def test_when_all_places_are_taken_by_them_ingest_goes_on_and_readers_are_told(tmp_path: Path, s3: S3) -> None:
    async with served(tmp_path, s3, max_downloads=READERS, download_wait_seconds=0.2) as pod, pod.stalled(READERS):
        await pod.until_under_way(READERS)
        refused = await pod.http.get(IMAGE)
        assert (refused.status_code, refused.json()["code"]) == (503, "downloads_busy")
        assert refused.headers["retry-after"] == "1"
        assert (await pod.ingest(rich_exchange())).json()["results"][0]["outcome"] == "stored"
        assert (await pod.http.head(IMAGE)).status_code == 200
        assert (await pod.http.get("/readyz")).status_code == 200


async def test_readers_that_stall_are_cut_and_the_next_ones_are_served(tmp_path: Path, s3: S3) -> None:
    settings = {"max_downloads": 8, "download_wait_seconds": 60, "http_stall_seconds": 1}
    async with served(tmp_path, s3, **settings) as pod, pod.stalled(8):
        await pod.until_under_way(8)
        assert len((await pod.http.get(IMAGE)).content) == IMAGE_BYTES
        await pod.until_under_way(0)
        assert await pod.metric('chatbot_http_connections_cut_total{reason="reader_too_slow"}') == 8


async def test_one_client_takes_no_more_than_its_share(tmp_path: Path, s3: S3) -> None:
    """Ben reads though anna has more stalled readers than there are places."""
    bens = exchange(client_id="ben", session_id=uuid4(), response=Response(ResponseKind.VOICE, "hm", voice=b"ID3"))
    settings = {"max_downloads": 8, "max_downloads_per_client": 4, "download_wait_seconds": 60}
    async with served(tmp_path, s3, **settings) as pod, pod.stalled(12):
        await pod.until_under_way(4)
        assert (await pod.ingest(bens)).status_code == 200
        assert (await pod.http.get(f"/v1/messages/{bens.id}.reply/media/voice")).status_code == 200
        assert await pod.metric("chatbot_history_downloads") == 4
