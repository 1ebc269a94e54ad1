"""The last messages of a session, for a bot that goes on with it: a token for that opens it, and nothing else."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from frameproto.history import MAX_LIMIT
from history_service.api.context import MAX_TEXT_BYTES
from servicekit.tokens import CONTEXT_SCOPE, INGEST_SCOPE, mint
from tests.history.pod import VOICE, Pod, check_problem, open_pod
from tests.support.exchanges import MORNING, SESSION, exchange

SECRET = "a secret of at least thirty-two bytes"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PATH = f"/v1/clients/anna/sessions/{SESSION}/context"


def bearer(subject: str, scope: str | None = None) -> dict[str, str]:
    lifetime = timedelta(hours=1)
    token = mint(SECRET, subject=subject, audience="chatbot", lifetime=lifetime, scope=scope, now=lambda: NOW)
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that asks for tokens, with an exchange of anna's."""
    async with open_pod(tmp_path / "data", now=lambda: NOW, auth="jwt", token_secrets=SECRET) as opened:
        assert (await opened.post(exchange(), **bearer("chat", INGEST_SCOPE))).status_code == 200
        yield opened


async def context(pod: Pod, path: str = PATH, **query: int) -> list[tuple[str, str | None]]:
    return [(each["direction"], each["text"]) for each in (await pod.json(path, **query))["messages"]]


async def test_it_has_the_newest_messages_of_both_sides_oldest_first(pod: Pod) -> None:
    assert await pod.ingest(*(exchange(f"{n}", at=MORNING + timedelta(minutes=n)) for n in range(4))) == ["stored"] * 4
    assert await context(pod, limit=3) == [("reply", "you said 2"), ("request", "3"), ("reply", "you said 3")]
    assert len(await context(pod)) == 8


async def test_a_message_is_told_by_kind_text_and_time_alone(pod: Pod) -> None:
    await pod.ingest(exchange(request=VOICE, transcript="good morning"))
    first = (await pod.json(PATH))["messages"][0]
    expected = {"direction": "request", "kind": "voice", "text": "good morning", "transcribed": True}
    assert first == {**expected, "sent_at": MORNING.isoformat()}


async def test_a_session_that_another_client_used_first_is_found_by_the_id_that_its_client_knows(pod: Pod) -> None:
    await pod.ingest(exchange("mine"), exchange("theirs", client_id="ben"))
    assert ("request", "theirs") in await context(pod, PATH.replace("anna", "ben"))
    assert ("request", "mine") in await context(pod)


async def test_a_session_of_another_client_is_unknown(pod: Pod) -> None:
    await pod.ingest(exchange())
    check_problem(await pod.http.get(PATH.replace("anna", "ben")), 404, "session_unknown")


async def test_deleted_messages_are_not_in_it(pod: Pod) -> None:
    one, other = exchange("one"), exchange("other", at=MORNING + timedelta(minutes=1))
    await pod.ingest(one, other)
    assert (await pod.http.delete(f"/v1/messages/{other.id}.reply")).status_code == 204
    assert await context(pod, limit=2) == [("reply", "you said one"), ("request", "other")]


async def test_the_texts_have_a_limit_of_bytes_and_the_newest_stay(pod: Pod) -> None:
    text = "é" * (MAX_TEXT_BYTES // 8)
    await pod.ingest(*(exchange(f"{n}{text}", at=MORNING + timedelta(minutes=n)) for n in range(6)))
    told = await context(pod)
    assert sum(len((content or "").encode()) for _, content in told) <= MAX_TEXT_BYTES
    assert told[-2][1] == f"5{text}"
    assert len(told) < 12


@pytest.mark.parametrize("limit", ["0", str(MAX_LIMIT + 1), "x"])
async def test_its_limit_is_that_of_pages(pod: Pod, limit: str) -> None:
    check_problem(await pod.http.get(PATH, params={"limit": limit}), 400, "limit_malformed")


async def read(pod: Pod, path: str, subject: str, scope: str | None) -> httpx2.Response:
    return await pod.http.get(path, headers=bearer(subject, scope))


@pytest.mark.parametrize("scope", [CONTEXT_SCOPE, f"{INGEST_SCOPE} {CONTEXT_SCOPE}"])
async def test_a_token_for_that_opens_it(guarded: Pod, scope: str) -> None:
    answer = await read(guarded, PATH, "chat", scope)
    assert (answer.status_code, len(answer.json()["messages"])) == (200, 2)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("subject", "scope"), [("anna", None), ("chat", INGEST_SCOPE), ("ben", None)])
async def test_no_other_token_does(guarded: Pod, subject: str, scope: str | None) -> None:
    check_problem(await read(guarded, PATH, subject, scope), 403, "access_denied", detail=CONTEXT_SCOPE)
    check_problem(await guarded.http.get(PATH), 401, "token_missing")


@pytest.mark.parametrize("subject", ["chat", "anna"])
async def test_a_token_for_that_opens_nothing_else(guarded: Pod, subject: str) -> None:
    denied = {"/v1/clients/anna/sessions", "/v1/clients/anna/search?q=hello", "/v1/clients/anna/export"}
    for path in denied:
        check_problem(await read(guarded, path, subject, CONTEXT_SCOPE), 403, "access_denied")
    for path in (f"/v1/sessions/{SESSION}", f"/v1/sessions/{SESSION}/messages", f"/v1/sessions/{SESSION}/arrivals"):
        check_problem(await read(guarded, path, subject, CONTEXT_SCOPE), 404, "session_unknown")
    erased = await guarded.http.delete("/v1/clients/anna", headers=bearer(subject, CONTEXT_SCOPE))
    check_problem(erased, 403, "access_denied")
    check_problem(await guarded.post(exchange(), **bearer(subject, CONTEXT_SCOPE)), 403, "access_denied")
