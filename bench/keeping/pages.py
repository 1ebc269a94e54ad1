"""How long a page takes in a small history, and in a large one."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from bench.keeping.exchanges import encode, hand_in, make_batch, wait_until_ready
from bench.keeping.servers import Servers
from bench.keeping.terms import Step, Terms
from bench.samples import Sample
from frameproto.uuid7 import uuid7

SESSION_EXCHANGES = 500
"""How many exchanges a session has, in either history."""
PAGE = 50
READ_SESSIONS = 40
"""Pages are asked of so many sessions, spread over all, again and again: of what people look at now."""
INSERT = 5000


@dataclass(frozen=True, slots=True)
class Pages:
    """What pages took in one history.

    Attributes:
        messages: how many there are.
        milliseconds: one page, the usual one of each repetition.
    """

    messages: int
    milliseconds: Sample


async def measure(servers: Servers, terms: Terms, step: Step) -> list[Pages]:
    """Fill two histories, and ask both for pages in turns."""
    sizes = (terms.few_messages, terms.many_messages)
    pods = {size: servers.pod(f"pages-{size}") for size in sizes}
    sessions: dict[int, list[UUID]] = {}
    found: dict[int, list[float]] = {size: [] for size in sizes}
    async with aiohttp.ClientSession() as http:
        for size, pod in pods.items():
            await wait_until_ready(http, pod)
            await hand_in(http, pod, encode(make_batch(1)))
            sessions[size] = await asyncio.to_thread(fill, servers.mongodb_url, pod.database, size, step)
        chosen = {size: of[:: max(1, len(of) // READ_SESSIONS)] for size, of in sessions.items()}
        for _ in range(terms.repeats):
            for turn in range(1 + max(1, terms.pages // READ_SESSIONS)):
                for size, pod in pods.items():  # in turns, so that a slow moment of the machine hits both
                    urls = [f"{pod.url}/v1/sessions/{session}/messages" for session in chosen[size]]
                    times = sorted([await _page(http, url) for url in urls])
                    if turn:  # in the first one the store had to fetch them
                        found[size].append(times[len(times) // 2] * 1000)
            step("pages from both", 2)
    return [Pages(size, Sample(tuple(found[size]))) for size in sizes]


async def _page(http: aiohttp.ClientSession, url: str) -> float:
    began = time.perf_counter()
    async with http.get(url, params={"limit": PAGE}) as answer:
        body = await answer.json()
    assert len(body["messages"]) == PAGE, body
    return time.perf_counter() - began


def fill(url: str, name: str, messages: int, step: Step) -> list[UUID]:
    """Put messages into a database, made after the one exchange and session that are there; return the sessions."""
    options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    ids = []
    with MongoClient[dict[str, Any]](url, w=1) as client:
        database = client.get_database(name, codec_options=options)
        exchange, session = database["exchanges"].find_one(), database["sessions"].find_one()
        assert exchange is not None
        assert session is not None
        pending: list[dict[str, Any]] = []
        for number in range(messages // 2 // SESSION_EXCHANGES):
            fresh = {**session, "_id": uuid4(), "client_id": f"client-{number % 1000}"}
            database["sessions"].insert_one(fresh)
            ids.append(fresh["_id"])
            pending += _exchanges(exchange, fresh, number)
            if len(pending) >= INSERT:
                database["exchanges"].insert_many(pending, ordered=False)
                step(f"filling {messages:,} messages", len(pending))
                pending.clear()
        if pending:
            database["exchanges"].insert_many(pending, ordered=False)
            step(f"filling {messages:,} messages", len(pending))
    return ids


def _exchanges(model: dict[str, Any], session: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    began = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=20 * number)
    facts = {"client_id": session["client_id"], "session_id": session["_id"]}
    for second in range(SESSION_EXCHANGES):
        yield {**model, **facts, "_id": uuid7(began + timedelta(seconds=second))}
