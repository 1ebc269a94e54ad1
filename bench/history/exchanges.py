"""Exchanges to hand in."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import aiohttp

from bench.history.servers import Pod
from frameproto import Request, RequestKind, Response, ResponseKind, encode_request, encode_response
from frameproto.exchange import Exchange, encode_batch, encode_exchange
from frameproto.kinds import Outcome
from servicekit.uuid7 import uuid7

SESSIONS = 20
"""A batch is of so many sessions, each of another client."""
ASKED = "Could you tell me, please, what time it is where I am? I am on a train and have lost track of it."
SAID = "It is 04:44 where you are (Europe/Berlin). You have asked me that before, and I did not mind at all."
HEADERS = {"Content-Type": "application/msgpack"}
READY_SECONDS = 60.0


def make_batch(size: int, *, media: bytes = b"") -> list[Exchange]:
    """Return exchanges of now, of texts, or of a video with these bytes."""
    sessions = [(uuid4(), f"client-{uuid4().hex[:8]}") for _ in range(min(SESSIONS, size))]
    return [_exchange(*sessions[number % len(sessions)], number, media) for number in range(size)]


def encode(exchanges: Sequence[Exchange]) -> bytes:
    """Return a batch as it is handed in."""
    return encode_batch([encode_exchange(one) for one in exchanges])


async def ingest(http: aiohttp.ClientSession, pod: Pod, body: bytes) -> None:
    """Hand a batch in; each of it must be stored."""
    async with http.post(f"{pod.url}/v1/exchanges", data=body, headers=HEADERS) as answer:
        results = (await answer.json())["results"]
    assert all(result["outcome"] == "stored" for result in results), results[:3]


async def wait_until_ready(http: aiohttp.ClientSession, pod: Pod) -> None:
    """Wait until a pod has reached its stores."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        async with http.get(f"{pod.url}/readyz") as answer:
            if answer.ok:
                return
    raise TimeoutError(f"the pod is not ready; see {pod.service.log}")


def _exchange(session: UUID, client: str, number: int, media: bytes) -> Exchange:
    now = datetime.now(UTC)
    asked = Request(RequestKind.VIDEO, media) if media else Request(RequestKind.TEXT, f"{number} {ASKED}".encode())
    return Exchange(
        id=uuid7(now),
        session_id=session,
        client_id=client,
        time_zone="Europe/Berlin",
        received_at=now,
        answered_at=now,
        outcome=Outcome.ANSWERED,
        request=encode_request(asked),
        response=encode_response(Response(ResponseKind.TEXT, f"{number} {SAID}")),
    )
