"""The page in pages of other origins: in a frame of theirs, and as the widget."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from servicekit.clock import Now, utc_now
from servicekit.tokens import mint
from tests.browser.conftest import REPLY, Serve, Server, expect_no_barriers

SECRET = "s" * 32
POLICY = "default-src 'none'; script-src {server} 'nonce-own'; frame-src {server}"


class Handler(SimpleHTTPRequestHandler):
    """Serves the one page of somebody else, under a policy of its own."""

    policy = ""

    def end_headers(self) -> None:
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class OtherSite:
    """A site of somebody else."""

    def __init__(self, port: int, folder: Path, handler: type[Handler]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.stranger = f"http://localhost:{port}"  # the same page under an origin that nobody allowed
        self._folder = folder
        self._handler = handler

    def show(self, html: str, policy: str = "") -> None:
        (self._folder / "index.html").write_text(f"<!doctype html><title>Somebody else</title>{html}")
        self._handler.policy = policy


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[OtherSite]:
    folder = tmp_path / "other"
    folder.mkdir()
    handler = type("OwnHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as web:
        thread = Thread(target=web.serve_forever)
        thread.start()
        yield OtherSite(web.server_port, folder, handler)
        web.shutdown()
        thread.join()


def token(client_id: str, *, now: Now) -> str:
    return mint(SECRET, subject=client_id, audience="chatbot", lifetime=timedelta(minutes=10), now=now)


def test_it_stands_in_pages_of_allowed_origins_only(
    context: BrowserContext, page: Page, serve: Serve, other_site: OtherSite
) -> None:
    server = serve(CHAT_ALLOWED_ORIGINS=other_site.url)
    other_site.show(f'<iframe src="{server.url}#embedded" width="400" height="500"></iframe>')
    page.goto(other_site.url)
    frame = page.frame_locator("iframe")
    expect(frame.locator("#status-text")).to_have_text("Connected")
    expect(frame.locator("header")).to_be_hidden()
    stranger = context.new_page()
    with stranger.expect_console_message(lambda line: "frame-ancestors" in line.text):
        stranger.goto(other_site.stranger)
    assert stranger.frame_locator("iframe").locator("#status-text").count() == 0


def test_one_tag_puts_the_widget_into_a_page_with_a_policy_of_its_own(
    page: Page, serve: Serve, other_site: OtherSite
) -> None:
    server = serve(CHAT_ALLOWED_ORIGINS=other_site.url)
    configuration = json.dumps({"clientId": "anna", "timeZone": "Asia/Calcutta", "lang": "de"})
    tag = f"<script src=\"{server.url}web/widget.js\" data-config='{configuration}'></script>"
    other_site.show(f"<main><h1>Somebody else</h1></main>{tag}", POLICY.format(server=server.url.rstrip("/")))
    page.goto(other_site.url)
    button = page.get_by_role("button", name="Chat öffnen")
    assert page.frames == [page.main_frame]  # nothing is loaded before it is wanted
    button.click()
    inside = page.frame_locator("iframe")
    expect(inside.locator("#status-text")).to_have_text("Verbunden")
    inside.locator("#text").fill("say from elsewhere")
    inside.locator("#text").press("Enter")
    expect(inside.locator(REPLY)).to_contain_text("from elsewhere")
    expect(inside.locator("html")).to_have_attribute("lang", "de")
    server.wait_until_stored("anna", ["say from elsewhere"])
    expect_no_barriers(page, "html-has-lang")  # of the page around it, which this test wrote
    inside.locator("#text").press("Escape")
    expect(page.locator("iframe")).to_be_hidden()
    expect(page.get_by_role("button", name="Chat öffnen")).to_be_focused()


def test_the_page_around_it_gives_tokens_and_fresh_ones(page: Page, serve: Serve, other_site: OtherSite) -> None:
    server = serve(
        CHAT_AUTH="jwt", CHAT_TOKEN_SECRETS=SECRET, HISTORY_AUTH="jwt", HISTORY_TOKEN_SECRETS=SECRET,
        CHAT_ALLOWED_ORIGINS=other_site.url,
    )  # fmt: skip
    good = token("anna", now=utc_now)
    stale = token("anna", now=lambda: utc_now() - timedelta(hours=1))
    configuration = (
        f"window.asked = []; window.chatbotWidget = {{clientId: 'anna', open: true, "
        f"token: (fresh) => {{ asked.push(fresh); return fresh ? '{good}' : '{stale}'; }}}};"
    )
    other_site.show(f'<script>{configuration}</script><script async src="{server.url}web/widget.js"></script>')
    page.goto(other_site.url)
    inside = page.frame_locator("iframe")
    expect(inside.locator("#status-text")).to_have_text("Connected")
    inside.locator("#text").fill("say with a token")
    inside.locator("#text").press("Enter")
    expect(inside.locator(REPLY)).to_contain_text("with a token")
    assert page.evaluate("() => asked.includes(true) && asked[0] === false")


def test_without_leave_the_widget_stays_empty(page: Page, server: Server, other_site: OtherSite) -> None:
    other_site.show(f'<script src="{server.url}web/widget.js" data-config=\'{{"open": true}}\'></script>')
    with page.context.new_page() as stranger:
        with stranger.expect_console_message(lambda line: "frame-ancestors" in line.text):
            stranger.goto(other_site.url)
        assert stranger.frame_locator("iframe").locator("#status-text").count() == 0
