"""What the page for browsers costs to load, and when its first reply is there: ./taskw bench:page -- --help."""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import BrowserContext, Page, Request, sync_playwright

from devtools.chromium import CHROMIUM, FLAGS
from devtools.ports import free_port
from devtools.processes import running

KIB = 1024
TIMEOUT_MS = 60_000
LOADED = "() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
NOW = "() => performance.now()"
CONNECTED = "() => document.getElementById('status-text').textContent === 'Connected'"
REPLIED = "() => document.querySelector('li.reply:not(.growing)') !== null"


@dataclass(frozen=True, slots=True)
class PageLoad:
    """One visit. Times are milliseconds since the visit began."""

    requests: int
    kib: float
    loaded_ms: float
    connected_ms: float
    reply_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=10, help="how often the page is visited, each way")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    if CHROMIUM is None:
        print("there is no chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    found = measure(CHROMIUM, options.visits)
    if options.json:
        print(json.dumps({name: asdict(visit) for name, visit in found.items()}))
        return 0
    print(f"{'':16}{'requests':>10}{'KiB':>8}{'loaded ms':>11}{'connected ms':>14}{'first reply ms':>16}")
    for name, visit in found.items():
        print(
            f"{name:16}{visit.requests:>10}{visit.kib:>8.1f}{visit.loaded_ms:>11.0f}{visit.connected_ms:>14.0f}"
            f"{visit.reply_ms:>16.0f}"
        )
    return 0


def measure(chromium: str, visits: int) -> dict[str, PageLoad]:
    """Return the medians of first visits, and of later ones of the same browser, whose files are asked for again."""
    ports = {"CHAT_PORT": free_port(), "HISTORY_PORT": free_port(), "CHAT_METRICS_PORT": 0, "HISTORY_METRICS_PORT": 0}
    with TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        folders = {"CHAT_DATA_DIR": folder / "chat", "HISTORY_DATA_DIR": folder / "history"}
        with running("standalone", folder / "log", {**ports, **folders, "CHAT_MEDIA_PROCESSES": 1}) as server:
            browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
            address = f"http://127.0.0.1:{server.ports['chat']}/"
            first: list[PageLoad] = []
            later: list[PageLoad] = []
            for _ in range(visits):
                context = browser.new_context(locale="en-GB")
                context.set_default_timeout(TIMEOUT_MS)
                first.append(visit_once(context, address))
                later.append(visit_once(context, address))
                context.close()
            browser.close()
    return {"first visit": _medians(first), "later visit": _medians(later)}


def visit_once(context: BrowserContext, address: str) -> PageLoad:
    page = context.new_page()
    files: list[Request] = []
    page.on("requestfinished", lambda request: files.append(request) if request.url.startswith(address) else None)
    page.goto(address)
    page.wait_for_function(CONNECTED)
    connected = _milliseconds(page, NOW)
    page.fill("#text", "say good luck")
    page.keyboard.press("Enter")
    page.wait_for_function(REPLIED)
    replied = _milliseconds(page, NOW)
    loaded = _milliseconds(page, LOADED)
    sizes = [request.sizes() for request in files]
    page.close()
    received = sum(size["responseBodySize"] + size["responseHeadersSize"] for size in sizes)
    return PageLoad(len(files), received / KIB, loaded, connected, replied)


def _milliseconds(page: Page, expression: str) -> float:
    return float(page.evaluate(expression))


def _medians(visits: Sequence[PageLoad]) -> PageLoad:
    found = {name: statistics.median(asdict(visit)[name] for visit in visits) for name in asdict(visits[0])}
    return PageLoad(**{**found, "requests": round(found["requests"])})


if __name__ == "__main__":
    sys.exit(main())
