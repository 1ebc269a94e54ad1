"""Signed addresses of media: they open one part of one message, without a token, for a while."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from servicekit.tokens import INGEST_SCOPE, mint
from tests.history.pod import SHOWN, Pod, check_problem, open_pod
from tests.support.exchanges import exchange

SECRET = "a secret of at least thirty-two bytes"
NEW_SECRET = "the secret that is used from today on"
OWN_SECRET = "a secret that signs nothing but media"
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
KEPT = exchange(response=SHOWN)
IMAGE = f"/v1/messages/{KEPT.id}.reply/media/image"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def pod(tmp_path: Path, clock: Clock) -> AsyncIterator[Pod]:
    """A pod that asks for tokens, with an exchange of anna's."""
    async with open_pod(tmp_path / "data", now=clock, auth="jwt", token_secrets=SECRET) as opened:
        answer = await opened.post(KEPT, Authorization=bearer("chat", scope=INGEST_SCOPE))
        assert answer.json()["results"][0]["outcome"] == "stored"
        yield opened


def bearer(
    subject: str = "anna", *, scope: str | None = None, secret: str = SECRET, lifetime: timedelta = timedelta(hours=1)
) -> str:
    token = mint(secret, subject=subject, audience="chatbot", lifetime=lifetime, scope=scope, now=lambda: NOON)
    return f"Bearer {token}"


async def ask(pod: Pod, path: str = IMAGE, authorization: str | None = None) -> httpx2.Response:
    return await pod.http.post(f"{path}/address", headers={"authorization": authorization or bearer()})


async def address(pod: Pod, path: str = IMAGE, authorization: str | None = None) -> str:
    answer = await ask(pod, path, authorization)
    assert answer.status_code == 200, answer.text
    href: str = answer.json()["href"]
    return href


async def test_a_player_reads_by_an_address_without_a_token_whole_and_in_ranges(pod: Pod) -> None:
    answer = await ask(pod)
    assert answer.headers["cache-control"] == "no-store"
    href = answer.json()["href"]
    assert answer.json() == {"href": href, "expires_at": (NOON + timedelta(seconds=300)).isoformat()}
    whole = await pod.http.get(href)
    assert (whole.status_code, whole.content) == (200, SHOWN.image)
    assert whole.headers["content-type"] == "image/jpeg"
    part = await pod.http.get(href, headers={"range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, SHOWN.image[2:10])
    assert (await pod.http.head(href)).status_code == 200
    known = await pod.http.get(href, headers={"if-none-match": whole.headers["etag"]})
    assert known.status_code == 304


async def test_an_address_ends(pod: Pod, clock: Clock) -> None:
    href = await address(pod)
    clock.now = NOON + timedelta(seconds=299)
    assert (await pod.http.get(href)).status_code == 200
    clock.now = NOON + timedelta(seconds=300)
    check_problem(await pod.http.get(href), 403, "address_expired")


async def test_an_address_does_not_outlive_the_token_it_was_got_by(pod: Pod, clock: Clock) -> None:
    answer = await ask(pod, authorization=bearer(lifetime=timedelta(seconds=20)))
    assert answer.json()["expires_at"] == (NOON + timedelta(seconds=20)).isoformat()
    clock.now = NOON + timedelta(seconds=20)
    check_problem(await pod.http.get(answer.json()["href"]), 403, "address_expired")


async def test_the_life_of_an_address_is_a_setting(tmp_path: Path) -> None:
    async with open_pod(
        tmp_path, now=lambda: NOON, auth="jwt", token_secrets=SECRET, media_address_seconds=7
    ) as opened:
        await opened.post(KEPT, Authorization=bearer("chat", scope=INGEST_SCOPE))
        assert (await ask(opened)).json()["expires_at"] == (NOON + timedelta(seconds=7)).isoformat()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/v1/messages/{KEPT.id}.reply/media/video", "media_unknown"),
        (f"/v1/messages/{KEPT.id}.reply/media/nothing", "media_unknown"),
        (f"/v1/messages/{KEPT.id}.request/media/image", "media_unknown"),
        (f"/v1/messages/{KEPT.session_id}.reply/media/image", "message_unknown"),
    ],
    ids=["no such part", "no part", "of the other side", "no such message"],
)
async def test_what_is_not_there_gets_no_address(pod: Pod, path: str, code: str) -> None:
    check_problem(await ask(pod, path), 404, code)


async def test_any_pod_serves_what_another_one_signed_while_secrets_change(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    settings: dict[str, Any] = {"now": lambda: NOON, "auth": "jwt"}
    async with open_pod(folder, **settings, token_secrets=SECRET) as old:
        await old.post(KEPT, Authorization=bearer("chat", scope=INGEST_SCOPE))
        by_old = await address(old)
    async with open_pod(folder, **settings, token_secrets=f"{NEW_SECRET},{SECRET}") as both:
        assert (await both.http.get(by_old)).status_code == 200
        by_both = await address(both)
    async with open_pod(folder, **settings, token_secrets=NEW_SECRET) as new:
        assert (await new.http.get(by_both)).status_code == 200
        check_problem(await new.http.get(by_old), 403, "address_invalid")


async def test_a_secret_of_its_own_signs_where_tokens_come_from_an_issuer(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"now": lambda: NOON, "auth": "jwt", "media_address_secrets": OWN_SECRET}
    async with open_pod(tmp_path, **settings, token_secrets=SECRET) as opened:
        await opened.post(KEPT, Authorization=bearer("chat", scope=INGEST_SCOPE))
        href = await address(opened)
    async with open_pod(tmp_path, **settings, token_secrets=NEW_SECRET) as other:
        assert (await other.http.get(href)).status_code == 200


async def test_where_everybody_may_read_the_address_is_the_plain_one_and_does_not_end(tmp_path: Path) -> None:
    async with open_pod(tmp_path) as opened:
        await opened.ingest(KEPT)
        answer = await opened.http.post(f"{IMAGE}/address")
        assert answer.json() == {"href": IMAGE, "expires_at": None}
        assert (await opened.http.get(IMAGE)).content == SHOWN.image
        from_another_time = f"{IMAGE}?client=anna&expires=1&signature=x"
        assert (await opened.http.get(from_another_time)).content == SHOWN.image


async def test_without_auth_addresses_are_signed_all_the_same_when_there_is_a_secret_for_them(tmp_path: Path) -> None:
    async with open_pod(tmp_path, now=lambda: NOON, media_address_secrets=OWN_SECRET) as opened:
        await opened.ingest(KEPT)
        href = (await opened.http.post(f"{IMAGE}/address")).json()["href"]
        assert set(parse_qs(urlsplit(href).query)) == {"client", "expires", "signature"}
        assert (await opened.http.get(href)).content == SHOWN.image


async def test_a_store_without_addresses_of_its_own_is_read_through_the_pod(pod: Pod) -> None:
    assert await pod.blobs.address("anna/a.mp3", seconds=10) is None
