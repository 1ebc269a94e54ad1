"""The page of the HTTP interface, with the forms that try it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from devtools.processes import ServiceProcess, running
from devtools.servers import wait_until
from frameproto import Request, RequestKind
from frameproto.exchange import encode_batch, encode_exchange
from servicekit.tokens import INGEST_SCOPE, mint
from tests.browser.conftest import expect_no_barriers
from tests.support.exchanges import SESSION, exchange

SECRET = "a secret of at least thirty-two bytes"
VIDEO = (Path(__file__).parents[2] / "samples" / "hello.mp4").read_bytes()
KEPT = exchange(request=Request(RequestKind.VIDEO, VIDEO))


def token(subject: str, scope: str | None = None) -> str:
    return mint(SECRET, subject=subject, audience="chatbot", lifetime=timedelta(hours=1), scope=scope)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a history service that asks for tokens and has one exchange, of anna."""
    settings = {
        "HISTORY_PORT": 0, "HISTORY_METRICS_PORT": 0, "HISTORY_DATA_DIR": tmp_path / "data", "HISTORY_AUTH": "jwt",
        "HISTORY_TOKEN_SECRETS": SECRET,
    }  # fmt: skip
    with running("history_service", tmp_path / "history.log", settings) as service:
        wait_until_ready(service)
        url = f"http://127.0.0.1:{service.ports['history']}"
        headers = {"content-type": "application/msgpack", "authorization": f"Bearer {token('chat', INGEST_SCOPE)}"}
        batch = encode_batch([encode_exchange(KEPT)])
        assert httpx2.post(f"{url}/v1/exchanges", content=batch, headers=headers).status_code == 200
        yield url


def wait_until_ready(service: ServiceProcess) -> None:
    wait_until(
        lambda: service.count("stores.ready") > 0,
        lambda: service.process.poll() is None,
        "the stores are not ready",
        service.log,
    )


def form(page: Page, operation: str) -> Locator:
    """Open the form of an operation, by keyboard."""
    details = page.locator("details", has=page.get_by_text(f"Try {operation}", exact=True))
    details.locator("summary").press("Enter")
    expect(details.locator("form")).to_be_visible()
    return details


def test_an_operation_is_tried_and_its_answer_and_problem_are_shown(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    tried = form(page, "getSession")
    tried.get_by_label("session").fill(str(SESSION))
    tried.get_by_label("session").press("Enter")
    expect(tried.get_by_role("status")).to_have_text(f"GET /v1/sessions/{SESSION}: 401 Unauthorized")
    expect(tried.locator(".body")).to_contain_text('"code": "token_missing"')
    page.get_by_label("Token").fill(token("anna"))
    tried.get_by_role("button", name="Send").press("Enter")
    expect(tried.get_by_role("status")).to_have_text(f"GET /v1/sessions/{SESSION}: 200 OK")
    expect(tried.locator(".body")).to_contain_text(f'\n  "id": "{SESSION}",\n')
    expect(tried.locator(".headers")).to_contain_text("content-type: application/json")
    tried.get_by_label("session").fill("no/such id")
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status")).to_have_text("GET /v1/sessions/no%2Fsuch%20id: 404 Not Found")
    expect(tried.locator(".headers")).to_contain_text("content-type: application/problem+json")
    tried.get_by_label("session").fill("wrong")
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("status")).to_have_text("GET /v1/sessions/wrong: 400 Bad Request")
    expect(tried.locator(".body")).to_contain_text('"code": "session_id_malformed"')
    expect_no_barriers(page)
    page.emulate_media(color_scheme="dark")
    expect_no_barriers(page)


def test_a_body_and_a_query_are_sent_and_media_are_shown(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    page.get_by_label("Token").fill(token("anna"))
    renamed = form(page, "renameSession")
    renamed.get_by_label("session").fill(str(SESSION))
    expect(renamed.get_by_label("Body")).to_have_value('{\n  "title": null\n}')
    renamed.get_by_label("Body").fill('{"title": "<b>tea & milk</b>"}')
    renamed.get_by_role("button", name="Send").click()
    expect(renamed.locator(".body")).to_contain_text('"title": "<b>tea & milk</b>"')
    listed = form(page, "listSessions")
    listed.get_by_label("client").fill("anna")
    listed.get_by_label("limit").fill("0")
    listed.get_by_role("button", name="Send").click()
    expect(listed.get_by_role("status")).to_have_text("GET /v1/clients/anna/sessions?limit=0: 400 Bad Request")
    media = form(page, "getMedia")
    media.get_by_label("message").fill(f"{KEPT.id}.request")
    media.get_by_label("part").fill("video")
    media.get_by_role("button", name="Send").click()
    expect(media.get_by_role("link")).to_contain_text(f"Save the {len(VIDEO)} bytes of video/mp4")
    page.wait_for_function("() => document.querySelector('video')?.readyState > 0")


def test_nothing_is_deleted_without_a_yes(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    page.get_by_label("Token").fill(token("anna"))
    deleted = form(page, "deleteSession")
    deleted.get_by_label("session").fill(str(SESSION))
    asked: list[str] = []

    def say_no(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", say_no)
    deleted.get_by_role("button", name="Send").click()
    assert [each.splitlines()[0] for each in asked] == [f"DELETE /v1/sessions/{SESSION}"]
    expect(deleted.get_by_role("status")).to_have_text("")
    url, headers = f"{address}/v1/sessions/{SESSION}", {"authorization": f"Bearer {token('anna')}"}
    assert httpx2.get(url, headers=headers).status_code == 200
    page.once("dialog", lambda dialog: dialog.accept())
    deleted.get_by_role("button", name="Send").click()
    expect(deleted.get_by_role("status")).to_have_text(f"DELETE /v1/sessions/{SESSION}: 204 No Content")
    assert httpx2.get(url, headers=headers).status_code == 404


def test_a_redirect_and_a_lost_connection_are_explained(page: Page, address: str) -> None:
    page.goto(f"{address}/docs")
    media = form(page, "getMedia")
    media.get_by_label("message").fill(f"{KEPT.id}.request")
    media.get_by_label("part").fill("video")
    elsewhere = {"location": "http://127.0.0.1:9/bucket/video"}
    page.route("**/media/video", lambda route: route.fulfill(status=307, headers=elsewhere))
    media.get_by_role("button", name="Send").click()
    expect(media.get_by_role("status")).to_have_text(f"GET /v1/messages/{KEPT.id}.request/media/video: a redirect")
    link = media.get_by_role("link", name="Open the address without a token")
    expect(link).to_have_attribute("href", f"{address}/v1/messages/{KEPT.id}.request/media/video")
    page.unroute("**/media/video")
    page.route("**/media/video", lambda route: route.abort())
    media.get_by_role("button", name="Send").click()
    expect(media.locator(".failed")).to_contain_text("The request or its answer failed")
    expect(media.get_by_role("link")).to_have_count(0)
