"""Nobody but its owner changes, searches or exports what a client has."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from servicekit.tokens import INGEST_SCOPE, mint
from tests.history.pod import Pod, check_problem, open_pod, rich_exchange
from tests.support.exchanges import SESSION

SECRET = "a secret of at least thirty-two bytes"
KEPT = rich_exchange()
CHANGES = [
    pytest.param("POST", "/v1/clients/anna/sessions", 403, id="make a session"),
    pytest.param("DELETE", "/v1/clients/anna", 403, id="erase"),
    pytest.param("GET", "/v1/clients/anna/export", 403, id="export"),
    pytest.param("GET", "/v1/clients/anna/search?q=shown", 403, id="search"),
    pytest.param("PATCH", f"/v1/sessions/{SESSION}", 404, id="rename"),
    pytest.param("DELETE", f"/v1/sessions/{SESSION}", 404, id="delete a session"),
    pytest.param("DELETE", f"/v1/messages/{KEPT.id}.reply", 404, id="delete a message"),
]


def bearer(subject: str, scope: str | None = None) -> dict[str, str]:
    token = mint(SECRET, subject=subject, audience="chatbot", lifetime=timedelta(hours=1), scope=scope)
    return {"authorization": f"Bearer {token}", "content-type": "application/json"}


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that asks for tokens, with an exchange of anna's."""
    async with open_pod(tmp_path / "data", auth="jwt", token_secrets=SECRET) as opened:
        service = bearer("chat", INGEST_SCOPE)
        answer = await opened.post(KEPT, authorization=service["authorization"])
        assert answer.json()["results"][0]["outcome"] == "stored"
        yield opened


async def state(pod: Pod) -> object:
    """Return all that anna sees, and all media."""
    lines = (await pod.http.get("/v1/clients/anna/export", headers=bearer("anna"))).text
    return lines, pod.files()


@pytest.mark.parametrize(("method", "path", "status"), CHANGES)
async def test_another_client_a_service_and_nobody_change_nothing(
    pod: Pod, method: str, path: str, status: int
) -> None:
    before = await state(pod)
    # A service may be named like a client.
    for headers in (bearer("ben"), bearer("chat", INGEST_SCOPE), bearer("anna", INGEST_SCOPE)):
        answer = await pod.http.request(method, path, headers=headers, content=b'{"title": "x"}')
        code = {403: "access_denied", 404: "session_unknown" if "sessions" in path else "message_unknown"}[status]
        check_problem(answer, status, code)
    check_problem(await pod.http.request(method, path, content=b'{"title": "x"}'), 401, "token_missing")
    assert await state(pod) == before


@pytest.mark.parametrize(("method", "path", "status"), CHANGES)
async def test_the_owner_may(pod: Pod, method: str, path: str, status: int) -> None:
    answer = await pod.http.request(method, path, headers=bearer("anna"), content=b'{"title": "x"}')
    assert answer.status_code in {200, 201, 204}


async def test_the_document_tells_of_tokens(pod: Pod) -> None:
    document = await pod.json("/openapi.json")
    assert document["paths"]["/v1/clients/{client}"]["delete"]["security"] == [{"token": []}]
    assert "401" in document["paths"]["/v1/clients/{client}"]["delete"]["responses"]
