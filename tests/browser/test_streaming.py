"""Replies that grow, are stopped, and survive a lost connection: chatbot.v2 on the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from devtools.servers import ROOT
from tests.browser.conftest import REPLY, Serve, Server, expect_no_barriers, say, try_now, visit
from tests.browser.slow_bot import GATES

CHANGES = """() => {
  window.changes = 0;
  new MutationObserver(() => window.changes += 1).observe(document.getElementById("announcer"), { childList: true });
}"""


class Gates:
    """The gates of the bot."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def open(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path / "gates")


@pytest.fixture
def server(serve: Serve, gates: Gates) -> Server:
    return serve(CHAT_BOT="tests.browser.slow_bot:bot", PYTHONPATH=ROOT, **{GATES: gates.folder})


def test_a_reply_grows_and_is_announced_once(page: Page, server: Server, gates: Gates) -> None:
    visit(page, server)
    page.evaluate(CHANGES)
    say(page, "hello")
    growing = page.locator("li.growing")
    expect(growing).to_contain_text("Thinking")
    gates.open("first")
    expect(growing.locator(".body")).to_have_text("One,")
    gates.open("second")
    expect(growing.locator("strong")).to_have_text("two")
    expect_no_barriers(page)
    assert page.evaluate("() => window.changes") == 0  # a screen reader is not told of pieces
    gates.open("third")
    expect(page.locator(REPLY)).to_contain_text("One, two, three: hello")
    expect(growing).to_have_count(0)
    expect(page.locator("#announcer")).to_have_text("Bot: One, two, three: hello")
    assert page.evaluate("() => window.changes") == 1


@pytest.mark.parametrize("how", ["button", "keyboard"])
def test_a_reply_is_stopped_and_keeps_its_text(page: Page, server: Server, gates: Gates, how: str) -> None:
    visit(page, server)
    gates.open("first")
    say(page, "hello")
    expect(page.locator("li.growing .body")).to_have_text("One,")
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.locator("#text").press("Escape")
    expect(page.locator(REPLY)).to_contain_text("One,")
    expect(page.locator(REPLY)).to_contain_text("You stopped this reply.")
    gates.open("second", "third")
    say(page, "again")
    expect(page.locator(REPLY).nth(1)).to_contain_text("three: again")


def test_a_reply_whose_server_is_killed_comes_once(page: Page, server: Server, gates: Gates) -> None:
    visit(page, server, "#clientId=anna")
    gates.open("first")
    say(page, "one")
    say(page, "two")
    expect(page.locator("li.growing .body").first).to_have_text("One,")
    server.kill()
    expect(page.locator("#status")).to_contain_text("Next attempt in")
    expect(page.locator("li.growing").first).to_contain_text("Waiting for the connection")
    say(page, "three")
    gates.open("second", "third")
    server.start()
    try_now(page)
    expect(page.locator(REPLY)).to_have_count(3)
    for at, text in enumerate(["three: one", "three: two", "three: three"]):
        expect(page.locator(REPLY).nth(at)).to_contain_text(text)
    expect(page.locator(".failed, li.growing")).to_have_count(0)
    server.wait_until_stored("anna", ["one", "two", "three"])
    page.reload()
    expect(page.locator("li.request")).to_have_count(3)


def test_what_is_stopped_while_there_is_no_connection_is_not_sent(page: Page, server: Server, gates: Gates) -> None:
    visit(page, server, "#clientId=anna")
    server.kill()
    expect(page.locator("#status")).to_contain_text("Next attempt in")
    say(page, "never")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".failed")).to_contain_text("You took this message back.")
    gates.open("first", "second", "third")
    server.start()
    try_now(page)
    say(page, "this")
    expect(page.locator(REPLY)).to_contain_text("three: this")
    server.wait_until_stored("anna", ["this"])
