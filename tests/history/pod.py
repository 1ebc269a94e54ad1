"""A history pod with an SQLite file and a folder, spoken to through its ASGI application."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx2

from frameproto import Request, RequestKind, Response, ResponseKind
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from history_service.app import HistoryServer, open_history
from history_service.blobs.base import BlobStore
from history_service.blobs.filesystem import FolderBlobs
from history_service.media_keys import MARKER
from history_service.settings import HistorySettings
from history_service.stores.base import MessageStore
from history_service.stores.sqlite import SqliteStore
from servicekit.clock import Now, utc_now
from tests.support.exchanges import exchange

MSGPACK = {"content-type": "application/msgpack"}

VOICE = Request(RequestKind.VOICE, b"an MP3 from the client" * 1000)
VIDEO = Request(RequestKind.VIDEO, b"an MP4 from the client" * 1000)
SPOKEN = Response(ResponseKind.VOICE, "a reply, spoken", voice=random.Random(1).randbytes(600_000))
SHOWN = Response(ResponseKind.VIDEO, "a reply, shown", voice=b"an MP3", image=b"a JPEG" * 500)


class Moody:
    """Stands before a real store, and fails while it is told to."""

    def __init__(self, real: MessageStore | BlobStore, failure: type[Exception] | None = None) -> None:
        self._real = real
        self.failure = failure
        self.failures = 0

    def __getattr__(self, name: str) -> Any:
        if self.failure is not None and name != "close":
            self.failures += 1
            raise self.failure("it is out of order: secret-host:1234")
        return getattr(self._real, name)


@dataclass
class Pod:
    """A running pod."""

    history: HistoryServer
    http: httpx2.AsyncClient
    metrics: httpx2.AsyncClient
    store: Moody
    blobs: Moody
    folder: Path

    async def wait_until_ready(self) -> None:
        async with asyncio.timeout(60):
            while (await self.http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - a probe can only ask
                await asyncio.sleep(0.01)

    async def post(self, *records: Exchange | bytes, **headers: str) -> httpx2.Response:
        """Hand in a batch."""
        return await post_batch(self.http, *records, **headers)

    async def ingest(self, *records: Exchange | bytes) -> list[str]:
        """Hand in a batch, and return what became of each exchange."""
        answer = await self.post(*records)
        assert answer.status_code == 200, answer.text
        return [result["outcome"] for result in answer.json()["results"]]

    async def json(self, path: str, **query: str | int) -> Any:
        """Get what is there."""
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def metric(self, name: str) -> float:
        """Return a metric that is named with its labels, 0 when nothing was counted."""
        lines = (await self.metrics.get("/metrics")).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), 0.0)

    def files(self) -> dict[str, bytes]:
        """Return the media that are kept, by key."""
        folder = self.folder / "media"
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return {key: content for key, content in found.items() if key != MARKER}


async def post_batch(http: httpx2.AsyncClient, *records: Exchange | bytes, **headers: str) -> httpx2.Response:
    """Hand in a batch."""
    encoded = [encode_exchange(one) if isinstance(one, Exchange) else one for one in records]
    return await http.post("/v1/exchanges", content=encode_batch(encoded), headers={**MSGPACK, **headers})


@asynccontextmanager
async def open_pod(
    folder: Path,
    *,
    now: Now = utc_now,
    store_failure: type[Exception] | None = None,
    blobs_failure: type[Exception] | None = None,
    **settings: Any,
) -> AsyncIterator[Pod]:
    """Open a pod; it is ready unless one of its stores is to fail from the beginning."""
    store = Moody(SqliteStore(folder / "messages.sqlite"), store_failure)
    blobs = Moody(FolderBlobs(folder / "media"), blobs_failure)
    async with (
        open_history(
            HistorySettings(data_dir=folder, **settings),
            store=cast("MessageStore", store),
            blobs=cast("BlobStore", blobs),
            now=now,
        ) as history,
        client(history.app) as http,
        client(history.metrics_app) as metrics,
    ):
        pod = Pod(history, http, metrics, store, blobs, folder)
        if store_failure is None and blobs_failure is None:
            await pod.wait_until_ready()
        yield pod


def client(app: Any) -> httpx2.AsyncClient:
    """Return a client of an ASGI application."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://history")


def rich_exchange(**more: Any) -> Exchange:
    """An exchange with media on both sides: a video, answered by text, voice and picture."""
    return exchange(request=VIDEO, response=SHOWN, **more)


def check_problem(answer: httpx2.Response, status: int, code: str, *, detail: str | None = None) -> dict[str, Any]:
    """Check that an answer is a problem as RFC 9457 has it, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "code"} <= set(body)
    assert (body["type"], body["status"], body["code"]) == (f"urn:chatbot:problem:{code}", status, code)
    if detail is not None:
        assert detail in body["detail"]
    return body


def message_id(of: Exchange | UUID, direction: str) -> str:
    """Return the id of a message of an exchange."""
    return f"{of.id if isinstance(of, Exchange) else of}.{direction}"
