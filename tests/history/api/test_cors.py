"""Pages of other origins: what they may read, and that a refusal can be read, too."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.problems import Problem
from tests.history.pod import SHOWN, Pod, open_pod
from tests.support.exchanges import SESSION, exchange

PAGE = "https://app.example"
SECRET = "a secret of at least thirty-two bytes"
KEPT = exchange(response=SHOWN)
IMAGE = f"/v1/messages/{KEPT.id}.reply/media/image"
PREFLIGHT = {"access-control-request-method": "GET", "access-control-request-headers": "authorization, range"}


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async with open_pod(tmp_path, allowed_origins=f"{PAGE}, http://localhost:5173") as opened:
        await opened.ingest(KEPT)
        yield opened


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:5173"])
async def test_an_allowed_page_reads_and_sees_the_headers_it_needs(pod: Pod, origin: str) -> None:
    answer = await pod.http.get(IMAGE, headers={"origin": origin, "range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (206, SHOWN.image[:4])
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["vary"] == "Origin"
    assert {"ETag", "Content-Range", "Accept-Ranges", "Retry-After", "WWW-Authenticate"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_a_page_may_ask_beforehand(pod: Pod, method: str) -> None:
    asked = {"origin": PAGE, **PREFLIGHT, "access-control-request-method": method}
    answer = await pod.http.options(IMAGE, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert {"Authorization", "Range"} <= set(answer.headers["access-control-allow-headers"].split(", "))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example", PAGE + ":8443"]
)
async def test_another_page_reads_nothing(pod: Pod, origin: str) -> None:
    assert "access-control-allow-origin" not in (await pod.http.get(IMAGE, headers={"origin": origin})).headers
    asked = await pod.http.options(IMAGE, headers={"origin": origin, **PREFLIGHT})
    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize("origin", ["capacitor://localhost", "moz-extension://0197B0C8-000A", "null", "file://"])
async def test_an_app_reads_where_its_origin_is_named(tmp_path: Path, origin: str) -> None:
    async with open_pod(tmp_path, allowed_origins=origin) as opened:
        answer = await opened.http.get("/v1/clients/anna/sessions", headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        assert (await opened.http.options(IMAGE, headers={"origin": origin, **PREFLIGHT})).status_code == 200
        other = await opened.http.get("/v1/clients/anna/sessions", headers={"origin": "ionic://localhost"})
        assert "access-control-allow-origin" not in other.headers


async def test_without_the_setting_no_page_reads_anything(tmp_path: Path) -> None:
    async with open_pod(tmp_path) as opened:
        answer = await opened.http.get("/v1/clients/anna/sessions", headers={"origin": PAGE})
        assert "access-control-allow-origin" not in answer.headers
        assert (await opened.http.options(IMAGE, headers={"origin": PAGE, **PREFLIGHT})).status_code == 405


async def test_with_a_star_every_page_reads(tmp_path: Path) -> None:
    async with open_pod(tmp_path, allowed_origins="*") as opened:
        answer = await opened.http.get("/v1/clients/anna/sessions", headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_can_read_why_it_was_refused(tmp_path: Path) -> None:
    async with open_pod(tmp_path, allowed_origins=PAGE, auth="jwt", token_secrets=SECRET) as opened:
        for method, path, status in [
            ("GET", IMAGE, 401),
            ("GET", f"{IMAGE}?client=anna&expires=1&signature=x", 403),
            ("GET", "/v1/nothing", 404),
            ("PUT", IMAGE, 405),
        ]:
            answer = await opened.http.request(method, path, headers={"origin": PAGE})
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(("failure", "status"), [(ZeroDivisionError, 500), (lambda text: Problem(503, "x", text), 503)])
async def test_a_page_can_read_that_we_failed(pod: Pod, failure: type[Exception], status: int) -> None:
    pod.store.failure = failure
    answer = await pod.http.get(f"/v1/sessions/{SESSION}", headers={"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
