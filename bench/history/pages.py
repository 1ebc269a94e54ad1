"""How long a page takes in a small history, in a large one, and from a long session."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from bench.history.exchanges import encode, ingest, make_batch, wait_until_ready
from bench.history.servers import Servers
from bench.history.terms import HistoryTerms, Step
from bench.samples import Sample
from servicekit.uuid7 import uuid7

SESSION_MESSAGES = 1000
"""How many messages a session has, except the long one."""
PAGE = 50
READ_SESSIONS = 40
"""Pages are asked of so many sessions, spread over all, again and again: of what people look at now."""
INSERT = 5000


@dataclass(frozen=True, slots=True)
class Pages:
    """What pages took in one history.

    Attributes:
        messages: how many there are.
        session_messages: how many each session has.
        milliseconds: one page, the usual one of each repetition.
    """

    messages: int
    session_messages: int
    milliseconds: Sample


async def measure(servers: Servers, terms: HistoryTerms, step: Step) -> list[Pages]:
    """Fill the histories, and ask them for pages in turns."""
    histories = _histories(terms)
    pods = {history: servers.pod(f"pages-{history[0]}-{history[1]}") for history in histories}
    urls: dict[tuple[int, int], list[str]] = {}
    found: dict[tuple[int, int], list[float]] = {history: [] for history in histories}
    async with aiohttp.ClientSession() as http:
        for history, pod in pods.items():
            await wait_until_ready(http, pod)
            await ingest(http, pod, encode(make_batch(1)))
            sessions = await asyncio.to_thread(fill, servers.mongodb_url, pod.database, *history, step)
            chosen = islice(cycle(sessions[:: max(1, len(sessions) // READ_SESSIONS)]), READ_SESSIONS)
            urls[history] = [f"{pod.url}/v1/sessions/{session}/messages" for session in chosen]
        for _ in range(terms.repeats):
            for turn in range(1 + max(1, terms.pages // READ_SESSIONS)):
                for history in histories:  # in turns, so that a slow moment of the machine hits all
                    times = sorted([await _page(http, url) for url in urls[history]])
                    if turn:  # in the first one the store had to fetch them
                        found[history].append(times[len(times) // 2] * 1000)
            step("pages from all", 1)
    return [Pages(*history, Sample(tuple(found[history]))) for history in histories]


def steps(terms: HistoryTerms) -> int:
    """Return how many steps that is."""
    return sum(messages // 2 for messages, _ in _histories(terms)) + terms.repeats


def _histories(terms: HistoryTerms) -> list[tuple[int, int]]:
    """Return of each history how many messages it has, and each of its sessions."""
    return [
        (terms.few_messages, SESSION_MESSAGES),
        (terms.many_messages, SESSION_MESSAGES),
        (terms.long_messages, terms.long_messages),
    ]


async def _page(http: aiohttp.ClientSession, url: str) -> float:
    began = time.perf_counter()
    async with http.get(url, params={"limit": PAGE}) as answer:
        body = await answer.json()
    assert len(body["messages"]) == PAGE, body
    return time.perf_counter() - began


def fill(url: str, name: str, messages: int, session_messages: int, step: Step) -> list[UUID]:
    """Put messages into a database, made after the one exchange and session that are there; return the sessions."""
    options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
    with MongoClient[dict[str, Any]](url, w=1) as client:
        database = client.get_database(name, codec_options=options)
        exchange, session = database["exchanges"].find_one(), database["sessions"].find_one()
        assert exchange is not None
        assert session is not None
        sessions = [
            {**session, "_id": uuid4(), "client_id": f"client-{number % 1000}"}
            for number in range(messages // session_messages)
        ]
        database["sessions"].insert_many(sessions)
        fresh = (
            each
            for number, of in enumerate(sessions)
            for each in _exchanges(exchange, of, number, session_messages // 2)
        )
        while pending := list(islice(fresh, INSERT)):
            database["exchanges"].insert_many(pending, ordered=False)
            step(f"filling {messages:,} messages", len(pending))
    return [each["_id"] for each in sessions]


def _exchanges(
    model: dict[str, Any], session: dict[str, Any], number: int, session_exchanges: int
) -> Iterator[dict[str, Any]]:
    began = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=20 * number)
    facts = {"client_id": session["client_id"], "session_id": session["_id"]}
    for second in range(session_exchanges):
        yield {**model, **facts, "_id": uuid7(began + timedelta(seconds=second))}
