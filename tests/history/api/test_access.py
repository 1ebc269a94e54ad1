"""Who may do what, with tokens."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import jwt
import pytest
from starlette.requests import Request

from history_service.api.parameters import query_limit
from history_service.stores.base import StoreUnavailable
from servicekit.problems import Problem
from servicekit.tokens import INGEST_SCOPE, mint
from tests.history.pod import SHOWN, Pod, check_problem, open_pod
from tests.support.exchanges import SESSION, exchange

SECRET = "a secret of at least thirty-two bytes"
OLD_SECRET = "the secret that was used until today"
STRANGE_SECRET = "a secret that this server never had"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEPT = exchange(response=SHOWN)

OF_A_CLIENT = {
    "sessions": "/v1/clients/anna/sessions",
    "session": f"/v1/sessions/{SESSION}",
    "messages": f"/v1/sessions/{SESSION}/messages",
    "arrivals": f"/v1/sessions/{SESSION}/arrivals",
    "message": f"/v1/messages/{KEPT.id}.reply",
    "media": f"/v1/messages/{KEPT.id}.reply/media/image",
}
PATHS = [pytest.param(path, id=name) for name, path in OF_A_CLIENT.items()]


def token(
    subject: str = "anna",
    *,
    secret: str = SECRET,
    audience: str = "chatbot",
    scope: str | None = None,
    age: timedelta = timedelta(),
) -> str:
    """A token that was made some time ago, for an hour."""
    return mint(
        secret, subject=subject, audience=audience, lifetime=timedelta(hours=1), scope=scope, now=lambda: NOW - age
    )


SERVICE = token("chat", scope=INGEST_SCOPE)
FORGED = f"{token('anna').rpartition('.')[0]}.{token('ben').rpartition('.')[2]}"

BAD_TOKENS = [
    pytest.param(None, "token_missing", id="none"),
    pytest.param("Bearer", "token_malformed", id="empty"),
    pytest.param("Basic YW5uYTphbm5h", "token_malformed", id="another scheme"),
    pytest.param("Bearer one two", "token_malformed", id="two words"),
    pytest.param("Bearer garbled", "token_malformed", id="garbled"),
    pytest.param(f"Bearer {token().rpartition('.')[0]}", "token_malformed", id="cut off"),
    pytest.param(f"Bearer {FORGED}", "token_invalid", id="forged"),
    pytest.param(f"Bearer {'x' * 9000}", "token_malformed", id="too long"),
    pytest.param(f"Bearer {token(age=timedelta(hours=2))}", "token_expired", id="expired"),
    pytest.param(f"Bearer {token(secret=STRANGE_SECRET)}", "token_invalid", id="signed by another"),
    pytest.param(f"Bearer {token(audience='elsewhere')}", "token_invalid", id="meant for another"),
    pytest.param(f"Bearer {jwt.encode({'sub': 'anna'}, '', 'none')}", "token_invalid", id="not signed"),
]


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that asks for tokens, with an exchange of anna's."""
    async with open_pod(
        tmp_path / "data", now=lambda: NOW, auth="jwt", token_secrets=f"{SECRET},{OLD_SECRET}"
    ) as opened:
        answer = await opened.post(KEPT, Authorization=f"Bearer {SERVICE}")
        assert answer.json()["results"][0]["outcome"] == "stored"
        yield opened


async def get(pod: Pod, path: str, bearer: str) -> httpx2.Response:
    return await pod.http.get(path, headers={"authorization": f"Bearer {bearer}"})


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_reads_what_is_its_own(pod: Pod, path: str) -> None:
    assert (await get(pod, path, token("anna"))).status_code == 200


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
async def test_both_secrets_count_while_one_replaces_the_other(pod: Pod, secret: str) -> None:
    assert (await get(pod, OF_A_CLIENT["session"], token(secret=secret))).status_code == 200


@pytest.mark.parametrize("bearer", [token("ben"), SERVICE], ids=["another client", "a service"])
@pytest.mark.parametrize("path", PATHS)
async def test_nobody_else_does_or_learns_that_it_is_there(pod: Pod, path: str, bearer: str) -> None:
    answer = await get(pod, path, bearer)
    if path == OF_A_CLIENT["sessions"]:
        check_problem(answer, 403, "access_denied")
        return
    problem = check_problem(answer, 404, "session_unknown" if "/sessions/" in path else "message_unknown")
    absent = path.replace(str(SESSION), str(KEPT.id)).replace(f"{KEPT.id}.reply", f"{SESSION}.reply")
    assert absent != path
    assert (await get(pod, absent, bearer)).json() == problem


@pytest.mark.parametrize(("authorization", "code"), BAD_TOKENS)
@pytest.mark.parametrize("path", PATHS)
async def test_without_a_good_token_nothing_is_read(pod: Pod, path: str, authorization: str | None, code: str) -> None:
    answer = await pod.http.get(path, headers={"authorization": authorization} if authorization else {})
    check_problem(answer, 401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("authorization", "code"), BAD_TOKENS)
async def test_without_a_good_token_nothing_is_handed_in(pod: Pod, authorization: str | None, code: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    check_problem(await pod.post(exchange("smuggled"), **headers), 401, code)
    page = (await get(pod, OF_A_CLIENT["messages"], token())).json()
    assert len(page["messages"]) == 2


async def test_a_client_hands_nothing_in(pod: Pod) -> None:
    answer = await pod.post(exchange("smuggled"), Authorization=f"Bearer {token('anna')}")
    check_problem(answer, 403, "access_denied", detail=INGEST_SCOPE)


async def test_a_token_is_never_taken_from_the_address(pod: Pod) -> None:
    for name in ("token", "access_token", "authorization"):
        answer = await pod.http.get(OF_A_CLIENT["session"], params={name: token()})
        check_problem(answer, 401, "token_missing")


async def test_who_asks_is_checked_before_a_store_is_asked(pod: Pod) -> None:
    pod.store.failure = StoreUnavailable
    for path in OF_A_CLIENT.values():
        check_problem(await pod.http.get(path), 401, "token_missing")
        expected = (403, "access_denied") if path == OF_A_CLIENT["sessions"] else (503, "store_unavailable")
        check_problem(await get(pod, path, token("ben")), *expected)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_token(pod: Pod, path: str) -> None:
    assert (await pod.http.get(path)).status_code == 200


@pytest.mark.parametrize(("query", "limit"), [("", 50), ("limit=1", 1), ("limit=200", 200)])
def test_a_page_has_as_many_items_as_asked_for_and_fifty_by_default(query: str, limit: int) -> None:
    assert query_limit(request_of(query)) == limit


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=20000", "limit=-1", "limit=", "limit=x"])
def test_a_page_has_no_more_than_two_hundred_items(query: str) -> None:
    with pytest.raises(Problem, match="from 1 to 200"):
        query_limit(request_of(query))


def request_of(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})
