"""Attempts at what is another's: with tokens, ids, paths and addresses. All are refused, on every route there is."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import jwt
import pytest
from starlette.routing import Route

from frameproto.exchange import encode_exchange
from servicekit.runner import Address, Listener, serve
from servicekit.tokens import INGEST_SCOPE
from tests.history.pod import SHOWN, Pod, check_problem, open_pod
from tests.support.exchanges import SESSION, exchange
from tests.support.forgeries import ISSUER, SECRET, claims, forgeries

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEPT = exchange("what anna said", response=SHOWN)
BENS = exchange("what ben said", client_id="ben", session_id=UUID(int=7, version=4), response=SHOWN)
IMAGE = f"/v1/messages/{KEPT.id}.reply/media/image"

OPEN_TO_ALL = {"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/page.css", "/docs/try.js"}
"""Routes that need no token. Whatever else is not under /v1 makes a test fail, so that somebody thinks about it."""

FOR_SERVICES = {
    "/v1/exchanges",
    "/v1/clients/{client}/sessions/{session}/context",
    "/v1/clients/{client}/answers/{message}",
}

ANNAS = {"client": "anna", "session": str(SESSION), "message": f"{KEPT.id}.reply", "part": "image"}
NOBODYS = {
    "client": "nobody",
    "session": str(UUID(int=9, version=4)),
    "message": f"{UUID(int=9, version=4)}.reply",
    "part": "image",
}
QUERY = {"q": "said"}
BODY = {"title": "stolen"}

METHODS = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"]
"""What takes things away comes behind what needs them."""

OWNERS = ["{message}", "{session}", "{client}"]
"""A message goes before its session, and a session before its client."""


@dataclass(frozen=True)
class Door:
    """A method of a route."""

    method: str
    path: str

    def turn(self) -> tuple[int, int]:
        """Return when it is tried."""
        return METHODS.index(self.method), next(i for i, owner in enumerate(OWNERS) if owner in self.path)

    async def try_it(self, pod: Pod, ids: dict[str, str], authorization: str | None) -> httpx2.Response:
        try:
            path = self.path.format(**ids)
        except KeyError as exc:
            raise AssertionError(f"{self.path}: name one of anna's and one of nobody's for {exc}") from exc
        headers = {} if authorization is None else {"authorization": authorization}
        body = BODY if self.method in {"POST", "PUT", "PATCH"} else None
        return await pod.http.request(self.method, path, params=QUERY, json=body, headers=headers)


def doors(pod: Pod) -> Iterator[Door]:
    """Yield all that a client may come through: every method of every route."""
    found = []
    for route in pod.history.routes:
        if isinstance(route, Route) and route.path in OPEN_TO_ALL | FOR_SERVICES:
            continue
        assert isinstance(route, Route), f"{route} is a route of a new kind"
        assert route.path.startswith("/v1/"), f"{route.path} is neither under /v1 nor known to be open to all"
        found += [Door(method, route.path) for method in route.methods or ()]
    assert len(found) >= 11
    yield from sorted(found, key=Door.turn)


def bearer(subject: str, *, scope: str | None = None) -> str:
    return f"Bearer {jwt.encode(claims(NOON, subject, **({'scope': scope} if scope else {})), SECRET)}"


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A pod that trusts a secret and an issuer, with an exchange of anna's and one of ben's."""
    keys = tmp_path / "keys.json"
    keys.write_bytes(ISSUER.key_set())
    async with open_pod(
        tmp_path / "data", now=lambda: NOON, auth="jwt", token_secrets=SECRET, token_jwks_file=keys
    ) as opened:
        answer = await opened.post(KEPT, BENS, Authorization=bearer("chat", scope=INGEST_SCOPE))
        assert [result["outcome"] for result in answer.json()["results"]] == ["stored", "stored"]
        yield opened


async def all_of_annas(pod: Pod) -> list[Any]:
    """Return what anna finds, to see that nobody else changed it."""
    paths = [f"/v1/sessions/{SESSION}", f"/v1/sessions/{SESSION}/messages", "/v1/clients/anna/sessions", IMAGE]
    answers = [await pod.http.get(path, headers={"authorization": bearer("anna")}) for path in paths]
    assert [answer.status_code for answer in answers] == [200] * 4
    return [answer.content for answer in answers]


@pytest.mark.parametrize("what", list(forgeries(NOON)))
async def test_a_forged_token_opens_no_door(pod: Pod, what: str) -> None:
    before = await all_of_annas(pod)
    token = forgeries(NOON)[what]
    for door in doors(pod):
        answer = await door.try_it(pod, ANNAS, f"Bearer {token}")
        assert answer.status_code == 401, (door, answer.text)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert token not in answer.text
    smuggled = exchange("smuggled")
    assert (await pod.post(smuggled, Authorization=f"Bearer {token}")).status_code == 401
    assert await all_of_annas(pod) == before


async def test_no_token_opens_no_door(pod: Pod) -> None:
    for door in doors(pod):
        assert (await door.try_it(pod, ANNAS, None)).status_code == 401, door


@pytest.mark.parametrize(
    "stranger",
    [
        bearer("ben"),
        bearer("Anna"),
        bearer("anna "),
        bearer("*"),
        bearer("ben", scope="read admin"),
        bearer("chat", scope=INGEST_SCOPE),
        bearer("anna", scope=INGEST_SCOPE),
        f"Bearer {ISSUER.sign(claims(NOON, 'ben'))}",
    ],
    ids=["ben", "capital", "space", "star", "scopes", "service", "service called anna", "ben of the issuer"],
)
async def test_a_stranger_comes_through_no_door_and_learns_nothing(pod: Pod, stranger: str) -> None:
    before = await all_of_annas(pod)
    for door in doors(pod):
        answer = await door.try_it(pod, ANNAS, stranger)
        assert answer.status_code in {403, 404}, (door, answer.text)
        absent = await door.try_it(pod, NOBODYS, stranger)
        assert (answer.status_code, answer.content) == (absent.status_code, absent.content), door
        if door.method != "HEAD":
            check_problem(answer, answer.status_code, answer.json()["code"])
    assert await all_of_annas(pod) == before


async def test_the_doors_are_no_walls(pod: Pod) -> None:
    for door in doors(pod):
        answer = await door.try_it(pod, ANNAS, bearer("anna"))
        assert answer.status_code < 300, (door, answer.text)


@pytest.mark.parametrize("scope", [None, "read", "ingestion", "INGEST", "in gest", "ingest,read"])
async def test_a_client_hands_nothing_in(pod: Pod, scope: str | None) -> None:
    answer = await pod.post(exchange("smuggled"), Authorization=bearer("anna", scope=scope))
    check_problem(answer, 403, "access_denied", detail=INGEST_SCOPE)


@asynccontextmanager
async def listening(pod: Pod) -> AsyncIterator[int]:
    """Serve the pod on a port, for requests that no client library would send."""
    stop = asyncio.Event()
    at: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def ready(addresses: Sequence[Address]) -> None:
        at.set_result(addresses[0].port)

    listener = Listener(app=pod.history.app, host="127.0.0.1", port=0)
    serving = asyncio.create_task(serve([listener], pod.history.drain, 5, ready=ready, stop=stop))
    try:
        yield await asyncio.wait_for(at, 60)
    finally:
        stop.set()
        await serving


async def raw(port: int, target: str, authorization: str) -> bytes:
    """Ask for a target as it is, and return all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {target} HTTP/1.1\r\nHost: history\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode("latin-1"))
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


TRICKS = [
    "/v1/clients/ben/../anna/sessions",
    "/v1/clients/ben/%2e%2e/anna/sessions",
    "/v1/clients/ben%2f..%2fanna/sessions",
    "/v1/clients/ben%2f%2e%2e%2fanna%2fsessions",
    "/v1/clients/ben%252f..%252fanna/sessions",
    "/v1/clients/ben/sessions/../../anna/sessions",
    "/v1/clients/ben/sessions/%2e%2e/%2e%2e/anna/sessions",
    "/v1/clients/ben\\..\\anna/sessions",
    "/v1/clients/anna%00/sessions",
    "/v1/clients/anna%00ben/sessions",
    "/v1/clients/anna%0aben/sessions",
    "/v1/clients/anna%0d%0aX-Client:%20ben/sessions",
    "/v1/clients/anna%2fsessions",
    "/v1/clients/%61nna/sessions",
    "/v1/clients/%2561nna/sessions",
    "/v1/clients/%c0%aeanna/sessions",
    "/v1/clients/anna;ben/sessions",
    "/v1/clients/anna,ben/sessions",
    "/v1/clients/*/sessions",
    "/v1/clients/anna/sessions/",
    "//v1/clients/anna/sessions",
    "/v1//clients/anna/sessions",
    "/v1/./clients/anna/sessions",
    "/V1/clients/anna/sessions",
    "http://history/v1/clients/anna/sessions",
    "/v1/clients/anna/sessions?client=ben",
    f"/v1/sessions/{SESSION}%00",
    f"/v1/sessions/%7b{SESSION}%7d",
    f"/v1/sessions/urn:uuid:{SESSION}",
    f"/v1/sessions/{str(SESSION).replace('-', '')}",
    f"/v1/sessions/{BENS.session_id}/../{SESSION}",
    f"/v1/sessions/{BENS.session_id}%2f..%2f{SESSION}/messages",
    f"/v1/messages/{KEPT.id}.reply%00",
    f"/v1/messages/{BENS.id}.reply/../{KEPT.id}.reply",
    f"/v1/messages/{BENS.id}.reply/media/../../{KEPT.id}.reply/media/image",
    f"/v1/messages/{BENS.id}.reply%2f..%2f{KEPT.id}.reply/media/image",
    f"/v1/messages/{BENS.id}.reply/media/..%2f..%2f{KEPT.id}.reply%2fmedia%2fimage",
    f"/v1/messages/{BENS.id}.reply/media/..%2f..%2f..%2f..%2fetc%2fpasswd",
    f"/v1/messages/{BENS.id}.reply/media/%2fetc%2fpasswd",
    f"/v1/messages/{BENS.id}.reply/media/image%00.mp3",
    f"/v1/messages/{KEPT.id}.reply/media/image",
    "/v1/messages/../../../../etc/passwd",
    "/v1/messages/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
]


async def test_no_trick_with_a_path_leads_to_another_client(pod: Pod) -> None:
    async with listening(pod) as port:
        for target in TRICKS:
            answer = await raw(port, target, bearer("ben"))
            status = int(answer.split(b" ", 2)[1])
            assert status in {400, 403, 404}, (target, answer)
            for secret in (b"what anna said", bytes(SHOWN.image)[:24], b"root:", str(SESSION).encode()):
                assert secret not in answer, (target, answer)
        allowed = await raw(port, "/v1/clients/ben/sessions?client=anna&clientId=anna", bearer("ben"))
        assert b" 200 OK" in allowed
        assert b'"client_id":"ben"' in allowed
        assert b"anna" not in allowed


async def signed(pod: Pod, path: str = IMAGE, subject: str = "anna") -> httpx2.URL:
    answer = await pod.http.post(f"{path}/address", headers={"authorization": bearer(subject)})
    assert answer.status_code == 200, answer.text
    return httpx2.URL(answer.json()["href"])


async def test_a_signed_address_opens_nothing_but_what_it_was_made_for(pod: Pod) -> None:
    href = await signed(pod)
    assert (await pod.http.get(href)).content == SHOWN.image
    for path in (
        IMAGE.replace("/image", "/voice"),
        IMAGE.replace(".reply", ".request"),
        IMAGE.replace(str(KEPT.id), str(BENS.id)),
        IMAGE.upper().replace("/V1/MESSAGES", "/v1/messages").replace("/MEDIA/IMAGE", "/media/image"),
        f"{IMAGE}%00",
    ):
        answer = await pod.http.get(f"{path}?{href.query.decode()}")
        check_problem(answer, 403, "address_invalid")
    for door in doors(pod):
        path = door.path.format(**ANNAS)
        if path != IMAGE:
            answer = await pod.http.request(door.method, f"{path}?{href.query.decode()}", json=BODY)
            assert answer.status_code == 401, door


async def test_an_address_of_ones_own_media_does_not_open_anothers(pod: Pod) -> None:
    bens = await signed(pod, IMAGE.replace(str(KEPT.id), str(BENS.id)), "ben")
    for query in (bens.params, bens.params.set("client", "anna")):
        check_problem(await pod.http.get(IMAGE, params=query), 403, "address_invalid")
    answer = await pod.http.post(f"{IMAGE}/address", headers={"authorization": bearer("ben")})
    check_problem(answer, 404, "message_unknown")


def tampered() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield changes to the query of an address; None leaves a parameter out."""
    later = str(int((NOON + timedelta(days=1)).timestamp()))
    yield "another client", {"client": "ben"}
    yield "no client", {"client": None}
    yield "an empty client", {"client": ""}
    yield "two clients", {"client": ["anna", "ben"]}
    yield "the parts of what is signed moved", {"client": f"anna\n{KEPT.id}.reply"}
    yield "a later end", {"expires": later}
    yield "no end", {"expires": None}
    yield "two ends", {"expires": [later, "1780315500"]}
    yield "an end with a sign", {"expires": "+1780315500"}
    yield "an end with a zero before", {"expires": "01780315500"}
    yield "an end that is no number", {"expires": "never"}
    yield "an end in other digits", {"expires": "\u0661\u0667"}
    yield "an end beyond all time", {"expires": "9" * 400}
    yield "no signature", {"signature": None}
    yield "an empty signature", {"signature": ""}
    yield "another signature", {"signature": "A" * 43}
    yield "two signatures", {"signature": ["A" * 43, "B" * 43]}
    yield "a signature that is no text", {"signature": "\0é\ufffd"}
    yield "a long signature", {"signature": "A" * 5000}


TAMPERED = dict(tampered())


@pytest.mark.parametrize("change", list(TAMPERED))
async def test_a_changed_address_is_refused(pod: Pod, change: str) -> None:
    href = await signed(pod)
    query = {**dict(href.params), **TAMPERED[change]}
    given = {name: value for name, value in query.items() if value is not None}
    answer = await pod.http.get(IMAGE, params=given)
    check_problem(answer, 403, "address_invalid")
    assert (await pod.http.get(href)).status_code == 200


async def test_neither_is_a_token_an_address_nor_an_address_a_token(pod: Pod) -> None:
    href = await signed(pod)
    token = bearer("anna").removeprefix("Bearer ")
    answer = await pod.http.get(IMAGE, params={**dict(href.params), "signature": token.rpartition(".")[2]})
    check_problem(answer, 403, "address_invalid")
    answer = await pod.http.get(IMAGE, headers={"authorization": f"Bearer {href.params['signature']}"})
    check_problem(answer, 401, "token_malformed")


async def test_a_good_token_does_not_save_a_bad_address(pod: Pod) -> None:
    headers = {"authorization": bearer("anna")}
    answer = await pod.http.get(f"{IMAGE}?client=anna&expires=1&signature=x", headers=headers)
    check_problem(answer, 403, "address_invalid")


@pytest.mark.parametrize(
    "client_id", ["../ben", "ben/../anna", "..", "anna/", "anna\0", "anna\n", "", "a" * 65, "ännä"]
)
async def test_no_client_id_handed_in_leads_out_of_the_media_store(pod: Pod, client_id: str) -> None:
    before = pod.files()
    try:
        smuggled = encode_exchange(exchange(client_id=client_id, response=SHOWN))
    except ValueError:
        return  # not even a record
    answer = await pod.post(smuggled, Authorization=bearer("chat", scope=INGEST_SCOPE))
    assert [result["code"] for result in answer.json()["results"]] == ["record_field_invalid"]
    assert pod.files() == before
