"""A real Chromium on the page of a real server."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from devtools.chromium import CHROMIUM, FLAGS
from devtools.ports import free_port
from devtools.processes import ServiceProcess, start

PATIENCE_MS = 40_000
REPLY = "li.reply:not(.growing)"
"""The items of replies that are whole."""

expect.set_options(timeout=PATIENCE_MS)


class Server:
    """A standalone server that can be killed and started again on its ports and data."""

    def __init__(self, folder: Path, settings: dict[str, object]) -> None:
        self.chat, self.history = free_port(), free_port()
        self._folder = folder
        self.settings = {
            "CHAT_PORT": self.chat, "HISTORY_PORT": self.history, "CHAT_METRICS_PORT": 0, "HISTORY_METRICS_PORT": 0,
            "CHAT_DATA_DIR": folder / "chat", "HISTORY_DATA_DIR": folder / "history", "CHAT_MEDIA_PROCESSES": 1,
            **settings,
        }  # fmt: skip
        self._lives = 0
        self.service: ServiceProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.chat}/"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lives += 1
        self.service = start("standalone", self._folder / f"life-{self._lives}.log", self.settings)
        self.service.wait_for_ports()

    def kill(self) -> None:
        assert self.service is not None
        self.service.kill()
        self.service.process.wait(60)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it do nothing, and read nothing, for the length of a `with` block."""
        assert self.service is not None
        self.service.process.send_signal(SIGSTOP)
        try:
            yield
        finally:
            self.service.process.send_signal(SIGCONT)

    def stored(self, client_id: str) -> list[str]:
        """Return the texts of a client's requests that history has, oldest first."""
        address = f"http://127.0.0.1:{self.history}/v1/clients/{client_id}/export"
        with urllib.request.urlopen(address, timeout=20) as lines:
            messages = [json.loads(line) for line in lines]
        return [each["text"] for each in messages if each["type"] == "message" and each["direction"] == "request"]

    def wait_until_stored(self, client_id: str, texts: list[str]) -> None:
        """Wait until history has these requests of a client, and nothing else."""
        ends = time.monotonic() + PATIENCE_MS / 1000
        while (found := self.stored(client_id)) != texts:
            assert time.monotonic() < ends, found
            time.sleep(0.2)

    def close(self) -> None:
        if self.service is not None and self.service.process.poll() is None:
            self.service.stop()


Serve = Callable[..., Server]


def visit(page: Page, server: Server, fragment: str = "") -> None:
    page.goto(server.url + fragment)
    expect(page.locator("#status-text")).to_have_text("Connected")


def expect_no_barriers(page: Page, *known: str) -> None:
    """Pass when axe-core finds nothing serious but what is known."""
    found = Axe().run(page)
    serious = [each["id"] for each in found.response["violations"] if each["impact"] in {"serious", "critical"}]
    assert serious == list(known), found.generate_report()


def try_now(page: Page) -> None:
    """Have the page connect without the rest of its pause."""
    page.evaluate("() => document.getElementById('retry').click()")


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")


@pytest.fixture(scope="module")  # not longer: its event loop counts as running in this thread until it ends
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("THE PAGE IS NOT TESTED: there is no chromium on this machine (Debian: apt-get install chromium)")
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with settings of their own."""
    servers: list[Server] = []

    def begin(**settings: object) -> Server:
        server = Server(tmp_path / f"server-{len(servers)}", settings)
        servers.append(server)
        server.start()
        return server

    yield begin
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the usual settings, shared by tests that do it no harm; each page is of a client of its own."""
    shared = Server(tmp_path_factory.mktemp("server"), {})
    shared.start()
    yield shared
    shared.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1100, "height": 760}, permissions=["microphone"])
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong: no exception of a script, and nothing that the policy forbids."""
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    yield made
    assert wrong == []
