"""How fast media come out of history, beside the bare S3 client, and how much memory that takes."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp

from bench.history.exchanges import encode, ingest, make_batch, wait_until_ready
from bench.history.servers import BUCKET, Pod, Servers
from bench.history.terms import MIB, HistoryTerms, Step
from bench.samples import Sample
from history_service.media_keys import MARKER

OURS = "GET /v1/messages/…/media"
BARE = "get_object"
AT_ONCE = (1, 4)
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Stream:
    """How fast one contender was.

    Attributes:
        contender: its name.
        at_once: how many downloads at the same time.
        mib_per_second: of all of them together.
    """

    contender: str
    at_once: int
    mib_per_second: Sample


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a pod needed while a crowd downloaded.

    Attributes:
        at_once: how many downloads at the same time.
        before_mib: what it had.
        peak_mib: the most that it had meanwhile.
    """

    at_once: int
    before_mib: float
    peak_mib: float


async def measure(servers: Servers, terms: HistoryTerms, step: Step) -> tuple[list[Stream], MemoryUse]:
    """Measure both contenders, one download at a time and several; then look at memory."""
    pod = servers.pod("media", media=True)
    (video,) = make_batch(1, media=random.Random(1).randbytes(terms.media_bytes))  # noqa: S311 - only to fill it
    speeds: dict[tuple[str, int], list[float]] = {}
    s3 = servers.s3
    session = aioboto3.Session(s3.access_key, s3.secret_key, region_name="us-east-1")
    async with aiohttp.ClientSession() as http, session.client("s3", endpoint_url=s3.endpoint_url) as client:
        await wait_until_ready(http, pod)
        await ingest(http, pod, encode([video]))
        kept = (await client.list_objects_v2(Bucket=BUCKET))["Contents"]
        (item,) = (each for each in kept if each["Key"] != MARKER)  # the pod claims the bucket at some time
        url = f"{pod.url}/v1/messages/{video.id}.request/media/video"
        contenders: dict[str, Callable[[], Awaitable[int]]] = {
            OURS: lambda: _over_http(http, url),
            BARE: lambda: _bare(client, item["Key"]),
        }
        for _ in range(terms.repeats):
            for at_once in AT_ONCE:
                for name, download in contenders.items():
                    speed = await _timed(terms, at_once, download)
                    speeds.setdefault((name, at_once), []).append(speed)
                    step(f"{name}, {at_once} at once", 1)
        fresh = servers.pod("media", media=True)  # one that has not grown already
        await wait_until_ready(http, fresh)
        video_url = url.replace(pod.url, fresh.url)
        memory = await _memory(fresh, terms.crowd, lambda: _over_http(http, video_url))
    return [Stream(name, at_once, Sample(tuple(found))) for (name, at_once), found in speeds.items()], memory


async def _over_http(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        assert answer.ok, answer.status
        return sum([len(chunk) async for chunk in answer.content.iter_chunked(CHUNK_BYTES)])


async def _bare(client: Any, key: str) -> int:  # noqa: ANN401 - botocore makes its clients at run time
    answer = await client.get_object(Bucket=BUCKET, Key=key)
    async with answer["Body"] as body:
        return sum([len(chunk) async for chunk in body.content.iter_chunked(CHUNK_BYTES)])


async def _timed(terms: HistoryTerms, at_once: int, download: Callable[[], Awaitable[int]]) -> float:
    left = iter(range(terms.downloads))

    async def client() -> int:
        return sum([await download() for _ in left])

    began = time.perf_counter()
    got = sum(await asyncio.gather(*(client() for _ in range(at_once))))
    assert got == terms.downloads * terms.media_bytes, got
    return got / MIB / (time.perf_counter() - began)


async def _memory(pod: Pod, crowd: int, download: Callable[[], Awaitable[int]]) -> MemoryUse:
    (pod.status / "clear_refs").write_text("5")  # forget the highest value so far
    before = _status_mib(pod.status, "VmRSS")
    await asyncio.gather(*(download() for _ in range(crowd)))
    return MemoryUse(crowd, before, _status_mib(pod.status, "VmHWM"))


def _status_mib(process: Path, name: str) -> float:
    lines = (process / "status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
