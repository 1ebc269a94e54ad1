"""The answer to a message that is sent again: its frame as it was, claimed for the attempt that asks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from frameproto import Response, ResponseKind
from frameproto.exchange import MAX_ATTEMPT, Exchange
from history_service.blobs.base import BlobsUnavailable
from history_service.stores.base import StoreUnavailable
from servicekit.tokens import CONTEXT_SCOPE, INGEST_SCOPE, mint
from tests.history.pod import SHOWN, SPOKEN, VIDEO, Pod, check_problem, open_pod
from tests.support.exchanges import SESSION, exchange

SECRET = "a secret of at least thirty-two bytes"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MESSAGE = UUID("0197b0c8-0000-7000-8000-00000000000b")
FAILED = Response(ResponseKind.ERROR, "internal: our fault")


def attempt(ticket: int, response: Response | None = None, **more: Any) -> Exchange:
    """An answer to the message by the attempt of this ticket."""
    response = response or Response(ResponseKind.TEXT, f"answer {ticket}")
    return exchange(response=response, message_id=more.pop("message_id", MESSAGE), attempt=ticket, **more)


async def ask(pod: Pod, ticket: int | str = 9, message: object = MESSAGE, client: str = "anna", **headers: str) -> Any:
    path = f"/v1/clients/{client}/answers/{message}"
    return await pod.http.post(path, params={"attempt": ticket}, headers=headers)


async def texts(pod: Pod) -> list[str]:
    return [each["text"] for each in (await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"]]


@pytest.mark.parametrize(
    "response",
    [Response(ResponseKind.TEXT, 'Grüße, "你好" 🎉\n'), SPOKEN, SHOWN, FAILED],
    ids=lambda response: response.kind.name,
)
async def test_the_frame_is_what_the_client_would_have_got(pod: Pod, response: Response) -> None:
    one = attempt(1, response)
    await pod.ingest(one)
    answer = await ask(pod)
    assert answer.status_code == 200
    assert answer.content == one.response
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-length"] == str(len(one.response))
    assert answer.headers["cache-control"] == "no-store"


async def test_an_answer_that_is_claimed_is_not_replaced_by_one_of_an_attempt_before(pod: Pod) -> None:
    await pod.ingest(attempt(1))
    assert (await ask(pod, 3)).content[9:] == b"answer 1"
    assert await pod.ingest(attempt(2)) == ["superseded"]
    assert await texts(pod) == ["hello", "answer 1"]
    assert await pod.ingest(attempt(4)) == ["stored"]
    assert await texts(pod) == ["hello", "answer 4"]
    assert (await ask(pod, 3)).content[9:] == b"answer 4"  # asked for again, it is what history has


async def test_an_answer_of_the_very_attempt_that_claimed_counts_more(pod: Pod) -> None:
    await pod.ingest(attempt(1))
    await ask(pod, 3)
    assert await pod.ingest(attempt(3)) == ["stored"]
    assert await texts(pod) == ["hello", "answer 3"]


async def test_claims_and_deliveries_at_once_agree(pod: Pod) -> None:
    for _ in range(10):
        message = uuid4()
        await pod.ingest(attempt(1, message_id=message))
        asked, *_ = await asyncio.gather(
            ask(pod, 9, message), *(pod.ingest(attempt(ticket, message_id=message)) for ticket in (2, 3, 4))
        )
        assert (await ask(pod, 9, message)).content == asked.content


async def test_the_answer_is_found_by_its_client_alone(pod: Pod) -> None:
    await pod.ingest(attempt(1))
    check_problem(await ask(pod, client="ben"), 404, "answer_unknown")
    check_problem(await ask(pod, message=uuid4()), 404, "answer_unknown")
    check_problem(await ask(pod, message=UUID(int=0)), 404, "answer_unknown")


@pytest.mark.parametrize("lost", ["reply", "media", "session", "client"])
async def test_an_answer_that_was_deleted_is_not_there(pod: Pod, lost: str) -> None:
    one = attempt(1, SHOWN)
    await pod.ingest(one)
    if lost == "media":
        next(pod.folder.rglob("reply.jpg")).unlink()
    else:
        path = {"reply": f"messages/{one.id}.reply", "session": f"sessions/{SESSION}", "client": "clients/anna"}[lost]
        assert (await pod.http.delete(f"/v1/{path}")).status_code == 204
    check_problem(await ask(pod, 5), 404, "answer_unknown")
    if lost == "media":  # and it is not claimed
        assert await pod.ingest(attempt(2)) == ["stored"]


@pytest.mark.parametrize("bad", ["", "-1", "1.0", "x", "٣", str(MAX_ATTEMPT + 1), "1" * 20])
async def test_a_bad_attempt_is_refused(pod: Pod, bad: str) -> None:
    check_problem(await ask(pod, bad), 400, "attempt_malformed")


async def test_other_bad_parameters_are_refused(pod: Pod) -> None:
    check_problem(await ask(pod, message="7"), 400, "message_id_malformed")
    check_problem(await ask(pod, client="-"), 400, "client_id_malformed")
    assert (await ask(pod, MAX_ATTEMPT)).status_code == 404


async def test_stores_that_are_away_are_told_of(pod: Pod) -> None:
    await pod.ingest(attempt(1, SHOWN))
    pod.blobs.failure = BlobsUnavailable
    check_problem(await ask(pod), 503, "store_unavailable")
    pod.store.failure = StoreUnavailable
    check_problem(await ask(pod), 503, "store_unavailable")


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that asks for tokens, with an answer of anna's."""
    async with open_pod(tmp_path / "data", now=lambda: NOW, auth="jwt", token_secrets=SECRET) as opened:
        assert (await opened.post(attempt(1), **bearer("chat", INGEST_SCOPE))).status_code == 200
        yield opened


def bearer(subject: str, scope: str | None = None) -> dict[str, str]:
    lifetime = timedelta(hours=1)
    token = mint(SECRET, subject=subject, audience="chatbot", lifetime=lifetime, scope=scope, now=lambda: NOW)
    return {"authorization": f"Bearer {token}"}


async def test_a_token_for_contexts_opens_it_and_no_other(guarded: Pod) -> None:
    assert (await ask(guarded, **bearer("chat", CONTEXT_SCOPE))).status_code == 200
    check_problem(await ask(guarded, **bearer("anna")), 403, "access_denied")
    check_problem(await ask(guarded, **bearer("chat", INGEST_SCOPE)), 403, "access_denied")
    check_problem(await ask(guarded), 401, "token_missing")


async def test_messages_show_what_their_client_calls_them(pod: Pod) -> None:
    await pod.ingest(attempt(1, request=VIDEO), exchange("over v1"))
    shown = (await pod.json(f"/v1/sessions/{SESSION}/messages"))["messages"]
    assert [each["message_id"] for each in shown] == [str(MESSAGE), str(MESSAGE), None, None]
    (found,) = (await pod.json("/v1/clients/anna/search", q="answer"))["messages"]
    assert found["message_id"] == str(MESSAGE)
    lines = (await pod.http.get("/v1/clients/anna/export")).text.splitlines()
    assert sum(f'"message_id": "{MESSAGE}"' in line for line in lines) == 2
