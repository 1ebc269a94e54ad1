"""Relays that deliver the same exchanges at the same time: each is kept once, its media whole, in every store."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from devtools.swift import S3
from frameproto import Request, RequestKind, Response, ResponseKind
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from history_service.app import open_history
from history_service.settings import HistorySettings
from tests.history.pod import MSGPACK, client
from tests.support.exchanges import exchange

RELAYS = 4
NOISE = random.Random(5)


@pytest.fixture(params=["sqlite and folder", "mongodb and s3"])
async def pods(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """One pod on an SQLite file, or two that share a database and a bucket."""
    settings: dict[str, Any] = {"data_dir": tmp_path}
    if request.param == "mongodb and s3":
        s3: S3 = request.getfixturevalue("s3")
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        settings |= {
            "mongodb_url": request.getfixturevalue("mongodb_url"),
            "mongodb_database": f"test_{uuid4().hex}",
            "s3_bucket": f"test-{uuid4().hex}",
            "s3_endpoint_url": s3.endpoint_url,
            "s3_create_bucket": True,
        }
    async with AsyncExitStack() as running:
        opened = []
        for _ in range(2 if "s3_bucket" in settings else 1):
            history = await running.enter_async_context(open_history(HistorySettings(**settings)))
            http = await running.enter_async_context(client(history.app))
            async with asyncio.timeout(60):
                while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - a probe can only ask
                    await asyncio.sleep(0.01)
            opened.append(http)
        yield opened


def spoken(number: int) -> Exchange:
    """An exchange with media of its own on both sides."""
    video = Response(ResponseKind.VIDEO, f"reply {number}", voice=NOISE.randbytes(5000), image=NOISE.randbytes(3000))
    return exchange(
        client_id="anna" if number % 2 else "ben",
        request=Request(RequestKind.VOICE, NOISE.randbytes(20_000)),
        response=video,
    )


async def test_delivered_by_several_at_once_each_exchange_is_kept_once_with_its_media(
    pods: list[httpx2.AsyncClient],
) -> None:
    exchanges = [spoken(number) for number in range(8)] + [exchange(f"text {number}") for number in range(40)]

    async def deliver(number: int) -> list[tuple[str, str]]:
        order = random.Random(number).sample(exchanges, len(exchanges))
        body = encode_batch([encode_exchange(one) for one in order])
        answer = await pods[number % len(pods)].post("/v1/exchanges", content=body, headers=MSGPACK)
        assert answer.status_code == 200, answer.text
        return [(result["id"], result["outcome"]) for result in answer.json()["results"]]

    answers = await asyncio.gather(*(deliver(number) for number in range(RELAYS)))
    found = Counter(result for answer in answers for result in answer)
    for one in exchanges:
        assert (found[str(one.id), "stored"], found[str(one.id), "duplicate"]) == (1, RELAYS - 1)
    assert await kept(pods[0]) == sorted(str(one.id) for one in exchanges)
    for one in exchanges[:8]:
        assert await media(pods[-1], one, "request", "voice") == bytes(one.request)[1:]
        reply = bytes(one.response)
        assert (
            await media(pods[-1], one, "reply", "voice") + await media(pods[0], one, "reply", "image") == reply[-8000:]
        )


async def kept(http: httpx2.AsyncClient) -> list[str]:
    """Return the ids of all exchanges that are kept."""
    ids = []
    for who in ("anna", "ben"):
        (session,) = (await http.get(f"/v1/clients/{who}/sessions")).json()["sessions"]
        page = (await http.get(f"/v1/sessions/{session['id']}/messages", params={"limit": 200})).json()
        assert session["message_count"] == len(page["messages"])
        ids += [message["id"].removesuffix(".request") for message in page["messages"] if ".request" in message["id"]]
    return sorted(ids)


async def media(http: httpx2.AsyncClient, one: Exchange, side: str, part: str) -> bytes:
    answer = await http.get(f"/v1/messages/{one.id}.{side}/media/{part}")
    assert answer.status_code == 200, answer.text
    return answer.content
